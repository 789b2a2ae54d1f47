"""The session: observe → decide → intervene → execute → record. Read this file first.

A `Session` is the same object on a real arm, on the simulated arm and in process. It owns the episode state machine and
nothing else: no clock, no thread, no device. Whoever runs it calls, once a control period,

1. `advance(reading)`, which closes the step in flight (reward, ending, record) and returns a `Directive`: what the
   world has to do now, and an observation when a policy shall be asked;
2. `act(chunk)` with the policy's answer to it (None when there is none yet), which returns the `Command` to execute:
   what is due now of all that the policy has answered. An answer that comes later goes to ``policy.answer``.

    reset ──► ready ──► running ──► success | failure | timeout | aborted ──► reset

A person who stops the arm stops the session: it waits in `stopped` until they release it, and begins with a reset.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from controllers.lease import Priority
from controllers.state import Mode
from hardware.interfaces import TeleopCommand
from robot_rl.contract import ActionChunk, Ending, Observation, Outcome, Reading, Source, Step, Timing
from robot_rl.session.acting import Acting
from robot_rl.session.config import SessionConfig
from robot_rl.session.directive import Command, Directive, EpisodeSink, EpisodeSummary, EpisodeWriter, Phase
from robot_rl.session.errors import ResetError, SessionError
from robot_rl.session.intervention import decide
from robot_rl.session.recovery import (
    RECOVERED_STEPS,
    RECOVERY_ATTEMPTS,
    RECOVERY_PATIENCE,
    REFLEX,
    brought_about,
    fault_of,
)
from robot_rl.session.reset import ResetMotion
from robot_rl.tasks.base import Task


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

    Attributes:
        policy: what of the policy's answers is planned, and when it is asked.
    """

    def __init__(self, task: Task, config: SessionConfig, sink: EpisodeSink | None, seed: int, first: int = 0) -> None:
        self._task = task
        self._config = config
        self._sink = sink
        self._seed = seed
        self._horizon = config.horizon or task.horizon
        self._period = task.control_period
        self._phase = Phase.RESET
        self._reset: ResetMotion | None = None
        self._episode: _Episode | None = None
        self._pending: _Pending | None = None
        self._asked: tuple[Reading, Observation] | None = None
        self.policy = Acting(config, task.action.axes, self._period)
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
        """Whether the policy has to be asked about the last directive's observation."""
        return self.policy.wants

    def advance(self, reading: Reading, teleop: TeleopCommand | None = None, wait: bool = False) -> Directive:
        """Take a new reading; with ``wait`` no new episode begins yet.

        Raises `SessionError` when the arm cannot be recovered or reset.
        """
        ended, step = None, None
        fault = fault_of(reading)
        if self._phase is Phase.RUNNING:
            pending, episode = self._pending, self._episode
            if fault and (pending is None or not brought_about(reading, pending.observation.images)):
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
        self.policy.look(observation.stamp_ns, reading.robot_time, teleop is not None and teleop.engaged)
        return Directive(self._phase, observation=observation, ended=ended, step=step)

    def act(self, chunk: ActionChunk | None, teleop: TeleopCommand | None = None, decision_ms: float = 0.0) -> Command:
        """Decide on the observation of the last `advance`, and return what to execute.

        Args:
            chunk: the policy's answer to that observation; None when it was not asked, or has not come.
            teleop: the person's latest command, or None when there is none or it is too old.
            decision_ms: observation sent → answer received [ms].

        Raises:
            SessionError: no observation is waiting for a decision.
            ContractError: the actions do not fit the task.
        """
        if self._asked is None:
            raise SessionError("act() was called without an observation to act on; call advance() first")
        reading, observation = self._asked
        if chunk is not None:
            self.policy.answer_at_once(chunk, observation.stamp_ns)
        self._asked = None
        spec = self._task.action
        due = self.policy.decide()
        late = self._config.ask_policy and due is None
        policy_action = self._hold() if due is None else due.action
        decision = decide(policy_action, teleop, spec, self._period, self._opening)
        if decision.source is Source.PERSON:
            self.policy.forget()
        wanted = spec.target(reading.pose, decision.action, self._task.nominal)
        target = self._task.workspace.clip(wanted)
        executed = decision.action
        if target is not wanted:
            executed = spec.from_delta(target.difference(reading.pose), spec.gripper(decision.action))
        version = due.version if decision.source is Source.POLICY and due is not None else -1
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
                f"({fault_of(reading)}); look at the arm, then start the session again"
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
        self._last_time = reading.robot_time - self._period
        self._opening = reading.gripper
        self.policy.forget()
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
        if episode.late >= max(1, round(self._config.late_limit / self._period)) and not outcome.done:
            outcome = Outcome.aborted(f"no policy answer in time for {episode.late} steps in a row")
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
        self.policy.forget()
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
            episode.steps * self._period,
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
