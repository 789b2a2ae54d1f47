"""A terminal's keyboard as a teleoperation device; `LEGEND` says what each key does.

A terminal tells when a key repeats but not when it is let go: a key drives until a moment after its last repeat, and of
several held keys only the last one repeats. Good for trying things out; demonstrations deserve a SpaceMouse.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from hardware.device import Device
from hardware.interfaces import TeleopCommand, TeleopError, Word
from hardware.teleop.motion import Speeds

LEGEND = """\
w s  a d  r f      away / towards, left / right, up / down
i k  j l  u o      pitch, yaw, roll; the arrow keys do what i k j l do
space              close the gripper, open it at the next press
enter, backspace   the episode was a success, a failure
x, e               discard the episode, end it
p, c               pause, continue (resume)
t                  take over: the person drives until they continue, also between keys
b                  brake: emergency stop
q, escape          let go at once
?                  show this"""
MOTIONS = {  # key: (axis of the twist, direction), base axes
    "w": (0, 1.0),
    "s": (0, -1.0),
    "a": (1, 1.0),
    "d": (1, -1.0),
    "r": (2, 1.0),
    "f": (2, -1.0),
    "o": (3, 1.0),
    "u": (3, -1.0),
    "i": (4, 1.0),
    "k": (4, -1.0),
    "j": (5, 1.0),
    "l": (5, -1.0),
}
ARROWS = {"A": "i", "B": "k", "C": "l", "D": "j"}  # final byte of the escape sequence: up, down, right, left
ESCAPE = "\x1b"
ESCAPE_TIMEOUT = 0.05  # [s] after which an escape byte was the key and not the start of a sequence
RELEASE_KEYS, GRIPPER_KEY, SLOW_KEY, HELP_KEY = "q", " ", "z", "?"
WORDS = {
    "\r": Word.SUCCESS,
    "\n": Word.SUCCESS,
    "\x7f": Word.FAILURE,
    "\b": Word.FAILURE,
    "x": Word.DISCARD,
    "e": Word.END,
    "p": Word.PAUSE,
    "c": Word.RESUME,
    "t": Word.TAKE_OVER,
    "b": Word.STOP,
}
READ_BYTES = 1024


class KeyboardDecoder:
    """From bytes of a terminal to what the person wants. Owns no device and no clock: ``now`` [s] is any steady time.

    Args:
        speeds: TCP speed while a key drives.
        hold: how long a key drives after its last repeat [s].
        engaged: how long the person counts as driving after the last key [s]. It bridges the pause that a terminal
            makes before a held key starts to repeat, so that control does not go back and forth.

    Attributes:
        help_asked: how many times the person has asked what the keys do.
    """

    def __init__(self, speeds: Speeds | None = None, hold: float = 0.25, engaged: float = 0.75) -> None:
        if not 0.0 < hold <= engaged:
            raise ValueError(f"a key must drive for longer than 0 s and no longer than it engages: {hold}, {engaged}")
        self._speeds = speeds or Speeds()
        self._hold = hold
        self._engaged = engaged
        self._pending = ""  # the start of an escape sequence
        self._pending_since = -np.inf
        self._driving_until: dict[str, float] = {}
        self._engaged_until = -np.inf
        self._gripper: float | None = None
        self._next_gripper = 0.0
        self._slow = False
        self._words: tuple[Word, ...] = ()
        self.help_asked = 0

    def feed(self, data: bytes, now: float) -> None:
        """Take in what the terminal sent; an escape sequence may come in pieces."""
        self._flush_escape(now)
        for char in data.decode("ascii", errors="ignore"):
            self._take(char, now)

    def command(self, now: float) -> TeleopCommand:
        """The person's command at ``now``. A word is handed over once."""
        self._flush_escape(now)
        words, self._words = self._words, ()
        if now >= self._engaged_until:
            self._gripper = None
            return TeleopCommand(twist=np.zeros(6), engaged=False, words=words)
        deflection = np.zeros(6)
        for key, until in self._driving_until.items():
            if now < until:
                axis, direction = MOTIONS[key]
                deflection[axis] += direction
        return TeleopCommand(twist=self._speeds.twist(deflection, self._slow), gripper=self._gripper, words=words)

    def _take(self, char: str, now: float) -> None:
        if char == ESCAPE:
            if self._pending:
                self._let_go()
            self._pending, self._pending_since = ESCAPE, now
        elif self._pending == ESCAPE:
            if char in "[O":
                self._pending += char
            else:
                self._pending = ""
                self._let_go()
                self._press(char, now)
        elif self._pending:
            if char in "0123456789;":
                return  # parameters: a modifier is held
            self._pending = ""
            if char in ARROWS:
                self._press(ARROWS[char], now)
        else:
            self._press(char, now)

    def _press(self, char: str, now: float) -> None:
        key = char.lower()
        if key in MOTIONS:
            self._driving_until[key] = now + self._hold
            self._engaged_until = now + self._engaged
        elif key == GRIPPER_KEY:
            self._gripper, self._next_gripper = self._next_gripper, 1.0 - self._next_gripper
            self._engaged_until = now + self._engaged
        elif key == SLOW_KEY:
            self._slow = not self._slow
        elif key in WORDS:
            self._words += (WORDS[key],)
        elif key in RELEASE_KEYS:
            self._let_go()
        elif key == HELP_KEY:
            self.help_asked += 1

    def _let_go(self) -> None:
        self._driving_until.clear()
        self._engaged_until = -np.inf

    def _flush_escape(self, now: float) -> None:
        if self._pending and now - self._pending_since > ESCAPE_TIMEOUT:
            if self._pending == ESCAPE:
                self._let_go()
            self._pending = ""


