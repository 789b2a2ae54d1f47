"""The task reach by a server: what its names mean, and the way straight to the goal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from robot_rl.contract import warm_up
from robot_rl.policies.wire.remote import RemotePolicy
from robot_rl.tasks.reach import Reach

STEP = 0.01  # [m] of a full action
ROWS = 4
FILE = {
    "state": {"observation/way": ["to_goal"], "observation/velocity": ["linear_velocity"]},
    "prompt": "prompt",
    "columns": [
        {"axis": "z", "means": "delta", "unit": "mm"},
        {"ignored": "roll"},
        {"axis": "x", "means": "delta", "unit": "m"},
        {"axis": "y", "means": "delta", "unit": "cm"},
    ],
}


def written(folder: Path, address: str, **changes: Any) -> Path:
    """A file that names the server at ``address``."""
    path = folder / "server.yaml"
    path.write_text(yaml.safe_dump({**FILE, "address": address, **changes}))
    return path


def asked_once(policy: RemotePolicy) -> None:
    """Ask the server behind ``policy`` as before the first episode, and leave it."""
    try:
        warm_up(policy, Reach().state_size, {}, "reach it")
    finally:
        policy.close()


def straight(asked: dict[str, Any]) -> dict[str, Any]:
    """The answer that leads to the goal, in the units of `FILE`."""
    way = np.asarray(asked["observation/way"], dtype=float)
    rows = []
    for _ in range(ROWS):
        step = np.clip(way, -STEP, STEP)
        way = way - step
        rows.append([1000.0 * step[2], 7.0, step[0], 100.0 * step[1]])
    return {"actions": np.array(rows), "server_timing": {"infer_ms": 1.0}}
