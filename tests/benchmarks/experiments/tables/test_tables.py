"""The command that makes the tables: lines with everything, no mixing of versions, no seed that chose reported."""

from __future__ import annotations

import dataclasses
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import gymnasium
import pytest

from benchmarks.experiments.tables import __main__ as command
from benchmarks.experiments.tables import runs
from benchmarks.experiments.tables.drawing import draw, report
from benchmarks.experiments.tables.lines import (
    CODE,
    DONE,
    Line,
    Point,
    VersionError,
    append_line,
    check_versions,
    read_lines,
    version_of,
)
from benchmarks.experiments.tables.plan import BUDGETS, OWN, REFERENCE, ROWS, TUNING, Budget, Cell, Kind, Row, cells
from benchmarks.experiments.tables.rule import default_agent
from benchmarks.experiments.tables.runs import Place, make_line
from robot_rl.gym.envs import IDS
from robot_rl.learner.config import AGENTS
from robot_rl.tasks import TASKS

OUTSIDE = Row("theirs", Kind.OUTSIDE, command=(sys.executable, "{lines}.py"))


def line(row: str, seed: int, *rates: float, version: str = "abc", ended: str = DONE, task: str = "reach") -> Line:
    points = tuple(Point(float(i), rate, max(0.0, rate - 0.1)) for i, rate in enumerate(rates, start=1))
    figures = {"wall_s": 60.0, "cpu_s": 50.0, "robot_minutes": 3.0}
    counts = {"critic_steps": 400, "actor_steps": 100, "reflexes": seed}
    return Line(task, row, seed, version, (), "c0", "d0", "a machine", **figures, **counts, ended=ended, points=points)


def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """One demonstration, one episode, twenty steps."""
    monkeypatch.setitem(BUDGETS, "reach", Budget("robot_rl/Reach-v0", 20, 10, 0.95, 3.0))
    monkeypatch.setattr(runs, "DEMOS", 1)
    monkeypatch.setattr(runs, "EPISODES", 1)


def test_lines_survive_the_file(tmp_path: Path) -> None:
    made = [line("rlpd", 0, 0.1, 0.9), line("expo", 1, 0.2, ended="died (1): no memory")]
    for one in made:
        append_line(tmp_path / "lines.jsonl", one)
    assert read_lines(tmp_path / "lines.jsonl") == made
    assert read_lines(tmp_path / "none.jsonl") == []


def test_versions_are_not_mixed() -> None:
    with pytest.raises(VersionError, match=r"abc, abd do not belong.*--results"):
        check_versions([line("rlpd", 0, 0.1), line("rlpd", 1, 0.1, version="abd")])
    with pytest.raises(VersionError, match="abc, now"):
        check_versions([line("rlpd", 0, 0.1)], "now")
    check_versions([line("rlpd", 0, 0.1)], "abc")
    check_versions([line("rlpd", 0, 0.1), line("rlpd", 0, 0.1, version="abd", task="pick_cube")])


