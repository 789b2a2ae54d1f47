"""Ctrl-C and SIGTERM, by those who start something: while a program is imported, and while a job runs.

Imports nothing of weight, so that Ctrl-C is answered from the beginning.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator

STOPPED = 130  # exit status after Ctrl-C
LAUNCHED = "--launched"  # option of the processes of ros2 launch
PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def quits_at_once() -> Iterator[None]:
    """Meanwhile Ctrl-C ends the program, with a word and no traceback: for its imports, before it starts anything.

    An exception in an import could become another error, or be lost in one of its callbacks.
    """
    before = signal.getsignal(signal.SIGINT)
    # One that is ignored stays so, as in a shell's background.
    if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, _quit)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def stopped() -> int:
    """Exit status after Ctrl-C. ros2 launch, which interrupts those that it ends, takes all but 0 for a failure."""
    return 0 if LAUNCHED in sys.argv else STOPPED


def _quit(*_: object) -> None:
    os.write(sys.stderr.fileno(), b"robot-rl: stopped\n")
    os._exit(stopped())


def end_with_parent(parent: int | None = None) -> None:
    """Have the kernel send SIGTERM when whoever started this process is killed; elsewhere than on Linux, do without.

    ``parent``: its process id, by which it is noticed when that has happened before.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if parent is not None and os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)


class Requests:
    """How many times the program was asked to stop, by Ctrl-C or SIGTERM."""

    def __init__(self) -> None:
        self.count = 0


@contextlib.contextmanager
def requests_to_stop() -> Iterator[Requests]:
    """Meanwhile Ctrl-C and SIGTERM are counted, and raise nothing."""
    requests = Requests()

    def count(*_: object) -> None:
        requests.count += 1

    before = {number: signal.signal(number, count) for number in SIGNALS}
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
