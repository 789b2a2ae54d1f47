"""An error that a user can put right is one clear line on stderr and exit status 2, and nothing is left running."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import numpy as np
import pytest
import yaml

from robot_rl.contract import identity_of
from robot_rl.contract.settings import plain
from robot_rl.jobs import commands
from robot_rl.jobs.cli import main
from robot_rl.jobs.config import RunConfig, load_config
from robot_rl.jobs.locks import RunLock
from robot_rl.jobs.run import Run, settings_of
from robot_rl.jobs.supervisor import JobFailed
from robot_rl.learner.checkpoint import save
from robot_rl.tasks import TASKS, make_task
from tests.conftest import session_processes
from tests.hardware.simulated import unused_address
from tests.robot_rl.jobs.test_bringup import record
from tests.robot_rl.publishing import policy

DAMAGED = policy(make_task("reach"))[:-1] + b"?"
FOREIGN = policy(make_task("peg_insertion"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with everything that could be in the way."""
    record(tmp_path / "reach" / "demos", "reach")
    record(tmp_path / "peg" / "demos", "peg_insertion")
    (tmp_path / "damaged.params").write_bytes(DAMAGED)
    (tmp_path / "foreign.params").write_bytes(FOREIGN)
    (tmp_path / "list.yaml").write_text("- 1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fails(arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Run the command; returns its one line."""
    before = session_processes()
    assert main(arguments.split()) == 2
    assert session_processes().keys() <= before.keys()
    error = capsys.readouterr().err
    assert error.startswith("robot-rl: ") and error.endswith("\n") and error.count("\n") == 1, error
    return error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        *[(f"{job} --task raech", "did you mean 'reach'") for job in ("record", "train", "eval", "teleop", "demo")],
        ("sim --task raech", "did you mean 'reach'"),
        ("config sede=1", "did you mean seed?"),
        ("record --config nowhere.yaml", "nowhere.yaml"),
        ("record --config list.yaml", "mapping"),
        ("record seed=many", "seed='many'"),
        ("record seed=[", "seed=["),
        ("record source=joystick", "choose from expert"),
        ("record arm=ur5", "one of sim, fr3"),
        ("train --task reach", "robot-rl record --task reach"),
        ("train --task reach --run new", "robot-rl record --task reach --run new"),
        ("train --task reach --run peg", "they are of task 'peg_insertion'"),
        ("train --task reach --run reach --fast learner.agent=rlpf", "did you mean 'rlpd'"),
        ("train --task reach --run reach learner.agent=rlpf", "did you mean 'rlpd'"),
        ("train --task reach --run reach --fast learner.utd=0", "learner.utd=0 must be an integer from 1 to"),
        ("record --task peg_insertion --run reach --fast", "reach"),
        ("record --task reach --fast source=keyboard", "source=expert"),
        ("record --task reach --fast cameras=side", "no camera 'side'"),
        ("record --task reach --fast cameras=front demos=1 cameras=side", "no camera 'side'"),
        ("record --task reach demos=1 --fast source=keyboard", "source=expert"),
        ("record --task reach --run list.yaml --fast", "list.yaml"),
        ("record --config damaged.params", "damaged.params"),
        ("config --task raech", "did you mean 'reach'"),
        ("config learner.settings.critcs=3 learner.agent=rlpd", "did you mean learner.settings.critics"),
        ("eval --task reach policy=reach", "no policy at reach"),
        ("train --task reach --run reach --fast learner.shared=left", "leave out learner.shared=left"),
        ("task teach --out list.yaml", "list.yaml exists"),
        ("task teach --out my_task", "must end in .yaml"),
        ("console --run nowhere", "nowhere is not a run"),
        ("task teach --out new.yaml source=expert", "choose from topic, console, hand, keyboard"),
        ("task teach --out new.yaml source=hand", "source=hand guides a real arm (arm=fr3), not arm=sim"),
        ("record --task nowhere.yaml", "cannot read nowhere.yaml"),
        ("record task=os:system", "cannot be made"),
        ("record task=math:inf", "cannot be made"),
        (f"record --task {'x.' * 400}:y", "cannot be imported"),
        (f"eval --task reach policy={'x' * 400}", "File name too long"),
        ("inspect nowhere", "nowhere is not an episode store, nor a run"),
        ("record --task peg_insertion blind=true source=expert", "a blind one"),
        ("record blind=true arm=fr3 source=keyboard", "blind anyway"),
        ("record --task reach blind=true source=keyboard", "needs the pose of goal, which only a simulator knows"),
        ("record --task pick_cube arm=fr3 robot_ip=127.0.0.9 source=keyboard", "needs the pose of cube"),
        ("eval --task reach", "which policy"),
        ("eval --task reach --run reach", "train one first"),
        ("eval --task reach policy=nowhere.params", "nowhere.params"),
        ("eval --task reach policy=damaged.params", "checksum"),
        ("eval --task reach policy=foreign.params", "'peg_insertion', but this run has task 'reach'"),
        ("node learner --run nowhere --job train", "nowhere is not a run"),
        ("node lerner --run reach --job train", "choose from sim"),
        ("sim --task reach robot_ip=192.168.1.1", "loopback"),
    ],
)
def test_one_line_says_what_to_do(arguments: str, words: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert words in fails(arguments, capsys)
    assert not (folder / "runs").exists(), "nothing was started, so no run is left"


def test_a_taken_port_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    address = unused_address()
    with socket.create_server((address, 1337)):
        error = fails(f"sim --task reach robot_ip={address}", capsys)
    assert f"port 1337 at {address} is taken" in error


def test_a_checkpoint_of_something_else_is_named_and_the_run_stays_as_it_is(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(folder / "reach" / "checkpoints", 12, {}, {"agent": "flash_sac", "task": "pick_cube"})
    for fast in ("", " --fast"):
        error = fails(f"train --task reach --run reach{fast}", capsys)
        assert "000000000012.checkpoint: task is 'pick_cube', this learner's is 'reach'" in error
        assert "another run starts anew" in error
    assert not (folder / "reach" / "config.yaml").exists()


def test_a_checkpoint_of_other_sizes_is_named_before_anything_starts(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    identity = {"agent": "rlpd", **identity_of(make_task("reach"))}
    save(folder / "reach" / "checkpoints", 12, {"actor": np.zeros(3)}, identity)
    error = fails("train --task reach --run reach learner.agent=rlpd", capsys)
    assert "000000000012.checkpoint: the checkpoint has ['actor'], which this agent has not" in error


def test_a_run_remembers_its_settings_but_not_which_policy_was_evaluated(folder: Path) -> None:
    Run.create(load_config(None, ["task=reach", "seed=5", "policy=old.params"]), folder / "reach")
    config = settings_of(None, folder / "reach", ["steps=7"])
    assert (config.task, config.seed, config.steps, config.policy) == ("reach", 5, 7, "")
    assert settings_of(None, folder / "reach", ["policy=new.params"]).policy == "new.params"
    assert settings_of(folder / "reach" / "config.yaml", folder / "peg", []).policy == "old.params"


@pytest.mark.parametrize("store", ["reach", "new"])
def test_a_job_that_fails_before_it_records_leaves_the_settings_as_they_were(
    store: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(folder / store)
    if store == "reach":
        Run.create(load_config(None, ["task=reach", "seed=5"]), run.root)
    before = run.config_file.read_bytes() if run.config_file.exists() else None

    def fail(job: str, run: Run, fast: bool, lock: RunLock) -> None:
        assert Run.open(run.root)[1].seed == 7, "it is done with the new settings"
        raise JobFailed("the arm is gone")

    def fail_later(job: str, run: Run, fast: bool, lock: RunLock) -> None:
        record(run.demos, "reach")
        raise JobFailed("the arm is gone")

    def interrupted(job: str, run: Run, fast: bool, lock: RunLock) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "do_job", fail)
    assert "the arm is gone" in fails(f"record --task reach --run {store} seed=7", capsys)
    assert (run.config_file.read_bytes() if run.config_file.exists() else None) == before
    monkeypatch.setattr(commands, "do_job", fail_later)
    fails(f"record --task reach --run {store} seed=7", capsys)
    assert Run.open(run.root)[1].seed == 7, "what it has recorded came of them"
    monkeypatch.setattr(commands, "do_job", interrupted)
    assert main(f"record --run {store} seed=8".split()) == 130
    assert Run.open(run.root)[1].seed == 8
    assert f"to go on: robot-rl record --run {store}\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("record --task reach --run reach --fast", "next: robot-rl train --run reach --fast"),
        ("teleop --task reach --run reach", "next: robot-rl record --run reach"),
        ("train --task reach --run reach", "next: robot-rl eval --run reach"),
    ],
)
def test_a_job_ends_with_the_next_command(
    command: str, words: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(commands, "do_job", lambda job, run, fast, lock: None)
    assert main(command.split()) == 0
    assert capsys.readouterr().out.splitlines()[-1] == words


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_takes_nothing_is_one_line(
    number: int, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), "some/file")

    monkeypatch.setattr(commands, "do_job", refuse)  # in the midst of it
    assert f"'some/file': {os.strerror(number)}" in fails("record --task reach", capsys)
    monkeypatch.setattr("robot_rl.jobs.run.save_config", refuse)
    assert f"{os.strerror(number)}: 'some/file'" in fails("record --task reach", capsys)


def test_a_run_is_inspected_store_by_store(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "reach"]) == 0
    run = capsys.readouterr().out
    assert main(["inspect", "reach/demos"]) == 0
    assert run == f"reach/demos\n{capsys.readouterr().out}"
    assert "by a person" in run


