"""The child processes of the Franka drivers.

pylibfranka never releases the interpreter's lock, so that each of its connections lives in a process of its own. The
child is a fresh interpreter that imports one module, and nothing of the program that started it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from hardware.franka.messages import MessagePipe
from hardware.interfaces import ArmConnectionError, HardwareError

ROBOT_PORT, GRIPPER_PORT = 1337, 1338  # libfranka's
STARTED = "started"
READY = "ready"
FAILED = "failed"
PROBE_TIMEOUT = 1.0  # [s]
START_TIMEOUT = 60.0  # [s] for the interpreter and its imports, a second on a quiet machine
CORES = 4  # so many or more leave one to the loop of an arm alone
EXIT_PATIENCE = 1.0  # [s] that a process may take from closing its pipe to its end

# One thread for linear algebra: seven joints gain nothing from more, and the loop must not wait for them.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def probe(address: str, port: int, device: str) -> None:
    """Check that something listens at ``address``: libfranka itself waits a minute to find out that nothing does.

    Raises:
        ArmConnectionError: nothing does, with what to do about it.
    """
    try:
        socket.create_connection((address, port), timeout=PROBE_TIMEOUT).close()
    except ConnectionRefusedError as error:
        raise ArmConnectionError(
            f"nothing listens at {address}:{port} ({device}): is the robot on and FCI activated in Desk? "
            f"For a simulated one: robot-rl sim"
        ) from error
    except OSError as error:
        raise ArmConnectionError(
            f"no {device} answers at {address}:{port} ({error}): check the address, the cable and that the robot is "
            f"on; for a simulated one: robot-rl sim"
        ) from error


class ChildProcess:
    """A child running ``python -m <module> <descriptors>``, and the pipe to it.

    The child says `STARTED`, reads its ``settings``, a dataclass, from the pipe and answers `READY` or `FAILED` once.
    """

    def __init__(self, module: str, settings: Any, descriptors: tuple[int, ...] = ()) -> None:
        self.pipe, child_end = MessagePipe.pair()
        environment = {**os.environ, **ENVIRONMENT}
        root = str(Path(__file__).resolve().parents[2])
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        passed = (child_end.fileno(), *descriptors)
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, passed)],
            stdin=subprocess.DEVNULL,
            env=environment,
            pass_fds=passed,
            # Ctrl-C in the terminal is for the parent, which ends the motion in order.
            start_new_session=True,
        )
        child_end.close()
        self.pipe.send_settings(settings)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: ended by that signal."""
        return self._process.poll()

    def describe_exit(self) -> str:
        """How it ended, in words; waits a moment for the end that a closed pipe announces."""
        try:
            code = self._process.wait(EXIT_PATIENCE)
        except subprocess.TimeoutExpired:
            return "still runs"
        if code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    def wait_ready(self, timeout: float, what: str) -> Any:
        """The child's report, by `READY`; ``timeout`` [s] begins when it has started.

        Raises `ArmConnectionError` when it fails, dies or takes too long.
        """
        try:
            if not self.pipe.poll(START_TIMEOUT):
                raise ArmConnectionError(
                    f"the process for {what} has not started within {START_TIMEOUT:.0f} s: is the machine overloaded?"
                )
            self.pipe.receive()
            if not self.pipe.poll(timeout):
                raise ArmConnectionError(
                    f"{what} did not answer within {timeout:.0f} s: another program may hold the connection; "
                    f"end it and try again"
                )
            verdict, report = self.pipe.receive()
        except (EOFError, OSError) as error:
            self._process.wait()
            raise ArmConnectionError(f"the process for {what} {self.describe_exit()} before it was ready") from error
        if verdict == FAILED:
            raise ArmConnectionError(report)
        return report

    def end(self, patience: float) -> None:
        """Wait ``patience`` [s] for the child to end by itself, then make it."""
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.pipe.close()


def child_pipe() -> tuple[MessagePipe, list[int]]:
    """In the child: its end of the pipe, and the other descriptors it was given; says that it has started."""
    number, *descriptors = map(int, sys.argv[1:])
    pipe = MessagePipe(Connection(number))
    pipe.send((STARTED, None))
    return pipe, descriptors


def import_pylibfranka() -> Any:
    """Franka's bindings. Raises `HardwareError` when they are missing."""
    try:
        import pylibfranka
    except ImportError as error:
        raise HardwareError(f"Franka's bindings cannot be loaded ({error}): pip install pylibfranka") from error
    return pylibfranka
