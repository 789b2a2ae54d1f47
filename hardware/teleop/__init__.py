"""Devices with which a person drives the arm.

All of them speak of the same twist: metres and radians per second at the TCP, in the axes of the base frame, as seen
by a person who stands behind the robot and looks along its +x axis. ``x`` is away from the person, ``y`` to the left,
``z`` up. Full deflection gives the speeds of `hardware.teleop.motion`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hardware.interfaces import TeleopError
from hardware.registry import Registry

if TYPE_CHECKING:
    from hardware.interfaces import TeleopDevice

# Classes or functions that are called without arguments.
TELEOP_DEVICES = Registry(
    "teleop device",
    {
        "keyboard": "hardware.teleop.keyboard:Keyboard",
        "spacemouse": "hardware.teleop.spacemouse:SpaceMouse",
        "gamepad": "hardware.teleop.gamepad:Gamepad",
    },
    TeleopError,
)


def make_teleop(name: str) -> TeleopDevice:
    """The device called ``name``, with its defaults, not connected. Raises `TeleopError` for no name of a device."""
    device: TeleopDevice = TELEOP_DEVICES.load(name)()
    return device
