"""Readings in which progress is to be seen: a bright square, on the right for success, half way for half of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from robot_rl.contract import Reading, View
from robot_rl.rewards.filtering import FilterSettings
from robot_rl.rewards.saved import Saved, Seen
from tests.robot_rl.readings import FAR, PerfectArm

SIZE = 64  # pixels
SEEN = Seen({"front": View(size=SIZE)}, ("wrench", "pose"))
SAVED = Saved(  # of success alone, without a threshold
    task="reach",
    period=0.1,
    encoder="efficientnet_lite0",
    digest="0",
    seen=SEEN,
    weights="0123456789abcdef",
    temperature=1.0,
    offset=0.0,
    learning=(),
    stopping=(),
    filter=FilterSettings(),
)


def look(progress: float, rng: np.random.Generator, arm: PerfectArm | None = None) -> Reading:
    """The next reading of ``arm``, with noise, a square from left to right, and a wrench that tells nothing."""
    picture = rng.integers(0, 60, (SIZE, SIZE, 3), dtype=np.uint8)
    left, top = rng.integers(0, 14, 2) + (2 + round(32 * progress), 20 if progress in (0, 1) else 2)
    picture[top : top + 16, left : left + 16] = 220
    found = (arm or PerfectArm(FAR)).reading()
    return replace(found, images={"front": picture}, wrench=rng.normal(size=6))
