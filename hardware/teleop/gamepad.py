"""Gamepads by Linux's joystick interface (``/dev/input/js*``): Xbox and PlayStation pads alike, no library.

An event is ``struct js_event``: time [ms] u32, value i16, type u8, number u8. On opening, the kernel sends the present
state as events marked INIT. Events come on change only.

    hold RB / R1    drive; nothing moves without it
    left stick      away / towards, left / right
    right stick     up / down, yaw
    directional pad pitch, roll
    hold LT / L2    slow, for fine work
    A / cross       close the gripper        B / circle      open it
    Y / square      success                  X / triangle    failure
    Xbox / Share    emergency stop

With LB / L1 held, the same buttons say other words:

    A  resume       B  pause        Y  end        X  discard        RB / R1  take over

Beyond these, Xbox and PlayStation pads number their buttons differently.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from hardware.device import Device
from hardware.interfaces import TeleopCommand, TeleopError, Word
from hardware.teleop.motion import Speeds, apply_deadzone
from hardware.teleop.stream import DeviceStream

EVENT = struct.Struct("=IhBB")
BUTTON_EVENT, AXIS_EVENT, INIT_FLAG = 0x01, 0x02, 0x80
FULL_SCALE = 32767.0

CLOSE, OPEN, FAILURE, SUCCESS, SHIFT, DRIVE, STOP = 0, 1, 2, 3, 4, 5, 8
WORDS = {FAILURE: Word.FAILURE, SUCCESS: Word.SUCCESS, STOP: Word.STOP}
SHIFTED = {  # with SHIFT held
    CLOSE: Word.RESUME,
    OPEN: Word.PAUSE,
    FAILURE: Word.DISCARD,
    SUCCESS: Word.END,
    DRIVE: Word.TAKE_OVER,
}
SLOW_AXIS, HALF_PRESSED = 2, 0.2  # the left trigger; it may read 0 until it is first touched
PERMISSION_HELP = "Add yourself to its group (`sudo usermod -aG input $USER`) and log in again."

# Rows: base x, y, z, roll, pitch, yaw; columns: axes 0–7 (left x, y, trigger; right x, y, trigger; pad x, y).
# Sticks count to the right and towards the person.
AXES_TO_BASE = np.zeros((6, 8))
AXES_TO_BASE[0, 1] = -1.0
AXES_TO_BASE[1, 0] = -1.0
AXES_TO_BASE[2, 4] = -1.0
AXES_TO_BASE[3, 6] = 1.0
AXES_TO_BASE[4, 7] = -1.0
AXES_TO_BASE[5, 3] = -1.0


class GamepadDecoder:
    """From joystick events to what the person wants. Owns no device and no clock.

    The person drives while the dead-man button is held, also with the sticks at rest: holding still is a decision, too.
    The wish for the gripper lasts until it is released.
    """

    def __init__(self, speeds: Speeds | None = None, deadzone: float = 0.12) -> None:
        if not 0.0 <= deadzone < 1.0:
            raise ValueError(f"the dead zone is a share of the full deflection in [0, 1), not {deadzone}")
        self._speeds = speeds or Speeds()
        self._deadzone = deadzone
        self._axes = np.zeros(8)
        self._driving = False
        self._gripper: float | None = None
        self._shifted = False
        self._words: tuple[Word, ...] = ()

    def feed(self, data: bytes) -> None:
        """Take in whole events; numbers that the layout does not know are left aside."""
        for _, value, kind, number in EVENT.iter_unpack(data[: len(data) - len(data) % EVENT.size]):
            if kind & ~INIT_FLAG == AXIS_EVENT and number < len(self._axes):
                self._axes[number] = value / FULL_SCALE
            elif kind & ~INIT_FLAG == BUTTON_EVENT:
                # A button held before the device was opened is no decision: the dead-man button must be pressed anew.
                self._button(number, bool(value) and not kind & INIT_FLAG)

    def command(self) -> TeleopCommand:
        """The person's command. A word is handed over once."""
        words, self._words = self._words, ()
        if not self._driving:
            return TeleopCommand(twist=np.zeros(6), engaged=False, words=words)
        deflection = AXES_TO_BASE @ apply_deadzone(self._axes, self._deadzone)
        slow = bool(self._axes[SLOW_AXIS] > HALF_PRESSED)
        return TeleopCommand(twist=self._speeds.twist(deflection, slow), gripper=self._gripper, words=words)

    def _button(self, number: int, pressed: bool) -> None:
        if number == DRIVE:
            self._driving = pressed
            if not pressed:
                self._gripper = None
        if number == SHIFT:
            self._shifted = pressed
        if not pressed:
            return
        if self._shifted and number in SHIFTED:
            self._words += (SHIFTED[number],)
        elif number in WORDS:
            self._words += (WORDS[number],)
        elif number == CLOSE:
            self._gripper = 0.0
        elif number == OPEN:
            self._gripper = 1.0


class Gamepad(Device):
    """The gamepad at ``path``, or the first there is. ``connect`` raises `TeleopError` when there is none."""

    def __init__(
        self, path: Path | None = None, decoder: GamepadDecoder | None = None, inputs: Path = Path("/dev/input")
    ) -> None:
        self._path = path
        self._decoder = decoder or GamepadDecoder()
        self._inputs = inputs
        self._stream: DeviceStream | None = None

    def connect(self) -> None:
        if self._stream is not None:
            return
        path = self._path
        if path is None:
            found = sorted(self._inputs.glob("js*"), key=lambda path: (len(path.name), path.name))
            if not found:
                raise TeleopError(
                    f"no gamepad found under {self._inputs}: plug it in or pair it; `ls {self._inputs}/js*` must list "
                    "it (the kernel module is `joydev`)"
                )
            path = found[0]
        self._stream = DeviceStream(path, "gamepad", PERMISSION_HELP)

    def disconnect(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def read(self) -> TeleopCommand:
        """The person's command now. Never blocks. Raises `TeleopError` once unplugged."""
        if self._stream is None:
            raise TeleopError("the gamepad is not connected; call connect() first")
        for data in self._stream.drain(64 * EVENT.size):
            self._decoder.feed(data)
        return self._decoder.command()
