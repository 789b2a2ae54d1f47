"""Servers that answer with places, of the TCP or of joints: the arm, which gives way, gets there all the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from controllers.core import ControllerConfig
from controllers.spatial import Pose, rotation_to_rpy
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.contract import Ending
from robot_rl.policies import Served
from robot_rl.policies.wire.joints import model
from robot_rl.policies.wire.remote import make_remote
from robot_rl.session.config import SessionConfig
from robot_rl.session.in_process import Rollout
from robot_rl.session.session import Session
from robot_rl.tasks.base import scene_of
from robot_rl.tasks.file import FileTask
from robot_rl.tasks.keys import parse
from tests.robot_rl.policies.wire.serving import openpi_server
from tests.robot_rl.session_bench import Sink

pytest.importorskip("franky_sim")

SPEED, TURN = 0.05, 0.25  # [m/s, rad/s] of the way to the goal
RATE, ROWS = 15.0, 12
TASK = FileTask(
    parse(
        {
            "name": "there",
            "start": {"position": [0.5, 0.0, 0.25]},
            "workspace": {"lower": [0.4, -0.15, 0.1], "upper": [0.65, 0.15, 0.35]},
            "axes": {"x": 0.01, "y": 0.01, "z": 0.01, "roll": 0.05, "pitch": 0.05, "yaw": 0.05},
            "fields": ["tcp_position", "tcp_rotation", "joints"],
            "goal": {
                "position": [0.54, 0.03, 0.2],
                "rpy_deg": [175, 0, 10],
                "tolerance": [0.006] * 3,
                "tolerance_deg": 3,
            },
            "horizon": 100,
        }
    )
)
GOAL = TASK.goal
STATE = {"state": {"tcp": ["tcp_position", "tcp_rotation"], "joints": ["joints"]}}
OF_TCP = [
    *({"axis": axis, "means": "absolute", "unit": "m"} for axis in "xyz"),
    *({"axis": axis, "means": "absolute", "unit": "deg"} for axis in ("roll", "pitch", "yaw")),
]


def way(asked: dict[str, Any]) -> list[Pose]:
    """Poses on the way from the measured one to the goal, one a row."""
    here, poses = Pose.from_rotvec(asked["tcp"][:3], asked["tcp"][3:]), []
    for _ in range(ROWS):
        left = GOAL.difference(here)
        limit = np.array([SPEED] * 3 + [TURN] * 3) / RATE
        here = here.moved(np.clip(left, -limit, limit))
        poses.append(here)
    return poses


def by_places(asked: dict[str, Any]) -> dict[str, Any]:
    rows = [[*pose.translation, *np.degrees(rotation_to_rpy(pose.rotation))] for pose in way(asked)]
    return {"actions": np.array(rows)}


def joint_path(asked: dict[str, Any]) -> np.ndarray:
    q, path = np.asarray(asked["joints"], float), []
    for pose in way(asked):
        q = model().inverse_kinematics(pose, q)
        path.append(q)
    return np.array(path)


def by_joints(asked: dict[str, Any]) -> dict[str, Any]:
    return {"actions": joint_path(asked)}


def by_velocities(asked: dict[str, Any]) -> dict[str, Any]:
    """As DROID has them: 1 is 0.2 rad a row."""
    return {"actions": np.diff(joint_path(asked), axis=0, prepend=[asked["joints"]]) / 0.2}


@pytest.mark.parametrize(
    ("answer", "columns"),
    [
        (by_places, OF_TCP),
        (by_joints, [{"axis": f"joint{n}", "means": "absolute", "unit": "rad"} for n in range(1, 8)]),
        (by_velocities, [{"axis": f"joint{n}", "means": "delta", "unit": 0.2} for n in range(1, 8)]),
    ],
    ids=["tcp", "joints", "joint velocities"],
)
def test_the_arm_gets_there(
    answer: Callable[[dict[str, Any]], object], columns: list[dict[str, Any]], tmp_path: Path
) -> None:
    path, sink = tmp_path / "server.yaml", Sink()
    with (
        openpi_server(answer) as server,
        InProcessWorld(scene_of(TASK), TASK.bound(ControllerConfig())) as world,
    ):
        world.start()
        path.write_text(yaml.safe_dump({"address": server.address, **STATE, "columns": columns, "rate": RATE}))
        policy = make_remote(Served("openpi", path), TASK, TASK.control_period, {})
        rollout = Rollout(Session(TASK, SessionConfig(), sink, seed=0), world)
        while not (sink and sink[0].outcome is not None):
            rollout.step(policy)
        policy.close()
    outcome = sink[0].outcome
    assert outcome is not None and outcome.ending is Ending.SUCCESS, len(sink[0].steps)
    assert not any(step.timing.late for step in sink[0].steps)
