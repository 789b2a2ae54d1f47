"""Teaching a task: the node that follows the person and takes the poses they show."""

from __future__ import annotations

import os
import select
import sys

from hardware.ros.runtime import ros, spin
from robot_rl.contract.files import write_atomically
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.job import HAND
from robot_rl.jobs.run import Run
from robot_rl.ros.teach_node import TeachNode
from robot_rl.tasks import make_task
from robot_rl.tasks.keys import read_file
from robot_rl.tasks.teaching import PROMPTS, Lesson, text_of

LISTEN_PERIOD = 0.1  # [s]
READ_BYTES = 1024


def main(run: Run, config: RunConfig, job: str) -> int:
    said: list[str] = []

    def say(lesson: Lesson, words: str) -> None:
        mark = lesson.next
        lines = [words] if words else []
        said.extend([*lines, f"next, the {mark.value}: {PROMPTS[mark]}" if mark is not None else "that is all"])
        run.say("teach", {"said": said})

    task = make_task(config.task)
    lesson = Lesson(with_goal=run.status_of("lesson")["goal"])
    with ros() as stop:
        node = TeachNode(lesson, task.workspace, config.source == HAND, say, config.session.teleop_timeout)
        if config.source != "keyboard":  # which the teleoperation reads
            terminal = Terminal()

            def listen() -> None:
                for line in terminal.lines():
                    node.hear(line)

            node.create_timer(LISTEN_PERIOD, listen)
        spin(node, stop, lambda: node.done, node.end_motion)
    if not node.done:
        return 0
    write_atomically(run.taught, text_of(node.lesson.task(read_file(run.task_file))).encode())
    return 0


class Terminal:
    """Lines that a person, or a program, writes to standard input."""

    def __init__(self) -> None:
        self._fd = sys.stdin.fileno() if sys.stdin is not None and not sys.stdin.closed else -1
        self._rest = b""

    def lines(self) -> list[str]:
        """The lines that have come since the last call. Never blocks."""
        while self._fd >= 0 and select.select([self._fd], [], [], 0.0)[0]:
            data = os.read(self._fd, READ_BYTES)
            self._rest += data
            if not data:
                self._fd = -1
        *lines, self._rest = self._rest.split(b"\n")
        return [line.decode(errors="replace") for line in lines]
