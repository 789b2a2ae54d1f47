"""Nothing moves an arm past its gate: who may hold what moves it, who does move it, and who publishes commands.

Read from the source. Whoever holds a driver has to name its type, because every definition is annotated; so the modules
that name one are listed here, each with its reason. Of these, all but the gates keep clear of what moves the arm,
however they call the driver.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from controllers.ros import topics

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("controllers", "hardware", "robot_rl", "demos", "benchmarks/experiments", "examples")
MOVING = {"command", "change_gains", "write_setpoint", "write_gains"}
TORQUE = {"start_torque_control", "writeOnce", "Torques", "qfrc_applied"}

# Types and functions whose value moves an arm or a gripper: module -> their names.
CAPABILITIES: dict[str, set[str]] = {
    "hardware.interfaces": {"Arm", "Gripper"},
    "hardware.franka.arm": {"FrankaArm"},
    "hardware.franka.gripper": {"FrankaGripper"},
    "hardware.franka.mailbox": {"Mailbox"},
    "hardware.franka.process": {"import_pylibfranka"},
    "hardware.crisp.driver": {"CrispArm", "CrispGripper"},
    "hardware.sim.world.inprocess": {"InProcessWorld", "InProcessGripper"},
    "benchmarks.experiments.passivity.record": {"RecordedWorld"},
    "controllers.core": {"Controller"},
}
GATES = {
    "hardware/ros/arm_commands.py",  # of the arm node
    "robot_rl/session/in_process.py",  # of a session in process, which is the only writer there
    "hardware/franka/rt_check.py",  # measures the loop, with no node beside it
    "benchmarks/experiments/passivity/attacks.py",  # in simulation only
    "demos/replay.py",  # the same
    "examples/drive_the_arm.py",  # a program of its own, with no node beside it
}
DRIVERS = {
    "hardware/franka/arm.py",  # writes into the mailbox …
    "hardware/franka/realtime.py",  # … which the loop empties into the controller, and torques into the robot
    "hardware/sim/world/inprocess.py",
    "examples/own_arm.py",  # of an arm without robot, to copy
}
HOLDERS = {
    *GATES,
    *DRIVERS,
    "hardware/ros/arm_node.py",  # hands the drivers to its gate
    "hardware/franka/gripper.py",  # the driver of the hand, and its child
    "hardware/franka/rehearsal.py",  # a controller whose torques go nowhere
    "hardware/franka/rt_probe.py",  # the same, on a timer
    "benchmarks/experiments/passivity/record.py",  # records a world
    "benchmarks/experiments/passivity/compare.py",
    "benchmarks/experiments/tables/runs.py",
    "benchmarks/experiments/people.py",  # hands a world to its rollout
    "benchmarks/experiments/vla.py",  # the same
    # Build a driver and hand it to its gate.
    "robot_rl/jobs/processes/arm.py",
    "robot_rl/gym/envs.py",
    "robot_rl/jobs/fast.py",
}
WITHOUT_ARM = {
    "hardware/franka/rt_probe.py",  # its controller moves nothing
    "benchmarks/experiments/tables/runs.py",  # its `command` is one of a shell
}
TORQUE_WRITERS = {
    "hardware/franka/realtime.py",
    "hardware/sim/world/inprocess.py",
    "hardware/sim/fci/robot.py",  # the simulated robot itself
}
PUBLISHERS = {
    "robot_rl/ros/session_node.py",
    "robot_rl/ros/teach_node.py",  # on behalf of the person who teaches a task
    "robot_rl/ros/survey_node.py",  # tilts the hand where it stands
    "hardware/crisp/ros/topics.py",  # a driver: behind the gate, to CRISP's controllers
}
COMMAND_TOPICS = {
    *topics.TARGET_POSES.values(),
    *(value for name, value in vars(topics).items() if name.startswith("TARGET_") and isinstance(value, str)),
    topics.GRIPPER_COMMAND,
    topics.CRISP_GRIPPER_COMMAND,
}


def sources() -> Iterator[tuple[str, ast.Module]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def holds_a_driver(tree: ast.Module) -> bool:
    """Whether the module imports something that moves an arm, by its name or with its whole module."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names) if any(alias.name in CAPABILITIES for alias in names):
                return True
            case ast.ImportFrom(module=str(module), names=names):
                named = {alias.name for alias in names}
                if named & CAPABILITIES.get(module, set()) or any(f"{module}.{n}" in CAPABILITIES for n in named):
                    return True
            case ast.Call(func=ast.Name(id="import_module") | ast.Attribute(attr="import_module"), args=arguments):
                if any(isinstance(a, ast.Constant) and a.value in CAPABILITIES for a in arguments):
                    return True
    return False


