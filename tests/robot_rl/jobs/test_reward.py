"""Episodes as a reward classifier learns from them, the commands, and their errors."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from demos.relabel import main as relabel_main
from robot_rl.contract import DISCARDED, Ending, Outcome, Step, View
from robot_rl.contract.settings import ConfigError
from robot_rl.data.schema import StoreSchema
from robot_rl.data.store import EpisodeStore, StoreReader
from robot_rl.jobs.cli import main
from robot_rl.jobs.config import load_config
from robot_rl.jobs.progress import lacking
from robot_rl.jobs.reward_data import recordings
from robot_rl.jobs.run import Run
from robot_rl.rewards.classifier import load
from robot_rl.rewards.judge import ClassifierJudge
from robot_rl.rewards.labels import FAILURE, LEFT_OUT, SUCCESS, LabelsError, Margin
from robot_rl.rewards.saved import Saved
from robot_rl.rewards.sheet import Tile, draw_sheet
from robot_rl.tasks import make_task
from tests.robot_rl.recording import steps
from tests.robot_rl.rewards.seeing import look

TASK = make_task("reach")
SIZE = 128
SCHEMA = StoreSchema.of(TASK, {"front": (SIZE, SIZE)}, TASK.control_period)
VIEWS = {"front": View(size=SIZE)}
MARGIN = Margin(0.15, 0.15)
STAGES = ("lifted", "inserted")


def episode(
    seed: int, marks: Sequence[float], ending: Outcome, copies: bool = False, shown: Sequence[float] | None = None
) -> list[Step]:
    """Steps of which ``marks`` says which a person has marked; pictures show it, or what ``shown`` says."""
    rng, found = np.random.default_rng(seed), list(steps(len(marks), seed, ending, SCHEMA))
    pictures = [
        np.kron(look(mark, rng).images["front"], np.ones((2, 2, 1), np.uint8)) for mark in [0, *(shown or marks)]
    ]
    for index, mark in enumerate(marks):
        before, after = ({"front": pictures[0 if copies else i]} for i in (index, index + 1))
        outcome = ending if index == len(marks) - 1 else Outcome.running(float(mark))
        if index == len(marks) - 1 and ending.truncated:
            outcome = replace(ending, reward=float(mark))
        reading, next_reading = (
            replace(found[index].reading, images=before),
            replace(found[index].next_reading, images=after),
        )
        found[index] = replace(found[index], reading=reading, next_reading=next_reading, outcome=outcome)
    return found


def record(store: Path, episodes: list[list[Step]], stages: tuple[str, ...] = (), marks: bool = True) -> None:
    meta = {"marks": True, **({"stages": list(stages)} if stages else {})} if marks else {}
    with EpisodeStore.create_or_open(store, SCHEMA) as open_store:
        for recorded in episodes:
            writer = open_store.begin({"seed": 0, **meta})
            for step in recorded:
                writer.append(step)
            writer.finish()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(load_config(None, ["task=reach", "cameras=front"]), tmp_path / "run")


def test_marks_are_the_rewards_that_a_person_gave(tmp_path: Path) -> None:
    marks = [0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0]
    record(tmp_path / "rewards", [episode(0, marks, Outcome.timeout()), episode(1, [0] * 5, Outcome.timeout())])
    succeeds, fails = recordings([tmp_path / "rewards"], "reach", VIEWS, MARGIN)
    expected = [FAILURE] * 4 + [LEFT_OUT] * 3 + [SUCCESS] * 2 + [LEFT_OUT] * 3 + [FAILURE]
    assert succeeds.labelled.labels.tolist() == expected
    assert succeeds.labelled.success and not fails.labelled.success
    assert (fails.labelled.labels == FAILURE).all()
    assert succeeds.labelled.name == f"{tmp_path.name}/rewards/000000"
    assert succeeds.version == 7


def test_stages_are_what_a_person_has_marked_of_each(tmp_path: Path) -> None:
    store = tmp_path / "rewards"
    marks = [0, 0, 0.5, 0.5, 0.5, 1, 1, 0.5, 0.5, 0.5]
    record(store, [episode(0, marks, Outcome.timeout()), episode(1, [0] * 5, Outcome.timeout())], stages=STAGES)
    lifts, fails = recordings([store], "reach", VIEWS, Margin(0.05, 0.05))
    first, second = lifts.stages
    assert lifts.names == STAGES and lifts.labelled is second
    assert first.labels.tolist() == [FAILURE] * 3 + [LEFT_OUT] + [SUCCESS] * 7
    assert second.labels.tolist() == [FAILURE] * 6 + [LEFT_OUT, LEFT_OUT] + [FAILURE] * 3
    assert lifts.frames().labels[4].tolist() == [SUCCESS, FAILURE]
    assert [one.success for one in (*lifts.stages, *fails.stages)] == [True, True, False, False]
    record(store, [episode(2, [0, 0, 1, 1], Outcome.timeout())], stages=STAGES)
    with pytest.raises(LabelsError, match=r"000002: stage inserted out of order, in step 2, before lifted.*0\.5$"):
        recordings([store], "reach", VIEWS, MARGIN)
    relabel = [str(store), "2", "1", "running", "--reward", "0.5"]
    assert relabel_main(relabel) == 0
    assert recordings([store], "reach", VIEWS, MARGIN)[2].stages[1].success
    record(tmp_path / "others", [episode(0, [0, 0, 1, 1], Outcome.timeout())])
    with pytest.raises(ConfigError, match=r"000000 marks lifted, inserted, and .*others/000000 marks success: name"):
        recordings([store, tmp_path / "others"], "reach", VIEWS, MARGIN)


def test_from_stages_to_their_judge(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """The commands on episodes in two stages, the pictures of which are told apart by where a square is."""
    half, whole = [0] * 4 + [0.5] * 6, [0] * 4 + [0.5] * 5 + [1] * 6
    kinds = [*[whole] * 4, *[half] * 4, *[[0] * 6] * 4]
    record(run.root / "rewards", [episode(seed, marks, Outcome.timeout()) for seed, marks in enumerate(kinds)], STAGES)
    of_run = ["--run", str(run.root)]
    quick = ["split.least=4", "training.copies=0", "training.steps=100", "training.rate=0.002", "margin.before=0.05"]
    assert main(["reward", "train", *of_run, *quick]) == 0
    assert "stages lifted, inserted" in capsys.readouterr().out
    assert main(["reward", "eval", *of_run, "wanted.rate=0.96", "margin.before=0.05"]) == 0
    said = capsys.readouterr().out
    assert "stage 1 of 2: lifted" in said and "stage 2 of 2: inserted" in said
    folder = run.root / "classifier"
    saved = Saved.read(folder)
    assert [stage.name for stage in saved.stages] == list(STAGES)
    assert all(stage.thresholds is not None and stage.promise for stage in saved.stages)
    rows = [json.loads(line) for line in (folder / "report.jsonl").read_text().splitlines()]
    wholes = [row for row in rows if row["kind"] == "report"]
    assert [(row["stage"], row["successes"], row["failures"]) for row in wholes] == [
        ("inserted", 1, 2),
        ("lifted", 2, 1),
    ]
    assert [row["recognised"] for row in wholes] == [1, 2], "separable pictures"
    classifier, judge = load(folder), ClassifierJudge(folder)
    judge.begin()
    held = []
    for reading in recordings([run.root / "rewards"], "reach", VIEWS, MARGIN)[0].frames().readings:
        outcome = judge.judge(replace(reading, signals=classifier.signals(reading)))
        held.append(judge.stage)
    assert held == sorted(held) and set(held) == {0, 1, 2}, "in their order"
    assert outcome == Outcome.success()
    assert main(["reward", "relabel", *of_run]) == 2
    assert "has stages, which are corrected step by step" in capsys.readouterr().err
    record(run.root / "others", [episode(30, [0] * 4, Outcome.timeout())])
    assert main(["reward", "eval", *of_run, "--stores", "others"]) == 2
    assert "tells lifted, inserted, and run/others/000000 marks success" in capsys.readouterr().err


def test_a_script_marks_the_stages_of_its_task_and_of_no_other(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    collect = ["reward", "collect", "--fast", "--run", str(run.root)]
    assert main([*collect, "session.stages=lifted,inserted"]) == 2
    assert "session.stages=lifted,inserted: the script of task=reach marks success alone" in capsys.readouterr().err
    assert main([*collect, "session.stages=lifted"]) == 2
    assert "session.stages=lifted is one stage, which is success" in capsys.readouterr().err


def test_elsewhere_the_last_reading_of_a_success_shows_it(tmp_path: Path) -> None:
    discarded = episode(2, [0] * 4, Outcome.aborted(DISCARDED))
    broken = episode(3, [0] * 4, Outcome.aborted("camera front lost"))
    ended = episode(0, [0] * 4, Outcome.success())
    record(tmp_path / "demos", [ended, discarded, broken], marks=False)
    (found,) = recordings([tmp_path / "demos"], "reach", VIEWS, MARGIN)
    assert found.labelled.labels.tolist() == [FAILURE] * 3 + [LEFT_OUT, SUCCESS]


def test_copies_of_a_picture_are_one_frame(tmp_path: Path) -> None:
    record(tmp_path / "rewards", [episode(0, [0] * 30, Outcome.timeout(), copies=True)])
    (found,) = recordings([tmp_path / "rewards"], "reach", VIEWS, MARGIN)
    assert len(found.frames().readings) == len(found.frames().labels) == 1


def test_stores_that_do_not_fit_are_refused_by_name(tmp_path: Path) -> None:
    store = tmp_path / "rewards"
    with pytest.raises(ConfigError, match=r"no episodes at .*robot-rl reward collect"):
        recordings([store], "reach", VIEWS, MARGIN)
    record(store, [episode(0, [0] * 3, Outcome.timeout())])
    with pytest.raises(ConfigError, match="are of the task 'reach', not of 'peg'"):
        recordings([store], "peg", VIEWS, MARGIN)
    with pytest.raises(ConfigError, match="no pictures of camera wrist; they have: front"):
        recordings([store], "reach", {"wrist": View()}, MARGIN)
    with pytest.raises(ConfigError, match=r"pictures of camera front at .* and the task's 64²"):
        recordings([store], "reach", {"front": View(size=64)}, MARGIN)


def test_a_person_is_told_what_is_lacking() -> None:
    assert "near miss" in lacking(3, 4, 10)
    assert "next, succeed" in lacking(1, 4, 10)
    assert "next, succeed" in lacking(4, 9, 10), "there are enough of the others"
    assert lacking(5, 10, 10) == ""


def test_from_marks_to_a_judge(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """The commands on episodes that were recorded by hand."""
    succeeds = [episode(seed, [0] * 5 + [1] * 8, Outcome.timeout()) for seed in range(4)]
    fails = [episode(seed, [0] * 6, Outcome.timeout()) for seed in range(10, 14)]
    record(run.root / "rewards", [*succeeds, *fails])
    quick = ["split.least=4", "training.copies=0", "training.steps=60", "training.rate=0.001", "margin.before=0.15"]
    train = ["reward", "train", "--run", str(run.root)]
    assert main([*train, *quick]) == 0
    folder = run.root / "classifier"
    judge = f"judge=classifier:{folder}"
    job = ["record", "--fast", "--run", str(run.root), judge]
    assert main(job) == 2
    assert "has no threshold yet" in capsys.readouterr().err
    evaluate = ["reward", "eval", "--run", str(run.root)]
    assert main([*evaluate, "guards.z=-10,-9"]) == 1, "one failure promises nothing"
    said = capsys.readouterr().out
    assert "no promise: 1 held-out failures" in said and "recognised: 0 of 1" in said
    assert "guards: z -10 to -9 m" in said
    assert "no drift alarm: 2 held-out episodes" in said and Saved.read(folder).drift is None
    assert main([*evaluate, "wanted.rate=0.96", "drift.rate=0.5"]) == 0
    assert "recognised: 1 of 1" in capsys.readouterr().out
    for picture in ("training.png", "report.png", "mistakes.png"):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")
    whole = json.loads((folder / "report.jsonl").read_text().splitlines()[0])
    assert (whole["successes"], whole["failures"], whole["recognised"]) == (1, 1, 1)
    saved = Saved.read(folder)
    assert saved.thresholds is not None and saved.versions == (7,)
    (frame,) = recordings([run.root / "rewards"], "reach", VIEWS, MARGIN)[0].frames().readings[:1]
    assert 0.0 < load(folder).signals(frame)[saved.drift_signal] < 1.0, "it was learnt from, or like what was"
    known = {*saved.learning, *saved.stopping}
    assert len(known) == 6 and all(name.startswith("run/rewards/") for name in known)
    assert main([*train, *quick]) == 0
    assert [path.name.startswith("classifier-until-") for path in run.root.glob("classifier-*")] == [True]


def test_a_person_corrects_what_the_classifier_doubts(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    marked = [0] * 5 + [1] * 8
    right = [episode(seed, marked, Outcome.timeout()) for seed in range(4)]
    right += [episode(seed, [0] * 6, Outcome.timeout()) for seed in range(10, 14)]
    record(run.root / "rewards", right)
    of_run = ["--run", str(run.root)]
    quick = ["split.least=4", "training.copies=0", "training.steps=60", "training.rate=0.001", "margin.before=0.15"]
    assert main(["reward", "train", *of_run, *quick]) == 0
    assert main(["reward", "eval", *of_run]) == 1
    forgotten = episode(20, [0] * 13, Outcome.timeout(), shown=marked)
    record(run.root / "rewards", [forgotten])
    record(run.root / "demos", [episode(21, [0] * 5, Outcome.success())], marks=False)
    capsys.readouterr()
    for store, answer, doubted in (("rewards", "s", "rewards/000008 is a failure"), ("demos", "f", "is a success")):
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{answer}\n"))
        assert main(["reward", "relabel", *of_run, "--stores", store]) == 0
        said = capsys.readouterr().out
        assert doubted in said and "1 of 1 corrected" in said
    labelled = [one.labelled for one in recordings([run.root / "rewards"], "reach", VIEWS, MARGIN)]
    assert [one.success for one in labelled] == [True] * 4 + [False] * 4 + [True]
    (demonstration,) = recordings([run.root / "demos"], "reach", VIEWS, MARGIN)
    assert not demonstration.labelled.success
    corrected = StoreReader(run.root / "rewards").load_episode(8, ("reward",))
    assert corrected.info.ending is Ending.TIMEOUT and corrected["reward"][-1] == 1.0


def test_each_success_of_a_classifier_is_shown_with_its_frame(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    look = ["reward", "audit", "--run", str(run.root)]
    assert main(look) == 0
    assert "no success by a classifier in online, evaluation" in capsys.readouterr().out
    judged = []
    for seed, ending in enumerate((Outcome.success(), Outcome.failure("fell"), Outcome.success(), Outcome.success())):
        signals = {"success-01234567": 0.9, "success-01234567-at": 1e9, "success-01234567-drift": 2.0}
        found = [
            replace(one, next_reading=replace(one.next_reading, signals=signals))
            for one in episode(seed, [0] * 4, ending)
        ]
        judged.append([replace(one, reading=replace(one.reading, signals=signals)) for one in found])
    by_person = episode(9, [0] * 4, Outcome.success())
    record(run.root / "online", judged, marks=False)
    record(run.root / "evaluation", [by_person], marks=False)
    assert relabel_main([str(run.root / "online"), "2", "3", "failure"]) == 0
    assert main(look) == 0
    assert "audit: 2 successes" in capsys.readouterr().out
    shown = [json.loads(line) for line in (run.root / "audit" / "audit.jsonl").read_text().splitlines()]
    expected = {"store": "online", "step": 3, "probability": 0.9}
    assert shown == [{**expected, "episode": 0}, {**expected, "episode": 3}]
    assert [path.name for path in (run.root / "audit").glob("*.png")] == ["audit-001.png"]


def test_errors_are_one_line_and_exit_status_2(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    train = ["reward", "train", "--run", str(run.root)]

    def fails(arguments: list[str], words: str) -> None:
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1, error

    fails(train, "robot-rl reward collect --task reach")
    record(run.root / "rewards", [episode(seed, [0] * 4, Outcome.timeout()) for seed in range(5)])
    fails(train, "0 episodes with success and 5 without make no classifier")
    fails([*train, "wanted.rat=0.1"], "did you mean wanted.rate?")
    fails([*train, "state=taste"], "choose wrench, pose")
    fails([*train, "filter.recheck=1"], "filter.recheck=1")
    fails([*train, "cameras=wrist"], "no pictures of camera wrist")
    fails(["reward", "eval", "--run", str(run.root)], "no reward classifier at")
    fails(["reward", "eval", "--run", str(run.root / "none")], "is not a run")
    fails(["reward", "collect", "--fast", "--task", "reach"], "a reward classifier sees cameras")


def test_a_sheet_has_a_tile_for_each_mistake() -> None:
    tile = Tile(("false success, p = 0.9", "run/rewards/000001"), [np.zeros((64, 64, 3), np.uint8)] * 2)
    assert draw_sheet([tile] * 5).startswith(b"\x89PNG")
    assert draw_sheet([]).startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_script_collects_what_is_learnt_and_judges_by_it(run: Run) -> None:
    """On the simulated arm, in process: marks, near misses, a classifier, and an episode that it ends."""
    root = str(run.root)
    assert main(["reward", "collect", "--fast", "--run", root, "--task", "peg_insertion", "episodes=6"]) == 0
    found = StoreReader(run.root / "rewards", images=False).episodes()
    assert [info.total_reward > 0.0 for info in found] == [True, False] * 3
    assert main(["reward", "train", "--run", root, "split.least=3", "training.steps=100", "training.copies=0"]) == 0
    assert main(["reward", "eval", "--run", root]) == 1
    judge = f"judge=classifier:{run.root / 'classifier'}"
    assert main(["record", "--fast", "--run", root, judge, "demos=1"]) == 0
    episode = StoreReader(run.demos, images=False).load_episode(0)
    assert any(name.startswith("signals/success-") for name in episode.columns)
