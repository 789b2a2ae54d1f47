"""The gamepad driver, on joystick events as the kernel sends them, through a real file descriptor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hardware.interfaces import TeleopError, Word
from hardware.teleop import TELEOP_DEVICES, make_teleop
from hardware.teleop.gamepad import Gamepad, GamepadDecoder
from hardware.teleop.motion import SLOW, Speeds
from tests.contracts.teleop_contract import TeleopContract
from tests.hardware.joystick import AXIS, BUTTON, FULL, GUIDE, INIT, LB, RB, A, B, Pad, X, Y, event

SPEEDS = Speeds(linear=0.1, angular=0.5)


@pytest.fixture
def pad(tmp_path: Path) -> Iterator[Pad]:
    pad = Pad(tmp_path)
    yield pad
    pad.close()


class TestContract(TeleopContract):
    @pytest.fixture(autouse=True)
    def setup(self, pad: Pad, tmp_path: Path) -> None:
        self.pad, self.folder = pad, tmp_path

    def device(self) -> Gamepad:
        return Gamepad(inputs=self.folder)

    def absent(self) -> Gamepad:
        return Gamepad(inputs=self.folder / "none")

    def push_away(self) -> None:
        self.pad.send(event(BUTTON, RB, 1), event(AXIS, 1, -FULL))

    def let_go(self) -> None:
        self.pad.send(event(BUTTON, RB, 0))

    def close_gripper(self) -> None:
        self.pad.send(event(BUTTON, RB, 1), event(BUTTON, A, 1))

    def unplug(self) -> None:
        self.pad.unplug()


def test_the_left_trigger_makes_it_slow_while_it_is_held() -> None:
    decoder = driving(event(AXIS, 1, -FULL))
    fast = decoder.command().twist
    decoder.feed(event(AXIS, 2, -FULL))  # at rest
    np.testing.assert_array_equal(decoder.command().twist, fast)
    decoder.feed(event(AXIS, 2, FULL))
    np.testing.assert_allclose(decoder.command().twist, SLOW * fast)
    decoder.feed(event(AXIS, 2, -FULL))
    np.testing.assert_array_equal(decoder.command().twist, fast)


def driving(*events: bytes) -> GamepadDecoder:
    decoder = GamepadDecoder(SPEEDS)
    decoder.feed(event(BUTTON, RB, 1) + b"".join(events))
    return decoder


@pytest.mark.parametrize(
    ("number", "value", "axis"),
    [
        (1, -FULL, 0),  # left stick away
        (0, -FULL, 1),  # left stick to the left
        (4, -FULL, 2),  # right stick away: up
        (6, FULL, 3),  # pad to the right: roll to the right
        (7, -FULL, 4),  # pad away: pitch away
        (3, -FULL, 5),  # right stick to the left: counter-clockwise, seen from above
    ],
)
def test_each_stick_moves_one_axis_of_the_base(number: int, value: int, axis: int) -> None:
    expected = np.zeros(6)
    expected[axis] = SPEEDS.linear if axis < 3 else SPEEDS.angular
    np.testing.assert_allclose(driving(event(AXIS, number, value)).command().twist, expected)


def test_triggers_do_not_move_the_arm() -> None:
    assert not driving(event(AXIS, 2, FULL), event(AXIS, 5, FULL)).command().twist.any()


def test_nothing_moves_without_the_dead_man_button() -> None:
    decoder = GamepadDecoder(SPEEDS)
    decoder.feed(event(AXIS, 1, -FULL))
    command = decoder.command()
    assert not command.engaged
    assert not command.twist.any()


def test_holding_still_with_the_dead_man_button_is_driving() -> None:
    assert driving().command().engaged


def test_a_dead_man_button_held_before_the_device_was_opened_does_not_count() -> None:
    decoder = GamepadDecoder(SPEEDS)
    decoder.feed(event(BUTTON | INIT, RB, 1) + event(AXIS | INIT, 1, -FULL))
    assert not decoder.command().engaged


def test_a_worn_stick_that_rests_off_centre_stands_still() -> None:
    assert not driving(event(AXIS, 0, 3000), event(AXIS, 1, -3000)).command().twist.any()


def test_buttons_close_and_open_the_gripper() -> None:
    decoder = driving(event(BUTTON, A, 1), event(BUTTON, A, 0))
    assert decoder.command().gripper == 0.0
    decoder.feed(event(BUTTON, B, 1))
    assert decoder.command().gripper == 1.0


@pytest.mark.parametrize(("button", "word"), [(Y, Word.SUCCESS), (X, Word.FAILURE), (GUIDE, Word.STOP)])
def test_a_word_is_handed_over_once_and_needs_no_dead_man_button(button: int, word: Word) -> None:
    decoder = GamepadDecoder()
    decoder.feed(event(BUTTON, button, 1))
    first, second = decoder.command(), decoder.command()
    assert (first.words, second.words) == ((word,), ())
    assert not first.engaged


@pytest.mark.parametrize(
    ("button", "word"),
    [(A, Word.RESUME), (B, Word.PAUSE), (Y, Word.END), (X, Word.DISCARD), (RB, Word.TAKE_OVER)],
)
def test_with_the_left_shoulder_held_the_buttons_say_other_words(button: int, word: Word) -> None:
    decoder = GamepadDecoder()
    decoder.feed(event(BUTTON, LB, 1) + event(BUTTON, button, 1) + event(BUTTON, button, 0) + event(BUTTON, LB, 0))
    command = decoder.command()
    assert command.words == (word,)
    decoder.feed(event(BUTTON, RB, 1))
    assert decoder.command().gripper is None, "a word is no wish for the gripper"


def test_unknown_axes_buttons_and_torn_events_are_left_aside() -> None:
    decoder = driving(event(AXIS, 40, FULL), event(BUTTON, 99, 1), event(AXIS, 1, -FULL)[:5])
    command = decoder.command()
    assert not command.twist.any()
    assert command.gripper is None


def test_the_first_pad_is_taken(tmp_path: Path, pad: Pad) -> None:
    (tmp_path / "js10").touch()
    with Gamepad(inputs=tmp_path) as device:
        pad.send(event(BUTTON, RB, 1))
        assert device.read().engaged


def test_devices_are_made_by_name() -> None:
    assert [type(make_teleop(name)).__name__ for name in TELEOP_DEVICES.builtin] == [
        "Keyboard",
        "SpaceMouse",
        "Gamepad",
    ]


def test_an_unknown_name_lists_the_choices_and_suggests_one() -> None:
    with pytest.raises(TeleopError, match=r"keyboard, spacemouse, gamepad, or module:Class; did you mean 'spacemouse'"):
        make_teleop("space_mouse")
