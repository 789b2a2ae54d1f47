"""The session: observe → decide → intervene → execute → record. Read this file first.

A `Session` is the same object on a real arm, on the simulated arm and in process. It owns the episode state machine and
nothing else: no clock, no thread, no device. Whoever runs it calls, once a control period,

1. `advance(reading)`, which closes the step in flight (reward, ending, record) and returns a `Directive`: what the
   world has to do now, and an observation when a policy shall be asked;
2. `act(chunk)` with the policy's answer (or None when it did not come in time), which returns the `Command` to execute.

    reset ──► ready ──► running ──► success | failure | timeout | aborted ──► reset

A person who stops the arm stops the session: it waits in `stopped` until they release it, and begins with a reset.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from math import inf
from typing import Protocol

import numpy as np

from controllers.lease import Priority
from controllers.spatial import Pose
from controllers.state import Mode, Setpoint
from hardware.interfaces import TeleopCommand
from robot_rl.contract import ActionChunk, Ending, Observation, Outcome, Reading, Source, Step, Timing
from robot_rl.intervention import decide
from robot_rl.ranges import require
from robot_rl.reset import ResetMotion
from robot_rl.tasks.base import CONTROL_PERIOD, Task

RECOVERY_ATTEMPTS = 3  # in a row, before a person has to look
REFLEX = "the robot stopped the motion"  # how the reason of an episode begins that a reflex ended …
STOPPED = "stopped by a person"  # … and of one that a person did
# What the motion itself has brought about, by libfranka's names, and so whoever decided on it: a failure of the task.
MOTION_ERRORS = (
    *("joint_reflex", "cartesian_reflex", "self_collision_avoidance_violation", "power_limit_violation"),
    *("joint_position_limits_violation", "cartesian_position_limits_violation", "force_control_safety_violation"),
    *("joint_velocity_violation", "cartesian_velocity_violation"),
)
NETWORK_ERROR = "communication_constraints_violation"  # what comes with it may come of it
RECOVERED_STEPS = 10  # of an episode without a fault, after which the arm has recovered; or the end of a shorter one
RECOVERY_PATIENCE = 20  # control periods that one attempt may take


class SessionError(RuntimeError):
    """The session cannot go on without a person; the message says why."""


class ResetError(SessionError):
    """The arm does not get to the start of the next episode."""


class Phase(enum.Enum):
    """Where the session stands."""

    RESET = "reset"
    READY = "ready"
    RUNNING = "running"
    STOPPED = "stopped"


class EpisodeWriter(Protocol):
    """Where the steps of one episode go; see `robot_rl.data.store`."""

    def append(self, step: Step) -> None: ...

    def finish(self, outcome: Outcome) -> object: ...


class EpisodeSink(Protocol):
    """Where episodes go; see `robot_rl.data.store`."""

    def begin(self, meta: dict) -> EpisodeWriter: ...


@dataclass(frozen=True)
class SessionConfig:
    """Defaults of a session.

    Attributes:
        ask_policy: a policy acts when the person does not; False when only a person drives.
        wait_for_person: an episode starts when the person first moves (recording demonstrations), not at once.
        person_ends: an episode ends only when the person says so or by a fault, not by the task or the time limit.
        horizon: steps until the time limit; 0 takes the task's.
        policy_timeout: [s] of steady time to wait for the policy's answer before holding still.
        late_limit: so many answers missing in a row end the episode as aborted.
        stall_timeout: [s] without a reading of the arm before the episode is aborted.
        teleop_timeout: [s] after which the person's last command no longer counts.
    """

    ask_policy: bool = True
    wait_for_person: bool = False
    person_ends: bool = False
    horizon: int = 0
    policy_timeout: float = 0.06
    late_limit: int = 10
    stall_timeout: float = 0.5
    teleop_timeout: float = 0.25

    def __post_init__(self) -> None:
        require(self, horizon=(0, inf), late_limit=(1, inf))
        require(self, policy_timeout=(0.001, inf), stall_timeout=(0.001, inf), teleop_timeout=(0.001, inf))


@dataclass(frozen=True, eq=False)
class Command:
    """What the arm and gripper shall do now.

    Attributes:
        target: TCP pose in the base frame.
        gripper: opening 0–1, or None to leave it.
        priority: on whose behalf; see `controllers.lease`.
    """

    target: Pose
    gripper: float | None = None
    priority: Priority = Priority.POLICY

    def setpoint(self, seq: int) -> Setpoint:
        """The setpoint for the controller: the reference arrives when the next command is due."""
        return Setpoint(self.target, seq, CONTROL_PERIOD)


@dataclass(frozen=True)
class EpisodeSummary:
    """An episode that just ended. ``duration`` in seconds of robot time, ``interventions`` in steps of the person."""

    index: int
    ending: Ending
    reason: str
    steps: int
    reward: float
    interventions: int
    duration: float


@dataclass(frozen=True, eq=False)
class Directive:
    """What has to happen now, after a reading.

    Attributes:
        phase: where the session stands.
        observation: ask the policy with this, then call `Session.act`; None when no decision is due.
        command: execute this (during resets).
        place: put these objects in place.
        start, recover: ask the arm to begin torque control, or to clear its fault first.
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


