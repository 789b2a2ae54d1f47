"""Processes of a job that begin with their imports done: `robot_rl.jobs.fork_server` has done them once for all.

To import what it needs takes each of them more than a second of a processor, and there may be two cores.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

POLL = 0.02  # [s]
LARGEST = 1 << 16  # answer [bytes]
KEEP_ENVIRONMENT = {"SPT_NOENV": "1"}  # setproctitle shall write over the server's arguments alone
ROOM = " " * 500  # for the arguments of a process, which `ps` shows, in place of the server's


class Forks:
    """A server that forks processes, from the first one on until `close`, which they do not outlive."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[bytes] | None = None
        self._started: set[int] = set()
        self._ended: dict[int, int] = {}

    def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], log: Path, inherited: Sequence[int] = ()
    ) -> Forked:
        """Start ``python -m robot_rl ARGUMENTS`` in a session of its own, without input.

        Args:
            environment: all of its environment.
            log: file to which what it writes is appended.
            inherited: descriptors that it keeps open.
        """
        if self._server is None:
            self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._server = subprocess.Popen(
                    [sys.executable, "-m", "robot_rl.jobs.fork_server", str(theirs.fileno()), ROOM],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    env=os.environ | KEEP_ENVIRONMENT,
                    start_new_session=True,
                )
        request = json.dumps({"arguments": list(arguments), "environment": dict(environment)}).encode()
        with log.open("ab") as file:
            socket.send_fds(self._connection, [request], [file.fileno(), *inherited])
        return Forked(self, self._answer(block=True)["pid"])

    def ended(self, pid: int) -> int | None:
        """Exit status of the process, -N where signal N ended it; None while it runs."""
        while pid not in self._ended and self._answer(block=False):
            pass
        return self._ended.get(pid)

    def close(self) -> None:
        """End the server, and with it whatever it has forked and still runs."""
        if self._server is not None:
            self._connection.close()
            self._server.wait()
            self._server = None

    def _answer(self, block: bool) -> dict[str, int]:
        """The server's next message, but for ends while ``block`` has it wait for something else; {} for none."""
        while True:
            try:
                answer = self._connection.recv(LARGEST, 0 if block else socket.MSG_DONTWAIT)
            except BlockingIOError:
                return {}
            if not answer:
                if block:
                    raise RuntimeError("the server that forks a job's processes has ended")
                self._ended |= dict.fromkeys(self._started - self._ended.keys(), -signal.SIGTERM)  # they end with it
                return {}
            said: dict[str, int] = json.loads(answer)
            if "pid" in said:
                self._started.add(said["pid"])
                return said
            self._ended[said["ended"]] = said["status"]
            if not block:
                return said


class Forked:
    """One of these processes; like `subprocess.Popen`."""

    def __init__(self, forks: Forks, pid: int) -> None:
        self._forks = forks
        self.pid = pid

    def poll(self) -> int | None:
        """Exit status, -N where signal N ended it; None while it runs."""
        return self._forks.ended(self.pid)

    def wait(self) -> int:
        """Its exit status, once it has ended."""
        while (status := self.poll()) is None:
            time.sleep(POLL)
        return status

    def send_signal(self, number: int) -> None:
        """Send it a signal; nothing where it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)
