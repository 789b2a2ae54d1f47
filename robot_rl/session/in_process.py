"""A session in process: the same `Session`, controller and scene, stepped as fast as the processor allows."""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from controllers.spatial import Pose
from hardware.interfaces import ArmFault, TeleopCommand, Word
from hardware.sim.scene.render import SceneRenderer
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.contract import ActionChunk, AnswerError, Label, Memory, Policy, Reading, View
from robot_rl.perception.encoders import Encoder, encode_views
from robot_rl.perception.images import fit
from robot_rl.session.directive import Command, Directive, Hands, Phase
from robot_rl.session.session import Session

LOGGER = logging.getLogger(__name__)
HALF_TICK = 0.0005  # [s] of the world, whose time passes in milliseconds

Teleop = Callable[[Reading], TeleopCommand | None]


class _Coming(NamedTuple):
    """An answer that will have come at robot time ``at`` [s]."""

    at: float
    chunk: ActionChunk


class Rollout:
    """Runs a `Session` on an `InProcessWorld`.

    Args:
        session: what to run.
        world: connected; time in it passes only here.
        teleop: the person, or a script (`robot_rl.tasks.base.expert_of`), as a function of the reading; None when
            nobody is there.
        renderer: draws the pictures that images are taken from; None for none.
        views: camera → what of its picture; the task's where it is not said.
        latency: [s] of robot time, to the millisecond, until an answer of the policy is there: always the same, or the
            next one of an iterator without end. It answers one request after the other, like a process of its own.
        encoder: makes features of the images; None for none.
        signals: what judges make of a reading, name → value; None: there are none.
    """

    def __init__(
        self,
        session: Session,
        world: InProcessWorld,
        teleop: Teleop | None = None,
        renderer: SceneRenderer | None = None,
        views: Mapping[str, View] | None = None,
        latency: float | Iterator[float] = 0.0,
        encoder: Encoder | None = None,
        signals: Callable[[Reading], Mapping[str, float]] | None = None,
    ) -> None:
        self._session = session
        self._world = world
        self._hands = Hands(self._start, world.begin_episode, world.place, self._send)
        self._teleop = teleop
        self._renderer, self._encoder = renderer, encoder
        self._views = session.task.views(renderer.cameras if renderer is not None else ()) if views is None else views
        self._signals = signals
        self._period = session.task.control_period
        self._latency = itertools.repeat(latency) if isinstance(latency, int | float) else latency
        self._coming: list[_Coming] = []
        self._memory = Memory()
        self._due = -1.0  # robot time [s] at which this control period ends: the grid, which nothing shifts
        self._setpoints = 0
        self._words = 0
        self._refused = ""  # why the last answer that was of no use was none
        self._command: TeleopCommand | None = None

    @property
    def session(self) -> Session:
        return self._session

    def reading(self) -> Reading:
        """Everything the world says at this instant; its stamp is the robot's time."""
        return self._read(drawn=True)

    def _read(self, drawn: bool) -> Reading:
        """As `reading`; without pictures where they are not ``drawn``."""
        arm, objects = self._world.read(), self._world.objects()
        gripper = self._world.gripper.read().width
        images = self._render(arm.state.q, gripper, objects) if drawn else {}
        reading = Reading(
            round(arm.state.time * 1e9),
            arm.state.time,
            arm.state.q,
            arm.pose,
            arm.twist,
            arm.state.wrench,
            arm.target,
            gripper,
            arm.tank,
            arm.mode,
            images,
            objects,
            arm.fault,
            arm.budget,
            arm.activity,
            features=encode_views(self._encoder, images) if self._encoder is not None else {},
        )
        return reading if self._signals is None else replace(reading, signals=self._signals(reading))

    def advance(self) -> Directive:
        """Read, let the session advance, and do what it asks for. When it asks for an action, call `act` next."""
        # No episode sees a reset's pictures.
        reading = self._read(drawn=self._signals is not None or self._session.phase is not Phase.RESET)
        self._receive(reading.robot_time)
        self._command = self._teleop(reading) if self._teleop is not None else None
        for word in self._command.words if self._command is not None else ():
            self._words += 1
            self._session.say(Label(self._words, word, "the person", reading.stamp_ns))
            if word is Word.STOP:
                self._world.user_stop(True)
        directive = self._session.advance(reading, self._command)
        for line in self._session.notes():
            LOGGER.info("%s", line)
        directive.carry_out(self._hands)
        if directive.observation is None:
            self._finish_period(self._world.time)
        return directive

    def act(self, chunk: ActionChunk | None) -> None:
        """Execute a decision on the last directive's observation, and let the rest of the control period pass.

        ``chunk``: an answer to it that is there at once. Otherwise the decision waits for those that are on their way,
        as long as the session does.
        """
        began = self._world.time
        if chunk is None:
            self._await(began + self._session.policy.wait)
        waited = self._world.time - began
        self._send(self._session.act(chunk, self._command, waited * 1000.0))
        self._finish_period(began)

    def step(self, policy: Policy | None = None) -> Directive:
        """One control period with ``policy``; None when only the person drives."""
        directive = self.advance()
        observation = directive.observation
        if observation is None:
            return directive
        chunk = None
        if policy is not None:
            self._memory.see(policy, observation, self._session.episodes, self._session.instruction)
            if self._session.policy.wants:
                chunk = self._ask(policy, observation.stamp_ns)
        self.act(chunk)
        return directive

    def _ask(self, policy: Policy, stamp_ns: int) -> ActionChunk | None:
        """The policy's answer to the observation of ``stamp_ns``, when it is there at once."""
        try:
            chunk = self._memory.ask(policy)
        except AnswerError as error:
            if str(error) != self._refused:
                LOGGER.warning("no answer: %s", error)
            self._refused = str(error)
            self._session.policy.refuse(stamp_ns)
            return None
        latency = next(self._latency)
        now = self._world.time
        busy = self._coming[-1].at if self._coming else now
        at = max(now, busy) + latency
        if at <= now + HALF_TICK:
            return chunk
        self._coming.append(_Coming(at, chunk))
        return None

    def _await(self, deadline: float) -> None:
        """Let time pass until what the session waits for is there, or it is ``deadline`` [s] of robot time."""
        while self._session.policy.waits:
            first = self._coming[0].at if self._coming else deadline
            self._world.advance(min(first, deadline) - self._world.time)
            if first > deadline - HALF_TICK:
                return
            self._receive(self._world.time)

    def _receive(self, now: float) -> None:
        """Hand over the answers that have come by robot time ``now`` [s]."""
        while self._coming and self._coming[0].at <= now + HALF_TICK:
            self._session.policy.answer(self._coming.pop(0).chunk, now)

    def _finish_period(self, began: float) -> None:
        """Let the rest of the control period pass that began at robot time ``began`` [s]."""
        grid = self._due if abs(self._due - began) <= 2.0 * HALF_TICK else began
        self._due = grid + self._period
        self._world.advance(self._due - self._world.time)

    def _start(self, recover: bool) -> None:
        with contextlib.suppress(ArmFault):  # an arm that refuses says so in the next reading; the session counts
            if recover:
                self._world.recover()
            self._world.start()

    def _send(self, command: Command) -> None:
        self._setpoints += 1
        self._world.command(command.setpoint(self._setpoints, self._period))
        if command.gripper is not None:
            self._world.gripper.command(command.gripper)

    def _render(self, q: np.ndarray, gripper: float, objects: Mapping[str, Pose]) -> dict[str, np.ndarray]:
        if self._renderer is None:
            return {}
        pictures = self._renderer.render(q, gripper, objects)
        return {name: fit(picture, self._views[name]) for name, picture in pictures.items()}
