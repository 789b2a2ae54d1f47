"""The table of jobs, and that nobody goes past it."""

from __future__ import annotations

import ast
from pathlib import Path
from types import SimpleNamespace

import pytest

from robot_rl.contract.settings import ConfigError
from robot_rl.jobs.config import load_config
from robot_rl.jobs.job import DEMO, JOBS, SEEDS, job_of, job_seed
from robot_rl.jobs.progress import Progress, judge_name, open_store, robot_minutes, session_config
from robot_rl.jobs.run import Run
from robot_rl.tasks import make_task

PACKAGE = Path(__file__).resolve().parents[3] / "robot_rl"
PROCESSES = {"arm", "teleop", "teach"}  # are names of processes too


def names_in(node: ast.AST) -> set[str]:
    return {part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and part.value in JOBS}


def past_the_table(source: str) -> list[int]:
    """Lines that compare something with the name of a job."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            subject, names = ast.unparse(node), names_in(node)
        elif isinstance(node, ast.Match):
            subject = ast.unparse(node.subject)
            names = {name for case in node.cases for name in names_in(case.pattern)}
        else:
            continue
        if names - PROCESSES or (names and ("job" in subject or "command" in subject)):
            found.append(node.lineno)
    return found


def test_no_job_is_asked_for_by_its_name_outside_the_table() -> None:
    found = {str(file): past_the_table(file.read_text()) for file in PACKAGE.rglob("*.py") if file.stem != "job"}
    assert {file: lines for file, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "source",
    [
        'if job == "record": pass',
        'x = self._job != "arm"',
        'if kind in ("eval", "other"): pass',
        'if arguments.command in ("teleop",): pass',
        'match job:\n    case "train":\n        pass',
    ],
)
def test_going_past_the_table_is_found(source: str) -> None:
    assert past_the_table(source)


def test_an_unknown_job_is_refused_with_the_choices() -> None:
    with pytest.raises(ConfigError, match="'trian'; choose from record, train, eval, teleop, arm"):
        job_of("trian")


def test_episodes_of_different_jobs_and_seeds_start_differently() -> None:
    seeds = [job_seed(job.name, seed) for job in JOBS.values() if job.node == "session" for seed in range(20)]
    assert len(set(seeds)) == len(seeds)
    beside = [job for job in JOBS.values() if job.marks]
    assert sum(job.node == "session" for job in JOBS.values()) == SEEDS + len(beside)


@pytest.mark.parametrize("job", JOBS)
def test_a_job_records_where_the_table_says(job: str, tmp_path: Path) -> None:
    config = load_config(None, ["task=reach"])
    store = open_store(Run.create(config, tmp_path), job, config, make_task("reach"))
    folder = JOBS[job].records
    assert (store is None) == (not folder)
    if store is not None:
        store.close()
        assert (tmp_path / folder / "schema.json").exists()


@pytest.mark.parametrize(
    ("job", "settings", "reached"),
    [
        ("record", {"successes": 3}, True),
        ("record", {"kept": 9, "steps": 999, "successes": 2}, False),
        ("train", {"steps": 50}, True),
        ("train", {"kept": 99, "successes": 99}, False),
        ("eval", {"kept": 4}, True),
        ("teleop", {"kept": 99, "steps": 999, "successes": 99}, False),
    ],
)
def test_a_job_is_done_when_its_goal_is_reached(job: str, settings: dict, reached: bool, tmp_path: Path) -> None:
    config = load_config(None, ["demos=3", "steps=50", "episodes=4"])
    assert not Progress(Run(tmp_path), job, config, None).done
    tally = SimpleNamespace(**{"kept": 0, "steps": 0, "successes": 0, **settings})
    done = job_of(job).progress(tally, config)
    assert (done is not None and done[0] >= done[1]) is reached


@pytest.mark.parametrize(
    ("job", "source", "asks", "waits", "judged_by_person", "horizon"),
    [
        ("record", "expert", False, True, False, 0),
        ("record", "keyboard", False, True, False, 600),
        ("train", "keyboard", True, False, False, 0),
        ("eval", "expert", True, False, False, 0),
        ("teleop", "expert", False, True, False, 0),
        ("collect", "expert", False, True, True, 600),
        ("collect", "keyboard", False, True, True, 600),
        ("teleop", "topic", False, True, True, 0),
    ],
)
def test_a_session_waits_for_the_one_who_acts(
    job: str, source: str, asks: bool, waits: bool, judged_by_person: bool, horizon: int
) -> None:
    config = load_config(None, [f"source={source}"])
    settings = session_config(job, config)
    assert (settings.ask_policy, settings.wait_for_person, settings.horizon) == (asks, waits, horizon)
    assert (judge_name(job, config, make_task(config.task)) == "person") == judged_by_person


def test_the_demo_can_be_done_in_process() -> None:
    assert all(JOBS[job].fast for job in DEMO)


def test_a_robot_minute_has_600_steps_at_ten_a_second() -> None:
    assert robot_minutes(600, 0.1) == pytest.approx(1.0)
