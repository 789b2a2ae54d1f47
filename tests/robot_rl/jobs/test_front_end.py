"""Messages in the words of ``ros2 launch``."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from robot_rl.jobs.front_end import as_launched
from robot_rl.jobs.job import COMMANDS

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("said", "launched"),
    [
        (
            "record some: robot-rl record --task reach --run runs/first, then robot-rl train --run runs/first",
            "record some: ros2 launch robot_rl record.launch.py task:=reach run:=runs/first, "
            "then ros2 launch robot_rl train.launch.py run:=runs/first",
        ),
        (
            "robot-rl train seed=1 learner.utd=8 session.horizon=9",
            "ros2 launch robot_rl train.launch.py seed:=1 overrides:='learner.utd=8 session.horizon=9'",
        ),
        ("train one first (robot-rl train), or", "train one first (ros2 launch robot_rl train.launch.py), or"),
        (
            "which policy? name a run (--run DIR), a file (policy=FILE)",
            "which policy? name a run (run:=DIR), a file (policy:=FILE)",
        ),
        ("seed=-1 must be an integer", "seed:=-1 must be an integer"),
        ("source='joystick' is unknown", "source:='joystick' is unknown"),
        ("learner.utd=0 must be", "learner.utd=0 must be"),
        ("crisp.namespace='' of arm=crisp", "crisp.namespace='' of arm:=crisp"),
        (
            "start the simulator: robot-rl sim robot_ip=127.0.0.2",
            "start the simulator: robot-rl sim robot_ip=127.0.0.2",
        ),
        ("robot-rl task check FILE", "robot-rl task check FILE"),
    ],
)
def test_commands_flags_and_settings_are_those_of_launch(said: str, launched: str) -> None:
    assert as_launched(said) == launched
    assert as_launched(launched) == launched


def messages() -> list[str]:
    """Messages that are raised or logged anywhere, as far as they stand in the source."""
    found = []
    for package in ("controllers", "hardware", "robot_rl"):
        for file in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                match node:
                    case ast.Raise(exc=ast.Call(args=arguments)):
                        found += [ast.unparse(argument) for argument in arguments]
    return found


def test_no_message_sends_a_user_of_launch_to_the_flags_of_robot_rl() -> None:
    said = [message for message in map(as_launched, messages()) if "--fast" not in message]
    assert len(said) > 100
    jobs = "|".join(COMMANDS)
    assert [message for message in said if re.search(rf"robot-rl ({jobs})\b|--(run|task|seed|config)\b", message)] == []
