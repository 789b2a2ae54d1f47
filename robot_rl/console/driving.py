"""A person's hands on the page, as a teleoperation device has them: the handle in the scene, the keys, the gripper.

Nothing here reads a clock: ``now`` [s] is any steady time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from controllers.spatial import Pose
from hardware.interfaces import TeleopCommand
from hardware.teleop.keyboard import KeyboardDecoder
from hardware.teleop.motion import Speeds

GAIN = 3.0  # [1/s]: speed towards the handle for each metre, or radian, that it is away
REST = 5e-4  # [m, rad] from the handle within which the arm has arrived
GRIP_TIME = 1.0  # [s] that the person drives, at rest, after a word to the gripper
SLOW = 0.2  # of the full speed, for fine work
# Key of the page → key of a terminal that does the same. The letters w a s d q e and the arrows move the camera.
KEYS = {"I": "w", "K": "s", "J": "a", "L": "d", "U": "r", "O": "f"}
SHIFTED = {"I": "i", "K": "k", "J": "j", "L": "l", "U": "u", "O": "o"}


@dataclass(frozen=True, eq=False)
class _Grip:
    """The handle while ``client`` holds it. ``start``: the TCP's pose when they took it; ``goal``: where it is now."""

    client: int
    start: Pose
    goal: Pose


class Hands:
    """Combines what all browsers do; of two that drag, the one that began first drives.

    The handle begins where the TCP is, so that taking it moves nothing, and letting go ends the motion.

    Attributes:
        slow: fine work, at a fifth of the speed.
    """

    def __init__(self, speeds: Speeds | None = None) -> None:
        self._speeds = speeds or Speeds()
        self._keys = KeyboardDecoder(self._speeds)
        self._grip: _Grip | None = None
        self._opening: float | None = None
        self._opening_until = -math.inf
        self.slow = False

    @property
    def dragging(self) -> bool:
        """Whether somebody holds the handle."""
        return self._grip is not None

    def grab(self, client: int, tcp: Pose | None) -> None:
        """``client`` takes the handle while the TCP is at ``tcp``; None: nobody knows where, and nothing happens."""
        if self._grip is None and tcp is not None:
            self._grip = _Grip(client, tcp, tcp)

    def drag(self, client: int, handle: Pose) -> None:
        """The handle is at ``handle``, which was not turned when it was taken."""
        grip = self._grip
        if grip is not None and grip.client == client:
            goal = Pose.from_rotation(handle.translation, handle.rotation @ grip.start.rotation)
            self._grip = _Grip(client, grip.start, goal)

    def let_go(self, client: int) -> None:
        """``client`` no longer holds the handle, or is gone."""
        if self._grip is not None and self._grip.client == client:
            self._grip = None

    def key(self, key: str, now: float) -> None:
        """A key of a terminal (see `hardware.teleop.keyboard`) has gone down, or repeats."""
        self._keys.feed(key.encode(), now)

    def grip(self, opening: float, now: float) -> None:
        """Close (0) or open (1) the gripper."""
        self._opening, self._opening_until = opening, now + GRIP_TIME

    def command(self, now: float, tcp: Pose | None) -> TeleopCommand:
        """The person's command; ``tcp``: where the TCP is now."""
        opening = self._opening if now < self._opening_until else None
        keys = self._keys.command(now)
        share = SLOW if self.slow else 1.0
        if self._grip is not None and tcp is not None:
            return TeleopCommand(self._towards(self._grip.goal, tcp, share), opening)
        return TeleopCommand(share * keys.twist, opening, engaged=keys.engaged or opening is not None)

    def _towards(self, goal: Pose, tcp: Pose, share: float) -> np.ndarray:
        """Twist ``(6,)`` [m/s, rad/s] that brings the TCP to ``goal``, at most as fast as the device drives."""
        away = goal.difference(tcp)
        parts = []
        for part, speed in ((away[:3], self._speeds.linear), (away[3:], self._speeds.angular)):
            distance = float(np.linalg.norm(part))
            wanted = min(GAIN * distance, share * speed) if distance > REST else 0.0
            parts.append(part * (wanted / distance if distance > 0.0 else 0.0))
        return np.concatenate(parts)
