"""A judge in doubt: the person is asked, waited for, and heard, be it late."""

from __future__ import annotations

from dataclasses import replace

import pytest

from robot_rl.contract import Ending, Outcome, Reading, Word
from robot_rl.session.config import SessionConfig, Unanswered
from robot_rl.session.directive import Directive, Phase
from robot_rl.session.judge import Several
from tests.robot_rl.session_bench import STILL, Bench

ASKS = SessionConfig(horizon=20, doubt_wait=3.0, doubt_after=0.3)
QUESTION = "Is it done?"


class Doubter:
    """In doubt at the numbers of steps in ``doubts``, counted over all that it judges."""

    time_limit = True

    def __init__(self, doubts: range = range(3, 100)) -> None:
        self.doubts, self.judged = doubts, 0

    def begin(self) -> None: ...

    def judge(self, reading: Reading) -> Outcome:
        self.judged += 1
        return Outcome.doubtful(QUESTION) if self.judged - 1 in self.doubts else Outcome.running()

    def later(self) -> tuple[()]:
        return ()


def until_asked(bench: Bench) -> Directive:
    return bench.until(lambda directive: directive.phase is Phase.ASKING, STILL)


def test_a_doubt_that_lasts_holds_the_arm_and_asks() -> None:
    bench = Bench(ASKS, judge=Doubter())
    until_asked(bench)
    assert (bench.session.request, len(bench.sink[0].steps)) == (QUESTION, 6), "0.3 s after the first doubt, of step 3"
    assert bench.session.notes() == (f"{QUESTION} You have 3 s.",) and bench.session.notes() == ()
    held = [bench.step(STILL) for _ in range(20)]
    assert {(one.phase, one.observation, one.step) for one in held} == {(Phase.ASKING, None, None)}
    assert len(bench.sink[0].steps) == 6


@pytest.mark.parametrize(("word", "ending"), [(Word.SUCCESS, Ending.SUCCESS), (Word.FAILURE, Ending.FAILURE)])
def test_the_persons_word_is_about_the_step_in_doubt(word: Word, ending: Ending) -> None:
    bench = Bench(ASKS, judge=Doubter())
    until_asked(bench)
    bench.step(STILL)
    bench.say(word)
    directive = bench.step(STILL)
    assert directive.ended is not None and (directive.ended.ending, directive.ended.steps) == (ending, 7)
    assert bench.sink[0].outcome == bench.sink[0].steps[6].outcome and not bench.sink.relabels
    assert bench.answer().accepted and bench.session.request == ""
    assert bench.step(STILL).phase is Phase.RESET


def test_who_resumes_is_not_asked_again_before_the_judge_was_sure() -> None:
    judge = Doubter(range(3, 12))
    bench = Bench(replace(ASKS, horizon=100), judge=judge)
    until_asked(bench)
    bench.say(Word.RESUME)
    for _ in range(8):
        assert bench.step(STILL).phase is Phase.RUNNING
    assert [step.outcome for step in bench.sink[0].steps] == [Outcome.running()] * len(bench.sink[0].steps)
    judge.doubts = range(20, 100)
    until_asked(bench)


@pytest.mark.parametrize(
    ("unanswered", "ending"),
    [("go_on", Ending.RUNNING), ("failure", Ending.FAILURE), ("abort", Ending.ABORTED)],
)
def test_nobody_answers(unanswered: Unanswered, ending: Ending) -> None:
    bench = Bench(replace(ASKS, doubt_unanswered=unanswered), judge=Doubter())
    until_asked(bench)
    asked = bench.reading.robot_time
    bench.session.notes()
    directive = bench.until(lambda one: one.phase is not Phase.ASKING, STILL)
    assert bench.reading.robot_time - asked == pytest.approx(3.0)
    assert bench.session.notes() == (f"nobody has said what it came to within 3 s: {unanswered}",)
    assert bench.session.request == ""
    if ending is Ending.RUNNING:
        assert directive.step is not None and directive.step.outcome == Outcome.running()
        return
    assert directive.ended is not None and directive.ended.ending is ending
    assert len(bench.sink[0].steps) == (7 if ending is Ending.FAILURE else 6)
    bench.say(Word.SUCCESS)
    assert bench.answer().accepted, "a label that comes late corrects the last step"
    (relabel,) = bench.sink.relabels
    assert relabel.outcome == Outcome.success()


def test_at_the_time_limit_it_is_asked_at_once() -> None:
    bench = Bench(replace(ASKS, horizon=5), judge=Doubter(range(4, 100)))
    until_asked(bench)
    assert len(bench.sink[0].steps) == 4
    bench.say(Word.RESUME)
    ended = bench.until_ended(STILL).ended
    assert ended is not None and ended.ending is Ending.TIMEOUT


def test_a_fault_ends_an_episode_that_is_asked_about_and_the_question() -> None:
    bench = Bench(ASKS, judge=Doubter())
    until_asked(bench)
    bench.arm.fault = "camera front lost"
    ended = bench.step(STILL).ended
    assert ended is not None and ended.ending is Ending.ABORTED and bench.session.request == ""


def test_without_a_wait_nobody_is_asked() -> None:
    bench = Bench(SessionConfig(horizon=8), judge=Doubter())
    ended = bench.until_ended(STILL).ended
    assert ended is not None and ended.ending is Ending.TIMEOUT and bench.session.notes() == ()
    assert not any(step.outcome.reason for step in bench.sink[0].steps)


@pytest.mark.parametrize(
    ("other", "all_ask", "any_asks"),
    [(Outcome.success(), True, False), (Outcome.running(), False, True), (Outcome.doubtful("and that?"), True, True)],
)
def test_of_several_judges_a_doubt_counts_where_success_hangs_on_it(
    other: Outcome, all_ask: bool, any_asks: bool
) -> None:
    class Other(Doubter):
        def judge(self, reading: Reading) -> Outcome:
            return other

    reading = Bench().reading
    for enough, asks in ((False, all_ask), (True, any_asks)):
        outcome = Several([Doubter(range(9)), Other()], enough).judge(reading)
        assert bool(outcome.doubt) is asks