def test_config_prints_all_settings_as_yaml(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--task", "reach", "learner.utd=8"]) == 0
    printed = capsys.readouterr().out
    wanted = plain(RunConfig(task="reach"))
    wanted["learner"]["utd"] = 8
    assert yaml.safe_load(printed) == wanted
    assert "# learner.settings of flash_sac" in printed and "#   actor_width: 64" in printed


def test_launch_adds_arguments_of_ros_that_are_ignored(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--ros-args", "-r", "__node:=session"]) == 0
    assert "task" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [[], ["trian"], ["record", "--sede", "1"], ["teleop", "--fast"], ["rt-plot", "a", "b=1"]]
)
def test_what_is_no_command_shows_the_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: robot-rl")


def test_help_names_the_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["record", "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert all(task in said for task in TASKS.builtin)


def test_a_task_is_checked_with_an_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["task", "check", "peg_insertion"]) == 0
    assert capsys.readouterr().out.endswith("verdict: the arm can do it\n")
    box = "workspace: {lower: [0.3, 0.0, -0.1], upper: [0.9, 0.2, 0.3]}"
    (tmp_path / "far.yaml").write_text(f"start: {{position: [0.5, 0.1, 0.2]}}\n{box}\naxes: {{x: 0.01}}\n")
    assert main(["task", "check", str(tmp_path / "far.yaml")]) == 1
    assert "BAD  box" in capsys.readouterr().out
    assert "did you mean 'peg_insertion'" in fails("task check peg_insertoin", capsys)
    (tmp_path / "far.yaml").write_text((tmp_path / "far.yaml").read_text() + "judge: persn\n")
    assert "unknown judge 'persn'" in fails(f"task check {tmp_path / 'far.yaml'}", capsys)
