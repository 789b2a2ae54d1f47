"""A line that is logged reaches the terminal once, with who says it, from a command as from the processes of a job."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from robot_rl.jobs.bringup import NodeSpec
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.logs import Follower, configure, speaker
from robot_rl.jobs.run import Run
from robot_rl.jobs.supervisor import JobFailed, Supervisor

LEARNER = logging.getLogger("robot_rl.learner.loop")


@pytest.fixture(autouse=True)
def undone() -> Iterator[None]:
    """The root logger, left as it was."""
    root = logging.getLogger()
    before = root.handlers[:]
    yield
    root.handlers[:] = before


@pytest.mark.parametrize(
    ("logger", "who"),
    [
        ("robot_rl.learner.loop", "learner"),
        ("robot_rl.data.store", "data"),
        ("robot_rl.jobs.promotion", "promotion"),
        ("hardware.franka.arm", "franka"),
        ("robot_rl", "robot_rl"),
        ("jax._src.xla_bridge", "jax"),
    ],
)
def test_the_room_speaks(logger: str, who: str) -> None:
    assert speaker(logger) == who


def test_a_commands_line_says_who_speaks_and_each_is_written_once(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        configure()
    LEARNER.info("going on after %d\n update calls", 7)
    LEARNER.debug("nobody wants to know")
    logging.getLogger("somebody.else").info("nor this")
    logging.getLogger("somebody.else").warning("but this")
    assert capsys.readouterr() == ("", "learner: going on after 7 update calls\nsomebody: but this\n")


def test_the_terminal_is_told_of_the_warnings_in_a_process_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "train-learner.log"
    log.write_text("WARNING learner: of the job before\n")
    follower = Follower(log)
    with log.open("a") as file:
        monkeypatch.setattr(sys, "stderr", file)
        configure("learner")
        LEARNER.info("going on")
        LEARNER.warning("episode 3 is\ndamaged")
        file.write("WARNING is a word\n[WARN] [1732810000.123456789] [left.session]: a chunk has no axes\n")
        file.write("[INFO] [1732810000.2] [session]: runs\nERROR lear")
        file.flush()
        assert follower.warnings() == ["episode 3 is damaged"]
        assert follower.warnings() == []
        file.write("ner: torn lines are put together\n")
        file.write("ERROR session: the same\n" * 50)
        file.flush()
        assert follower.warnings() == ["torn lines are put together", "the same"]
    assert log.read_text().splitlines()[1:3] == ["INFO learner: going on", "WARNING learner: episode 3 is damaged"]


def test_of_a_process_that_talks_everything_that_it_logs_is_shown(tmp_path: Path) -> None:
    log = tmp_path / "arm.log"
    follower = Follower(log, talks=True)
    log.write_text("INFO ros: started: holding\n[INFO] [1732810000.2] [arm]: /arm runs\nWARNING ros: low\n")
    assert follower.warnings() == ["started: holding", "low"]


def test_a_log_that_is_not_there_yet_has_no_warnings(tmp_path: Path) -> None:
    follower = Follower(tmp_path / "late.log")
    assert follower.warnings() == []
    (tmp_path / "late.log").write_text("WARNING data: now\n")
    assert follower.warnings() == ["now"]


def test_the_supervisor_names_the_process_that_warns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As late as in the last words of the process."""
    said = "episode 3 is damaged; set aside as 000003.corrupt"
    (tmp_path / "own.py").write_text(f"import logging\nlogging.getLogger('robot_rl.data.store').warning('{said}')\n")
    monkeypatch.chdir(tmp_path)
    run = Run.create(RunConfig(task="own:Lost"), tmp_path / "run")
    spec = NodeSpec("session", ("node", "session", "--run", str(run.root), "--job", "record"))
    with pytest.raises(JobFailed, match="own has no 'Lost'"):
        Supervisor(run, "record", [spec], 0).run(lambda: None)
    assert capsys.readouterr().err == f"session: {said}\n"
    assert f"WARNING data: {said}\n" in (run.logs / "record-session.log").read_text()


def test_a_process_of_ros2_launch_speaks_as_rclpy_does_and_in_the_words_of_launch(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure("learner", launched=True)
    LEARNER.info("going on\nafter 7")
    LEARNER.warning("nothing at demos: robot-rl record --run runs/a, or demos=3")
    first, second = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"\[INFO\] \[\d+\.\d{9}\] \[learner\]: going on after 7", first)
    said = "nothing at demos: ros2 launch robot_rl record.launch.py run:=runs/a, or demos:=3"
    assert second.startswith("[WARN] [") and second.endswith(f"] [learner]: {said}")
