"""The keyboard driver, on a real pseudo-terminal."""

from __future__ import annotations

import os
import pty
import select
import termios
from collections.abc import Iterator

import numpy as np
import pytest

from hardware.interfaces import TeleopError, Word
from hardware.teleop.keyboard import LEGEND, MOTIONS, WORDS, Keyboard, KeyboardDecoder
from hardware.teleop.motion import SLOW
from tests.contracts.teleop_contract import TeleopContract


class Terminal:
    """Both ends of a pseudo-terminal: the person types at one, the driver reads the other."""

    def __init__(self) -> None:
        self._person, self.fd = pty.openpty()
        self._open = True

    def type(self, text: bytes) -> None:
        os.write(self._person, text)
        ready, _, _ = select.select([self.fd], [], [], 10.0)
        assert ready

    def close(self) -> None:
        if self._open:
            os.close(self._person)
            self._open = False


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.close()
    os.close(terminal.fd)


class TestContract(TeleopContract):
    @pytest.fixture(autouse=True)
    def setup(self, terminal: Terminal) -> None:
        self.terminal = terminal
        self.now = 100.0

    def device(self) -> Keyboard:
        return Keyboard(self.terminal.fd, clock=lambda: self.now)

    def absent(self) -> Keyboard:
        reading, writing = os.pipe()
        os.close(reading)
        os.close(writing)
        return Keyboard(reading)

    def push_away(self) -> None:
        self.terminal.type(b"w")

    def let_go(self) -> None:
        self.now += 1.0

    def close_gripper(self) -> None:
        self.terminal.type(b" ")

    def unplug(self) -> None:
        self.terminal.close()


def twist_of(keys: bytes) -> np.ndarray:
    decoder = KeyboardDecoder()
    decoder.feed(keys, 0.0)
    return decoder.command(0.0).twist


@pytest.mark.parametrize("key", sorted(MOTIONS))
def test_each_key_moves_one_axis(key: str) -> None:
    axis, direction = MOTIONS[key]
    twist = twist_of(key.encode())
    assert np.sign(twist[axis]) == direction
    assert np.count_nonzero(twist) == 1


@pytest.mark.parametrize(("arrow", "key"), [(b"A", b"i"), (b"B", b"k"), (b"C", b"l"), (b"D", b"j")])
@pytest.mark.parametrize("introducer", [b"\x1b[", b"\x1bO", b"\x1b[1;2"])
def test_arrows_do_what_their_letters_do(introducer: bytes, arrow: bytes, key: bytes) -> None:
    np.testing.assert_array_equal(twist_of(introducer + arrow), twist_of(key))


def test_two_keys_make_a_diagonal_and_opposite_keys_cancel() -> None:
    assert np.count_nonzero(twist_of(b"wa")) == 2
    assert not twist_of(b"ws").any()


def test_capital_letters_count_too() -> None:
    np.testing.assert_array_equal(twist_of(b"W"), twist_of(b"w"))


def test_a_key_drives_until_shortly_after_its_last_repeat() -> None:
    decoder = KeyboardDecoder(hold=0.25, engaged=0.75)
    for now in (0.0, 0.2, 0.4):
        decoder.feed(b"w", now)
    assert decoder.command(0.64).twist[0] > 0.0
    rested = decoder.command(0.66)
    assert rested.engaged
    assert not rested.twist.any()
    assert not decoder.command(1.16).engaged


@pytest.mark.parametrize("keys", [b"q", b"\x1b"])
def test_letting_go_by_key(keys: bytes) -> None:
    decoder = KeyboardDecoder()
    decoder.feed(b"w", 0.0)
    decoder.feed(keys, 0.01)
    assert not decoder.command(0.1).engaged  # an escape byte is the key once nothing has followed it for 50 ms


def test_an_arrow_in_two_pieces_is_an_arrow() -> None:
    decoder = KeyboardDecoder()
    decoder.feed(b"w\x1b", 0.0)
    decoder.feed(b"[A", 0.01)
    command = decoder.command(0.1)
    assert command.twist[4] > 0.0
    assert command.twist[0] > 0.0


