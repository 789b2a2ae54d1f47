"""3Dconnexion SpaceMouse, read from Linux's raw HID device: no library and no vendor driver.

A report is one id byte and little-endian int16 values, about ±350 at full deflection, in the axes of the device: x to
the right, y towards the person, z down. Id 1 carries the translation and, on newer models, the rotation behind it;
id 2 the rotation; id 3 the buttons as a bit field. While the cap is off its centre the device reports every 8–16 ms.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hardware.device import Device
from hardware.interfaces import TeleopCommand, TeleopError, Word
from hardware.teleop.motion import Speeds, apply_deadzone
from hardware.teleop.stream import DeviceStream

FULL_SCALE = 350.0  # counts at full deflection
TRANSLATION_REPORT, ROTATION_REPORT, BUTTON_REPORT = 1, 2, 3
MAX_REPORT_BYTES = 64
SLOW_BUTTON = 1 << 26  # of the larger models: that with the lock
LEFT_BUTTON, RIGHT_BUTTON = 0b01, 0b10
WORDS = {  # bit of a button that only the larger models have: 1, 2, 3, 4, Esc, Alt, Shift, Ctrl
    12: Word.SUCCESS,
    13: Word.FAILURE,
    14: Word.DISCARD,
    15: Word.END,
    22: Word.STOP,
    23: Word.TAKE_OVER,
    24: Word.RESUME,
    25: Word.PAUSE,
}

# Device axes (right, towards the person, down) to base axes (away, left, up). A proper rotation, so that it serves
# translations and rotations alike.
DEVICE_TO_BASE = np.array([[0.0, -1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])

MODELS = {  # (USB vendor, product): name
    (0x046D, 0xC626): "SpaceNavigator",
    (0x046D, 0xC628): "SpaceNavigator for Notebooks",
    (0x046D, 0xC62B): "SpaceMouse Pro",
    (0x256F, 0xC62E): "SpaceMouse Wireless (cable)",
    (0x256F, 0xC62F): "SpaceMouse Wireless (receiver)",
    (0x256F, 0xC631): "SpaceMouse Pro Wireless (cable)",
    (0x256F, 0xC632): "SpaceMouse Pro Wireless (receiver)",
    (0x256F, 0xC635): "SpaceMouse Compact",
    (0x256F, 0xC63A): "SpaceMouse Wireless BT",
    (0x256F, 0xC652): "3Dconnexion Universal Receiver",
}

# Products c6… only: under 046d are Logitech's keyboards, too, which nobody should be able to listen to.
UDEV_RULE = 'KERNEL=="hidraw*", ATTRS{idVendor}=="256f|046d", ATTRS{idProduct}=="c6*", MODE="0660", TAG+="uaccess"'
PERMISSION_HELP = (
    f"Put this line into /etc/udev/rules.d/70-spacemouse.rules: {UDEV_RULE} "
    "then run `sudo udevadm control --reload && sudo udevadm trigger` and plug the device in again."
)


class SpaceMouseDecoder:
    """From HID reports to what the person wants. Owns no device and no clock: ``now`` [s] is any steady time.

    The left button closes the gripper, the right one opens it; of the larger models, that with the lock makes it slow
    for fine work, and fast again. The person drives while an axis is beyond the dead zone
    or one of these is held, and for ``hold`` seconds after that. The wish for the gripper lasts as long. An axis that
    has not been reported for ``hold`` seconds counts as centred: a wireless device that drops out must not keep
    driving.
    """

    def __init__(self, speeds: Speeds | None = None, deadzone: float = 0.08, hold: float = 0.3) -> None:
        if not 0.0 <= deadzone < 1.0:
            raise ValueError(f"the dead zone is a share of the full deflection in [0, 1), not {deadzone}")
        self._speeds = speeds or Speeds()
        self._deadzone = deadzone
        self._hold = hold
        self._counts = np.zeros(6)
        self._buttons = 0
        self._reported = np.full(2, -np.inf)  # when translation and rotation were last reported
        self._engaged_until = -np.inf
        self._gripper: float | None = None
        self._words: tuple[Word, ...] = ()
        self._slow = False
        self.reports = 0

    def feed(self, report: bytes, now: float) -> None:
        """Take in one HID report. Reports of other kinds (battery, settings) and torn ones are left aside."""
        if not report:
            return
        kind, body = report[0], report[1:]
        if kind == TRANSLATION_REPORT and len(body) >= 6:
            self._counts[:3] = struct.unpack_from("<3h", body)
            self._reported[0] = now
            if len(body) >= 12:
                self._counts[3:] = struct.unpack_from("<3h", body, 6)
                self._reported[1] = now
        elif kind == ROTATION_REPORT and len(body) >= 6:
            self._counts[3:] = struct.unpack_from("<3h", body)
            self._reported[1] = now
        elif kind == BUTTON_REPORT and body:
            self._press(int.from_bytes(body[:4], "little"))
        else:
            return
        self.reports += 1
        if self._deflection(now).any() or self._held():
            self._engaged_until = now + self._hold

    def command(self, now: float) -> TeleopCommand:
        """The person's command at ``now``. A word is handed over once."""
        words, self._words = self._words, ()
        if self._held():
            self._engaged_until = now + self._hold
        if now >= self._engaged_until:
            self._gripper = None
            return TeleopCommand(twist=np.zeros(6), engaged=False, words=words)
        twist = self._speeds.twist(self._deflection(now), self._slow)
        return TeleopCommand(twist=twist, gripper=self._gripper, words=words)

    def _press(self, buttons: int) -> None:
        pressed = buttons & ~self._buttons
        self._buttons = buttons
        if pressed & RIGHT_BUTTON:
            self._gripper = 1.0
        elif pressed & LEFT_BUTTON:
            self._gripper = 0.0
        self._slow ^= bool(pressed & SLOW_BUTTON)
        self._words += tuple(word for bit, word in WORDS.items() if pressed >> bit & 1)

    def _held(self) -> bool:
        return bool(self._buttons & (LEFT_BUTTON | RIGHT_BUTTON))

    def _deflection(self, now: float) -> np.ndarray:
        """``(6,)`` in [−1, 1], base axes."""
        fresh = np.repeat(now - self._reported < self._hold, 3)
        deflection = apply_deadzone(np.where(fresh, self._counts / FULL_SCALE, 0.0), self._deadzone)
        return np.concatenate((DEVICE_TO_BASE @ deflection[:3], DEVICE_TO_BASE @ deflection[3:]))