def touches(tree: ast.Module, attributes: set[str]) -> bool:
    """Whether an attribute of one of these names is used, of whatever object, also by its name as a string."""
    return any(
        (isinstance(node, ast.Attribute) and node.attr in attributes)
        or (isinstance(node, ast.Constant) and node.value in attributes)
        for node in ast.walk(tree)
    )


def publishes_commands(tree: ast.Module) -> bool:
    """Whether a function that creates publishers also names a command topic of the arm."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            nodes = list(ast.walk(function))
            names = {n.attr for n in nodes if isinstance(n, ast.Attribute)} | {
                n.id for n in nodes if isinstance(n, ast.Name)
            }
            commands = any(name.startswith(("TARGET_", "GRIPPER_COMMAND", "CRISP_GRIPPER_COMMAND")) for name in names)
            commands |= any(isinstance(n, ast.Constant) and n.value in COMMAND_TOPICS for n in nodes)
            if "create_publisher" in names and commands:
                return True
    return False


def test_only_these_hold_what_moves_an_arm() -> None:
    assert {path for path, tree in sources() if holds_a_driver(tree)} == HOLDERS


def test_of_those_only_the_gates_move_it() -> None:
    moving = {path for path, tree in sources() if path in HOLDERS and touches(tree, MOVING)}
    assert moving == GATES | DRIVERS | WITHOUT_ARM


def test_only_the_loop_writes_torques() -> None:
    assert {path for path, tree in sources() if touches(tree, TORQUE)} == TORQUE_WRITERS


def test_only_the_session_and_a_driver_publish_commands() -> None:
    assert {path for path, tree in sources() if publishes_commands(tree)} == PUBLISHERS


@pytest.mark.parametrize(
    "source",
    [
        "from hardware.interfaces import Arm",
        "from hardware.interfaces import ArmReading, Gripper as Hand",
        "import hardware.franka.arm as driver",
        "from hardware.franka import arm",
        "def f():\n from hardware.sim.world.inprocess import InProcessWorld",
        "import importlib\nimportlib.import_module('controllers.core')",
    ],
)
def test_a_new_holder_would_be_seen(source: str) -> None:
    assert holds_a_driver(ast.parse(source))


def test_what_cannot_move_an_arm_may_be_held() -> None:
    for name in ("WatchedArm", "WatchedGripper", "ArmReading"):
        assert not holds_a_driver(ast.parse(f"from hardware.interfaces import {name}"))


@pytest.mark.parametrize(
    "source",
    [
        "anything.at.all.command(Setpoint(pose, 1))",
        "send = x.command",
        "timer(0.1, arm.change_gains)",
        "getattr(x, 'command')(setpoint)",
    ],
)
def test_a_bypass_would_be_seen_whatever_the_driver_is_called(source: str) -> None:
    assert touches(ast.parse(source), MOVING)


def test_a_publisher_would_be_seen() -> None:
    assert publishes_commands(ast.parse("def f(node):\n node.create_publisher(PoseStamped, topics.TARGET_POSE, 1)"))
    assert publishes_commands(ast.parse("async def f(n):\n n.create_publisher(PoseStamped, 'person/target_pose', 1)"))
    assert not publishes_commands(ast.parse("def f(node):\n node.create_publisher(Joy, 'joy', 1)"))
