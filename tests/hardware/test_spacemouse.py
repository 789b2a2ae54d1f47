"""The SpaceMouse driver, on HID reports as the devices send them, through a real file descriptor."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hardware.interfaces import TeleopError, Word
from hardware.teleop.motion import SLOW, Speeds
from hardware.teleop.spacemouse import SpaceMouse, SpaceMouseDecoder, find_spacemice
from tests.contracts.teleop_contract import TeleopContract

COMPACT = "HID_ID=0003:0000256F:0000C635"
NAVIGATOR = "HID_ID=0003:0000046D:0000C626"
LOGITECH_KEYBOARD = "HID_ID=0003:0000046D:0000C31C"
FULL = 350
PIPE_BYTES = 2**20  # every report takes a page of the pipe
NOBODY = 65534
SPEEDS = Speeds(linear=0.1, angular=0.5)


def translation(x: int = 0, y: int = 0, z: int = 0) -> bytes:
    """A SpaceNavigator's report: device axes right, towards the person, down."""
    return b"\x01" + struct.pack("<3h", x, y, z)


def rotation(x: int = 0, y: int = 0, z: int = 0) -> bytes:
    return b"\x02" + struct.pack("<3h", x, y, z)


def buttons(bits: int) -> bytes:
    return bytes([3, bits])


class Machine:
    """The parts of a Linux machine that the driver looks at: /sys/class/hidraw and /dev.

    A device file leads to a pipe in packet mode, where one read returns one report, as with a raw HID device.
    """

    def __init__(self, root: Path) -> None:
        self.sysfs, self.dev = root / "sys", root / "dev"
        self.sysfs.mkdir()
        self.dev.mkdir()
        self._open: set[int] = set()

    def plug(self, number: int, hid_id: str) -> int:
        """Plug in a device; returns the descriptor on which to write its reports."""
        uevent = self.sysfs / f"hidraw{number}" / "device" / "uevent"
        uevent.parent.mkdir(parents=True)
        uevent.write_text(f"DRIVER=hid-generic\n{hid_id}\nHID_NAME=3Dconnexion SpaceMouse\nHID_PHYS=usb-1/input0\n")
        reading, writing = os.pipe2(os.O_DIRECT | os.O_CLOEXEC)
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._open |= {reading, writing}
        (self.dev / f"hidraw{number}").symlink_to(f"/proc/self/fd/{reading}")
        return writing

    def unplug(self, writing: int) -> None:
        os.close(writing)
        self._open.discard(writing)

    def close(self) -> None:
        for descriptor in self._open:
            os.close(descriptor)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    machine.close()


class TestContract(TeleopContract):
    @pytest.fixture(autouse=True)
    def setup(self, machine: Machine) -> None:
        self.machine = machine
        self.cap = machine.plug(2, COMPACT)
        self.now = 100.0

    def device(self) -> SpaceMouse:
        return SpaceMouse(clock=lambda: self.now, sysfs=self.machine.sysfs, dev=self.machine.dev)

    def absent(self) -> SpaceMouse:
        return SpaceMouse(sysfs=self.machine.sysfs / "none", dev=self.machine.dev)

    def push_away(self) -> None:
        os.write(self.cap, translation(y=-FULL))
        os.write(self.cap, rotation())

    def let_go(self) -> None:
        os.write(self.cap, translation())
        self.now += 0.5

    def close_gripper(self) -> None:
        os.write(self.cap, buttons(1))

    def unplug(self) -> None:
        self.machine.unplug(self.cap)


