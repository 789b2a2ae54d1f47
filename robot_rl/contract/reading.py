"""One instant, as it was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from controllers.spatial import Pose
from controllers.state import Mode


@dataclass(frozen=True, eq=False)
class Reading:
    """Everything the session knows about one instant, aligned by stamp.

    Attributes:
        stamp_ns: when the arm was measured [ns], the clock of the message stamps.
        robot_time: the arm's own clock [s].
        q: joint positions ``(7,)`` [rad].
        pose, twist, wrench: of the TCP, base axes; twist ``(6,)`` [m/s, rad/s], wrench ``(6,)`` [N, N·m].
        target: the controller's reference pose.
        gripper: opening 0–1.
        tank: energy left in the passivity tank [J].
        mode: what the controller is doing.
        images: camera name → ``(H, W, 3)`` uint8 RGB.
        objects: object name → pose in the base frame, where the scene knows it.
        fault: why no step can begin at this reading (reflex, lost sensor, stall), or "".
        budget: energy left of the episode's budget [J].
        activity: for how long the passivity filter has held back, weighted by the share held back [s]; it only grows
            while a motion lasts. See `controllers.state.Tick`.
        signals: name of a judge → what it makes of this instant, finite.
        sensed: wrench ``(6,)`` like ``wrench``, measured by a force–torque sensor; None without one.
        features: camera name → ``(rows, columns, channels)`` float16, an encoder's grid of that image, if there is one.
    """

    stamp_ns: int
    robot_time: float
    q: np.ndarray
    pose: Pose
    twist: np.ndarray
    wrench: np.ndarray
    target: Pose
    gripper: float
    tank: float
    mode: Mode
    images: Mapping[str, np.ndarray] = field(default_factory=dict)
    objects: Mapping[str, Pose] = field(default_factory=dict)
    fault: str = ""
    budget: float = 0.0
    activity: float = 0.0
    signals: Mapping[str, float] = field(default_factory=dict)
    sensed: np.ndarray | None = None
    features: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def contact(self) -> np.ndarray:
        """The wrench ``(6,)`` of what touches the arm: the sensor's, or the arm's own estimate without one."""
        return self.wrench if self.sensed is None else self.sensed
