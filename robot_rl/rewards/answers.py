"""A person's preferences about snippets of episodes, and the file that keeps them.

A *pair* says which of two snippets is the better one, or that neither is; a *score* says how good one is, from 1 to 5.
``preferences.jsonl`` has a line of JSON for each answer, in the order in which they were given:

    {"first": {"store": "demos", "episode": 3, "step": 10, "steps": 10}, "second": {...}, "answer": 1, "by": "person"}
    {"first": {...}, "answer": 4, "by": "person"}

An answer is on the disk before `append` returns. Who is killed in the midst of it leaves a last line without its end,
which was not promised to anybody: it is not read, and the next answer replaces it.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from robot_rl.contract import ContractError, Reading

FILE = "preferences.jsonl"
FIRST, SECOND, EQUAL = 1, 2, 0  # answers to a pair: the better one
SCORES = (1, 5)  # the worst and the best of a score


class AnswersError(ContractError):
    """An answer that is none, or a file of answers that cannot be read; the message names the line."""


class Span(NamedTuple):
    """A snippet: ``steps`` of an episode from number ``step`` on, by the name that the run has for its store."""

    store: str
    episode: int
    step: int
    steps: int

    @property
    def name(self) -> str:
        """The episode's name, by which episodes are split."""
        return f"{self.store}/{self.episode:06d}"

    def __str__(self) -> str:
        return f"{self.name}, steps {self.step} to {self.step + self.steps - 1}"


@dataclass(frozen=True)
class Snippet:
    """A snippet to look at.

    Attributes:
        span: where it is.
        readings: those that close its steps, oldest first.
        period: [s] between them.
    """

    span: Span
    readings: tuple[Reading, ...]
    period: float


@dataclass(frozen=True)
class Answer:
    """An answer about ``first``, or about ``first`` and ``second``. Raises `AnswersError` when it is none.

    Attributes:
        answer: of a pair `FIRST`, `SECOND` or `EQUAL`; without ``second`` a score.
        by: who gave it.
    """

    first: Span
    answer: int
    by: str
    second: Span | None = None

    def __post_init__(self) -> None:
        choices = range(SCORES[0], SCORES[1] + 1) if self.second is None else (FIRST, SECOND, EQUAL)
        if isinstance(self.answer, bool) or self.answer not in choices:
            kind = "score" if self.second is None else "pair"
            raise AnswersError(f"{self.answer!r} is no answer to a {kind}; it is one of {', '.join(map(str, choices))}")
        for span in self.spans:
            if span.episode < 0 or span.step < 0 or span.steps < 1:
                raise AnswersError(f"{span} is no snippet")

    @property
    def spans(self) -> tuple[Span, ...]:
        return (self.first,) if self.second is None else (self.first, self.second)


def append(path: Path, answer: Answer) -> None:
    """Put ``answer`` behind all others, on the disk. Raises `AnswersError` when the file cannot be written."""
    values: dict[str, Any] = {"first": answer.first._asdict()}
    if answer.second is not None:
        values["second"] = answer.second._asdict()
    line = json.dumps(values | {"answer": answer.answer, "by": answer.by}) + "\n"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            whole = _whole(os.pread(descriptor, os.fstat(descriptor).st_size, 0))
            os.ftruncate(descriptor, whole)
            os.pwrite(descriptor, line.encode(), whole)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise AnswersError(f"{path} cannot be written: {error}") from error


def read(path: Path) -> list[Answer]:
    """All answers in ``path``, oldest first; none where there is no file.

    Raises `AnswersError` with the number of the first line that is damaged.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise AnswersError(f"{path} cannot be read: {error}") from error
    lines = data[: _whole(data)].split(b"\n")[:-1]
    return [_answer(path, number, line) for number, line in enumerate(lines, 1)]


def _whole(data: bytes) -> int:
    """Length of the lines that have an end."""
    return data.rfind(b"\n") + 1


def _answer(path: Path, number: int, line: bytes) -> Answer:
    try:
        values = json.loads(line)
        second = _span(values["second"]) if "second" in values else None
        return Answer(_span(values["first"]), values["answer"], str(values["by"]), second)
    except (ContractError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AnswersError(f"{path}, line {number} is damaged: {str(error) or type(error).__name__}") from error


def _span(values: dict[str, Any]) -> Span:
    return Span(str(values["store"]), int(values["episode"]), int(values["step"]), int(values["steps"]))
