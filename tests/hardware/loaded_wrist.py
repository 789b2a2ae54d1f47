"""A force–torque sensor between hand and tool, simulated: it knows how the hand stands, and nobody knows its tool."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from controllers.spatial import exp3
from hardware.force.arm import ArmWrench
from hardware.force.tool import Tool
from hardware.interfaces import ForceError, ForceEvent, ForceEventKind, ForceReading

FRAME = "wrist_ft"
TOOL = Tool(FRAME, 0.73, 0.73 * np.array([0.012, -0.021, 0.064]), np.array([11.0, -4.0, 23.0, 0.4, -0.9, 0.2]))
MOUNT = exp3(np.array([0.0, 0.0, np.radians(45.0)]))  # of the sensor in the axes of the hand
NOISE = np.array([0.2] * 3 + [0.01] * 3)  # [N, N·m] of each reading


class LoadedWrist:
    """Measures `TOOL`, turned as the arm of ``source`` is."""

    name, frame = "wrist", FRAME

    def __init__(self, source: Callable[[], ArmWrench | None]) -> None:
        self._source = source
        self._rng = np.random.default_rng(0)
        self.broken = self.saturated = self.connected = False

    def connect(self) -> None:
        self.connected = True

    def disconnect(self) -> None:
        self.connected = False

    def read(self) -> ForceReading:
        arm = self._source()
        if arm is None or self.broken:
            raise ForceError("force sensor 'wrist' measured nothing new")
        wrench = TOOL.bias + TOOL.weight(arm.pose.rotation @ MOUNT) + NOISE * self._rng.standard_normal(6)
        return ForceReading(arm.seq, wrench, self.frame, arm.time, arm.received, self.saturated)

    def events(self) -> tuple[ForceEvent, ...]:
        return ()

    def counts(self) -> dict[ForceEventKind, int]:
        return {ForceEventKind.LOST: 12}
