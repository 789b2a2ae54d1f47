"""The examples of an openpi server's names fit the tasks that they describe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from robot_rl.policies import Served
from robot_rl.policies.wire.remote import make_remote
from robot_rl.tasks.file import FileTask
from robot_rl.tasks.keys import parse

FOLDER = Path(__file__).parents[2] / "examples"
TASK: dict[str, Any] = {
    "name": "kitchen",
    "start": {"position": [0.5, 0.0, 0.2]},
    "workspace": {"lower": [0.4, -0.1, 0.1], "upper": [0.6, 0.1, 0.3]},
    "axes": {"x": 0.01, "y": 0.01, "z": 0.01, "roll": 0.05, "pitch": 0.05, "yaw": 0.05, "gripper": 1},
    "judge": "person",
    "cameras": {"front": {"size": 224}, "wrist": {"size": 224}},
}


@pytest.mark.parametrize(
    ("file", "fields"),
    [("openpi_libero.yaml", ["tcp_position", "tcp_rotation", "gripper"]), ("openpi_droid.yaml", ["joints", "gripper"])],
)
def test_it_fits(file: str, fields: list[str]) -> None:
    pytest.importorskip("franky_sim")
    task = FileTask(parse({**TASK, "fields": fields}))
    images = {"front": (224, 224), "wrist": (224, 224)}
    make_remote(Served("openpi", FOLDER / file), task, task.control_period, images)
