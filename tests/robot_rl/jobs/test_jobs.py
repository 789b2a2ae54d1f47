"""The parts of a job: its counts, its judge, and the policy that it evaluates."""

from __future__ import annotations

from pathlib import Path

import pytest

from robot_rl.contract import DISCARDED, Ending, Outcome, Relabel
from robot_rl.contract.settings import ConfigError
from robot_rl.data.store import EpisodeStore
from robot_rl.jobs.config import load_config
from robot_rl.jobs.progress import PERSON_TIME, Progress, judge_name, past_of, session_config
from robot_rl.jobs.run import Run, read_parameters
from robot_rl.session.directive import EpisodeSummary
from robot_rl.tasks import make_task
from tests.robot_rl.recording import SCHEMA, steps


def test_a_job_that_goes_on_says_how_it_went_before(tmp_path: Path) -> None:
    config = load_config(None, ["steps=100"])
    run = Run.create(config, tmp_path)
    with EpisodeStore.create_or_open(run.online, SCHEMA) as store:
        for outcome in (Outcome.timeout(), *[Outcome.success()] * 3):
            writer = store.begin()
            for step in steps(5, 0, outcome):
                writer.append(step)
            writer.finish()
        Progress(run, "train", config, store).say()
    said = run.status_of("session")
    assert (said["episodes"], said["steps"], said["successes"], said["success_rate"]) == (4, 20, 3, 0.75)


def test_episodes_count_as_what_they_have_been_labelled_as_since(tmp_path: Path) -> None:
    config = load_config(None, ["demos=2"])
    run = Run.create(config, tmp_path)
    progress = Progress(run, "record", config, None)
    for number, ending in enumerate((Ending.SUCCESS, Ending.TIMEOUT, Ending.TIMEOUT)):
        progress.add(EpisodeSummary(number, ending, "", 10, 0.0, 0, 1.0, number))
    assert (progress.successes, progress.done) == (1, False)
    progress.correct(Relabel(1, 7, Outcome.success(), "person", 4))
    assert run.status_of("session")["successes"] == 2
    assert progress.done
    progress.correct(Relabel(0, 9, Outcome.aborted(DISCARDED), "person", 5))
    progress.correct(Relabel(2, 4, Outcome.running(0.5), "a judge"))
    progress.correct(Relabel(99, 4, Outcome.success(), "a session before"))
    assert (progress.successes, progress.episodes, progress.done) == (1, 3, False)


def test_an_evaluation_goes_on_for_episodes_that_were_discarded(tmp_path: Path) -> None:
    config = load_config(None, ["episodes=2"])
    run = Run.create(config, tmp_path)
    progress = Progress(run, "eval", config, None)
    for number, reason in enumerate((DISCARDED, "", "")):
        assert not progress.done
        progress.add(
            EpisodeSummary(number, Ending.ABORTED if reason else Ending.TIMEOUT, reason, 10, 0.0, 0, 1.0, number)
        )
    assert progress.done
    progress.correct(Relabel(1, 9, Outcome.aborted(DISCARDED), "person", 1))
    assert not progress.done
    progress.correct(Relabel(1, 9, Outcome.success(), "person", 2))
    assert progress.done and progress.episodes == 3
    with EpisodeStore.create_or_open(run.evaluation, SCHEMA) as store:
        for outcome in (Outcome.success(), Outcome.timeout()):
            writer = store.begin()
            for step in steps(5, 0, outcome):
                writer.append(step)
            writer.finish()
        assert Progress(run, "eval", config, store).done
        store.relabel(Relabel(0, 4, Outcome.aborted(DISCARDED), "person"))
        assert not Progress(run, "eval", config, store).done


@pytest.mark.parametrize(
    ("job", "settings", "judge"),
    [
        ("train", [], "task"),
        ("train", ["judge=person"], "person"),
        ("teleop", ["source=keyboard"], "person"),
        ("teleop", ["source=expert"], "task"),
        ("record", ["source=keyboard"], "task"),
    ],
)
def test_who_judges_a_job(job: str, settings: list[str], judge: str) -> None:
    config = load_config(None, settings)
    assert judge_name(job, config, make_task("reach")) == judge
    limit = session_config(job, config).horizon
    assert limit == (10 * PERSON_TIME if job == "record" else 0), "a person who only drives takes the time they like"


def test_the_latest_episodes_are_remembered_for_labels_that_come_after_a_kill(tmp_path: Path) -> None:
    with EpisodeStore.create_or_open(tmp_path, SCHEMA) as store:
        for count in range(2, 7):
            writer = store.begin()
            for step in steps(count, 0, Outcome.failure("fell")):
                writer.append(step)
            writer.finish()
        past = past_of(store)
    assert [span.episode for span in past] == [2, 3, 4]
    assert past[-1].starts == [i * 100_000_000 for i in range(6)]
    assert (past[-1].ending, past[-1].reason, past[-1].running) == (Ending.FAILURE, "fell", False)
    assert past_of(None) == []


def test_a_policy_that_is_named_comes_before_the_champion_and_that_before_the_newest(tmp_path: Path) -> None:
    config = load_config(None, [])
    run = Run.create(config, tmp_path / "run")
    with pytest.raises(ConfigError, match="train one first"):
        read_parameters(run, config)
    run.parameters.write_bytes(b"newest")
    assert read_parameters(run, config) == b"newest"
    run.champion.write_bytes(b"champion")
    assert read_parameters(run, config) == b"champion"
    named = tmp_path / "named"
    named.write_bytes(b"named")
    assert read_parameters(run, load_config(None, [f"policy={named}"])) == b"named"
