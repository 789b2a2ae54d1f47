"""Commands and processes that an experiment starts, which end with it, also when it is killed.

An experiment that makes several runs at a time updates its environment by `ONE_THREAD` first.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import IO

from robot_rl.jobs.interrupt import end_with_parent

ONE_THREAD = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
# A program that becomes the command among its arguments, and ends with the process whose id is the first of them.
WITH_PARENT = """
import os, sys
from robot_rl.jobs.interrupt import end_with_parent
end_with_parent(int(sys.argv[1]))
os.execvp(sys.argv[2], sys.argv[2:])
"""


def status_of(command: Sequence[str], output: IO[bytes] | None = None) -> int:
    """The exit status of ``command``; what it prints goes to ``output``, or where this process prints."""
    errors = None if output is None else subprocess.STDOUT
    # Not by a function before exec: a process with JAX in it, and so with threads, must not be forked.
    wrapped = [sys.executable, "-c", WITH_PARENT, str(os.getpid()), *command]
    return subprocess.run(wrapped, stdout=output, stderr=errors).returncode


def run_checked(command: Sequence[str], log: Path | None = None) -> None:
    """`status_of`, with what it prints in the file ``log``. Raises `subprocess.CalledProcessError` when it is not 0."""
    if log is None:
        status = status_of(command)
    else:
        with log.open("wb") as output:
            status = status_of(command, output)
    if status:
        raise subprocess.CalledProcessError(status, list(command))


def run_job(job: str, arguments: Sequence[str], log: Path | None = None) -> None:
    """``robot-rl job arguments``, as `run_checked` does."""
    run_checked([sys.executable, "-m", "robot_rl", job, *arguments], log)


def fresh_processes(count: int) -> ProcessPoolExecutor:
    """At most ``count`` processes at a time, a new one for each call."""
    return ProcessPoolExecutor(
        count,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=end_with_parent,
        initargs=(os.getpid(),),
        max_tasks_per_child=1,
    )


def cpu_time() -> float:
    """Processor time [s] of this process and of those it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)