@dataclass(eq=False)
class _Episode:
    """Running totals of the episode in progress."""

    index: int
    began: float
    writer: EpisodeWriter | None
    steps: int = 0
    reward: float = 0.0
    interventions: int = 0
    late: int = 0


@dataclass(eq=False)
class _Pending:
    """The step in flight: decided, not yet rewarded."""

    observation: Observation
    policy_action: np.ndarray
    action: np.ndarray
    source: Source
    timing: Timing
    reading: Reading

    def cost(self, after: Reading) -> float:
        """Share of the step, 0–1, that the passivity filter held back; 0 when its counter has begun anew."""
        held_back = after.activity - self.reading.activity
        elapsed = after.robot_time - self.reading.robot_time
        return min(1.0, held_back / elapsed) if held_back > 0.0 and elapsed > 0.0 else 0.0


class Session:
    """One arm, one task, one episode after the other.

    Args:
        task: what is done.
        config: see `SessionConfig`.
        sink: where steps are recorded; None records nothing.
        seed: of the start poses. The *i*-th reset goes to the same start in every session with this seed.
        first: number of the first start to go to, when an interrupted job goes on.
    """

    def __init__(self, task: Task, config: SessionConfig, sink: EpisodeSink | None, seed: int, first: int = 0) -> None:
        self._task = task
        self._config = config
        self._sink = sink
        self._seed = seed
        self._horizon = config.horizon or task.horizon
        self._phase = Phase.RESET
        self._reset: ResetMotion | None = None
        self._episode: _Episode | None = None
        self._pending: _Pending | None = None
        self._asked: tuple[Reading, Observation] | None = None
        self._chunk: list[np.ndarray] = []
        self._chunk_version = -1
        self._episodes = 0
        self._drawn = first
        self._observations = 0
        self._recoveries = 0
        self._patience = 0
        self._last_time = 0.0
        self._opening = 1.0  # of the gripper, as it was told last; measured at the start of an episode

    @property
    def phase(self) -> Phase:
        return self._phase

    @property
    def task(self) -> Task:
        return self._task

    @property
    def episodes(self) -> int:
        """Episodes ended so far."""
        return self._episodes

    @property
    def wants_policy(self) -> bool:
        """Whether the policy has to be asked now; False while a chunk of actions is still being executed."""
        return self._config.ask_policy and not self._chunk

    def advance(self, reading: Reading, teleop: TeleopCommand | None = None, wait: bool = False) -> Directive:
        """Take a new reading; with ``wait`` no new episode begins yet.

        Raises `SessionError` when the arm cannot be recovered or reset.
        """
        ended, step = None, None
        fault = _fault(reading)
        if self._phase is Phase.RUNNING:
            pending, episode = self._pending, self._episode
            if fault and (pending is None or not _is_failure(reading, pending)):
                ended = self.abort(fault)
            elif pending is not None and episode is not None:
                outcome = self._outcome(reading, teleop, episode, fault)
                step, ended = self._close_step(reading, pending, episode, outcome)
        if fault:
            return replace(self._recover(reading, ended), step=step)
        self._patience = 0
        if self._phase is Phase.STOPPED:
            self._phase = Phase.RESET
        if self._phase is Phase.RESET:
            return self._advance_reset(reading, ended, step)
        if self._phase is Phase.READY:
            if wait or (self._config.wait_for_person and not (teleop is not None and teleop.engaged)):
                return Directive(self._phase, command=Command(reading.target, None, Priority.RESET), ended=ended)
            self._begin_episode(reading)
        observation = self._observe(reading)
        self._asked = (reading, observation)
        return Directive(self._phase, observation=observation, ended=ended, step=step)

    def act(self, chunk: ActionChunk | None, teleop: TeleopCommand | None = None, decision_ms: float = 0.0) -> Command:
        """Decide on the observation of the last `advance`, and return what to execute.

        Args:
            chunk: the policy's answer; None when it is not asked (a chunk is under way) or did not come in time.
            teleop: the person's latest command, or None when there is none or it is too old.
            decision_ms: observation sent → answer received [ms].

        Raises:
            SessionError: no observation is waiting for a decision.
        """
        if self._asked is None:
            raise SessionError("act() was called without an observation to act on; call advance() first")
        reading, observation = self._asked
        self._asked = None
        spec = self._task.action
        if chunk is not None:
            self._chunk = list(chunk.actions)
            self._chunk_version = chunk.version
        late = self._config.ask_policy and not self._chunk
        policy_action = self._chunk.pop(0) if self._chunk else self._hold()
        decision = decide(policy_action, teleop, spec, CONTROL_PERIOD, self._opening)
        if decision.source is Source.PERSON:
            self._chunk = []
        wanted = spec.target(reading.pose, decision.action, self._task.nominal)
        target = self._task.workspace.clip(wanted)
        executed = decision.action
        if target is not wanted:
            executed = spec.from_delta(target.difference(reading.pose), spec.gripper(decision.action))
        version = self._chunk_version if decision.source is Source.POLICY and not late else -1
        period = (reading.robot_time - self._last_time) * 1000.0
        self._last_time = reading.robot_time
        self._pending = _Pending(
            observation,
            np.asarray(policy_action, dtype=np.float32),
            executed,
            decision.source,
            Timing(decision_ms, period, version, late and decision.source is Source.POLICY),
            reading,
        )
        priority = Priority.PERSON if decision.source is Source.PERSON else Priority.POLICY
        opening = spec.gripper(decision.action)
        self._opening = self._opening if opening is None else opening
        return Command(target, opening, priority)

    def abort(self, reason: str) -> EpisodeSummary | None:
        """End the episode in progress as aborted; the step in flight is dropped. The arm is reset next."""
        self._pending = None
        self._asked = None
        self._reset = None
        if self._phase is Phase.RUNNING:
            return self._end(Outcome.aborted(reason))
        self._phase = Phase.RESET
        return None

    def _recover(self, reading: Reading, ended: EpisodeSummary | None) -> Directive:
        self._reset = None
        if reading.mode is Mode.STOPPED:  # only a person releases it, and a person has looked at the arm then
            self._phase = Phase.STOPPED
            self._recoveries = self._patience = 0
            return Directive(self._phase, ended=ended)
        self._phase = Phase.RESET
        waits_for_sensor = bool(reading.fault) and reading.mode is Mode.IDLE  # starting the arm would not bring it back
        if waits_for_sensor or reading.mode not in (Mode.FAULT, Mode.IDLE):
            return Directive(self._phase, ended=ended)
        self._patience -= 1
        if self._patience > 0:
            return Directive(self._phase, ended=ended)
        if self._recoveries >= RECOVERY_ATTEMPTS:
            raise SessionError(
                f"{RECOVERY_ATTEMPTS} attempts to recover the arm have led to no episode that went on "
                f"({_fault(reading)}); look at the arm, then start the session again"
            )
        self._recoveries += 1
        self._patience = RECOVERY_PATIENCE
        return Directive(self._phase, recover=reading.mode is Mode.FAULT, start=True, ended=ended)

    def _advance_reset(self, reading: Reading, ended: EpisodeSummary | None, step: Step | None) -> Directive:
        begins = self._reset is None
        if self._reset is None:
            rng = np.random.default_rng([self._seed, self._drawn])
            self._drawn += 1
            self._reset = ResetMotion(self._task, self._task.sample_start(rng))
        motion = self._reset.step(reading)
        if motion.failure:
            raise ResetError(motion.failure)
        if motion.done:
            self._reset = None
            self._phase = Phase.READY
        return Directive(
            self._phase,
            command=Command(motion.target, motion.gripper, Priority.RESET),
            place=motion.place,
            begin_episode=begins or motion.done,
            ended=ended,
            step=step,
        )

    def _begin_episode(self, reading: Reading) -> None:
        meta = {"seed": self._seed, "start": self._drawn - 1}
        writer = self._sink.begin(meta) if self._sink is not None else None
        self._episode = _Episode(self._episodes, reading.robot_time, writer)
        self._last_time = reading.robot_time - CONTROL_PERIOD
        self._opening = reading.gripper
        self._chunk = []
        self._phase = Phase.RUNNING

    def _observe(self, reading: Reading) -> Observation:
        self._observations += 1
        return Observation(reading.stamp_ns, self._observations, self._task.state(reading), dict(reading.images))

    def _close_step(
        self, reading: Reading, pending: _Pending, episode: _Episode, outcome: Outcome
    ) -> tuple[Step, EpisodeSummary | None]:
        self._pending = None
        step = Step(
            pending.observation,
            pending.policy_action,
            pending.action,
            pending.source,
            outcome,
            self._observe(reading),
            pending.timing,
            pending.reading.q,
            dict(pending.reading.objects),
            pending.cost(reading),
        )
        episode.steps += 1
        if episode.steps >= RECOVERED_STEPS and REFLEX not in outcome.reason:
            self._recoveries = 0
        episode.reward += outcome.reward
        episode.interventions += pending.source is Source.PERSON
        episode.late = episode.late + 1 if pending.timing.late else 0
        if episode.late >= self._config.late_limit and not outcome.done:
            outcome = Outcome.aborted(f"no policy answer for {episode.late} steps in a row")
            step = replace(step, outcome=outcome)
        if episode.writer is not None:
            episode.writer.append(step)
        return step, self._end(outcome) if outcome.done else None

    def _outcome(self, reading: Reading, teleop: TeleopCommand | None, episode: _Episode, fault: str) -> Outcome:
        if teleop is not None and teleop.success:
            return Outcome.success()
        if teleop is not None and teleop.failure:
            return Outcome.failure("labelled by the person")
        if fault:  # whatever the task says: it shall not be done by hitting things
            return Outcome.failure(fault)
        if self._config.person_ends:
            return Outcome.running()
        outcome = self._task.outcome(reading)
        if not outcome.done and episode.steps + 1 >= self._horizon:
            return Outcome.timeout(outcome.reward)
        return outcome

    def _end(self, outcome: Outcome) -> EpisodeSummary:
        episode = self._episode
        if episode is None:
            raise SessionError("no episode is running")
        if episode.writer is not None:
            episode.writer.finish(outcome)
        summary = EpisodeSummary(
            episode.index,
            outcome.ending,
            outcome.reason,
            episode.steps,
            episode.reward,
            episode.interventions,
            episode.steps * CONTROL_PERIOD,
        )
        if outcome.ending is not Ending.ABORTED and REFLEX not in outcome.reason:
            self._recoveries = 0
        self._episode = None
        self._episodes += 1
        self._phase = Phase.RESET
        return summary

    def _hold(self) -> np.ndarray:
        """The action that changes nothing: what is held stays held, whose measured width is not what was asked for."""
        return self._task.action.from_delta(np.zeros(6), self._opening)


def _fault(reading: Reading) -> str:
    """Why no episode can run at this reading, with the robot's own words where it has some; "" when one can."""
    if reading.mode in (Mode.FAULT, Mode.STOPPED):
        what = REFLEX if reading.mode is Mode.FAULT else STOPPED
        return f"{what}: {reading.fault}" if reading.fault else what
    idle = {Mode.IDLE: "the arm is not under control", Mode.DAMP: "setpoints went stale; the controller damped out"}
    return reading.fault or idle.get(reading.mode, "")


def _is_failure(reading: Reading, pending: _Pending) -> bool:
    """Whether the robot stopped because of how it was moved, not of the network or a person, and all of it was seen."""
    moved_badly = any(name in reading.fault for name in MOTION_ERRORS) and NETWORK_ERROR not in reading.fault
    measured = np.concatenate((reading.q, reading.twist, reading.wrench))
    seen = np.isfinite(measured).all() and reading.images.keys() == pending.observation.images.keys()
    return bool(reading.mode is Mode.FAULT and moved_badly and seen)
