"""The session: observe → decide → intervene → execute → record. Read this file first.

A `Session` is the same object on a real arm, on the simulated arm and in process. It owns the episode state machine and
nothing else: no clock, no thread, no device. Whoever runs it calls, once a control period,

1. `advance(reading)`, which closes the step in flight (reward, ending, record) and returns a `Directive`: what the
   world has to do now, and an observation when a policy shall be asked;
2. `act(chunk)` with the policy's answer to it (None when there is none yet), which returns the `Command` to execute:
   what is due now of all that the policy has answered. An answer that comes later goes to ``policy.answer``.

    reset ──► ready ──► running ──► success | failure | timeout | aborted ──► reset

A person who stops the arm stops the session: it waits in `stopped` until they release it, and begins with a reset.
At any moment a person may `say` something, see `robot_rl.session.operator`. While they have paused the session, or it
waits for something that it asked of them, the arm is held; the step in flight is closed by the first reading after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import inf
from types import MappingProxyType

import numpy as np

from controllers.lease import Priority
from controllers.spatial import Pose
from controllers.state import Mode
from hardware.interfaces import TeleopCommand
from robot_rl.contract import (
    INSTRUCTION,
    ActionChunk,
    AgentView,
    Answer,
    Ending,
    Judge,
    Label,
    Observation,
    Outcome,
    Reading,
    Relabel,
    Source,
    Step,
    Timing,
    Verdict,
    lead_of,
)
from robot_rl.session.acting import Acting
from robot_rl.session.config import SessionConfig
from robot_rl.session.directive import Command, Directive, EpisodeSink, EpisodeSummary, EpisodeWriter, Phase
from robot_rl.session.doubt import Doubt
from robot_rl.session.errors import ResetError, SessionError
from robot_rl.session.intervention import Led, decide, led_on, reference_of
from robot_rl.session.judge import make_judge
from robot_rl.session.operator import Due, Operator, Span
from robot_rl.session.recovery import (
    DAMPED_ATTEMPTS,
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
    takeovers: int = 0
    driven: bool = False  # the last step, by the person
    late: int = 0


@dataclass(eq=False)
class _Pending:
    """The step in flight: decided, not yet rewarded."""

    reading: Reading
    policy_action: np.ndarray
    action: np.ndarray
    source: Source
    target: Pose
    timing: Timing

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
        judge: says what each step came to; None: the task's own.
        past: the latest episodes in the sink, oldest first, for labels that were said before this session.
        view: the task as the policy sees it; default: whole.
        notes: JSON values that the record of each episode keeps beside its steps.

    Attributes:
        policy: what of the policy's answers is planned, and when it is asked.
    """

    def __init__(
        self,
        task: Task,
        config: SessionConfig,
        sink: EpisodeSink | None,
        seed: int,
        first: int = 0,
        judge: Judge | None = None,
        past: Iterable[Span] = (),
        view: AgentView | None = None,
        notes: Mapping[str, object] = MappingProxyType({}),
    ) -> None:
        self._task = task
        self._noted = dict(notes)
        self._view = view or AgentView(task)
        self._judge = judge or make_judge("", task)
        self._operator = Operator(sink, past, config.marked)
        self._held: Pose | None = None  # where the arm is held for the person's sake
        self._led: Led | None = None  # the way that the person has led the reference, until somebody else decides
        self._config = config
        self._sink = sink
        self._seed = seed
        self._doubt = Doubt(config)
        self._notes: list[str] = []
        self._horizon = config.horizon or (task.horizon if self._judge.time_limit else inf)
        self._period = task.control_period
        self._phase = Phase.RESET
        self._reset: ResetMotion | None = None
        self._episode: _Episode | None = None
        self._pending: _Pending | None = None
        self._asked: Reading | None = None
        self.policy = Acting(config, task.action.axes, self._period)
        self._episodes = 0
        self._drawn = first
        self._observations = 0
        self._recoveries = 0
        self._patience = 0
        self._waited = 0  # control periods in a row for which no episode could begin, the arm being ready
        self._last_time = 0.0
        self._said = config.instruction or task.instruction
        self._opening = 1.0  # of the gripper, as it was told last; measured at the start of an episode

    @property
    def phase(self) -> Phase:
        return self._operator.holding or self._phase

    @property
    def running(self) -> bool:
        """Whether an episode is in progress, paused or not."""
        return self._phase is Phase.RUNNING

    @property
    def request(self) -> str:
        """The act of a person that the session waits for, in words; "" when it does not wait."""
        return self._operator.request

    @property
    def task(self) -> Task:
        return self._task

    @property
    def view(self) -> AgentView:
        """The task as the policy sees it."""
        return self._view

    @property
    def episodes(self) -> int:
        """Episodes ended so far."""
        return self._episodes

    @property
    def instruction(self) -> str:
        """The words for the episode that runs, or the next one: settled when its start is drawn."""
        return self._said

    def say(self, label: Label) -> None:
        """Take in a person's word, at any moment; the arm's emergency stop is the business of whoever calls this."""
        self._operator.say(label)

    def ask(self, request: str) -> None:
        """Hold the arm until a person has done what ``request`` says, and resumes."""
        self._operator.request = request

    def answers(self) -> tuple[Answer, ...]:
        """Answers to labels since the last call. A label of the step in flight is answered when that is closed."""
        return self._operator.answers()

    def notes(self) -> tuple[str, ...]:
        """Lines for the person since the last call: what they are asked about, and what has become of it."""
        notes, self._notes = tuple(self._notes), []
        return notes

    @property
    def unanswered(self) -> bool:
        """Whether labels wait for the step in flight; `abort` applies them to the last one that is recorded."""
        return self._operator.unanswered

    def relabels(self) -> tuple[Relabel, ...]:
        """Corrections of recorded steps since the last call, as handed to the sink."""
        return self._operator.relabels()

    def advance(self, reading: Reading, teleop: TeleopCommand | None = None, wait: bool = False) -> Directive:
        """Take a new reading; with ``wait`` no new episode begins yet.

        Raises `SessionError` when the arm cannot be recovered or reset.
        """
        ended, step = None, None
        fault = fault_of(reading)
        self._attend(reading)
        teleop = self._operator.drives(teleop)
        holding = self._operator.holding
        if self._phase is Phase.RUNNING:
            pending, episode, due = self._pending, self._episode, self._operator.due(reading.stamp_ns)
            moving = pending if holding is None else None  # who is held has not brought a fault about
            if fault and (moving is None or not brought_about(reading, moving.reading)):
                ended = self.abort(fault)
            elif due is not None and not due.in_flight:
                self._pending = None
                ended = self._end(due.outcome)
            elif pending is not None and episode is not None and (due or holding is None):
                outcome = self._outcome(reading, due, episode, fault)
                if self._operator.holding and due is None:  # it has just been asked what this step came to
                    holding = self._operator.holding
                else:
                    step, ended = self._close_step(reading, pending, episode, outcome)
        for verdict in self._judge.later():
            self._operator.judged(verdict, type(self._judge).__name__)
        if holding is not None:
            return replace(self._hold_arm(reading, holding, fault), ended=ended, step=step)
        self._held = None
        if fault:
            self._led = None
            return replace(self._recover(reading, ended), step=step)
        self._patience = 0
        if self._phase is Phase.STOPPED:
            self._phase = Phase.RESET
        if self._phase is Phase.RESET:
            return self._advance_reset(reading, ended, step)
        if self._phase is Phase.READY:
            self._waited = self._waited + 1 if wait else 0
            if self._waited >= RECOVERED_STEPS:  # for that long the arm has been under control
                self._recoveries = 0
            if wait or (self._config.wait_for_person and not (teleop is not None and teleop.engaged)):
                return Directive(self._phase, command=Command(reading.target, None, Priority.RESET), ended=ended)
            self._begin_episode(reading)
        observation = self._observe(reading)
        self._asked = reading
        self.policy.look(observation.stamp_ns, reading.robot_time, teleop is not None and teleop.engaged)
        observation = replace(observation, planned=self.policy.planned)
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
        reading = self._asked
        if chunk is not None:
            self.policy.answer_at_once(chunk, reading.stamp_ns)
        self._asked = None
        teleop = self._operator.drives(teleop)
        spec = self._task.action
        due = self.policy.decide()
        late = self._config.ask_policy and due is None
        policy_action = self._hold() if due is None else due.wish(reading.pose, spec)
        reference = reference_of(reading, self._led, self._period)
        lead = lead_of(reference, reading.pose)
        decision = decide(policy_action, teleop, spec, self._period, self._opening, lead)
        by_person = decision.source is Source.PERSON
        if by_person:
            self.policy.forget()
        elif due is None and self._led is not None:  # let go: the arm stays where it was led to
            decision = led_on(lead, spec, self._opening, Source.POLICY)
        wanted = spec.displaced(reading.pose, decision.delta, self._task.nominal)
        target = self._task.workspace.clip(wanted)
        if not by_person:
            self.policy.commanded(target)
        led = by_person or (due is None and self._led is not None)
        self._led = Led(reference, target) if led else None
        executed = decision.action
        if target is not wanted:
            executed = spec.from_delta(target.difference(reading.pose), spec.gripper(decision.action))
        version = due.version if decision.source is Source.POLICY and due is not None else -1
        period = (reading.robot_time - self._last_time) * 1000.0
        self._last_time = reading.robot_time
        self._pending = _Pending(
            reading,
            np.asarray(policy_action, dtype=np.float32),
            executed,
            decision.source,
            target,
            Timing(decision_ms, period, version, late and decision.source is Source.POLICY),
        )
        priority = Priority.PERSON if by_person else Priority.POLICY
        opening = spec.gripper(decision.action)
        self._opening = self._opening if opening is None else opening
        return Command(target, opening, priority)

    def abort(self, reason: str) -> EpisodeSummary | None:
        """End the episode in progress as aborted; the step in flight is dropped. The arm is reset next."""
        self._pending = None
        self._asked = None
        self._reset = None
        self._led = None
        if self._phase is Phase.RUNNING:
            return self._end(Outcome.aborted(reason))
        self._phase = Phase.RESET
        return None

    def _hold_arm(self, reading: Reading, phase: Phase, fault: str) -> Directive:
        """Hold the arm where it was when the person said so; one that is not under control is left alone."""
        self._asked = self._led = None
        self.policy.forget()
        if fault:
            self._held = None
            return Directive(Phase.STOPPED if reading.mode is Mode.STOPPED else phase)
        if self._held is None:
            self._held = reading.pose
        return Directive(phase, command=Command(self._held, None, Priority.RESET))

    def _recover(self, reading: Reading, ended: EpisodeSummary | None) -> Directive:
        self._reset = None
        self._waited = 0
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
        attempts = DAMPED_ATTEMPTS if reading.mode is Mode.IDLE else RECOVERY_ATTEMPTS
        if self._recoveries >= attempts:
            raise SessionError(
                f"{attempts} attempts to recover the arm have led to no episode that went on "
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
            start = self._task.sample_start(rng)
            self._said = self._config.instruction or self._task.words(start.objects)
            self._reset = ResetMotion(self._task, start)
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
        meta: dict[str, object] = {"seed": self._seed, "start": self._drawn - 1, **self._noted}
        if self._config.marks:
            meta["marks"] = True
            if self._config.stages:
                meta["stages"] = list(self._config.stages)
        if self._said:
            meta[INSTRUCTION] = self._said
        writer = self._sink.begin(meta) if self._sink is not None else None
        self._episode = _Episode(self._episodes, reading.robot_time, writer)
        self._operator.begin(writer.index if writer is not None else self._episodes, reading.stamp_ns)
        self._judge.begin()
        self._doubt = Doubt(self._config)
        self._last_time = reading.robot_time - self._period
        self._opening = reading.gripper
        self._led = None
        self.policy.forget()
        self._phase = Phase.RUNNING

    def _observe(self, reading: Reading) -> Observation:
        self._observations += 1
        seen = dict(reading.features or reading.images)
        return Observation(reading.stamp_ns, self._observations, self._view.state(reading), seen)

    def _close_step(
        self, reading: Reading, pending: _Pending, episode: _Episode, outcome: Outcome
    ) -> tuple[Step, EpisodeSummary | None]:
        self._pending = None
        step = Step(
            pending.reading,
            pending.policy_action,
            pending.action,
            pending.source,
            outcome,
            reading,
            pending.target,
            pending.timing,
            pending.cost(reading),
        )
        episode.steps += 1
        if episode.steps >= RECOVERED_STEPS and REFLEX not in outcome.reason:
            self._recoveries = 0
        episode.reward += outcome.reward
        driven = pending.source is Source.PERSON
        episode.interventions += driven
        episode.takeovers += driven and not episode.driven
        episode.driven = driven
        episode.late = episode.late + 1 if pending.timing.late else 0
        if episode.late >= max(1, round(self._config.late_limit / self._period)) and not outcome.done:
            outcome = Outcome.aborted(f"no policy answer in time for {episode.late} steps in a row")
            step = replace(step, outcome=outcome)
        if episode.writer is not None:
            episode.writer.append(step)
        self._operator.closed(reading.stamp_ns)
        return step, self._end(outcome) if outcome.done else None

    def _outcome(self, reading: Reading, due: Due | None, episode: _Episode, fault: str) -> Outcome:
        if due is not None:
            ended = self._config.marks and due.outcome.ending is Ending.TIMEOUT
            return replace(due.outcome, reward=self._operator.progress) if ended else due.outcome
        if fault:  # whatever the judge says: it shall not be done by hitting things
            return Outcome.failure(fault)
        outcome = Outcome.running(self._operator.progress) if self._config.marks else self._judge.judge(reading)
        last = episode.steps + 1 >= self._horizon
        if self._doubt.asks(outcome, reading.robot_time, last):
            self._operator.request = outcome.doubt
            self._notes.append(f"{outcome.doubt} You have {self._config.doubt_wait:g} s.")
        if outcome.done:
            return outcome
        return Outcome.timeout(outcome.reward) if last else Outcome.running(outcome.reward)

    def _attend(self, reading: Reading) -> None:
        """Wait no longer for the person who was asked, once they have answered, or their time is over."""
        if not self._doubt.asked:
            return
        if not self._operator.request:
            self._doubt.settle()
        elif self._doubt.unanswered(reading.robot_time):
            unanswered = self._config.doubt_unanswered
            why = f"nobody has said what it came to within {self._config.doubt_wait:g} s"
            self._notes.append(f"{why}: {unanswered}")
            self._drop_question()
            if unanswered != "go_on":
                outcome = Outcome.failure(why) if unanswered == "failure" else Outcome.aborted(why)
                self._operator.judged(Verdict(reading.stamp_ns, outcome), "the session")

    def _drop_question(self) -> None:
        """Ask the person no longer what the judge is in doubt about."""
        if self._doubt.asked:
            self._operator.request = ""
            self._doubt.settle()

    def _end(self, outcome: Outcome) -> EpisodeSummary:
        self.policy.forget()
        self._drop_question()
        episode = self._episode
        if episode is None:
            raise SessionError("no episode is running")
        if episode.writer is not None:
            episode.writer.finish(outcome)
        ending, reason = self._operator.ended(outcome)
        summary = EpisodeSummary(
            episode.index,
            ending,
            reason,
            episode.steps,
            episode.reward,
            episode.interventions,
            episode.steps * self._period,
            episode.writer.index if episode.writer is not None else episode.index,
            episode.takeovers,
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
