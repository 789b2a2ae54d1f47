"""Which policy of a run is evaluated, and what the terminal says of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from robot_rl.contract import DISCARDED, Ending, Outcome, Relabel
from robot_rl.contract.settings import ConfigError
from robot_rl.data.store import EpisodeStore
from robot_rl.jobs.commands import Display
from robot_rl.jobs.config import load_config
from robot_rl.jobs.progress import PERSON_TIME, Progress, judge_name, past_of, session_config
from robot_rl.jobs.run import Run, read_parameters
from robot_rl.session.directive import EpisodeSummary
from robot_rl.tasks import make_task
from tests.robot_rl.recording import SCHEMA, steps

SESSION = {
    "job": "train",
    "episodes": 30,
    "steps": 1200,
    "last": "success after 31 steps",
    "success_rate": 0.85,
    "interventions": 2,
    "aborted": 0,
    "reflexes": 1,
}


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


def test_each_line_that_the_session_tells_is_shown_once_and_none_of_an_earlier_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = load_config(None, [])
    run = Run.create(config, tmp_path)
    Progress(run, "train", config, None).tell("label 1 (success) of an earlier start")
    display = Display(run, "train", config)
    progress = Progress(run, "train", config, None)
    display.update()
    for number in (1, 2):
        progress.tell(f"label {number} (pause) by /teleop: paused")
    display.update()
    display.update()
    progress.tell("Please bring the cube back.")
    display.update()
    assert capsys.readouterr().out.splitlines() == [
        "train: label 1 (pause) by /teleop: paused",
        "train: label 2 (pause) by /teleop: paused",
        "train: Please bring the cube back.",
    ]


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


@pytest.mark.parametrize(
    ("learner", "said"),
    [
        ({"champion": None, "champion_success": None, "now_success": 0.1, "held_back": True}, ""),
        (
            {"champion": 40, "champion_success": 0.9, "now_success": 0.85, "held_back": False},
            "champion: version 40 (90%)",
        ),
        (
            {"champion": 40, "champion_success": 0.9, "now_success": 0.25, "held_back": True},
            "success fell to 25%: champion stays version 40 (90%)",
        ),
        ({"due": 203, "debt": 200}, ""),
        ({"due": 205, "debt": 204}, "the next episode waits for the learner, which owes 204 updates"),
        ({"due": 999, "debt": 0, "halted": "update 7 is not finite"}, "learner halted: update 7 is not finite"),
    ],
)
def test_a_line_of_progress_says_how_the_policy_does_and_which_one_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, learner: dict, said: str
) -> None:
    monkeypatch.setattr("robot_rl.jobs.commands.SHOW_PERIOD", 0.0)
    run = Run.create(load_config(None, []), tmp_path)
    display = Display(run, "train", load_config(None, []))
    run.say("session", SESSION)
    run.say("learner", {"updates": 4000, "utd": 3.9} | learner)
    display.update()
    line = capsys.readouterr().out
    assert line == (
        "train: episode 30, 1200 steps (2.0 robot-min), success 85% of the last 20, 2 interventions, 4000 updates, "
        f"UTD 3.90, last: success after 31 steps{said and ', '}{said}, 1 reflexes\n"
    )
