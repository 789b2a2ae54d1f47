"""A plant and its controller in a closed loop, for the tests of the core."""

from __future__ import annotations

from typing import Any

import numpy as np

from controllers.core import Controller, ControllerConfig
from controllers.passivity import TankConfig
from controllers.spatial import Pose
from controllers.state import Event, EventKind, Setpoint, Tick
from controllers.workspace import Workspace

MILLISECONDS = 1000
# The reference may jump: no speed limit, no outflow cap.
JUMPS: dict[str, Any] = {
    "max_speed": np.inf,
    "max_turn_speed": np.inf,
    "tank": TankConfig(outflow=np.inf),
}
BOX = Workspace(np.array([0.2, -0.3, 0.1]), np.array([0.36, 0.3, 0.7]))


class Loop:
    """A plant and its controller."""

    def __init__(self, plant: Any, config: ControllerConfig | None = None) -> None:
        self.plant = plant
        self.controller = Controller(plant.model, config or ControllerConfig())
        self.events: list[Event] = list(self.controller.start(plant.state()))
        self.home = plant.model.pose
        self.seq = 0

    def command(self, pose: Pose, duration: float = 0.1, seq: int | None = None) -> tuple[Event, ...]:
        self.seq = self.seq + 1 if seq is None else seq
        events = self.controller.command(Setpoint(pose, self.seq, duration), self.plant.time)
        self.events += events
        return events

    def tick(self) -> Tick:
        result = self.controller.tick(self.plant.state())
        self.events += result.events
        self.plant.step(result.torque)
        return result

    def run(self, seconds: float) -> list[Tick]:
        return [self.tick() for _ in range(round(seconds * MILLISECONDS))]

    def kinds(self) -> list[EventKind]:
        return [event.kind for event in self.events]


def along_x(pose: Pose, distance: float) -> Pose:
    return pose.moved(np.array([distance, 0.0, 0.0, 0.0, 0.0, 0.0]))