class Keyboard(Device):
    """The keyboard of the terminal behind file descriptor ``fd`` (default: standard input).

    ``connect`` stops the terminal from echoing and from waiting for whole lines (Ctrl-C still works) and ``disconnect``
    restores it. It raises `TeleopError` when there is no terminal.
    """

    def __init__(
        self,
        fd: int | None = None,
        decoder: KeyboardDecoder | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wanted_fd = fd
        self._decoder = decoder or KeyboardDecoder()
        self._clock = clock
        self._fd: int | None = None
        self._saved: list[Any] = []

    @property
    def help_asked(self) -> int:
        """How many times the person has asked what the keys do, for whoever shows `LEGEND`."""
        return self._decoder.help_asked

    def connect(self) -> None:
        if self._fd is not None:
            return
        fd = self._wanted_fd
        if fd is None:
            fd = sys.stdin.fileno() if sys.stdin is not None and not sys.stdin.closed else -1
        if fd < 0 or not os.isatty(fd):
            raise TeleopError(
                "the keyboard needs a terminal and standard input is none: start the teleoperation in a terminal of "
                "its own, without a pipe (in a container: with -it)"
            )
        self._saved = termios.tcgetattr(fd)
        mode = termios.tcgetattr(fd)
        mode[0] &= ~termios.ICRNL  # input flags: enter stays \r
        mode[3] &= ~(termios.ICANON | termios.ECHO)  # local flags
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 0, 0
        termios.tcsetattr(fd, termios.TCSANOW, mode)
        self._fd = fd

    def disconnect(self) -> None:
        if self._fd is not None:
            with contextlib.suppress(termios.error):  # the terminal is gone, and its settings with it
                termios.tcsetattr(self._fd, termios.TCSANOW, self._saved)
            self._fd = None

    def read(self) -> TeleopCommand:
        """The person's command now. Never blocks. Raises `TeleopError` when the terminal was closed."""
        if self._fd is None:
            raise TeleopError("the keyboard is not connected; call connect() first")
        now = self._clock()
        while select.select([self._fd], [], [], 0.0)[0]:
            try:
                data = os.read(self._fd, READ_BYTES)
            except OSError as error:
                raise TeleopError(f"the keyboard's terminal was closed ({error.strerror})") from error
            if not data:
                raise TeleopError("the keyboard's terminal was closed")
            self._decoder.feed(data, now)
        return self._decoder.command(now)
