"""Messages of a process to the person at the terminal."""

from __future__ import annotations

import sys

from robot_rl.jobs.run import Run


class Said:
    """Lines that the process ``who`` says under ``said`` in its status, as they come."""

    def __init__(self, run: Run, who: str) -> None:
        self._run, self._who, self._shown = run, who, 0

    def update(self) -> None:
        lines = self._run.status_of(self._who).get("said", [])
        for line in lines[self._shown :]:
            sys.stdout.write(line + "\n")
        sys.stdout.flush()
        self._shown = len(lines)
