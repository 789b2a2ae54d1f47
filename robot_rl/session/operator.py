"""The person's word in a session: each label is applied to the step it belongs to, and answered.

A label belongs to the step during which it was said: the one whose observation is the last before the label's stamp.
A label after an episode's end belongs to its last step, and one about a step that is recorded already becomes a
`Relabel`. Labels about the episode in progress wait until the step in flight is closed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from hardware.interfaces import TeleopCommand, Word
from robot_rl.contract import DISCARDED, Answer, Ending, Label, Outcome, Relabel, Verdict
from robot_rl.session.directive import EpisodeSink, Phase

KEPT = 100  # episodes that may still be relabelled
BY_PERSON = "labelled by the person"
ENDED = "ended by the person"
OUTCOMES = {
    Word.SUCCESS: Outcome.success(),
    Word.FAILURE: Outcome.failure(BY_PERSON),
    Word.DISCARD: Outcome.aborted(DISCARDED),
    Word.END: Outcome.timeout(reason=ENDED),
}
MARKS = {Word.SUCCESS: 1, Word.FAILURE: -1}  # words that mark steps where they end nothing → stages on or back


@dataclass(eq=False)
class Span:
    """Times of the steps of an episode, and its ending.

    Attributes:
        episode: its number in the store.
        current: stamp [ns] of the newest observation: the step in flight began there.
        starts: stamps [ns] of the observations that the recorded steps began with.
        ending, reason: of the episode.
        labelled: stamp [ns] of the newest label that was applied to it; −1: none.
    """

    episode: int
    current: int
    starts: list[int] = field(default_factory=list)
    ending: Ending = Ending.RUNNING
    reason: str = ""
    labelled: int = -1

    @property
    def began(self) -> int:
        return self.starts[0] if self.starts else self.current

    @property
    def running(self) -> bool:
        return self.ending is Ending.RUNNING

    def step_at(self, stamp_ns: int) -> int:
        """The step during which ``stamp_ns`` was; that in flight, or the last one, for all that is later."""
        starts = [*self.starts, self.current] if self.running else self.starts
        return bisect_left(starts, stamp_ns) - 1


class Due(NamedTuple):
    """Ending of the episode in progress that is due now: with the step in flight, or without it."""

    outcome: Outcome
    in_flight: bool


@dataclass(eq=False)
class _Waiting:
    """A correction of the episode in progress, ``by`` a person with a label, or a judge without one."""

    stamp_ns: int
    outcome: Outcome
    by: str
    label: Label | None = None
    passed: bool = False  # over at one closing of a step, because it was said after it


class Operator:
    """The person's words, and what follows from them.

    Args:
        sink: where episodes go; None when none are recorded.
        past: the latest episodes of an earlier session on the same sink, oldest first.
        marks: names of the stages that the person marks, in their order; see `SessionConfig.marked`.

    Attributes:
        reached: number of stages that the person says are reached now; 0 where they mark none.
        paused: the arm is held until the person resumes.
        driving: the person drives, also with their hands off the device.
        request: what the person is asked to do; the arm is held until they have, and resume. "" when nothing.
    """

    def __init__(self, sink: EpisodeSink | None, past: Iterable[Span] = (), marks: Sequence[str] = ()) -> None:
        self._sink = sink
        self._marks = marks
        self.reached = 0
        self._reached_at = -1  # step in flight as the last stage was marked; −1: none was, or it was taken back
        self._spans = deque(past, KEPT)
        self._waiting: list[_Waiting] = []
        self._answers: list[Answer] = []
        self._relabels: list[Relabel] = []
        self.paused = False
        self.driving = False
        self.request = ""

    @property
    def progress(self) -> float:
        """Share of the stages that the person says are reached now, 0 to 1."""
        return self.reached / len(self._marks) if self._marks else 0.0

    @property
    def holding(self) -> Phase | None:
        """The phase in which the arm is held for the person's sake, or None."""
        if self.request:
            return Phase.ASKING
        return Phase.PAUSED if self.paused else None

    @property
    def unanswered(self) -> bool:
        """Whether labels wait for the step in flight to be closed."""
        return any(said.label is not None for said in self._waiting)

    def answers(self) -> tuple[Answer, ...]:
        """Answers since the last call, in the order of the labels."""
        answers, self._answers = tuple(self._answers), []
        return answers

    def relabels(self) -> tuple[Relabel, ...]:
        """Corrections of recorded steps since the last call, oldest first."""
        relabels, self._relabels = tuple(self._relabels), []
        return relabels

    def drives(self, teleop: TeleopCommand | None) -> TeleopCommand | None:
        """``teleop``, engaged at rest when the person has taken over and does not touch the device."""
        if not self.driving or (teleop is not None and teleop.engaged):
            return teleop
        rest = teleop or TeleopCommand(np.zeros(6))
        return replace(rest, twist=np.zeros(6), gripper=None, engaged=True)

    def say(self, label: Label) -> None:
        """Take in a label. It is answered at once, or when the step that it is about has been closed."""
        match label.word:
            case Word.STOP:
                self._answer(label, "the arm is stopped")
            case Word.PAUSE:
                self._answer(label, "paused already" if self.paused else "paused; the arm is held until you resume")
                self.paused = True
            case Word.TAKE_OVER:
                self._answer(label, "you drive until you resume")
                self.driving, self.paused = True, False
            case Word.RESUME:
                self._resume(label)
            case _:
                self._label(label)

    def begin(self, episode: int, stamp_ns: int) -> None:
        """An episode begins with the observation at ``stamp_ns``."""
        self.reached, self._reached_at = 0, -1
        self._spans.append(Span(episode, stamp_ns))

    def closed(self, stamp_ns: int) -> None:
        """The step in flight has been recorded, closed by the reading at ``stamp_ns``."""
        span = self._spans[-1]
        span.starts.append(span.current)
        span.current = stamp_ns

    def ended(self, outcome: Outcome) -> tuple[Ending, str]:
        """The episode in progress has ended; what still waits is applied to what was recorded of it.

        Returns the ending that it has then, and the reason.
        """
        span = self._spans[-1]
        span.ending, span.reason = outcome.ending, outcome.reason
        waiting, self._waiting = self._waiting, []
        for said in waiting:
            self._correct(said)
        return span.ending, span.reason

    def due(self, stamp_ns: int) -> Due | None:
        """How the episode in progress ends with the reading at ``stamp_ns``, by what has been said; None: it goes on.

        It ends without the step in flight when it is thrown away, or an earlier step was its last.
        """
        for said in self._waiting:
            if said.stamp_ns > stamp_ns and not said.passed:
                said.passed = True  # about the next step; a clock that is ahead makes nobody wait longer
                continue
            if said.outcome.ending is Ending.ABORTED:
                return Due(said.outcome, False)
            span = self._spans[-1]
            if span.step_at(said.stamp_ns) == len(span.starts):
                return Due(said.outcome, True)
            return Due(Outcome.timeout(reason=f"an earlier step was the last one, says {said.by}"), False)
        return None

    def judged(self, verdict: Verdict, by: str) -> None:
        """Take in a judge's verdict about an earlier step. Where a person has labelled the episode, that stands."""
        span = self._find(verdict.stamp_ns)
        if span is None or span.labelled >= 0:
            return
        step = span.step_at(verdict.stamp_ns)
        if span.running and verdict.outcome.done:
            self._waiting.append(_Waiting(verdict.stamp_ns, verdict.outcome, by))
        elif step < len(span.starts):
            self._relabel(span, Relabel(span.episode, step, verdict.outcome, by))

    def _resume(self, label: Label) -> None:
        if self.request:
            self.request = ""
            self._answer(label, "what you were asked for is done; the session goes on")
        elif self.paused:
            self.paused = False
            self._answer(label, "the session goes on")
        elif self.driving:
            self.driving = False
            self._answer(label, "you no longer drive while you do not touch the device")
        else:
            self._answer(label, "nothing waits for you", accepted=False)

    def _label(self, label: Label) -> None:
        said = _Waiting(label.stamp_ns, OUTCOMES[label.word], label.by, label)
        span = self._about(label)
        if span is not None and span.running and self._marks and label.word in MARKS:
            self._mark(label, span)
        elif span is not None and span.running:
            self._waiting.append(said)
        else:
            self._correct(said)

    def _mark(self, label: Label, span: Span) -> None:
        """Mark the next stage as reached from the step in flight on, or take the last one back."""
        step, names = len(span.starts), self._marks
        wanted = self.reached + MARKS[label.word]
        if len(names) > 1 and (refusal := self._out_of_order(wanted, step)):
            self._answer(label, refusal, accepted=False)
            return
        self.reached = min(max(wanted, 0), len(names))
        self._reached_at = step if label.word is Word.SUCCESS else -1
        now = names[self.reached - 1] if self.reached else f"no {names[0]}"
        number = f" (stage {self.reached} of {len(names)})" if self.reached and len(names) > 1 else ""
        text = f"{now}{number} from step {step} of it on; end ends it"
        self._answers.append(Answer(label, True, text, span.episode, step))

    def _out_of_order(self, wanted: int, step: int) -> str:
        """Why stage number ``wanted`` cannot be marked in ``step``, in words; "" when it can."""
        if wanted < 0:
            return "no stage is marked"
        if wanted > len(self._marks):
            return f"{self._marks[-1]}, the last stage, is marked already"
        if wanted > self.reached and self._reached_at == step:
            return f"{self._marks[self.reached - 1]} was marked in this very step; say it again in a later one"
        return ""

    def _find(self, stamp_ns: int) -> Span | None:
        """The episode during or after which ``stamp_ns`` was."""
        return next((span for span in reversed(self._spans) if span.began < stamp_ns), None)

    def _about(self, label: Label) -> Span | None:
        """The episode that a label is about."""
        if label.episode < 0:
            return self._find(label.stamp_ns)
        return next((span for span in self._spans if span.episode == label.episode), None)

    def _correct(self, said: _Waiting) -> None:
        """Apply what was said to an episode that has ended."""
        label = said.label
        if label is None:
            if _same(self._spans[-1], said.outcome):  # the episode has ended by it
                return
            self.judged(Verdict(said.stamp_ns, said.outcome), said.by)
            return
        span = self._about(label)
        refusal = self._refusal(label, span)
        if refusal or span is None:
            self._answer(label, refusal, accepted=False)
            return
        step = span.step_at(label.stamp_ns)
        outcome = said.outcome
        followers = label.word is Word.DISCARD and bool(span.starts)  # have taken its steps, and are to forget them
        if step < len(span.starts) - 1 or not _same(span, outcome) or followers:
            self._relabel(span, Relabel(span.episode, step, outcome, label.by, label.number))
        span.labelled = label.stamp_ns
        where = f"episode {span.episode} ends with step {step} as {outcome.ending.value}"
        text = where if self._sink is not None else f"{where}, which is not recorded"
        self._answers.append(Answer(label, True, text, span.episode, step))

    def _refusal(self, label: Label, span: Span | None) -> str:
        """Why ``label`` cannot be applied to the ended episode ``span``, in words; "" when it can."""
        if span is None and label.episode >= 0:
            return f"episode {label.episode} is none of the last {KEPT} that are remembered"
        if span is None:
            older = "it is older than every episode that is remembered"
            return older if self._spans else "there has been no episode yet"
        if not span.starts and not _same(span, OUTCOMES[label.word]):
            return f"no step of episode {span.episode} was recorded ({span.reason or span.ending.value})"
        if label.stamp_ns < span.labelled:
            return f"a label that was said later has been applied to episode {span.episode}"
        if label.word is Word.END and not _same(span, OUTCOMES[Word.END]):
            return f"episode {span.episode} had ended already, as {span.ending.value}"
        return ""

    def _relabel(self, span: Span, relabel: Relabel) -> None:
        if self._sink is not None:
            self._sink.relabel(relabel)
        self._relabels.append(relabel)
        if relabel.outcome.done:
            span.ending, span.reason = relabel.outcome.ending, relabel.outcome.reason
            del span.starts[relabel.step + 1 :]

    def _answer(self, label: Label, text: str, accepted: bool = True) -> None:
        self._answers.append(Answer(label, accepted, text))


def _same(span: Span, outcome: Outcome) -> bool:
    """Whether the episode ended as ``outcome`` says; the reason matters where it is a person's."""
    persons = (DISCARDED, ENDED)
    return span.ending is outcome.ending and (outcome.reason not in persons or span.reason == outcome.reason)
