"""Judges by a classifier's signals, and several judges together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from robot_rl.contract import ContractError, Ending, Outcome, Reading
from robot_rl.rewards.filtering import FilterSettings, Thresholds
from robot_rl.rewards.judge import ClassifierJudge
from robot_rl.rewards.saved import ClassifierError, Stage
from robot_rl.session.judge import (
    JUDGES,
    Several,
    Stages,
    check_judge,
    classifiers_in,
    make_judge,
    with_absolute_paths,
)
from robot_rl.tasks.reach import Reach
from tests.robot_rl.readings import FAR, PerfectArm
from tests.robot_rl.rewards.seeing import SAVED

TASK = Reach()
JUDGED = replace(
    SAVED,
    filter=FilterSettings(needed=2, window=3),
    thresholds=Thresholds(0.5, 0.5),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    JUDGED.write(tmp_path)
    return tmp_path


def say(arm: PerfectArm, probability: float, at: float | None = None) -> Reading:
    found = arm.reading()
    signals = {JUDGED.signal: probability, JUDGED.stamp_signal: found.stamp_ns * 1e-9 if at is None else at}
    return replace(found, signals=signals)


def test_success_takes_as_many_frames_as_the_filter_says(folder: Path) -> None:
    judge, arm = make_judge(f"classifier:{folder}", TASK), PerfectArm(FAR)
    judge.begin()
    found = [judge.judge(say(arm, probability)).ending for probability in (0.9, 0.2, 0.2, 0.9, 0.9)]
    assert found == [Ending.RUNNING] * 4 + [Ending.SUCCESS]
    judge.begin()
    assert judge.judge(say(arm, 0.9)).ending is Ending.RUNNING, "an episode begins anew"


def test_between_its_thresholds_it_is_in_doubt(tmp_path: Path) -> None:
    replace(JUDGED, thresholds=Thresholds(0.9, 0.5)).write(tmp_path)
    judge, arm = make_judge(f"classifier:{tmp_path}", TASK), PerfectArm(FAR)
    judge.begin()
    found = [judge.judge(say(arm, probability)) for probability in (0.7, 0.7, 0.95, 0.95)]
    assert [bool(outcome.doubt) for outcome in found] == [False, True, True, False]
    assert "score is 0.70, and success is above 0.90" in found[1].doubt
    assert found[3] == Outcome.success()


def test_a_copy_of_a_picture_is_no_evidence(folder: Path) -> None:
    judge, arm = make_judge(f"classifier:{folder}", TASK), PerfectArm(FAR)
    judge.begin()
    assert {judge.judge(say(arm, 0.9, at=1.0)).ending for _ in range(9)} == {Ending.RUNNING}


def test_silence_is_an_abort_and_never_a_zero(folder: Path) -> None:
    judge = make_judge(f"classifier:{folder}", TASK)
    judge.begin()
    silent = judge.judge(PerfectArm(FAR).reading())
    assert silent.ending is Ending.ABORTED and JUDGED.signal in silent.reason
    assert judge.judge(say(PerfectArm(FAR), 1.5)).ending is Ending.ABORTED


def test_a_classifier_without_a_threshold_judges_nothing(folder: Path) -> None:
    replace(JUDGED, thresholds=None).write(folder)
    with pytest.raises(ClassifierError, match="no threshold yet"):
        make_judge(f"classifier:{folder}", TASK)
    with pytest.raises(ClassifierError, match="no reward classifier at"):
        make_judge(f"classifier:{folder}/none", TASK)


def test_stages_are_held_by_k_of_n_frames_and_none_is_skipped(tmp_path: Path) -> None:
    earlier = (Stage("lifted", 1.0, 0.0, Thresholds(0.5, 0.5)), Stage("carried", 1.0, 0.0, Thresholds(0.6, 0.6)))
    saved = replace(JUDGED, earlier=earlier, called="inserted", thresholds=Thresholds(0.8, 0.6))
    saved.write(tmp_path)
    judge, arm = make_judge(f"classifier:{tmp_path}", TASK), PerfectArm(FAR)
    assert isinstance(judge, ClassifierJudge)
    judge.begin()
    frames = [
        ((0.9, 0.2, 0.2), 0),  # one of three frames is none
        ((0.9, 0.2, 0.2), 1),
        ((0.4, 0.95, 0.95), 1),  # the first is held by two of three; the second has one frame
        ((0.2, 0.95, 0.95), 0),  # two of three, but the first is not held any more
        ((0.9, 0.7, 0.7), 0),
        ((0.9, 0.7, 0.7), 2),
    ]
    for probabilities, held in frames:
        found = arm.reading()
        signals = {**dict(zip(saved.signals, probabilities, strict=True)), saved.stamp_signal: found.stamp_ns * 1e-9}
        outcome = judge.judge(replace(found, signals=signals))
        assert (judge.stage, judge.progress) == (held, held / 3), probabilities
        assert bool(outcome.doubt) == (held == 2) and not outcome.done, "doubt is of success alone"
    for _ in range(2):
        found = arm.reading()
        signals |= {saved.signal: 0.9, saved.stamp_signal: found.stamp_ns * 1e-9}
        outcome = judge.judge(replace(found, signals=signals))
    assert outcome == Outcome.success() and judge.progress == 1.0
    silent = {name: value for name, value in signals.items() if name != "stage-2-01234567"}
    aborted = judge.judge(replace(arm.reading(), signals=silent))
    assert aborted.ending is Ending.ABORTED and "no signal stage-2-01234567" in aborted.reason


class Fixed:
    """Says the same of all readings."""

    time_limit = False

    def __init__(self, outcome: Outcome) -> None:
        self.outcome, self.begun = outcome, 0

    def begin(self) -> None:
        self.begun += 1

    def judge(self, reading: Reading) -> Outcome:
        return self.outcome

    def later(self) -> tuple:
        return ()


@pytest.mark.parametrize(
    ("outcomes", "all_say", "one_says"),
    [
        ((Outcome.success(), Outcome.success()), Ending.SUCCESS, Ending.SUCCESS),
        ((Outcome.success(), Outcome.running()), Ending.RUNNING, Ending.SUCCESS),
        ((Outcome.running(), Outcome.running()), Ending.RUNNING, Ending.RUNNING),
        ((Outcome.success(), Outcome.failure("fell")), Ending.FAILURE, Ending.FAILURE),
        ((Outcome.success(), Outcome.aborted("silent")), Ending.ABORTED, Ending.ABORTED),
    ],
)
def test_several_judges_agree_or_one_is_enough(
    outcomes: tuple[Outcome, ...], all_say: Ending, one_says: Ending
) -> None:
    reading = PerfectArm(FAR).reading()
    for enough, expected in ((False, all_say), (True, one_says)):
        parts = [Fixed(outcome) for outcome in outcomes]
        judge = Several(parts, enough)
        judge.begin()
        assert judge.judge(reading).ending is expected
        assert [part.begun for part in parts] == [1, 1]


def test_stages_are_reached_in_their_order_and_once() -> None:
    first, second, third = (Fixed(Outcome.running()) for _ in range(3))
    judge, reading = Stages([first, second, third]), PerfectArm(FAR).reading()
    judge.begin()

    def said(*outcomes: Outcome) -> tuple[Ending, float]:
        for one, outcome in zip((first, second, third), outcomes, strict=True):
            one.outcome = outcome
        found = judge.judge(reading)
        return found.ending, found.reward

    no, yes = Outcome.running(), Outcome.success()
    third_of = pytest.approx(1 / 3)
    assert said(no, yes, yes) == (Ending.RUNNING, 0.0), "nothing counts before the first stage"
    assert said(yes, no, no) == (Ending.RUNNING, third_of) and judge.progress == third_of
    assert said(yes, no, yes) == (Ending.RUNNING, 0.0), "no reward for lingering there"
    assert said(no, yes, no) == (Ending.RUNNING, third_of), "one that was reached stays so"
    assert said(no, no, Outcome.doubtful("well?")) == (Ending.RUNNING, 0.0)
    assert judge.judge(reading).doubt == "well?"
    assert said(no, no, yes) == (Ending.SUCCESS, third_of)
    judge.begin()
    assert judge.progress == 0.0 and first.begun == 2
    assert said(Outcome.doubtful("well?"), no, no) == (Ending.RUNNING, 0.0) and not judge.judge(reading).doubt
    assert said(Outcome.aborted("silent"), no, no) == (Ending.ABORTED, 0.0)


def test_names_of_judges_are_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    nested = "any_of( person,all_of(task, classifier:a/b))"
    assert classifiers_in(nested) == (Path("a/b"),)
    assert with_absolute_paths(nested) == "any_of(person,all_of(task,classifier:/a/b))"
    check_judge(nested)
    judge = make_judge(f"all_of(task,any_of(person,classifier:{folder}))", TASK)
    assert judge.time_limit
    assert isinstance(make_judge(f"stages(classifier:{folder},task)", TASK), Stages)
    assert classifiers_in("task") == ()
    assert all(with_absolute_paths(name) == name for name in JUDGES.builtin)


@pytest.mark.parametrize("name", ["all_of()", "all_of(task", "all_of(task))", "any_of(task,)", "classifier:", "tsak"])
def test_what_cannot_be_read_is_refused(name: str) -> None:
    with pytest.raises(ContractError, match=r"cannot be read|names no folder|did you mean"):
        check_judge(name)
