"""The import rules of docs/ARCHITECTURE.md, checked on the source: who may import what.

Imports inside functions and under TYPE_CHECKING count too, and so does ``importlib.import_module("...")``.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("controllers", "hardware", "robot_rl", "demos")  # each may import itself and those before it

# Rooms of robot_rl, and the other rooms that each may import.
ROOMS: dict[str, tuple[str, ...]] = {
    "contract": (),
    "tasks": ("contract",),
    "data": ("contract",),
    "perception": ("contract",),
    "rewards": ("contract", "perception"),
    "session": ("contract", "tasks", "perception"),
    "learner": ("contract", "data"),
    "policies": ("contract", "data", "perception", "learner"),
    "gym": ("contract", "tasks", "data", "perception", "session", "policies", "learner"),
    "ros": ("contract", "tasks", "perception", "rewards", "session", "policies"),
    "console": ("contract", "data", "ros"),
}
ROOMS["jobs"] = tuple(ROOMS)

# Packages that only some modules may import: imported package -> prefixes of the modules allowed to.
CONFINED = {
    "jax": ("robot_rl.learner", "robot_rl.policies.serving"),
    "jaxlib": ("robot_rl.learner",),
    "optax": ("robot_rl.learner",),
    "flax": ("robot_rl.learner",),
    "torch": ("robot_rl.perception", "robot_rl.policies", "robot_rl.rewards"),
    "pylibfranka": ("hardware.franka.process",),
    "franky_sim": ("hardware.sim.scene", "hardware.sim.fci"),
    "bota_driver": ("hardware.force.bota",),
    "pyrealsense2": ("hardware.cameras.realsense",),
    "viser": ("robot_rl.console",),
    "websockets": ("robot_rl.console", "robot_rl.policies.wire"),
    "msgspec": ("robot_rl.policies.wire",),
    "zmq": ("robot_rl.policies.wire",),
    "mujoco": ("hardware.sim.scene", "hardware.sim.fci", "hardware.sim.world"),
}
# Rooms of hardware that a room of it may import besides itself; those not named here import what they like.
PURE = ("hardware.interfaces", "hardware.scene", "hardware.franka.hand", "hardware.franka.collision")
HARDWARE_ROOMS = {
    "hardware.interfaces": (),
    "hardware.scene": ("hardware.franka.hand",),
    "hardware.manual_scene": (),
    "hardware.sim.scene": PURE,
    "hardware.sim.channel": PURE,
    "hardware.sim.fci": (*PURE, "hardware.sim.scene", "hardware.sim.channel", "hardware.franka.process"),
    "hardware.sim.world": (
        *PURE,
        "hardware.sim.scene",
        "hardware.sim.fci.conformance",
        "hardware.sim.fci.stops",
        "hardware.franka.model",
    ),
    "hardware.force": (*PURE, "hardware.device", "hardware.kept_files", "hardware.registry"),
    "hardware.crisp.ros": (*PURE, "hardware.crisp"),
    "hardware.crisp": (*PURE, "hardware.device"),
    "hardware.franka": (*PURE, "hardware.device"),
}
UNSAFE = ("pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib")  # reading what they wrote may run anything
ROS = ("rclpy", "rcl_interfaces", "std_srvs", "launch", "launch_ros", "builtin_interfaces")
IMPURE = ("threading", "multiprocessing", "asyncio", "time", "logging", "socket", "os", "subprocess")


def imported(module: str, source: str, is_package: bool = False) -> list[tuple[int, str]]:
    """Line and absolute name of every module that ``source``, the text of ``module``, imports."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found += [(node.lineno, alias.name) for alias in names]
            case ast.ImportFrom(module=name, level=level, names=names):
                parents = module.split(".")
                keep = len(parents) - level + is_package
                base = [*parents[:keep], name or ""] if level else [name or ""]
                prefix = ".".join(part for part in base if part)
                found.append((node.lineno, prefix))
                found += [(node.lineno, f"{prefix}.{alias.name}") for alias in names]
            case ast.Call(func=ast.Attribute(attr="import_module"), args=[ast.Constant(value=str(name)), *_]):
                found.append((node.lineno, name))
            case ast.Call(func=ast.Name(id="import_module"), args=[ast.Constant(value=str(name)), *_]):
                found.append((node.lineno, name))
    return found


