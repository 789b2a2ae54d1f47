"""Logging of commands and processes: plain lines on stderr, each once, with who says them.

A command's line is ``who: message``; ``who`` is the room that speaks, or the module of the room of jobs. A process of a
job writes ``LEVEL who: message`` into its log, and the supervisor tells the person at the terminal what is a warning or
worse, by the name of the process. Lines of rclpy's own logger stay in the log: a node may write many in a second.
"""

from __future__ import annotations

import logging
import re
import shutil
import sys
from pathlib import Path
from typing import TextIO

PACKAGES = ("controllers", "hardware", "robot_rl", "demos")
WARNING = re.compile(r"(?:WARNING|ERROR|CRITICAL) [\w.]+: (.*)")


def configure(process: bool = False) -> None:
    """Send what is logged to stderr, in the form of a process of a job or in that of a command."""
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, _ToStderr):
            root.removeHandler(handler)
    handler = _ToStderr()
    handler.setFormatter(_Line(process))
    root.addHandler(handler)
    for name in PACKAGES:
        logging.getLogger(name).setLevel(logging.INFO)


class LiveLine:
    """The last line of the terminal, rewritten in place; all other lines scroll above it. Elsewhere there is none."""

    def __init__(self) -> None:
        self._drawn = ""

    def show(self, text: str) -> None:
        """Have ``text`` there, cut to the terminal's width; "" for nothing."""
        if not sys.stdout.isatty():
            return
        line = text[: shutil.get_terminal_size().columns - 1]
        if line == self._drawn:
            return
        self.clear()
        sys.stdout.write(line)
        sys.stdout.flush()
        self._drawn = line

    def clear(self) -> None:
        """Make room for a line that is written next."""
        if self._drawn:
            sys.stdout.write("\r\x1b[K")
            sys.stdout.flush()
            self._drawn = ""


LIVE = LiveLine()  # there is one terminal


def tell(text: str) -> None:
    """A line for the person at the terminal: the result of a command, or how far it is."""
    LIVE.clear()
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def warn(who: str, message: str) -> None:
    """A warning of the process ``who``, for the person at the terminal."""
    LIVE.clear()
    sys.stderr.write(f"{who}: {message}\n")


def speaker(logger: str) -> str:
    """Who speaks by a logger of this name: ``learner`` by ``robot_rl.learner.loop``."""
    parts = logger.split(".")
    if parts[0] not in PACKAGES or len(parts) == 1:
        return parts[0]
    return parts[2] if parts[:2] == ["robot_rl", "jobs"] and len(parts) > 2 else parts[1]


class Follower:
    """Follows the log of a process for what the person should see, from its present end on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = path.stat().st_size if path.exists() else 0
        self._torn = b""  # a line that is still being written
        self._last = ""

    def warnings(self) -> list[str]:
        """Messages of warnings and errors written since the last call; of one repeated in a row, the first."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._at)
            data = file.read()
        self._at += len(data)
        *lines, self._torn = (self._torn + data).split(b"\n")
        found = []
        for line in lines:
            text = line.decode(errors="replace").strip()
            match = WARNING.fullmatch(text)
            if match is not None and match[1] != self._last:
                self._last = match[1]
                found.append(self._last)
        return found


class _Line(logging.Formatter):
    """A record in one line; the traceback of an exception follows it."""

    def __init__(self, process: bool) -> None:
        super().__init__("%(who)s: %(line)s")
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        who = speaker(record.name)
        record.who = f"{record.levelname} {who}" if self._process else who
        record.line = " ".join(record.getMessage().split())
        return super().format(record)


class _ToStderr(logging.StreamHandler[TextIO]):
    """Writes to what `sys.stderr` is at the moment."""

    def emit(self, record: logging.LogRecord) -> None:
        LIVE.clear()
        super().emit(record)

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, stream: TextIO) -> None:
        """The constructor's; it is not kept."""
