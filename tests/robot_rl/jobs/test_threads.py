"""The processor threads of JAX are limited before it is imported, or not at all; a process begins without it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from robot_rl.jobs.threads import act_on_processor, limit_threads

FLAG = "--xla_cpu_multi_thread_eigen=false"


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> list[set[int]]:
    """The cores, of eight, that the process was confined to, one set for each time."""
    confined: list[set[int]] = []
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=/nowhere")
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, given: confined.append(set(given)))
    return confined


def test_a_process_that_acts_has_one_thread_and_no_accelerator(cores: list[set[int]]) -> None:
    act_on_processor()
    assert os.environ["XLA_FLAGS"] == f"--xla_dump_to=/nowhere {FLAG}"
    assert os.environ["JAX_PLATFORMS"] == "cpu"
    assert cores == []


@pytest.mark.parametrize(("threads", "confined"), [(0, {2, 3, 4, 5, 6, 7}), (3, {5, 6, 7})])
def test_a_learner_leaves_cores_to_the_control_path(cores: list[set[int]], threads: int, confined: set[int]) -> None:
    limit_threads(threads)
    assert cores == [confined] and FLAG not in os.environ["XLA_FLAGS"]


BEGIN = """
import importlib, sys
from robot_rl.jobs.fork_server import IMPORTED
from robot_rl.jobs.processes import NAMES
for name in (*IMPORTED, *(f"robot_rl.jobs.processes.{name}" for name in NAMES)):
    importlib.import_module(name)
print(*{"jax", "torch", "scipy", "matplotlib"} & set(sys.modules))
"""


def test_processes_begin_without_jax_whose_threads_are_limited_first_and_without_slow_imports() -> None:
    begun = subprocess.run([sys.executable, "-c", BEGIN], capture_output=True, text=True, check=True)
    assert begun.stdout.strip() == ""
