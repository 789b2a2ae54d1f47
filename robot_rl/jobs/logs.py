"""Logging of commands and processes: plain lines on stderr, each once, with who says them.

A command's line is ``who: message``; ``who`` is the room that speaks, or the module of the room of jobs. A process of a
job writes ``LEVEL who: message`` into its log, and the supervisor tells the person at the terminal what is a warning or
worse, by the name of the process. Lines of rclpy's own logger stay in the log: a node may write many in a second.
Under ``ros2 launch``, which shows all that its processes write, a line looks like those of rclpy.
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
ANYTHING = re.compile(r"(?:INFO|WARNING|ERROR|CRITICAL) [\w.]+: (.*)")


def configure(process: str = "", launched: bool = False) -> None:
    """Send what is logged to stderr, in the form of a command or of the ``process`` of a job, ``launched`` or not."""
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, _ToStderr):
            root.removeHandler(handler)
    handler = _ToStderr()
    handler.setFormatter(_LaunchedLine(process) if launched else _Line(bool(process)))
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
    if parts[:3] == ["robot_rl", "jobs", "processes"]:
        return parts[-1]
    return parts[2] if parts[:2] == ["robot_rl", "jobs"] and len(parts) > 2 else parts[1]


class Follower:
    """Follows the log of a process for what the person should see, from its present end on.

    ``talks``: they should see all that it logs.
    """

    def __init__(self, path: Path, talks: bool = False) -> None:
        self._path = path
        self._seen = ANYTHING if talks else WARNING
        self._at = path.stat().st_size if path.exists() else 0
        self._torn = b""  # a line that is still being written
        self._last = ""

    def warnings(self) -> list[str]:
        """Messages to show that were written since the last call; of one repeated in a row, the first."""
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
            match = self._seen.fullmatch(text)
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


class _LaunchedLine(logging.Formatter):
    """A record of the process ``who`` as a line of rclpy's, in the words of ``ros2 launch``."""

    def __init__(self, who: str) -> None:
        from robot_rl.jobs.front_end import as_launched

        super().__init__(f"[%(severity)s] [%(created).9f] [{who}]: %(line)s")
        self._worded = as_launched

    def format(self, record: logging.LogRecord) -> str:
        record.severity = {"WARNING": "WARN", "CRITICAL": "FATAL"}.get(record.levelname, record.levelname)
        record.line = self._worded(" ".join(record.getMessage().split()))
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
