"""Nothing moves an arm past its gate: who commands drivers, and who publishes commands, read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("controllers", "hardware", "robot_rl", "demos")
DRIVERS = {"arm", "_arm", "world", "_world", "gripper", "_gripper"}  # what a driver is called where it is used
MOVING = {"command", "change_gains"}

COMMANDERS = {
    "hardware/ros/arm_commands.py",  # the gate of the arm node
    "robot_rl/rollout.py",  # a session in process, which is the only writer there
    "hardware/franka/rt_check.py",  # measures the loop, with no node beside it
    "demos/passivity/attacks.py",  # in simulation only
}
PUBLISHERS = {
    "robot_rl/ros/session_node.py",
    "hardware/crisp/ros/topics.py",  # a driver: behind the gate, to CRISP's controllers
}


def sources() -> Iterator[tuple[str, ast.Module]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def name_of(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def commands_a_driver(tree: ast.Module) -> bool:
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return any(isinstance(f, ast.Attribute) and f.attr in MOVING and name_of(f.value) in DRIVERS for f in calls)


def publishes_commands(tree: ast.Module) -> bool:
    """Whether a function that creates publishers also names a command topic of the arm."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            names = {name_of(node) for node in ast.walk(function)}
            if "create_publisher" in names and any(name.startswith(("TARGET_", "GRIPPER_COMMAND")) for name in names):
                return True
    return False


def test_only_the_gate_commands_drivers() -> None:
    assert {path for path, tree in sources() if commands_a_driver(tree)} <= COMMANDERS
    assert {"hardware/ros/arm_commands.py", "robot_rl/rollout.py"} <= {p for p, t in sources() if commands_a_driver(t)}


def test_only_the_session_and_a_driver_publish_commands() -> None:
    assert {path for path, tree in sources() if publishes_commands(tree)} == PUBLISHERS


def test_a_bypass_would_be_seen() -> None:
    assert commands_a_driver(ast.parse("self._arm.command(Setpoint(pose, 1))"))
    assert commands_a_driver(ast.parse("world.gripper.command(0.0)"))
    assert not commands_a_driver(ast.parse("self._teleop.command(0.0)"))
    assert publishes_commands(ast.parse("def f(node):\n node.create_publisher(PoseStamped, topics.TARGET_POSE, 1)"))