@pytest.mark.parametrize(
    ("report", "axis", "sign"),
    [
        (translation(y=-FULL), 0, 1.0),  # pushed away
        (translation(x=-FULL), 1, 1.0),  # to the left
        (translation(z=-FULL), 2, 1.0),  # pulled up
        (rotation(y=-FULL), 3, 1.0),  # tilted to the right: about the axis that points away
        (rotation(x=-FULL), 4, 1.0),  # nodded away: about the axis that points left
        (rotation(z=-FULL), 5, 1.0),  # turned counter-clockwise, seen from above
        (translation(z=FULL), 2, -1.0),
    ],
)
def test_each_axis_moves_one_axis_of_the_base(report: bytes, axis: int, sign: float) -> None:
    decoder = SpaceMouseDecoder(SPEEDS)
    decoder.feed(report, 0.0)
    expected = np.zeros(6)
    expected[axis] = sign * (SPEEDS.linear if axis < 3 else SPEEDS.angular)
    np.testing.assert_allclose(decoder.command(0.01).twist, expected)


def test_newer_models_send_translation_and_rotation_together() -> None:
    decoder = SpaceMouseDecoder(SPEEDS)
    decoder.feed(b"\x01" + struct.pack("<6h", 0, -FULL, 0, 0, 0, FULL), 0.0)
    np.testing.assert_allclose(decoder.command(0.0).twist, [0.1, 0.0, 0.0, 0.0, 0.0, -0.5])


def test_reports_recorded_from_a_spacemouse_compact() -> None:
    """Pulled up, slightly tilted: published at github.com/CloudCompare/CloudCompare/pull/2339."""
    decoder = SpaceMouseDecoder(SPEEDS, deadzone=0.1)
    for report in ("02 20 00 00 00 17 00", "01 12 00 00 00 f8 00", "02 1d 00 00 00 1b 00", "01 0d 00 00 00 25 01"):
        decoder.feed(bytes.fromhex(report), 0.0)
    twist = decoder.command(0.0).twist
    assert twist[2] == pytest.approx(-0.1 * (293 / 350 - 0.1) / 0.9)
    assert not np.delete(twist, 2).any()


def test_the_deadzone_hides_drift_and_leaves_no_jump_at_its_edge() -> None:
    decoder = SpaceMouseDecoder(SPEEDS, deadzone=0.1)
    decoder.feed(translation(y=-34), 0.0)
    assert not decoder.command(0.0).engaged
    decoder.feed(translation(y=-36), 0.0)
    assert 0.0 < decoder.command(0.0).twist[0] < 0.001


def test_more_than_full_scale_is_full_scale() -> None:
    decoder = SpaceMouseDecoder(SPEEDS)
    decoder.feed(translation(y=-32768), 0.0)
    assert decoder.command(0.0).twist[0] == pytest.approx(0.1)


def test_the_person_stays_engaged_for_the_hold_time_after_centring() -> None:
    decoder = SpaceMouseDecoder(SPEEDS, hold=0.3)
    decoder.feed(translation(y=-FULL), 1.0)
    decoder.feed(translation(), 1.1)
    command = decoder.command(1.29)
    assert command.engaged
    assert not command.twist.any()
    assert not decoder.command(1.31).engaged


def test_a_device_that_drops_out_mid_push_stops_driving() -> None:
    decoder = SpaceMouseDecoder(SPEEDS, hold=0.3)
    decoder.feed(translation(y=-FULL), 1.0)
    assert decoder.command(1.2).twist.any()
    assert not decoder.command(1.31).engaged


def test_a_rotation_report_does_not_keep_an_old_translation_alive() -> None:
    decoder = SpaceMouseDecoder(SPEEDS, hold=0.3)
    decoder.feed(translation(y=-FULL), 1.0)
    decoder.feed(rotation(z=FULL), 1.5)
    np.testing.assert_allclose(decoder.command(1.5).twist, [0, 0, 0, 0, 0, -0.5])


def test_left_closes_right_opens_and_the_wish_ends_with_the_engagement() -> None:
    decoder = SpaceMouseDecoder(SPEEDS, hold=0.3)
    decoder.feed(buttons(0b01), 1.0)
    assert decoder.command(5.0).gripper == 0.0  # held
    decoder.feed(buttons(0b00), 5.0)
    decoder.feed(buttons(0b10), 5.1)
    decoder.feed(buttons(0b00), 5.1)
    assert decoder.command(5.2).gripper == 1.0
    assert decoder.command(5.5).gripper is None


