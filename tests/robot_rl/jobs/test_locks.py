"""A job's run and its ROS domain are its own, for as long as any of its processes lives."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from robot_rl.contract.settings import ConfigError
from robot_rl.jobs import locks
from robot_rl.jobs.bringup import prepare
from robot_rl.jobs.cli import main
from robot_rl.jobs.config import RunConfig, load_config
from robot_rl.jobs.locks import RunLock, claim_domain, ros_domain

REACH = RunConfig(task="reach", source="topic")
HOLDER = """
import sys, pathlib
from robot_rl.jobs.bringup import prepare
from robot_rl.jobs.config import load_config
from robot_rl.jobs.locks import RunLock
lock = RunLock("train")
prepare("record", load_config(None, ["task=reach", "source=topic", "seed=3"]), pathlib.Path(sys.argv[1]), lock=lock)
print(*lock.descriptors, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def no_domain_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROS_DOMAIN_ID")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_second_job_on_a_run_is_refused_by_name_before_it_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    held = [sys.executable, "-c", HOLDER, str(run)]
    with subprocess.Popen(held, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None and holder.stdout is not None
        assert holder.stdout.readline()
        before = contents(run)
        for command in (["record", "--fast", "demos=1", "seed=4"], ["demo", "--fast"], ["eval", "policy=random"]):
            assert main([*command, "--task", "reach", "--run", str(run)]) == 2
            said = capsys.readouterr().err
            assert f"{run} is in use: train (process {holder.pid}) runs there" in said
        assert contents(run) == before
    prepare("record", REACH, run, lock=RunLock("record"))  # whoever had it has ended


def test_a_run_stays_taken_until_the_last_process_of_a_killed_job_has_ended(tmp_path: Path) -> None:
    lock = RunLock("train")
    run = prepare("record", REACH, tmp_path / "run", lock=lock)
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, pass_fds=lock.descriptors
    ):
        lock.close()  # as by the kernel, when its owner is killed
        with pytest.raises(ConfigError, match="train"):
            RunLock("eval").take(run.root)
    RunLock("eval").take(run.root)


def test_whoever_was_killed_is_said_to_be_ending(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with RunLock("train") as lock:
        lock.take(tmp_path)
        (tmp_path / locks.LOCK).write_text(f"train (process {gone.pid})")
        with pytest.raises(ConfigError, match="still ending"):
            RunLock("eval").take(tmp_path)


def test_two_that_make_the_same_run_do_not_both_get_it(tmp_path: Path) -> None:
    with RunLock("record") as one, RunLock("train") as two:
        prepare("record", REACH, tmp_path / "run", lock=one)
        prepare("record", REACH, tmp_path / "run", lock=one)  # the job itself may go on there
        with pytest.raises(ConfigError, match="record"):
            prepare("record", load_config(None, ["task=reach", "seed=9"]), tmp_path / "run", lock=two)
        prepare("record", REACH, tmp_path / "other", lock=two)


def test_no_two_jobs_have_the_same_ros_domain() -> None:
    with ros_domain(REACH) as one, ros_domain(REACH) as two:
        assert one.number != two.number
        assert {one.number, two.number} <= set(locks.DOMAINS)
        assert len(one.descriptors) == len(two.descriptors) == 1
    with ros_domain(REACH) as again:
        assert again.number == one.number, "it is free again"


def test_a_domain_stays_taken_while_a_process_of_its_job_lives() -> None:
    with ros_domain(REACH) as domain:
        child = subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, pass_fds=domain.descriptors
        )
    with child, ros_domain(REACH) as other:
        assert other.number != domain.number


def test_a_domain_in_which_another_program_communicates_is_left_to_it() -> None:
    with claim_domain() as claim:
        number = int(claim.getsockname().rsplit(b"/", 1)[1])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as program:
        program.bind(("", locks.BASE_PORT + locks.DOMAIN_PORTS * number + 10))
        with ros_domain(REACH) as domain:
            assert domain.number != number


def test_when_no_domain_is_left_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with ros_domain(REACH) as only:
        monkeypatch.setattr(locks, "DOMAINS", range(only.number, only.number + 1))
        with pytest.raises(ConfigError, match="ROS_DOMAIN_ID"):
            claim_domain()


def test_a_run_that_cannot_be_written_to_is_refused_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ConfigError, match="cannot be written"):
        RunLock("train").take(file)
    assert os.listdir(tmp_path) == ["file"]
