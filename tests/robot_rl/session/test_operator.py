"""The person's word in a session: labels before, during and after the end of an episode, pauses, requests."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from controllers.lease import Priority
from controllers.state import Mode
from hardware.interfaces import TeleopCommand
from robot_rl.contract import DISCARDED, Ending, Outcome, Reading, Source, Verdict, Word
from robot_rl.contract.errors import ContractError
from robot_rl.contract.ranges import RangeError
from robot_rl.session.config import SessionConfig
from robot_rl.session.directive import Phase
from robot_rl.session.judge import make_judge
from robot_rl.session.operator import BY_PERSON, ENDED, Span
from tests.robot_rl.session_bench import ALONG_X, SHORT, STILL, TASK, UP, Bench, constant

PERIOD = 100_000_000  # [ns] between readings
LABELS = [
    (Word.SUCCESS, Outcome.success()),
    (Word.FAILURE, Outcome.failure(BY_PERSON)),
    (Word.DISCARD, Outcome.aborted(DISCARDED)),
]


def steps_later(bench: Bench, count: int) -> Bench:
    """``bench`` with an episode in progress, ``count`` steps of it recorded and one in flight."""
    bench.until_running(STILL)
    for _ in range(count):
        bench.step(STILL)
    return bench


@pytest.mark.parametrize(
    ("word", "outcome"), [*LABELS[:2], (Word.END, Outcome.timeout(reason=ENDED))], ids=("success", "failure", "end")
)
def test_a_label_ends_the_episode_with_the_step_in_flight(word: Word, outcome: Outcome) -> None:
    bench = steps_later(Bench(), 2)
    label = bench.say(word)
    assert not bench.session.answers(), "the step is not closed yet"
    directive = bench.step(STILL)
    assert directive.step.outcome == outcome == bench.sink[0].outcome
    assert (directive.ended.ending, directive.ended.steps) == (outcome.ending, 3)
    answer = bench.answer()
    assert (answer.label, answer.accepted, answer.episode, answer.step) == (label, True, 0, 2)
    assert f"label 1 ({word.value}) by person: episode 0 ends with step 2 as {outcome.ending.value}" == str(answer)
    assert not bench.sink.relabels


def test_an_episode_that_is_discarded_ends_aborted_without_the_step_in_flight() -> None:
    bench = steps_later(Bench(), 2)
    bench.say(Word.DISCARD)
    ended = bench.step(STILL).ended
    assert (ended.ending, ended.reason, ended.steps) == (Ending.ABORTED, DISCARDED, 2)
    assert bench.sink[0].outcome == Outcome.aborted(DISCARDED)
    assert bench.answer().accepted
    (relabel,) = bench.sink.relabels
    assert (relabel.episode, relabel.step, relabel.outcome) == (0, 1, Outcome.aborted(DISCARDED)), "followers forget it"
    at_once = steps_later(Bench(), 0)
    at_once.say(Word.DISCARD)
    assert at_once.step(STILL).ended.steps == 0
    assert at_once.answer().accepted, "also an episode of which nothing was recorded"


@pytest.mark.parametrize(("word", "outcome"), LABELS, ids=("success", "failure", "discard"))
@pytest.mark.parametrize("wait", [1, 3, 30])
def test_a_label_after_the_end_corrects_the_last_step(word: Word, outcome: Outcome, wait: int) -> None:
    bench = Bench(SHORT if wait < 30 else SessionConfig(horizon=8, wait_for_person=True))
    bench.until_ended(STILL, person=lambda reading: TeleopCommand(UP))
    for _ in range(wait):
        bench.step(STILL)
    assert not bench.session.running
    label = bench.say(word)
    answer = bench.answer()
    assert (answer.accepted, answer.episode, answer.step) == (True, 0, 7)
    (relabel,) = bench.sink.relabels
    assert (relabel.episode, relabel.step, relabel.outcome) == (0, 7, outcome)
    assert (relabel.by, relabel.number) == (label.by, label.number)
    assert bench.session.relabels() == (relabel,)


def test_a_label_about_an_episode_corrects_that_one_while_another_goes_on() -> None:
    bench = Bench(SHORT)
    bench.until_ended(STILL)
    bench.say(Word.FAILURE)  # of episode 0, after its end
    assert bench.answer().accepted
    steps_later(bench, 2)  # of episode 1
    bench.say(Word.SUCCESS, about=0)
    answer = bench.answer()
    assert (answer.accepted, answer.episode, answer.step) == (True, 0, 7), "said later than the first, so it stands"
    assert [relabel.outcome for relabel in bench.sink.relabels] == [Outcome.failure(BY_PERSON), Outcome.success()]
    assert bench.session.running
    bench.say(Word.SUCCESS, about=7)
    answer = bench.answer()
    assert (answer.accepted, "episode 7 is none of" in answer.text) == (False, True)
    bench.say(Word.FAILURE, about=1)
    assert bench.step(STILL).ended.ending is Ending.FAILURE


def test_a_label_is_applied_to_the_step_during_which_it_was_said_however_late_it_arrives() -> None:
    bench = Bench()
    bench.until_ended(STILL)
    starts = [step.reading.stamp_ns for step in bench.sink[0].steps]
    bench.until_ended(STILL)
    bench.until_running(STILL)
    for step in (7, 5, 2):
        bench.say(Word.SUCCESS, starts[step] + PERIOD // 2)
        refused = "said later" if step < 7 else ""
        assert refused in bench.answer().text, "what was said last stands"
    assert [(relabel.episode, relabel.step) for relabel in bench.sink.relabels] == [(0, 7)]
    bench.say(Word.SUCCESS, bench.sink[1].steps[3].next_reading.stamp_ns)
    assert (bench.answer().episode, bench.sink.relabels[-1].step) == (1, 3), "the reading that closes it belongs to it"


def test_a_label_about_a_recorded_step_of_the_episode_in_progress_makes_that_the_last_one() -> None:
    bench = steps_later(Bench(), 5)
    bench.say(Word.SUCCESS, bench.sink[0].steps[2].reading.stamp_ns + 1)
    directive = bench.step(STILL)
    assert (directive.step, directive.ended.ending) == (None, Ending.SUCCESS)
    assert bench.sink[0].outcome.truncated, "what was recorded beyond it is no success"
    (relabel,) = bench.sink.relabels
    assert (relabel.step, relabel.outcome) == (2, Outcome.success())
    assert bench.answer().step == 2


def test_a_label_that_was_said_after_the_reading_waits_for_the_next_but_for_no_clock_that_is_ahead() -> None:
    bench = steps_later(Bench(), 1)
    bench.say(Word.SUCCESS, bench.reading.stamp_ns + PERIOD + 1)
    assert bench.step(STILL).ended is None
    assert bench.step(STILL).ended.steps == 3
    ahead = steps_later(Bench(), 1)
    ahead.say(Word.SUCCESS, ahead.reading.stamp_ns + 1000 * PERIOD)
    assert ahead.step(STILL).ended is None
    assert ahead.step(STILL).ended.ending is Ending.SUCCESS


def test_of_many_labels_none_is_lost_and_the_last_one_stands() -> None:
    bench = steps_later(Bench(), 1)
    said = [bench.say(Word.SUCCESS if i % 2 else Word.FAILURE, bench.reading.stamp_ns + 1 + i) for i in range(10)]
    ended = bench.step(STILL).ended
    assert ended.ending is Ending.SUCCESS
    answers = bench.session.answers()
    assert [answer.label for answer in answers] == said
    assert all((answer.accepted, answer.step) == (True, 1) for answer in answers)
    assert bench.sink.relabels[-1].outcome == Outcome.success()
    assert len(bench.sink.relabels) == 9, "the first one ended the episode"


def test_a_label_of_a_step_that_a_fault_drops_is_applied_to_the_last_recorded_one() -> None:
    bench = steps_later(Bench(), 2)
    bench.say(Word.SUCCESS)
    bench.arm.mode = Mode.IDLE
    ended = bench.step(STILL).ended
    assert (ended.ending, ended.steps) == (Ending.SUCCESS, 2)
    assert (bench.answer().step, bench.sink.relabels[0].step) == (1, 1)
    silent = steps_later(Bench(), 2)
    silent.say(Word.FAILURE)
    assert silent.session.abort("no state of the arm").ending is Ending.FAILURE
    assert silent.answer().accepted


def test_what_cannot_be_applied_is_refused_in_words() -> None:
    bench = Bench()
    for word in (Word.SUCCESS, Word.DISCARD, Word.END):
        bench.say(word)
        assert "there has been no episode yet" in bench.answer().text
    bench.until_ended(STILL)
    bench.say(Word.END)
    answer = bench.answer()
    assert not answer.accepted
    assert str(answer).endswith("refused: episode 0 had ended already, as timeout")
    bench.say(Word.SUCCESS, 1)
    assert "older than every episode" in bench.answer().text
    bench.say(Word.RESUME)
    assert (bench.answer().accepted, bench.sink.relabels) == (False, [])


def test_a_session_that_starts_anew_applies_labels_to_the_episodes_of_the_one_before() -> None:
    past = Span(0, 600, [100, 200, 300, 400, 500], Ending.ABORTED, "interrupted")
    done = Span(1, 900, [600, 700, 800], Ending.SUCCESS)
    bench = Bench(past=(past, done))
    for _ in range(2):
        bench.sink.begin({}).steps.extend([None] * 5)
        bench.sink[-1].outcome = Outcome.aborted("interrupted")
    bench.say(Word.FAILURE, 450)
    assert (bench.answer().episode, bench.sink.relabels[-1].step) == (0, 3)
    bench.say(Word.SUCCESS, 900)
    assert bench.answer().accepted
    assert len(bench.sink.relabels) == 1, "it is one already: the session before had applied it"


def test_while_paused_the_arm_is_held_and_no_step_is_recorded() -> None:
    bench = Bench()
    bench.until_running(ALONG_X)
    bench.step(ALONG_X)
    bench.say(Word.PAUSE)
    assert bench.answer().accepted
    for _ in range(20):
        directive = bench.step(ALONG_X)
        assert directive.phase is bench.session.phase is Phase.PAUSED
        assert (directive.observation, directive.step, directive.ended) == (None, None, None)
        assert directive.command.priority is Priority.RESET
        assert directive.command.gripper is None
    held = [command.target.translation.tolist() for command in bench.commands[-20:]]
    assert held == [held[0]] * 20
    assert len(bench.sink[0].steps) == 1
    bench.say(Word.PAUSE)
    bench.say(Word.RESUME)
    assert [answer.accepted for answer in bench.session.answers()] == [True, True]
    assert bench.step(ALONG_X).phase is Phase.RUNNING
    assert bench.until_ended(ALONG_X).ended.steps == 8
    steps = bench.sink[0].steps
    assert all(one.next_reading.stamp_ns == two.reading.stamp_ns for one, two in pairwise(steps))


def test_a_chunk_under_way_is_not_gone_on_with_after_a_pause() -> None:
    bench = Bench()
    bench.until_running(constant(*[(1.0, 0.0, 0.0)] * 5))
    bench.say(Word.PAUSE)
    bench.step()
    bench.say(Word.RESUME)
    asked = len(bench.asked)
    bench.step(STILL)
    assert bench.asked[asked:] == [True]


@pytest.mark.parametrize("word", [Word.SUCCESS, Word.DISCARD, Word.END])
def test_labels_count_during_a_pause_which_goes_on(word: Word) -> None:
    bench = steps_later(Bench(), 2)
    bench.say(Word.PAUSE)
    bench.step(STILL)
    bench.say(word)
    assert bench.step(STILL).ended is not None
    for _ in range(5):
        assert bench.step(STILL).phase is Phase.PAUSED
    bench.say(Word.RESUME)
    assert bench.step(STILL).phase is Phase.RESET


def test_a_fault_during_a_pause_is_not_recovered_before_the_person_resumes() -> None:
    bench = steps_later(Bench(), 1)
    bench.say(Word.PAUSE)
    bench.step(STILL)
    bench.arm.mode, bench.arm.fault = Mode.FAULT, "cartesian_reflex"
    assert bench.step(STILL).ended.ending is Ending.ABORTED, "whoever is held has not brought it about"
    for _ in range(5):
        directive = bench.step(STILL)
        assert not (directive.recover or directive.start or directive.command)
    bench.say(Word.RESUME)
    assert bench.step(STILL).recover


def test_a_reset_can_be_paused_and_goes_on_where_it_was() -> None:
    bench = Bench()
    bench.step(STILL)
    bench.say(Word.PAUSE)
    for _ in range(100):  # more than a stage of a reset may take
        assert bench.step(STILL).phase is Phase.PAUSED
    bench.say(Word.RESUME)
    bench.until_running(STILL)


def test_after_taking_over_the_person_drives_also_with_their_hands_off() -> None:
    bench = steps_later(Bench(), 1)
    bench.say(Word.TAKE_OVER)
    for person in (lambda reading: None, lambda reading: TeleopCommand(UP, engaged=False)):
        before = bench.arm.pose
        bench.step(ALONG_X, person)
        assert np.abs(bench.commands[-1].target.difference(before)).max() < 1e-9
        assert bench.commands[-1].priority is Priority.PERSON
    bench.step(ALONG_X, lambda reading: TeleopCommand(UP))
    bench.say(Word.RESUME)
    bench.step(ALONG_X)
    bench.step(ALONG_X)
    by = [step.source for step in bench.sink[0].steps]
    assert by == [Source.POLICY] * 2 + [Source.PERSON] * 3 + [Source.POLICY]


def test_taking_over_ends_a_pause_and_begins_an_episode_that_waits_for_the_person() -> None:
    bench = Bench(SessionConfig(ask_policy=False, wait_for_person=True, horizon=4))
    bench.until(lambda directive: directive.phase is Phase.READY)
    bench.say(Word.PAUSE)
    assert bench.step().phase is Phase.PAUSED
    bench.say(Word.TAKE_OVER)
    assert bench.step().phase is Phase.RUNNING
    assert bench.until_ended().ended.interventions == 4


def test_the_session_waits_for_what_it_has_asked_for() -> None:
    bench = Bench()
    bench.until(lambda directive: directive.place is not None)
    bench.session.ask("Please put the cube on the mark.")
    for _ in range(100):
        directive = bench.step(STILL)
        assert directive.phase is bench.session.phase is Phase.ASKING
        assert not directive.begin_episode
    assert bench.session.request == "Please put the cube on the mark."
    bench.say(Word.SUCCESS)
    assert not bench.answer().accepted
    assert bench.step(STILL).phase is Phase.ASKING, "only resuming says that it is done"
    bench.say(Word.RESUME)
    assert bench.answer().accepted
    assert bench.session.request == ""
    bench.until_running(STILL)


class Hindsight:
    """A judge that finds out about a step some readings later."""

    time_limit = True

    def __init__(self, verdicts: dict[int, tuple[int, Outcome]]) -> None:
        self._verdicts = verdicts  # at which reading: about the reading so many before, and what it was
        self._stamps: list[int] = []
        self.begun = 0

    def begin(self) -> None:
        self.begun += 1

    def judge(self, reading: Reading) -> Outcome:
        self._stamps.append(reading.stamp_ns)
        return Outcome.running(0.25)

    def later(self) -> Sequence[Verdict]:
        found = self._verdicts.pop(len(self._stamps), None)
        return () if found is None else (Verdict(self._stamps[-1 - found[0]], found[1]),)


def test_a_judge_may_correct_a_step_later() -> None:
    judge = Hindsight({5: (2, Outcome.running(0.75))})
    bench = Bench(judge=judge)
    bench.until_ended(STILL)
    assert judge.begun == 1
    assert [step.outcome.reward for step in bench.sink[0].steps] == [0.25] * 8
    (relabel,) = bench.sink.relabels
    assert (relabel.step, relabel.outcome, relabel.by, relabel.number) == (2, Outcome.running(0.75), "Hindsight", -1)


def test_a_judge_may_find_out_later_that_an_episode_was_over() -> None:
    bench = Bench(judge=Hindsight({5: (2, Outcome.success())}))
    ended = bench.until_ended(STILL).ended
    assert ended.ending is Ending.SUCCESS
    (relabel,) = bench.sink.relabels
    assert (relabel.step, relabel.outcome) == (2, Outcome.success())


def test_a_judge_that_is_late_changes_nothing_that_a_person_has_labelled() -> None:
    bench = Bench(judge=Hindsight({2: (0, Outcome.success())}))
    bench.until_running(STILL)
    bench.say(Word.FAILURE)
    assert bench.step(STILL).ended.ending is Ending.FAILURE
    bench.until_running(STILL)
    bench.step(STILL)
    assert [relabel.outcome for relabel in bench.sink.relabels if relabel.episode == 0] == []


def test_judges_are_found_by_name() -> None:
    assert type(make_judge("", TASK)).__name__ == "TaskJudge"
    assert type(make_judge("person", TASK)).__name__ == "PersonJudge"
    with pytest.raises(ContractError, match=r"unknown judge 'preson'.*did you mean 'person'"):
        make_judge("preson", TASK)


def test_where_a_person_marks_success_gives_steps_a_reward_and_ends_nothing() -> None:
    bench = steps_later(Bench(SessionConfig(marks=True)), 2)
    rewards = []
    for word in (Word.SUCCESS, None, Word.FAILURE, Word.SUCCESS):
        if word is not None:
            label = bench.say(word)
            answer = bench.answer()
            assert (answer.label, answer.accepted, answer.step) == (label, True, 2 + len(rewards)), "at once"
        directive = bench.step(STILL)
        assert directive.ended is None
        rewards.append(directive.step.outcome.reward)
    assert rewards == [1.0, 1.0, 0.0, 1.0]
    bench.say(Word.END)
    assert bench.step(STILL).ended.reward == 4.0
    assert bench.sink[0].meta["marks"] is True
    steps_later(bench, 1)
    assert bench.step(STILL).step.outcome.reward == 0.0, "the next episode begins without a mark"


def test_stages_are_marked_one_after_the_other_and_taken_back() -> None:
    bench = steps_later(Bench(SessionConfig(marks=True, stages=("lifted", "carried", "inserted"))), 1)
    said, rewards = [], []
    for words in ("F", "S", "SS", "", "F", "SF", "S", "S", "S"):
        for word in words:
            bench.say(Word.SUCCESS if word == "S" else Word.FAILURE)
            answer = bench.answer()
            said.append((answer.accepted, answer.text.split(" from ")[0]))
        rewards.append(bench.step(STILL).step.outcome.reward * 3)
    assert rewards == pytest.approx([0, 1, 2, 2, 1, 1, 2, 3, 3])
    assert said == [
        (False, "no stage is marked"),
        (True, "lifted (stage 1 of 3)"),
        (True, "carried (stage 2 of 3)"),
        (False, "carried was marked in this very step; say it again in a later one"),
        (True, "lifted (stage 1 of 3)"),
        (True, "carried (stage 2 of 3)"),
        (True, "lifted (stage 1 of 3)"),
        (True, "carried (stage 2 of 3)"),
        (True, "inserted (stage 3 of 3)"),
        (False, "inserted, the last stage, is marked already"),
    ]
    bench.say(Word.END)
    assert bench.step(STILL).step.outcome.reward == 1.0
    assert bench.sink[0].meta["stages"] == ["lifted", "carried", "inserted"]
    assert bench.step(STILL).ended is None


@pytest.mark.parametrize(("stages", "words"), [(("a",), "is one stage, which is success"), (("a", "a"), "of its own")])
def test_stages_need_names_of_their_own(stages: tuple[str, ...], words: str) -> None:
    with pytest.raises(RangeError, match=words):
        SessionConfig(stages=stages)
