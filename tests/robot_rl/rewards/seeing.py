"""Readings in which success is to be seen: a bright square in the right half of the picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from robot_rl.contract import Reading, View
from robot_rl.rewards.saved import Seen
from tests.robot_rl.readings import FAR, PerfectArm

SIZE = 64  # pixels
SEEN = Seen({"front": View(size=SIZE)}, ("wrench", "pose"))


def look(success: bool, rng: np.random.Generator, arm: PerfectArm | None = None) -> Reading:
    """The next reading of ``arm``, with noise, a square on either side, and a wrench that tells nothing."""
    picture = rng.integers(0, 60, (SIZE, SIZE, 3), dtype=np.uint8)
    left, top = rng.integers(0, 14, 2) + (34 if success else 2, 20)
    picture[top : top + 16, left : left + 16] = 220
    found = (arm or PerfectArm(FAR)).reading()
    return replace(found, images={"front": picture}, wrench=rng.normal(size=6))
