"""The words between a session and whoever runs it: what has to happen now, and what an episode came to."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from controllers.lease import Priority
from controllers.spatial import Pose
from controllers.state import Setpoint
from robot_rl.contract import Ending, Observation, Outcome, Relabel, Step
from robot_rl.session.reset import STRIDE_TIME


class Phase(enum.Enum):
    """Stage of the session. It is paused by a person, or asking them for something, in the midst of another."""

    RESET = "reset"
    READY = "ready"
    RUNNING = "running"
    STOPPED = "stopped"
    PAUSED = "paused"
    ASKING = "asking"


class EpisodeWriter(Protocol):
    """Destination of the steps of one episode; see `robot_rl.data.store`."""

    @property
    def index(self) -> int:
        """Number of the episode, as a `Relabel` names it."""

    def append(self, step: Step) -> None: ...

    def finish(self, outcome: Outcome) -> object: ...


class EpisodeSink(Protocol):
    """Destination of episodes; see `robot_rl.data.store`."""

    def begin(self, meta: dict[str, Any]) -> EpisodeWriter: ...

    def relabel(self, relabel: Relabel) -> None:
        """Correct a step that was appended before."""


@dataclass(frozen=True, eq=False)
class Command:
    """A command to arm and gripper.

    Attributes:
        target: TCP pose in the base frame.
        gripper: opening 0–1, or None to leave it.
        priority: on whose behalf; see `controllers.lease`.
    """

    target: Pose
    gripper: float | None = None
    priority: Priority = Priority.POLICY

    def setpoint(self, seq: int, period: float) -> Setpoint:
        """The setpoint for the controller: the reference arrives when the next command is due, a ``period`` [s] later.

        During resets it is as slow at every control rate.
        """
        return Setpoint(self.target, seq, STRIDE_TIME if self.priority is Priority.RESET else period)


@dataclass(frozen=True)
class EpisodeSummary:
    """An episode that just ended. ``duration`` in seconds of robot time, ``interventions`` in steps of the person,
    ``number`` in the store, or that of the session when none is recorded; ``takeovers``: how often the person began to
    drive."""

    index: int
    ending: Ending
    reason: str
    steps: int
    reward: float
    interventions: int
    duration: float
    number: int = -1
    takeovers: int = 0


class Hands(NamedTuple):
    """Functions by which a directive is carried out, over topics or in process.

    Attributes:
        start: ask the arm to begin torque control; ``True``: to clear its fault first.
        begin_episode: ask the arm to grant a new energy budget.
        place: put objects, by name, at poses in the base frame.
        send: command arm and gripper.
    """

    start: Callable[[bool], object]
    begin_episode: Callable[[], object]
    place: Callable[[dict[str, Pose]], object]
    send: Callable[[Command], object]


@dataclass(frozen=True, eq=False)
class Directive:
    """The session's decision after a reading.

    Attributes:
        phase: where the session stands.
        observation: ask the policy with this, then call `Session.act`; None when no decision is due.
        command: execute this (during resets).
        place: put these objects in place.
        start, recover: ask the arm to begin torque control; with ``recover``, to clear its fault first.
        begin_episode: ask the arm to grant a new energy budget: one for each reset, one for each episode.
        ended: the episode that this reading closed.
        step: the step that this reading closed, as recorded.
    """

    phase: Phase
    observation: Observation | None = None
    command: Command | None = None
    place: dict[str, Pose] | None = None
    start: bool = False
    recover: bool = False
    begin_episode: bool = False
    ended: EpisodeSummary | None = None
    step: Step | None = None

    def carry_out(self, hands: Hands) -> None:
        """Do what is asked for, in the order in which it must happen."""
        if self.start:
            hands.start(self.recover)
        if self.begin_episode:
            hands.begin_episode()
        if self.place is not None:
            hands.place(self.place)
        if self.command is not None:
            hands.send(self.command)