@pytest.mark.parametrize(
    ("bit", "word"),
    [
        (12, Word.SUCCESS),
        (13, Word.FAILURE),
        (14, Word.DISCARD),
        (15, Word.END),
        (22, Word.STOP),
        (23, Word.TAKE_OVER),
        (24, Word.RESUME),
        (25, Word.PAUSE),
    ],
)
def test_the_further_buttons_of_the_larger_models_say_words_once_for_each_press(bit: int, word: Word) -> None:
    decoder = SpaceMouseDecoder()
    held = b"\x03" + struct.pack("<I", 1 << bit)
    decoder.feed(held, 0.0)
    decoder.feed(held, 0.1)
    command = decoder.command(0.1)
    assert command.words == (word,)
    assert not command.engaged and command.gripper is None
    decoder.feed(buttons(0), 0.2)
    decoder.feed(held, 0.3)
    assert decoder.command(0.3).words == (word,)
    assert decoder.command(0.4).words == ()


@pytest.mark.parametrize("report", [b"", b"\x01", b"\x01\x00\x01", b"\x02\x00", b"\x03", b"\x17\x64", bytes(64)])
def test_torn_and_foreign_reports_are_left_aside(report: bytes) -> None:
    decoder = SpaceMouseDecoder()
    decoder.feed(report, 0.0)
    assert not decoder.command(0.0).engaged
    assert decoder.reports == 0


def test_known_models_are_found_in_order_and_others_are_not(machine: Machine) -> None:
    machine.plug(10, COMPACT)
    machine.plug(9, NAVIGATOR)
    machine.plug(1, LOGITECH_KEYBOARD)
    found = find_spacemice(machine.sysfs, machine.dev)
    assert list(found.values()) == ["SpaceNavigator", "SpaceMouse Compact"]


def test_every_waiting_report_is_read_from_every_interface(machine: Machine) -> None:
    silent, moving = machine.plug(0, COMPACT), machine.plug(1, COMPACT)
    device = SpaceMouse(clock=lambda: 1.0, sysfs=machine.sysfs, dev=machine.dev)
    with device:
        for x in range(100):
            os.write(moving, translation(x=x))
        os.write(moving, translation(y=-FULL))
        os.write(silent, b"\x17\x64")
        assert device.read().twist[0] > 0.09
        assert device.reports == 101


@pytest.fixture
def forbidden(tmp_path: Path) -> Path:
    path = tmp_path / "hidraw0"
    path.touch(mode=0o000)
    return path


@pytest.fixture
def ordinary_user() -> Iterator[None]:
    """Root may read everything; be nobody for a moment."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    yield
    os.seteuid(user)


def test_a_device_that_may_not_be_read_names_the_udev_rule(forbidden: Path, ordinary_user: None) -> None:
    with pytest.raises(TeleopError, match=r"hidraw0 may not be read.*udev.*256f"):
        SpaceMouse(forbidden).connect()


def test_a_deadzone_outside_its_range_is_refused() -> None:
    with pytest.raises(ValueError, match="dead zone"):
        SpaceMouseDecoder(deadzone=1.0)


def test_the_button_with_the_lock_makes_it_slow_and_fast_again() -> None:
    decoder = SpaceMouseDecoder()
    pushed = struct.pack("<B3h", 1, 0, -350, 0)

    def twist(now: float) -> np.ndarray:
        decoder.feed(pushed, now)
        return decoder.command(now).twist

    fast = twist(1.0)
    for now, share in ((2.0, SLOW), (3.0, 1.0)):
        decoder.feed(b"\x03" + struct.pack("<I", 1 << 26), now)
        decoder.feed(b"\x03" + struct.pack("<I", 0), now)
        np.testing.assert_allclose(twist(now), share * fast)
