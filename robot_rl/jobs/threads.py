"""How many processor threads JAX may use; to be said before it is first imported."""

from __future__ import annotations

import os

CONTROL_CORES = 2  # left to the simulation and the control path


def limit_threads(threads: int) -> None:
    """Let XLA use ``threads`` CPU threads, 0: all cores but two; must come before the first import of JAX.

    A matrix product that is split over cores waits for its slowest part. On cores that it shares with the control path,
    one thread is twice as fast as two.
    """
    cores = sorted(os.sched_getaffinity(0))
    threads = threads or max(1, len(cores) - CONTROL_CORES)
    if threads == 1:
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip()
    else:
        os.sched_setaffinity(0, cores[-threads:])


def act_on_processor() -> None:
    """One thread, and no accelerator: for a process that decides one action at a time, beside a learner's.

    Of an accelerator JAX would take most of the memory as soon as it is imported.
    """
    limit_threads(1)
    os.environ["JAX_PLATFORMS"] = "cpu"
