"""Devices with which a person drives the arm.

All of them speak of the same twist: metres and radians per second at the TCP, in the axes of the base frame, as seen
by a person who stands behind the robot and looks along its +x axis. ``x`` is away from the person, ``y`` to the left,
``z`` up. Full deflection gives the speeds of `hardware.teleop.motion`.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from hardware.interfaces import TeleopError

if TYPE_CHECKING:
    from hardware.interfaces import TeleopDevice

DEVICES = ("keyboard", "spacemouse", "gamepad")


def make_teleop(name: str) -> TeleopDevice:
    """The device called ``name``, with its defaults, not connected. Raises `TeleopError` on a name not in `DEVICES`."""
    match name:
        case "keyboard":
            from hardware.teleop.keyboard import Keyboard

            return Keyboard()
        case "spacemouse":
            from hardware.teleop.spacemouse import SpaceMouse

            return SpaceMouse()
        case "gamepad":
            from hardware.teleop.gamepad import Gamepad

            return Gamepad()
    near = difflib.get_close_matches(name, DEVICES, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise TeleopError(f"unknown teleoperation device {name!r}; choose from {', '.join(DEVICES)}{hint}")
