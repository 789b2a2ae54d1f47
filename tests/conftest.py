"""Keeps a test session to itself: its own ROS domain, a renderer that needs no screen, and nothing left behind."""

from __future__ import annotations

import ctypes.util
import os
import signal
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from robot_rl.jobs.locks import claim_domain
from tests import compiling
from tests.fault_table import FaultTable, written_table

SESSION_VARIABLE = "ROBOT_RL_TEST_SESSION"
JOB_VARIABLE = "ROBOT_RL_TEST_MAY_START_JOBS"
TESTS = Path(__file__).parent
JOBS = TESTS / "processes"  # tests that start whole jobs
WAITING = (JOBS, TESTS / "ros", TESTS / "hardware", TESTS / "contracts")  # tests that wait more than they compute
SHARED_MEMORY = Path("/dev/shm")
DOMAIN = pytest.StashKey[socket.socket]()  # the claim on the session's ROS domain
PEAKS = pytest.StashKey[dict[str, int]]()  # most memory that each process of the session held [MiB]
GRACE = 5.0  # [s] for what was told to stop to have stopped
# Shared memory that ROS 2 keeps: tracing leaves its own, Fast DDS cleans up after kills when the next one starts.
ROS_PREFIXES = ("fastdds_", "fastrtps_", "sem.fast", "lttng-ust-")
PYTHON_HELPERS = (b"multiprocessing.resource_tracker", b"multiprocessing.forkserver")  # end with the session itself


def pytest_configure(config: pytest.Config) -> None:
    # Whoever ignores Ctrl-C hands that on to its children: a shell's background jobs, pytest-xdist's workers.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # The same examples in every `make test`, so that it passes run after run; new ones each time in `make test-slow`.
    # No deadline: how long an example takes depends on what else the machine does.
    slow = config.getoption("markexpr").startswith("slow")
    hypothesis.settings.register_profile("session", deadline=None, derandomize=not slow)
    hypothesis.settings.load_profile("session")
    os.environ[SESSION_VARIABLE] = uuid.uuid4().hex
    config.stash[DOMAIN] = claim_domain()
    os.environ["ROS_DOMAIN_ID"] = config.stash[DOMAIN].getsockname().rsplit(b"/", 1)[1].decode()
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ["FASTDDS_DEFAULT_PROFILES_FILE"] = str(TESTS.parent / "hardware" / "ros" / "fastdds.xml")
    os.environ.setdefault("MUJOCO_GL", "osmesa" if ctypes.util.find_library("OSMesa") else "egl")
    config.stash[PEAKS] = {}
    if config.pluginmanager.has_plugin("cacheprovider"):
        compiled = config.cache.mkdir("compiled")
        compiling.share_compiled(compiled)
        if not is_worker(config):
            compiling.make_room(compiled)


def is_worker(config: pytest.Config) -> bool:
    """Whether this is a process of pytest-xdist that runs tests, not the one that hands them out."""
    return hasattr(config, "workerinput")


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    for item in items:
        if item.get_closest_marker("job") and not item.get_closest_marker("slow") and JOBS not in item.path.parents:
            raise pytest.UsageError(f"{item.nodeid} starts a job: `make test` looks for such tests in tests/processes")
    yield  # those that are not asked for go
    # Whoever shares them out gives each process a stretch of them. Those that wait for robots and messages end the
    # first stretch: once the jobs beside them are done, because a simulated robot that is slow takes more of a core;
    # and with others beside them that compute, because alone they would leave cores idle.
    waiting = [item for item in items if any(folder in item.path.parents for folder in WAITING)]
    kept = set(waiting)
    others = [item for item in items if item not in kept]
    stretches = config.workerinput["workercount"] if is_worker(config) else 1
    first = max(0, len(items) // stretches - len(waiting))
    items[:] = [*others[:first], *waiting, *others[first:]]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    os.environ[JOB_VARIABLE] = "1" if item.get_closest_marker("job") else ""


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    compiling.release_compiled()
    # libfranka gives whoever begins a motion real-time scheduling, and keeps it. With it, every process that later
    # tests start would inherit it, and those that compute would starve those that drive an arm.
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    if "peak" in node.workeroutput:  # it has not crashed
        node.config.stash[PEAKS][node.gateway.id] = node.workeroutput["peak"]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    if is_worker(config):
        config.workeroutput["peak"] = compiling.peak()
        return
    peaks = config.stash[PEAKS] or {"main": compiling.peak()}
    config.stash[PEAKS] = peaks
    if max(peaks.values()) > compiling.LIMIT and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    peaks = config.stash[PEAKS]
    said = ", ".join(f"{name} {peak} MiB" for name, peak in sorted(peaks.items()))
    over = max(peaks.values()) > compiling.LIMIT
    terminalreporter.write_line(
        f"peak memory: {said}" + f"; more than the {compiling.LIMIT} MiB allowed" * over, red=over
    )


def require_job_mark() -> None:
    """Fails a test that is about to start a job, and would do so beside other jobs because it is not marked."""
    if not os.environ.get(JOB_VARIABLE):
        pytest.fail("this test starts a job, many processes: mark it with pytest.mark.job")


def session_processes() -> dict[int, str]:
    """Living processes that inherited this session's mark, orphans included: pid to command line."""
    mark = f"{SESSION_VARIABLE}={os.environ[SESSION_VARIABLE]}".encode()
    found = {}
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            environment = (directory / "environ").read_bytes().split(b"\0")
            command = (directory / "cmdline").read_bytes()
        except OSError:
            continue  # ended meanwhile, or another user's
        pid = int(directory.name)
        if mark in environment and pid != os.getpid() and not any(name in command for name in PYTHON_HELPERS):
            found[pid] = command.replace(b"\0", b" ").decode(errors="replace").strip()
    return found


def mapped_elsewhere(segment: str) -> bool:
    """Whether a process outside this session has the shared-memory ``segment`` mapped."""
    ours = {os.getpid(), *session_processes()}
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            maps = (directory / "maps").read_text()
        except OSError:
            continue
        if f"{SHARED_MEMORY}/{segment}" in maps and int(directory.name) not in ours:
            return True
    return False


def segments() -> set[str]:
    names = os.listdir(SHARED_MEMORY) if SHARED_MEMORY.is_dir() else []
    return {name for name in names if not name.startswith(ROS_PREFIXES)}


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fails the last test when the session leaves processes or shared memory; ends those processes."""
    before = segments()
    yield
    deadline = time.monotonic() + GRACE
    while True:
        processes = session_processes()
        memory = {name for name in segments() - before if not mapped_elsewhere(name)}
        if not (processes or memory) or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    for pid in processes:
        os.kill(pid, signal.SIGKILL)
    if processes or memory:
        pytest.fail(f"left behind by the tests: processes {processes}, shared memory {sorted(memory)}")


@pytest.fixture(scope="session")
def fault_table() -> Iterator[FaultTable]:
    """Where tests of faults say what happened, and when."""
    with written_table() as table:
        yield table