def test_a_version_knows_what_was_changed_and_what_does_not_matter(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    code, text = tmp_path / "controllers" / "code.py", tmp_path / "robot_rl" / "jobs" / "text.py"
    for path in (code, text):
        path.parent.mkdir(parents=True)
    git("init")
    code.write_text("a = 1\n")
    git("add", ".")
    git("commit", "-m", "code")
    clean = version_of(tmp_path)
    text.write_text("words = 1\n")
    git("add", ".")
    git("commit", "-m", "words")
    assert version_of(tmp_path) == clean and "+" not in clean
    code.write_text("a = 2\n")
    changed = version_of(tmp_path)
    assert changed.startswith(f"{clean}+")
    (tmp_path / "controllers" / "new.py").write_text("b = 1\n")
    assert version_of(tmp_path) not in (clean, changed)


def test_a_version_knows_all_code_that_a_run_in_process_uses() -> None:
    """But jobs, whose settings and demonstrations a line has digests of, and what says what a device is."""
    program = (
        "import sys, gymnasium\n"
        "import benchmarks.experiments.tables.runs, robot_rl.gym.job\n"
        "env = gymnasium.make('robot_rl/PickCube-v0')\n"
        "env.reset(seed=0)\n"
        "env.step(env.action_space.sample())\n"
        "print(*(getattr(module, '__file__', None) or '' for module in sys.modules.values()), sep='\\n')\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=command.ROOT, check=True, capture_output=True, text=True)
    used = {
        Path(line).relative_to(command.ROOT) for line in ran.stdout.splitlines() if line.startswith(str(command.ROOT))
    }
    ours = {path for path in used if not path.parts[0].startswith(".") and path.name != "__init__.py"}
    known = [Path(path) for path in CODE]
    unknown = {path.as_posix() for path in ours if not any(path.is_relative_to(one) for one in known)}
    tables = "benchmarks/experiments/tables/"
    assert {path for path in unknown if not path.startswith((tables, "robot_rl/jobs/", "robot_rl/console/"))} == {
        "hardware/device.py",
        "hardware/force/lane.py",
        "hardware/franka/collision.py",
        "hardware/interfaces.py",
        "hardware/registry.py",
        "hardware/scene.py",
    }


def test_seeds_that_choose_are_never_reported() -> None:
    reported = {cell.seed for cell in cells(list(BUDGETS), ROWS)}
    tuned = {cell.seed for cell in cells(list(BUDGETS), ROWS, TUNING)}
    assert reported == set(range(5)) and tuned == set(range(100, 105))
    for wrong in (["--set", "utd=1"], ["--tune"]):
        with pytest.raises(SystemExit):
            command.parse(wrong)


def test_the_plan_names_tasks_and_rows_that_there_are() -> None:
    assert set(OWN) == set(TASKS.builtin)
    assert {BUDGETS[task].env: task for task in OWN} == IDS
    assert {budget.env for task, budget in BUDGETS.items() if task not in OWN} <= set(gymnasium.registry)
    assert REFERENCE in {row.name for row in ROWS} and len({row.name for row in ROWS}) == len(ROWS)
    assert all(row.agent in AGENTS for row in ROWS if row.kind is Kind.AGENT)


def test_every_row_gets_as_many_seeds_as_it_wants_in_turn() -> None:
    rows = (Row("a", seeds=2), Row("b", seeds=1))
    assert [cell.key for cell in cells(["reach"], rows)] == [("reach", "a", 0), ("reach", "b", 0), ("reach", "a", 1)]
    assert len(list(cells(["reach"], rows, seeds=1))) == 2


def test_the_report_says_what_each_row_came_to_and_which_runs_died(tmp_path: Path) -> None:
    made = [line("imitation", seed, 0.4) for seed in range(3)]
    made += [
        line("rlpd", 0, 0.5, 0.96, 1.0),
        line("rlpd", 1, 0.95, 0.9, 0.96),
        line("rlpd", 2, 0.1, ended="died (1): x"),
    ]
    text = list(report(made))
    (row,) = (text for text in text if text.startswith("| rlpd"))
    name, seeds, mean, acting, area, beats, stays, *_ = (cell.strip() for cell in row.strip("|").split("|"))
    assert (name, seeds) == ("rlpd", "3")
    assert mean.startswith("0.65 (0.00–") and acting.startswith("0.59 ("), "what died counts as 0"
    assert float(area) > 0.5 and beats.startswith("0.67 (")
    assert stays == "3.0 (2.0, 3.0, –)"
    assert row.split("|")[9].strip() == "missed", "as it acts, no run stays"
    assert "- `reach`, rlpd, seed 2: died (1): x" in text
    draw(made, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_default_is_never_below_imitation_and_then_the_fastest() -> None:
    imitation = [line("imitation", seed, 0.6) for seed in range(5)]
    imitation = [dataclasses.replace(one, critic_steps=0) for one in imitation]
    slow = [line("slow", seed, 0.1, 0.2, 0.9) for seed in range(5)]
    fast = [line("fast", seed, 0.9, 0.9, 0.9) for seed in range(5)]
    falls = [line("falls", seed, 1.0, 1.0, 0.5) for seed in range(5)]
    assert default_agent([*imitation, *slow, *fast, *falls]) == "fast"
    assert default_agent([*imitation, *falls]) == ""
    assert default_agent([*slow, *fast]) == "", "without imitation nobody is compared"
    elsewhere = [dataclasses.replace(one, task="pick_cube") for one in (*imitation, *slow)]
    assert default_agent([*imitation, *slow, *fast, *elsewhere]) == "slow", "the fast one has not run everywhere"


@pytest.mark.slow
def test_a_run_is_a_line_with_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real thing, small: one demonstration, twenty steps, two evaluations."""
    small(monkeypatch)
    place = Place(tmp_path, "abc", "person")
    made = make_line(
        Cell(
            "reach",
            Row(
                "rlpd",
                agent="rlpd",
                settings=("utd=1", "start_after=5", "batch_size=8", "imitate=50", "settings.hidden=[16]"),
            ),
            0,
        ),
        place,
    )
    assert (made.task, made.row, made.seed, made.version, made.ended) == ("reach", "rlpd", 0, "abc", DONE)
    assert [round(point.minutes * 600) for point in made.points] == [0, 10, 20], "the clone first"
    assert all(point.acting is not None for point in made.points)
    assert made.robot_minutes == pytest.approx(20 / 600, abs=1e-3)
    assert made.critic_steps > 0 < made.actor_steps and made.wall_s > 0.0 < made.cpu_s


@pytest.mark.slow
def test_the_copy_of_the_demonstrations_takes_no_robot_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)
    place = Place(tmp_path, "abc", "person")
    copied = make_line(Cell("reach", Row("copy", Kind.CLONE, agent="flash_sac", settings=("imitate=50",)), 0), place)
    assert len(copied.points) == 1 and copied.robot_minutes == 0.0 and copied.ended == DONE
    again = runs.demonstrations("reach", 0, place)
    assert runs.digest_of_files(again) == copied.demos, "recorded once"


def test_a_command_that_is_killed_leaves_no_run_behind(tmp_path: Path) -> None:
    version = version_of(command.ROOT)
    demos = tmp_path / version / "demos-peg_search-person-0"
    (demos / "demos").mkdir(parents=True)
    demos.with_suffix(".complete").touch()
    told, program = tmp_path / "told", tmp_path / "endless.py"
    os.mkfifo(told)
    program.write_text(
        f"import os, pathlib, signal\npathlib.Path({str(told)!r}).write_text(str(os.getpid()))\nsignal.pause()\n"
    )
    arguments = ["--tasks", "peg_search", "--rows", "theirs", "--outside", f"theirs={sys.executable} {program}"]
    arguments += ["--seeds", "1", "--work", str(tmp_path), "--results", str(tmp_path / "lines.jsonl")]
    hears = os.open(told, os.O_RDONLY | os.O_NONBLOCK)
    tables = subprocess.Popen([sys.executable, "-m", "benchmarks.experiments.tables", *arguments], cwd=command.ROOT)
    gone = os.pidfd_open(tables.pid)
    first, _, _ = select.select([hears, gone], [], [])
    assert first == [hears], "it runs"
    run = os.pidfd_open(int(os.read(hears, 100)))
    tables.kill()
    tables.wait()
    ended, _, _ = select.select([run], [], [], 60.0)
    if not ended:
        signal.pidfd_send_signal(run, signal.SIGKILL)
    for descriptor in (hears, gone, run):
        os.close(descriptor)
    assert ended


def test_an_outside_program_is_a_row_and_when_it_dies_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "demonstrations", lambda task, seed, place, count: tmp_path / "demos")
    place = Place(tmp_path, "abc", "person")
    (tmp_path / "abc").mkdir()
    script = tmp_path / "abc" / "reach-theirs-0.jsonl.py"
    script.write_text(
        "import json, sys\n"
        "line = {'step': 600, 'success_rate': 0.5, 'updates': 7}\n"
        "open(sys.argv[0][:-3], 'a').write(json.dumps(line) + '\\n')\n"
        "sys.exit('out of luck')\n"
    )
    made = make_line(Cell("reach", OUTSIDE, 0), place)
    assert made.ended.startswith("died (1)") and "out of luck" in made.ended
    assert made.points == (Point(1.0, 0.5, None),) and made.critic_steps == 7
    assert made.score(acting=True) == 0.0


def test_what_is_there_is_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "version_of", lambda root: "abc")
    results = tmp_path / "lines.jsonl"
    append_line(results, line("rlpd", 0, 0.1))
    arguments = ["--list", "--results", str(results), "--tasks", "reach", "--rows", "rlpd", "--seeds", "2"]
    assert command.main(arguments) == 0
    assert capsys.readouterr().out.splitlines() == ["1 of 2 runs are lacking, version abc", "reach, rlpd, seed 1"]
    monkeypatch.setattr(command, "version_of", lambda root: "later")
    assert command.main(arguments) == 2
    assert "abc, later do not belong into one table" in capsys.readouterr().err
    assert command.main(["--results", str(results), "--rows", "rlpx"]) == 2
    assert dataclasses.replace(read_lines(results)[0]) == line("rlpd", 0, 0.1)
