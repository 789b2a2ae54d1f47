"""Loads at which the robot's own reflex stops a motion."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CollisionThresholds:
    """Loads at which the robot's own reflex stops the motion: above contact-rich work's, below those that break things.

    Attributes:
        torque: external joint torques ``(7,)`` [N·m].
        force: external force and moment on the TCP ``(6,)`` [N, N·m].
    """

    torque: tuple[float, ...] = (40.0, 40.0, 36.0, 36.0, 32.0, 28.0, 24.0)
    force: tuple[float, ...] = (60.0, 60.0, 60.0, 30.0, 30.0, 30.0)
