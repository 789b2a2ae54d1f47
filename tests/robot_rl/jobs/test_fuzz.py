"""Two thousand command lines of nonsense: each is taken, or refused in one line that names a setting; no traceback.

``FUZZ_SEED=7 python -m pytest -m slow tests/robot_rl/jobs/test_fuzz.py`` tries others.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from robot_rl.jobs import commands
from robot_rl.jobs.arguments import LAUNCH_ARGUMENTS, prepare_launch
from robot_rl.jobs.cli import main
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.errors import USER_ERRORS, one_line
from robot_rl.jobs.job import COMMANDS, job_of
from robot_rl.learner.config import AGENTS
from robot_rl.learner.factory import make_algorithm
from robot_rl.tasks import make_task
from tests.robot_rl.jobs.test_bringup import record
from tests.robot_rl.publishing import policy

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

pytestmark = pytest.mark.slow

LINES = 2000
LAUNCHES = 200
SAID_AS = {"overrides": "override", "config": "cannot read", "run": "/"}  # what a refusal says of these
LONGEST = 1100  # characters of a refusal
SEED = int(os.environ.get("FUZZ_SEED", "20261129"))
VALUES = (
    *("", " ", "-1", "0", "1", "2", "3", "7.5", "-0.0", "1e4", "1e400", "-1e400", "1e-320", "9" * 400, "9" * 5000),
    *(".nan", ".inf", "-.inf", "nan", "inf", "0x10", "010", "1_000", "1:30", "2026-11-29", "1,2,3", "1,,2", ","),
    *("true", "false", "yes", "null", "~", "none", "[]", "{}", "[1,2", "{a", "[[]]", "[1, [2]]", "{1: 2}", "{[1]: 2}"),
    *("[null]", "[true]", "[.nan, 1]", "{lower: [0, 0], upper: 1}", "{lower: [0,0,0], upper: [1,1,1]}", "{a: {b: 1}}"),
    *("'", '"', "@", "`", "&a [*a]", "*a", "!!python/object:os.system {}", "!!binary aaa", "!!set {a}", "? a", "- 1"),
    *("|", "%", "#", "\\", "\x00", "\x1b[31m", "\n", "a\nb", "\t", "ä", "\udcff", "x" * 5000, "[" * 3000, "a" * 300),
    *("/dev/null", "/proc/self/mem", "~root", "os:system", "math:inf", "robot_rl:", ":x", "a.b:c", "x.yaml", "demos"),
    *("script", "person", "remote", "sim", "fr3", "crisp", "keyboard", "console", "expert", "topic", "always", "never"),
    *(
        "peg_insertion",
        "reach",
        "pick_cube",
        "rlpd",
        "sac",
        "hil",
        "chunked",
        "expo",
        "dsrl",
        "gorl",
        "rlt",
        "pa_rl",
        "proportional",
        "clone.params",
    ),
    *("10.0.0.2", "10.0.0.2,10.0.0.3", "::1", "300.1.1.1", "10.0.0.2,", "-a", "robot pc", "left", "/left", "a..b"),
    *("front", "front,wrist", "front,front", "side", "0.0.0.0", "127.0.0.1", "65536", "8080"),
)


def leaves(settings: DataclassInstance, prefix: str = "") -> Iterator[str]:
    """All keys of the settings, those of groups too."""
    for field in dataclasses.fields(settings):
        value: Any = getattr(settings, field.name)
        yield f"{prefix}{field.name}"
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            yield from leaves(value, f"{prefix}{field.name}.")


class Fuzz:
    """Command lines by a generator of random numbers."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._keys = list(leaves(RunConfig()))
        self._of_agents = {
            name: [f"learner.settings.{key}" for key in leaves(make_algorithm(name, {}).config)]
            for name in AGENTS.builtin
        }
        self._new = [key for key in self._keys if re.match(r"link|learner\.(base|imitate)|demo_style|arm$|peers", key)]

    def overrides(self) -> list[str]:
        """One or more settings."""
        chosen = [self._override() for _ in range(1 + self._rng.poisson(0.5))]
        if self._rng.random() < 0.2:
            agent = self._one(list(self._of_agents))
            chosen += [f"learner.agent={agent}", f"{self._one(self._of_agents[agent])}={self._one(VALUES)}"]
        return chosen

    def arguments(self) -> dict[str, str]:
        """One or two launch arguments with their values."""
        names = [self._one(list(LAUNCH_ARGUMENTS)) for _ in range(self._rng.integers(1, 3))]
        return {name: self._one(VALUES) for name in names}

    def command(self) -> list[str]:
        """The words before the settings."""
        if self._rng.random() < 0.5:
            return ["config"]
        fast = ["--fast"] if self._rng.random() < 0.3 else []
        job = self.job()
        return [job, "--run", "run", *(fast if job_of(job).fast else [])]

    def job(self) -> str:
        return self._one(COMMANDS)

    def _override(self) -> str:
        kind = self._rng.random()
        key = self._one(self._new if kind < 0.25 else self._keys)
        if kind > 0.9:
            key = self._one(
                [key[:-1], key + "x", key.upper(), f"{key}.x", f".{key}", f"{key}.", key.replace(".", "..")]
            )
        return f"{key}={self._one(VALUES)}"

    def _one(self, choices: Any) -> str:
        return str(choices[self._rng.integers(len(choices))])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a run that can be trained and evaluated; jobs end when they are checked."""
    record(tmp_path / "run" / "demos", "peg_insertion")
    (tmp_path / "run" / "policy.params").write_bytes(policy(make_task("peg_insertion")))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(commands, "do_job", lambda *arguments: None)
    numeric = functools.partial(socket.getaddrinfo, flags=socket.AI_NUMERICHOST)  # no name server is asked
    monkeypatch.setattr("robot_rl.jobs.remote.socket.getaddrinfo", numeric)
    return tmp_path


def objection(said: str, given: Mapping[str, str]) -> str:
    """Words against a refusal, "" when it is one line of bounded length which names a setting, group or value."""
    if not said.endswith("\n") or said.count("\n") != 1 or len(said) > LONGEST:
        return "is not one line of bounded length"
    parts = [part for key in given for part in key.split(".") if part]
    values = [value[:20] for value in given.values() if len(value) > 1]
    return "" if any(word in said for word in (*parts, *values)) else f"names none of {list(given)}"


def test_nonsense_is_refused_in_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fuzz, ends, wrong = Fuzz(SEED), Counter[int](), list[str]()
    for _ in range(LINES):
        overrides = fuzz.overrides()
        words = [*fuzz.command(), *overrides]
        try:
            status = main(words)
        except BaseException as error:
            wrong.append(f"{words}: {type(error).__name__}: {error}")
            capsys.readouterr()
            continue
        (folder / "run" / "config.yaml").unlink(missing_ok=True)
        said = capsys.readouterr().err
        ends[status] += 1
        against = objection(said, dict(word.split("=", 1) for word in overrides)) if status else ""
        if against or status not in (0, 2):
            wrong.append(f"{words}: {status}: {said!r} {against}")
    with capsys.disabled():
        print(f"\n{LINES} command lines: {ends[0]} taken, {ends[2]} refused, {len(wrong)} wrong")
    assert not wrong, "\n".join(wrong)
    assert min(ends[0], ends[2]) > LINES // 20, "the test tries both"


def test_nonsense_in_launch_arguments_is_refused_in_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robot_rl.jobs.arguments.RunLock", lambda job: None)  # each is held for good
    fuzz, ends, wrong = Fuzz(SEED), Counter[str](), list[str]()
    for _ in range(LAUNCHES):
        given = fuzz.arguments()
        job, arguments = fuzz.job(), dict.fromkeys(LAUNCH_ARGUMENTS, "") | {"run": "run"} | given
        try:
            prepare_launch(job, arguments)
            ends["taken"] += 1
        except USER_ERRORS as error:
            ends["refused"] += 1
            if against := objection(
                f"{one_line(error)}\n", {SAID_AS.get(name, name): value for name, value in given.items()}
            ):
                wrong.append(f"{job} {given}: {error} {against}")
        except BaseException as error:
            wrong.append(f"{job} {given}: {type(error).__name__}: {error}")
        (folder / "run" / "config.yaml").unlink(missing_ok=True)
    assert not wrong, "\n".join(wrong)
    assert ends["taken"] and ends["refused"], "the test tries both"