def within(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def room_of(module: str) -> str:
    """The innermost of `HARDWARE_ROOMS` that ``module`` is in, or ""."""
    return max((room for room in HARDWARE_ROOMS if within(module, (room,))), key=len, default="")


def in_room(module: str, name: str) -> bool:
    """Whether ``module`` may import ``name`` of hardware as far as its room goes."""
    room = room_of(module)
    if not room:
        return True
    allowed = (room, *HARDWARE_ROOMS[room])
    return within(name, allowed) or any(within(part, (name,)) for part in allowed)


def violations(module: str, source: str, is_package: bool = False) -> list[str]:
    """Imports of ``module`` that are not allowed, one readable line each."""
    layer = module.split(".")[0]
    in_ros = "ros" in module.split(".")
    found = []
    for line, name in imported(module, source, is_package):
        top = name.split(".")[0]
        if top in LAYERS and LAYERS.index(top) > LAYERS.index(layer):
            reason = f"{layer} is below {top}"
        elif top in CONFINED and not within(module, CONFINED[top]):
            reason = f"only {' and '.join(CONFINED[top])} may"
        elif (top in ROS or top.endswith("_msgs")) and not in_ros:
            reason = "only packages named ros may"
        elif top in ROS and layer == "controllers":
            reason = "controllers.ros holds names and converters only"
        elif top in UNSAFE:
            reason = "data is read without running it"
        elif top == "hardware" and not in_room(module, name):
            reason = f"{room_of(module)} may not, see HARDWARE_ROOMS"
        elif layer == top == "hardware" and "ros" in name.split(".") and not in_ros:
            reason = "drivers know no ROS"
        elif layer == "controllers" and not in_ros and top in IMPURE:
            reason = "controllers are pure: no clock, thread, I/O or logging"
        elif reason := beyond_room(module, name):
            pass
        else:
            continue
        text = f"{module}:{line} imports {top}: {reason}"
        if text not in found:
            found.append(text)
    return found


def beyond_room(module: str, name: str) -> str:
    """Why a module of one room of robot_rl may not import ``name``; "" when it may."""
    mine, theirs = ((full.split(".") + ["", ""])[:2] for full in (module, name))
    if mine[0] != "robot_rl" or theirs[0] != "robot_rl" or theirs[1] in ("", mine[1], "__version__"):
        return ""
    if mine[1] not in ROOMS:
        return ""  # the package itself, and ``python -m robot_rl``
    if theirs[1] in ROOMS[mine[1]]:
        return ""
    return f"the room {mine[1]} may import {', '.join(ROOMS[mine[1]]) or 'no other room'}, not {theirs[1]}"


def modules() -> list[tuple[str, Path]]:
    files = [file for layer in LAYERS for file in sorted((ROOT / layer).rglob("*.py"))]
    return [(".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), file) for file in files]


def test_every_module_keeps_the_import_rules() -> None:
    found = [text for name, file in modules() for text in violations(name, file.read_text(), file.stem == "__init__")]
    assert not found, "\n".join(found)


def test_tasks_know_of_no_simulator_but_in_their_scenes() -> None:
    for module, file in modules():
        if within(module, ("robot_rl.tasks",)) and not within(module, ("robot_rl.tasks.scenes",)):
            names = [name for _, name in imported(module, file.read_text(), file.stem == "__init__")]
            assert not [name for name in names if within(name, ("hardware.sim",))], module


def test_every_module_of_robot_rl_stands_in_a_room_that_says_what_lives_there() -> None:
    package = ROOT / "robot_rl"
    assert {path.name for path in package.iterdir() if path.is_dir() and path.name != "__pycache__"} == set(ROOMS)
    assert {path.name for path in package.glob("*.py")} == {"__init__.py", "__main__.py"}
    for folder in sorted(path.parent for path in package.rglob("__init__.py")):
        text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
        assert folder == package or "May import: " in text, f"{folder.relative_to(ROOT)} says not what it may import"


def test_all_layers_are_checked() -> None:
    assert {name.split(".")[0] for name, _ in modules()} == set(LAYERS)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("controllers.core", "import hardware.interfaces"),
        ("controllers.core", "from hardware import interfaces"),
        ("controllers.core", "import time"),
        ("controllers.core", "def f():\n    from os import path"),
        ("hardware.franka.arm", "from robot_rl.contract import Reading"),
        ("hardware.franka.arm", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import demos"),
        ("hardware.franka.arm", "import rclpy"),
        ("hardware.crisp.driver", "import rclpy"),
        ("controllers.ros.converters", "import rclpy"),
        ("hardware.scene", "import mujoco"),
        ("hardware.scene", "from hardware.sim.scene.model import build_simulator"),
        ("hardware.sim.scene.model", "from hardware.sim.fci.conformance import ConformanceLimits"),
        ("hardware.sim.channel.client", "from hardware.sim.fci.link import FaultyLink"),
        ("hardware.sim.channel.client", "import mujoco"),
        ("hardware.sim.world.inprocess", "from hardware.sim.fci.server import serve"),
        ("hardware.crisp.driver", "from hardware.crisp.ros.topics import RosCrispTopics"),
        ("hardware.franka.mailbox", "import pickle"),
        ("hardware.franka.arm", "import pylibfranka"),
        ("hardware.cameras.opencv", "import pyrealsense2 as rs"),
        ("hardware.force.ati", "import bota_driver"),
        ("hardware.force.arm", "from hardware.franka.arm import FrankaArm"),
        ("robot_rl.session.session", "from std_msgs.msg import String"),
        ("robot_rl.session.session", "from std_srvs.srv import Trigger"),
        ("robot_rl.jobs.processes.learner", "import jax"),
        ("robot_rl.data.replay", "from jax import numpy as jnp"),
        ("robot_rl.data.replay", "import importlib\nimportlib.import_module('torch')"),
        ("robot_rl.learner.algorithms.rlpd", "import torch"),
        ("robot_rl.learner.loop", "from robot_rl.jobs.run import Run"),
        ("robot_rl.data.schema", "def f():\n    from robot_rl.tasks import make_task"),
        ("robot_rl.contract.steps", "from robot_rl.data import blob"),
        ("robot_rl.ros.session_node", "from robot_rl.jobs.progress import Progress"),
        ("robot_rl.tasks.reach", "import mujoco.viewer"),
        ("robot_rl.tasks.reach", "import franky_sim"),
        ("robot_rl.tasks.reach", "from ...demos import record"),
    ],
)
def test_a_forbidden_import_is_found(module: str, source: str) -> None:
    assert len(violations(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("controllers.core", "import numpy as np\nfrom .spatial import Pose"),
        ("hardware.ros.arm_node", "import time\nimport rclpy\nfrom geometry_msgs.msg import PoseStamped"),
        ("hardware.crisp.ros.topics", "import rclpy\nfrom hardware.crisp.driver import CrispState"),
        ("hardware.franka.process", "import pylibfranka\nimport os\nfrom controllers.core import Controller"),
        ("hardware.sim.world.inprocess", "import mujoco\nfrom hardware.sim.fci.conformance import Conformance"),
        ("hardware.cameras.realsense", "import pyrealsense2"),
        ("robot_rl.jobs.processes.learner", "from robot_rl.learner import rlpd\nfrom ..data import replay"),
        ("robot_rl.learner.algorithms.rlpd", "import jax\nimport optax"),
        ("robot_rl.policies.vla", "import torch"),
        ("robot_rl.perception.encoder", "import torch"),
        ("demos.record", "import robot_rl.session.session"),
    ],
)
def test_an_allowed_import_passes(module: str, source: str) -> None:
    assert violations(module, source) == []
