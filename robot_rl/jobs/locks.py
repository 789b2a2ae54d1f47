"""Locks of a job of this machine: on the folder of its run, and on a ROS domain.

Both are locks that the kernel keeps on an open descriptor. The processes of a job inherit it, so a lock is free when
the last of them has ended, however each of them did: nobody takes over from processes that are still ending.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from robot_rl.contract.settings import ConfigError
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.job import job_of

LOCK = "job.lock"  # in a run's folder; whoever has it locked has written its name into it
DOMAINS = range(100, 0, -1)  # low numbers are those that people choose by hand
BASE_PORT, DOMAIN_PORTS = 7400, 250  # of DDS: where the UDP ports of a domain begin, and how many each has
PARTICIPANTS = 32  # of a domain whose ports are looked at


class RunInUse(ConfigError):
    """Another job writes into the run's folder."""


class RunLock:
    """The right of the job called ``name`` to write into a run's folder. `close` gives it back."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._root: Path | None = None
        self._descriptor = -1

    def __enter__(self) -> RunLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def descriptors(self) -> tuple[int, ...]:
        """For the job's processes to inherit."""
        return (self._descriptor,) if self._descriptor >= 0 else ()

    def take(self, root: Path) -> None:
        """Take the folder at ``root``, which exists; once is enough.

        Raises `RunInUse` when another job has it, by name, `ConfigError` when it cannot be written to.
        """
        if self._root == root.resolve():
            return
        self.close()
        path = root / LOCK
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ConfigError(f"the run {root} cannot be written to: {error.strerror or error}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise RunInUse(f"the run {root} is in use: {_described(path)}; or name another one with --run") from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{self._name} (process {os.getpid()})".encode())
        self._root, self._descriptor = root.resolve(), descriptor

    def close(self) -> None:
        """Safe to call twice."""
        descriptor, self._descriptor, self._root = self._descriptor, -1, None
        if descriptor >= 0:
            os.close(descriptor)


def _described(path: Path) -> str:
    """Who has the lock at ``path``, and what to do about it, in words."""
    holder = path.read_text(encoding="utf-8", errors="replace").strip() or "another job"
    process = re.search(r"\(process (\d+)\)$", holder)
    if process is not None and not Path(f"/proc/{process[1]}").exists():
        return f"{holder} was killed, and its processes are still ending; wait a moment"
    return f"{holder} runs there; wait until it has ended, or end it"


class Domain(NamedTuple):
    """A ROS domain by its number, and the descriptors that keep it, for a job's processes to inherit."""

    number: int
    descriptors: tuple[int, ...] = ()


@contextlib.contextmanager
def ros_domain(config: RunConfig, job: str = "") -> Iterator[Domain]:
    """The ROS domain of a job: the environment's, or one of its own for a simulated arm that is nobody else's.

    Who serves an arm to other programs, has a namespace, joins a simulator or shares a learner is there to be found.
    Raises `ConfigError` when no domain is left.
    """
    alone = not config.namespace and not config.learner.shared
    private = config.arm == "sim" and config.simulator == "own" and alone and not (job and not job_of(job).node)
    if "ROS_DOMAIN_ID" in os.environ or not private:
        yield Domain(int(os.environ.get("ROS_DOMAIN_ID", "0")))
        return
    with claim_domain() as claimed:
        yield Domain(int(claimed.getsockname().rsplit(b"/", 1)[1]), (claimed.fileno(),))


def claim_domain() -> socket.socket:
    """A socket whose name, ``…/NUMBER``, says which ROS domain is its owner's as long as it is open.

    Nobody else has claimed the domain, and no program communicates in it. The name is one of the network that
    programs of this machine reach each other by. Raises `ConfigError` when no domain is left.
    """
    for number in DOMAINS:
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            claim.bind(f"\0robot_rl/ros_domain/{number}")
        except OSError:
            claim.close()
        else:
            if not _in_use(number):
                return claim
            claim.close()
    raise ConfigError(
        f"all ROS domains of this machine, {min(DOMAINS)} to {max(DOMAINS)}, are taken; end other jobs, or choose one "
        "that is shared: ROS_DOMAIN_ID=0"
    )


def _in_use(domain: int) -> bool:
    """Whether a program communicates in ``domain``: one of its UDP ports, for discovery, is taken."""
    first = BASE_PORT + DOMAIN_PORTS * domain
    for port in (first, *range(first + 10, first + 10 + 2 * PARTICIPANTS, 2)):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("", port))
            except OSError:
                return True
    return False
