"""From a person's answers to the reward of steps: the commands, their errors, and what the record says."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from robot_rl.contract import PREFERENCE, Outcome
from robot_rl.contract.settings import ConfigError
from robot_rl.data.columns import columns_to_readings
from robot_rl.data.schema import StoreSchema
from robot_rl.data.store import EpisodeStore, StoreReader
from robot_rl.jobs.bringup import prepare
from robot_rl.jobs.cli import main
from robot_rl.jobs.config import load_config
from robot_rl.jobs.learning import make_learner
from robot_rl.jobs.progress import judging_of, preference_of
from robot_rl.jobs.run import Run
from robot_rl.rewards.answers import EQUAL, FILE, FIRST, SECOND, read
from robot_rl.rewards.preferred import Card, Preference, PreferredJudge
from robot_rl.session.judge import TaskJudge
from robot_rl.tasks import make_task
from tests.robot_rl.preferring import FULL, SCORED
from tests.robot_rl.recording import steps

TASK = make_task("reach")
SCHEMA = StoreSchema.of(TASK, {}, TASK.control_period)
QUICK = ("rank.width=8", "rank.members=2", "rank.steps=150", "rank.rate=0.01")
SHORT = "length=3"


def record(store: Path, count: int = 8, schema: StoreSchema = SCHEMA, length: int = 12) -> None:
    with EpisodeStore.create_or_open(store, schema) as opened:
        for seed in range(count):
            writer = opened.begin({"seed": seed})
            for step in steps(length, seed, Outcome.success(), schema):
                writer.append(step)
            writer.finish()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = Run.create(load_config(None, ["task=reach"]), tmp_path / "run")
    record(made.demos)
    return made


@pytest.fixture(scope="module")
def preference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A preference in `reach`."""
    made = Run.create(load_config(None, ["task=reach"]), tmp_path_factory.mktemp("preferred") / "run")
    record(made.demos)
    assert main(["reward", "prefer", "--run", str(made.root), f"by={FULL}", "answers=40", SHORT]) == 0
    assert main(["reward", "rank", "--run", str(made.root), "fields=tank", *QUICK]) == 0
    return made.root / "preference"


