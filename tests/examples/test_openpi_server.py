"""The example of an openpi server's names fits the task that it describes."""

from __future__ import annotations

from pathlib import Path

from robot_rl.policies import Served
from robot_rl.policies.wire.remote import make_remote
from robot_rl.tasks.file import FileTask
from robot_rl.tasks.keys import parse

FILE = Path(__file__).parents[2] / "examples" / "openpi_server.yaml"
TASK = {
    "name": "kitchen",
    "start": {"position": [0.5, 0.0, 0.2]},
    "workspace": {"lower": [0.4, -0.1, 0.1], "upper": [0.6, 0.1, 0.3]},
    "axes": {"x": 0.01, "y": 0.01, "z": 0.01, "roll": 0.05, "pitch": 0.05, "yaw": 0.05, "gripper": 1},
    "fields": ["tcp_position", "tcp_rotation", "gripper"],
    "judge": "person",
    "cameras": {"front": {"size": 224}, "wrist": {"size": 224}},
}


def test_it_fits() -> None:
    task = FileTask(parse(TASK))
    make_remote(Served("openpi", FILE), task, task.control_period, {"front": (224, 224), "wrist": (224, 224)})
