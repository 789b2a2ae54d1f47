"""JAX in a test session: compiled once for all its processes, and forgotten where it is no longer needed.

Compiling is most of what learners' tests take. Programs are kept in pytest's cache, by their code, XLA's flags and
version, so that workers, processes that tests start, and the next session find them.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import shutil
import sys
from pathlib import Path

LIMIT = 3072  # [MiB] of a test process at its peak
LARGE = 2048  # [MiB]; a test process above this forgets between two tests what it has compiled
KEPT = 1024  # [MiB] of compiled programs, beyond which a session begins with none


def share_compiled(folder: Path) -> None:
    """Have this process, before it imports JAX, and those that it starts keep what they compile in ``folder``."""
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"


def make_room(folder: Path) -> None:
    """Forget what earlier sessions compiled when it has become too much."""
    if sum(path.stat().st_size for path in folder.iterdir()) > KEPT * 2**20:
        shutil.rmtree(folder)
        folder.mkdir()


def release_compiled() -> None:
    """Forget what this process has loaded of it, and give the memory back, when it is much."""
    jax = sys.modules.get("jax")
    if jax is None or resident() < LARGE:
        return
    jax.clear_caches()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)


def resident() -> float:
    """Memory that this process holds [MiB]."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def peak() -> int:
    """Most memory that this process has held so far [MiB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