def test_a_program_answers_as_a_person_would(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["reward", "prefer", "--run", str(run.root), f"by={FULL}", SHORT]
    assert main([*command, "answers=4"]) == 0
    first = read(run.root / FILE)
    assert main([*command, "answers=30"]) == 0, "it goes on where it was"
    answers = read(run.root / FILE)
    assert len(answers) == 30 and answers[:4] == first
    assert len(set(answers)) > 20
    assert {answer.by for answer in answers} == {FULL}
    assert "30 of 30 answers" in capsys.readouterr().out
    assert main(["reward", "rank", "--run", str(run.root), "fields=tank", *QUICK]) == 0
    said = capsys.readouterr().out
    card = Card.read(run.root / "preference")
    assert sum(card.answers) == 30 and card.fields == ("tank",)
    assert f"{card.answers[0]} answers to learn from" in said and f"agrees with {card.agreement:.0%}" in said
    assert card.agreement is not None and card.agreement > 0.5
    assert not {*card.learning} & {*card.stopping, *card.judging}
    assert main(["reward", "rank", "--run", str(run.root), *QUICK]) == 0
    assert len(list(run.root.glob("preference-until-*"))) == 1


def test_scores_are_learnt_from_too(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    of_run = ["--run", str(run.root), SHORT]
    assert main(["reward", "prefer", *of_run, f"by={SCORED}", "ask=scores", "answers=25"]) == 0
    assert all(answer.second is None for answer in read(run.root / FILE))
    assert main(["reward", "rank", *of_run, *QUICK]) == 0
    assert "off by" in capsys.readouterr().out


def test_a_person_answers_at_the_terminal(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("1\n7\n2\n\n=\nq\n1\n"))
    command = ["reward", "prefer", "--run", str(run.root), SHORT]
    assert main(command) == 0
    assert [answer.answer for answer in read(run.root / FILE)] == [FIRST, SECOND, EQUAL]
    said = capsys.readouterr().out
    assert "'7' is no answer" in said and "4 of 60: look at" in said and "3 of 60 answers" in said
    assert " N (" in said and "mm/s; demos/" in said
    assert (run.root / "preferences.png").read_bytes().startswith(b"\x89PNG")
    assert not (run.root / "preferences-frames.png").exists(), "nothing was recorded by cameras"
    monkeypatch.setattr("sys.stdin", io.StringIO("4\n"))
    assert main([*command, "ask=scores"]) == 0, "the end of the input ends it"
    assert read(run.root / FILE)[-1].answer == 4


def test_a_person_sees_frames_where_there_are_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run.create(load_config(None, ["task=reach", "cameras=front"]), tmp_path / "run")
    record(run.demos, schema=StoreSchema.of(TASK, {"front": (32, 32)}, TASK.control_period))
    monkeypatch.setattr("sys.stdin", io.StringIO("2\n"))
    assert main(["reward", "prefer", "--run", str(run.root), SHORT]) == 0
    assert (run.root / "preferences-frames.png").read_bytes().startswith(b"\x89PNG")


def test_errors_are_one_line_and_exit_status_2(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def fails(arguments: list[str], words: str) -> None:
        assert main(arguments) == 2, words
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1, error

    prefer, rank = (["reward", action, "--run", str(run.root)] for action in ("prefer", "rank"))
    fails([*prefer, "by=nobody"], "by=nobody names no program; the form is module:function")
    fails([*prefer, "by=tests.robot_rl.preferring:nobody", SHORT], "has no 'nobody'")
    fails([*prefer, "by=tests.robot_rl.preferring:FULL", SHORT], "cannot be called with snippets")
    fails([*prefer, "by=tests.robot_rl.preferring:undecided", SHORT], "answered 'both'")
    fails([*prefer, f"by={SCORED}", SHORT], "cannot be called with 2 snippets: too many positional arguments")
    fails([*prefer, "lenght=3"], "did you mean length?")
    fails([*prefer, "ask=both"], "ask=")
    fails([*prefer, "stopping=0.5", "judging=0.5"], "must leave a part to learn from")
    fails([*prefer, "length=13"], "length=13: too few episodes have that many steps")
    fails([*prefer, "--stores", "online"], "no episodes at")
    fails(["reward", "prefer", "--run", str(tmp_path / "none")], "is not a run")
    fails(rank, "no preferences at")
    assert main([*prefer, f"by={FULL}", "answers=1", SHORT]) == 0
    capsys.readouterr()
    fails(rank, "are too few")
    fails([*rank, "fields=taste"], "fields='taste' is no field")
    (run.root / FILE).write_text("nonsense\n")
    fails(rank, "line 1 is damaged")
    fails(["record", "--fast", "--run", str(run.root), "preference=none"], "no preference at")
    fails(["record", "--fast", "--run", str(run.root), "preference_weight=1"], "preference_weight")


def test_a_preference_of_another_task_is_refused(preference: Path) -> None:
    with pytest.raises(ValueError, match="made for the task 'reach', not for 'wipe_line'"):
        prepare("record", load_config(None, ["task=wipe_line", f"preference={preference}"]), None)


def test_the_run_knows_where_the_preference_is(
    preference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(preference.parent)
    run = prepare("record", load_config(None, ["task=reach", "preference=preference"]), tmp_path / "run")
    assert load_config(run.config_file, []).preference == str(preference)


def test_who_marks_for_a_classifier_gives_all_the_reward(preference: Path) -> None:
    config = load_config(None, ["task=reach", f"preference={preference}"])
    assert isinstance(judging_of("train", config, TASK).judge, PreferredJudge)
    assert judging_of("collect", config, TASK).notes == {}
    without = judging_of("train", load_config(None, ["task=reach"]), TASK)
    assert isinstance(without.judge, TaskJudge) and without.notes == {}


def test_steps_are_recorded_with_what_they_earn_by_it(preference: Path, tmp_path: Path) -> None:
    """In process, on the simulated arm."""
    root = tmp_path / "run"
    settings = [f"preference={preference}", "preference_weight=0.8", "demos=1"]
    assert main(["record", "--fast", "--task", "reach", "--run", str(root), *settings]) == 0
    episode = StoreReader(root / "demos").load_episode(0)
    readings = list(columns_to_readings(episode.columns))
    found = Preference(preference, TASK)
    expected = 0.8 / TASK.horizon * found.of(readings[1:])
    expected[-1] += 1.0
    np.testing.assert_allclose(episode["reward"], expected, rtol=1e-5)
    assert episode.info.success and episode.info.meta[PREFERENCE] == found.digest


def test_a_learner_sees_it_in_demonstrations_that_were_recorded_without(preference: Path, run: Run) -> None:
    config = load_config(None, ["task=reach", f"preference={preference}"])
    term = preference_of(config, TASK)
    assert term is not None
    loop = make_learner(run, config)
    loop.poll()
    (episode, *_) = StoreReader(run.demos).episodes()
    columns = StoreReader(run.demos).load_episode(episode.index).columns
    expected = columns["reward"] + term(list(columns_to_readings(columns))[1:])
    rows = loop.sources.demo_buffer.episodes()[0]
    np.testing.assert_allclose(loop.sources.demo_buffer.reward[rows], expected, rtol=1e-5)
    with pytest.raises(ConfigError, match="preference_weight"):
        load_config(None, ["preference_weight=0"])