def test_the_gripper_toggles() -> None:
    decoder = KeyboardDecoder()
    wishes = []
    for _ in range(3):
        decoder.feed(b" ", 0.0)
        wishes.append(decoder.command(0.0).gripper)
    assert wishes == [0.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("key", "word"),
    [
        (b"\r", Word.SUCCESS),
        (b"\n", Word.SUCCESS),
        (b"\x7f", Word.FAILURE),
        (b"\b", Word.FAILURE),
        (b"x", Word.DISCARD),
        (b"e", Word.END),
        (b"p", Word.PAUSE),
        (b"c", Word.RESUME),
        (b"t", Word.TAKE_OVER),
        (b"b", Word.STOP),
    ],
)
def test_a_word_is_handed_over_once_and_does_not_engage(key: bytes, word: Word) -> None:
    decoder = KeyboardDecoder()
    decoder.feed(key, 0.0)
    first, second = decoder.command(0.0), decoder.command(0.0)
    assert (first.words, second.words) == ((word,), ())
    assert not first.engaged


def test_each_press_is_a_word_of_its_own_in_their_order() -> None:
    decoder = KeyboardDecoder()
    decoder.feed(b"\rw\x7f\r", 0.0)
    command = decoder.command(0.0)
    assert command.words == (Word.SUCCESS, Word.FAILURE, Word.SUCCESS)
    assert command.engaged


def test_bytes_that_mean_nothing_do_nothing() -> None:
    assert not twist_of(bytes(range(0x80, 0x100)) + b"zy1\x1b[15~").any()


def test_asking_what_the_keys_do_moves_nothing_and_is_counted(terminal: Terminal) -> None:
    with Keyboard(terminal.fd) as keyboard:
        terminal.type(b"??")
        command = keyboard.read()
        assert (keyboard.help_asked, command.engaged, command.words) == (2, False, ())


def test_the_legend_names_every_key() -> None:
    named = {key for line in LEGEND.splitlines() for key in line[:19].replace(",", " ").split()}
    assert named >= {*MOTIONS, *(key for key in WORDS if key.isprintable()), "q", "?", "space", "enter", "backspace"}


def test_the_terminal_is_raw_while_connected_and_restored_afterwards(terminal: Terminal) -> None:
    before = termios.tcgetattr(terminal.fd)
    with Keyboard(terminal.fd):
        local = termios.tcgetattr(terminal.fd)[3]
        assert not local & (termios.ICANON | termios.ECHO)
        assert local & termios.ISIG
    assert termios.tcgetattr(terminal.fd) == before


def test_the_terminal_is_restored_after_an_error(terminal: Terminal) -> None:
    before = termios.tcgetattr(terminal.fd)
    with pytest.raises(RuntimeError), Keyboard(terminal.fd):
        raise RuntimeError
    assert termios.tcgetattr(terminal.fd) == before


def test_a_pipe_is_no_keyboard() -> None:
    reading, writing = os.pipe()
    try:
        with pytest.raises(TeleopError, match="terminal"):
            Keyboard(reading).connect()
    finally:
        os.close(reading)
        os.close(writing)


def test_a_hold_longer_than_the_engagement_is_refused() -> None:
    with pytest.raises(ValueError, match="engages"):
        KeyboardDecoder(hold=1.0, engaged=0.5)


def test_a_key_makes_it_slow_and_fast_again_and_drives_nothing() -> None:
    decoder = KeyboardDecoder()

    def twist(keys: bytes, now: float) -> np.ndarray:
        decoder.feed(keys, now)
        return decoder.command(now).twist

    fast = twist(b"w", 1.0)
    np.testing.assert_allclose(twist(b"zw", 10.0), SLOW * fast)
    np.testing.assert_allclose(twist(b"w", 20.0), SLOW * fast)
    np.testing.assert_allclose(twist(b"Zw", 30.0), fast)
    decoder.feed(b"z", 40.0)
    assert not decoder.command(40.0).engaged
