"""A run as one line of JSON: what it came to, and everything by which it can be told from another.

task, row, seed        who ran
version                commit that last changed code on which a run depends; with what was changed since, a digest
                       of that behind a plus
settings, config       the learner's settings, and a digest of the whole configuration
demos                  digest of the demonstrations
machine                processor and number of cores; versions of the packages that compute
wall_s, cpu_s          of the whole run, demonstrations not included
robot_minutes          of learning, without resets
critic_steps, actor_steps, reflexes
ended                  "done", or why it ended before
points                 evaluations: robot minutes, success in use, and as it acts while learning (or null)
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

DONE = "done"
PACKAGES = ("jax", "mujoco", "numpy", "optax", "pin")
# Files and folders that decide what a run in process comes to, beside what a line has digests of. Jobs, nodes, page and
# drivers may change while tables are made, which takes more than a day.
CODE = (
    "controllers",
    "hardware/crisp",
    "hardware/franka/hand.py",
    "hardware/franka/model.py",
    "hardware/sim",
    "robot_rl/contract",
    "robot_rl/data",
    "robot_rl/gym",
    "robot_rl/learner",
    "robot_rl/perception",
    "robot_rl/policies",
    "robot_rl/session",
    "robot_rl/tasks",
    "benchmarks/experiments/public",
    "benchmarks/experiments/tables/runs.py",
)


@dataclass(frozen=True)
class Point:
    """An evaluation after ``minutes`` of the robot: success of the ``mean`` action, and ``acting`` as it learns."""

    minutes: float
    mean: float
    acting: float | None = None


@dataclass(frozen=True)
class Line:
    """A run; see the module for its fields."""

    task: str
    row: str
    seed: int
    version: str
    settings: tuple[str, ...]
    config: str
    demos: str
    machine: str
    wall_s: float
    cpu_s: float
    robot_minutes: float
    critic_steps: int
    actor_steps: int
    reflexes: int
    ended: str
    points: tuple[Point, ...]

    @property
    def key(self) -> tuple[str, str, int]:
        return self.task, self.row, self.seed

    def rates(self, acting: bool) -> list[float]:
        """Success at each point; where it is only known one way, that."""
        return [point.acting if acting and point.acting is not None else point.mean for point in self.points]

    def score(self, acting: bool) -> float:
        """Success at the end; 0 for a run that died."""
        return self.rates(acting)[-1] if self.ended == DONE and self.points else 0.0


class Versioned(Protocol):
    """A line of any experiment that says its task and version."""

    @property
    def task(self) -> str: ...

    @property
    def version(self) -> str: ...


class VersionError(ValueError):
    """Lines of different versions, which do not belong into one table."""


def read_lines(path: Path) -> list[Line]:
    """The lines in ``path``; none where there is no file."""
    if not path.exists():
        return []
    return [_line(json.loads(text)) for text in path.read_text(encoding="utf-8").splitlines()]


def _line(values: dict[str, Any]) -> Line:
    points = tuple(Point(**point) for point in values.pop("points"))
    return Line(**(values | {"settings": tuple(values["settings"])}), points=points)


def append_line(path: Path, line: Line) -> None:
    """In one write, so that whoever is interrupted leaves whole lines."""
    with open(path, "ab", buffering=0) as file:
        file.write((json.dumps(dataclasses.asdict(line)) + "\n").encode())


def check_versions(lines: Sequence[Versioned], version: str = "") -> None:
    """Raises `VersionError` when the lines of a task are not all of one version, of ``version`` when one is given."""
    for task in dict.fromkeys(line.task for line in lines):
        versions = sorted({line.version for line in lines if line.task == task} | ({version} if version else set()))
        if len(versions) > 1:
            raise VersionError(
                f"{task}: versions {', '.join(versions)} do not belong into one table; name another file with "
                "--results, or take the old lines out"
            )


def version_of(root: Path) -> str:
    """The commit that last changed `CODE` at ``root``, with a digest of the changes since, if there are any."""
    commit = _git(root, "log", "-1", "--abbrev=12", "--format=%h", "--", *CODE).decode().strip()
    changes = _git(root, "diff", "HEAD", "--", *CODE)
    names = _git(root, "ls-files", "--others", "--exclude-standard", "-z", "--", *CODE).split(b"\0")
    changes += b"".join((root / os.fsdecode(name)).read_bytes() for name in names if name)
    return f"{commit}+{digest(changes)}" if changes else commit


def _git(root: Path, *arguments: str) -> bytes:
    return subprocess.run(["git", "-C", str(root), *arguments], check=True, capture_output=True).stdout


def digest(data: bytes) -> str:
    """Short name of ``data`` that nothing else has."""
    return hashlib.sha256(data).hexdigest()[:12]


def digest_of_files(folder: Path) -> str:
    """Digest of all that is in ``folder``, but for the mark of who writes there."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return digest(b"".join(str(path.relative_to(folder)).encode() + path.read_bytes() for path in files))


def machine() -> str:
    """Processor and number of cores of this computer, and versions of `PACKAGES`."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        found = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        model = found[0] if found else model
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    return f"{model}, {os.cpu_count()} cores; {versions}"