class SpaceMouse(Device):
    """The first SpaceMouse that is plugged in, or the raw HID device at ``path``.

    ``connect`` raises `TeleopError` when there is none, or none that may be read (with the udev rule that helps). A
    receiver shows several interfaces, and one of them carries the motion, hence all are read. ``reports`` counts what
    has come: 0 after the cap was moved means that the device is asleep, or another program has taken it.
    """

    def __init__(
        self,
        path: Path | None = None,
        decoder: SpaceMouseDecoder | None = None,
        clock: Callable[[], float] = time.monotonic,
        sysfs: Path = Path("/sys/class/hidraw"),
        dev: Path = Path("/dev"),
    ) -> None:
        self._path = path
        self._decoder = decoder or SpaceMouseDecoder()
        self._clock = clock
        self._sysfs = sysfs
        self._dev = dev
        self._streams: list[DeviceStream] = []

    @property
    def reports(self) -> int:
        """Motion and button reports received so far."""
        return self._decoder.reports

    def connect(self) -> None:
        if self._streams:
            return
        found = {self._path: "SpaceMouse"} if self._path else find_spacemice(self._sysfs, self._dev)
        if not found:
            raise TeleopError(
                "no SpaceMouse found: plug it in (a wireless one: its receiver too) and check that `lsusb` lists "
                "3Dconnexion; in a container, pass /dev/hidraw* through"
            )
        refused: TeleopError | None = None
        for path, model in found.items():
            try:
                self._streams.append(DeviceStream(path, model, PERMISSION_HELP))
            except TeleopError as error:
                refused = error
        if not self._streams and refused:
            raise refused

    def disconnect(self) -> None:
        for stream in self._streams:
            stream.close()
        self._streams = []

    def read(self) -> TeleopCommand:
        """The person's command now. Never blocks. Raises `TeleopError` once unplugged."""
        if not self._streams:
            raise TeleopError("the SpaceMouse is not connected; call connect() first")
        now = self._clock()
        for stream in self._streams:
            for report in stream.drain(MAX_REPORT_BYTES):
                self._decoder.feed(report, now)
        return self._decoder.command(now)


def find_spacemice(sysfs: Path, dev: Path) -> dict[Path, str]:
    """Device files of all plugged-in models of `MODELS`, with the model's name, in order of the device number."""
    found = {}
    for entry in sorted(sysfs.glob("hidraw*"), key=lambda path: (len(path.name), path.name)):
        try:
            uevent = (entry / "device" / "uevent").read_text()
        except OSError:
            continue  # unplugged while we looked
        for line in uevent.splitlines():
            if line.startswith("HID_ID="):
                _, vendor, product = (int(part, 16) for part in line.removeprefix("HID_ID=").split(":"))
                if (vendor, product) in MODELS:
                    found[dev / entry.name] = MODELS[vendor, product]
    return found
