"""The jobs under the real ``ros2 launch``: good, failing, misspelt, interrupted.

Runs where launch, launch_ros and ros2cli can be imported: in a ROS 2 installation, or with a checkout of them on
PYTHONPATH.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from robot_rl.jobs.run import Run
from robot_rl.jobs.supervisor import RESTARTS
from tests.conftest import session_processes
from tests.hardware.simulated import unused_address
from tests.processes.launched import PATIENCE, ROOT, Workspace

pytest.importorskip("ros2launch", reason="ros2 launch is in a ROS 2 installation, not in the wheels of PyPI")
pytestmark = pytest.mark.job


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "install")


def lines(output: str, of: str) -> list[str]:
    """Lines of the process called ``of``, without its name."""
    return [line.partition("] ")[2] for line in output.splitlines() if line.startswith(f"[{of}-")]


def remains(workspace: Workspace) -> list[str]:
    return [line for line in session_processes().values() if str(workspace.folder) in line]


def reach(workspace: Workspace, *more: str) -> list[str]:
    return ["task:=reach", f"run:={workspace.folder / 'run'}", *more]


def test_a_job_that_is_done_ends_well_and_its_processes_have_their_names(workspace: Workspace) -> None:
    workspace.act(session=[0])
    status, output = workspace.run("robot_rl", "record.launch.py", *reach(workspace, "demos:=3"))
    assert status == 0, output
    for name in ("sim", "arm", "expert", "session"):
        assert f"[INFO] [{name}-" in output
    assert f"record: reach, run {workspace.folder / 'run'}" in output
    assert Run.open(workspace.folder / "run")[1].demos == 3
    assert "was required" not in output and "ended with exit status" not in output
    assert not remains(workspace)


@pytest.mark.parametrize("status", [1, 2, -9])
def test_a_required_process_that_fails_fails_the_launch(workspace: Workspace, status: int) -> None:
    workspace.act(arm=[status] if status >= 0 else [128 - status])
    returned, output = workspace.run("robot_rl", "record.launch.py", *reach(workspace))
    assert returned != 0
    assert "arm ended with exit status" in output
    assert lines(output, "arm") == [f"arm ends with {status if status >= 0 else 128 - status}"]
    assert workspace.starts("arm") == 1
    assert not remains(workspace)


def test_those_that_end_because_another_failed_are_not_blamed(workspace: Workspace) -> None:
    address = unused_address()
    with socket.create_server((address, 1337)):  # where the simulator would be
        status, output = workspace.run("robot_rl", "record.launch.py", *reach(workspace, f"robot_ip:={address}"))
    assert status != 0
    assert f"port 1337 at {address} is taken" in output
    died = [line for line in output.splitlines() if "process has died" in line]
    assert len(died) == 1 and died[0].startswith("[ERROR] [sim-")
    assert not remains(workspace)


@pytest.mark.parametrize("status", [0, 2])
def test_what_the_user_has_to_put_right_is_not_tried_again(workspace: Workspace, status: int) -> None:
    workspace.act(expert=[status])
    returned, output = workspace.run("robot_rl", "record.launch.py", *reach(workspace))
    assert returned != 0
    assert f"expert ended with exit status {status}; its last words are above" in output
    assert workspace.starts("expert") == 1


def test_a_crash_is_tried_again_as_often_as_robot_rl_does(workspace: Workspace) -> None:
    workspace.act(expert=[1] * 100)
    returned, output = workspace.run("robot_rl", "record.launch.py", *reach(workspace))
    assert returned != 0
    assert workspace.starts("expert") == 1 + RESTARTS
    assert f"starting it again ({RESTARTS} of {RESTARTS} times)" in output
    assert f"expert ended with exit status 1 (started {RESTARTS} times again, in vain)" in output
    assert not remains(workspace)


def test_ctrl_c_leaves_nothing_and_blames_nobody(workspace: Workspace) -> None:
    workspace.act()
    process = workspace.launch("robot_rl", "record.launch.py", *reach(workspace))
    assert process.stdout is not None
    lasting: set[str] = set()
    for line in process.stdout:
        lasting |= {line.split()[1]} if line.rstrip().endswith(" lasts") else set()
        if len(lasting) == 4:
            break
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    rest, _ = process.communicate(timeout=PATIENCE)
    assert "was required" not in rest and "Traceback" not in rest and "ended with exit status" not in rest
    assert process.returncode == 0
    assert not remains(workspace)


def test_processes_end_with_a_launch_that_was_terminated(workspace: Workspace) -> None:
    """Launch itself leaves orphans then, and says so."""
    process = workspace.launch("robot_rl", "arm.launch.py", *reach(workspace, f"robot_ip:={unused_address()}"))
    assert process.stdout is not None
    for line in process.stdout:
        if "/arm runs" in line:
            break
    process.terminate()
    process.communicate(timeout=PATIENCE)
    deadline = time.monotonic() + PATIENCE
    while remains(workspace):
        assert time.monotonic() < deadline, f"still there: {remains(workspace)}"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sede:=1"], "unknown launch argument sede; did you mean seed?"),
        (["learner.utd:=8"], "overrides:='learner.utd=VALUE'"),
        (["overrides:=lerner.utd=8"], "unknown key lerner"),
        (["seed:=-1"], "seed:=-1 must be"),
        (["source:=keyboard"], "source:=keyboard reads a terminal"),
        (["task:=reech"], "unknown task 'reech'"),
        (["demo_style:=persn"], "demo_style:='persn' must be one of script, person"),
        (["arm:=remote", "peers:=a..b"], "peers:=['a..b']: nobody knows the address of 'a..b'"),
        (["run:=" + 300 * "a"], "the run's folder is none: 'aaaa"),
    ],
)
def test_a_misspelt_argument_or_value_is_refused_in_the_words_of_launch(
    workspace: Workspace, arguments: list[str], words: str
) -> None:
    status, output = workspace.run("robot_rl", "record.launch.py", f"run:={workspace.folder / 'run'}", *arguments)
    assert status != 0
    assert words in output
    assert "process started" not in output and not (workspace.folder / "run").exists()


def test_a_launch_without_demonstrations_says_how_to_record_some_with_launch(workspace: Workspace) -> None:
    status, output = workspace.run("robot_rl", "train.launch.py", *reach(workspace))
    assert status != 0
    assert f"ros2 launch robot_rl record.launch.py task:=reach run:={workspace.folder / 'run'}" in output
    assert "robot-rl record" not in output


def test_the_arguments_are_shown_with_explanations(workspace: Workspace) -> None:
    status, output = workspace.run("robot_rl", "train.launch.py", "--show-args")
    assert status == 0
    for name in ("demos", "steps", "episodes", "cameras", "policy", "overrides"):
        assert f"'{name}':" in output
    assert "online steps to train for; default: 2400" in output


def test_a_file_that_includes_ours_has_arguments_of_its_own(workspace: Workspace) -> None:
    workspace.act(session=[0])
    file = workspace.folder / "both.launch.py"
    file.write_text(
        "from launch import LaunchDescription\n"
        "from launch.actions import IncludeLaunchDescription\n"
        "def generate_launch_description():\n"
        f"    return LaunchDescription([IncludeLaunchDescription({str(workspace.launch_file('record'))!r},"
        f" launch_arguments=[('task', 'reach'), ('run', {str(workspace.folder / 'run')!r})])])\n"
    )
    status, output = workspace.run(str(file), "rviz:=true")
    assert status == 0, output
    assert workspace.starts("session") == 1


def test_an_interpreter_without_the_dependencies_says_so_in_one_line() -> None:
    program = "import sys; sys.modules['pydantic'] = None; import robot_rl.jobs.ros.launching"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    said = done.stderr.splitlines()[-1]
    assert "pydantic" in said and f"the interpreter of ros2, {sys.executable}," in said and "activate its .venv" in said


def test_demonstrations_are_recorded_and_told_of(workspace: Workspace) -> None:
    address = unused_address()
    arguments = reach(workspace, "demos:=1", f"robot_ip:={address}")
    status, output = workspace.run("robot_rl", "record.launch.py", *arguments)
    assert status == 0, output
    said = lines(output, "session")
    (episode,) = [line for line in said if "]: episode 1: success in " in line]
    assert episode.startswith("[INFO] [") and "[session]" in episode
    (done,) = [line for line in said if "]: record is done: 1 episode, 1 success" in line]
    assert str(workspace.folder / "run") in done
    assert Run(workspace.folder / "run").status_of("session")["done"]
    assert not remains(workspace)
