"""From readings to outcomes, and the person's word about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from hardware.interfaces import Word
from robot_rl.contract.outcome import Outcome
from robot_rl.contract.reading import Reading

DISCARDED = "discarded by the person"  # reason of an aborted episode that is no data


@dataclass(frozen=True)
class Verdict:
    """Outcome of a step, found out later: the step that the reading at ``stamp_ns`` has closed."""

    stamp_ns: int
    outcome: Outcome


class Judge(Protocol):
    """Says what each step came to.

    The person's labels, faults, time limits and aborts are the session's business.

    Attributes:
        time_limit: whether the task's time limit ends its episodes; one that is set in ``session.horizon`` always does.
    """

    time_limit: bool

    def begin(self) -> None:
        """An episode begins: what was remembered of the last one no longer counts."""

    def judge(self, reading: Reading) -> Outcome:
        """Reward and ending at this reading, which closes a step. Called once for each."""

    def later(self) -> Sequence[Verdict]:
        """Verdicts about earlier steps since the last call, oldest first; of this episode or of one that has ended."""


@dataclass(frozen=True)
class Label:
    """A word of a person.

    Attributes:
        number: rises by one with each word of ``origin``.
        word: what was said.
        by: who said it, for people, e.g. ``/teleop``.
        stamp_ns: when it was said [ns], on the clock of the readings' stamps; it tells which step is meant.
        origin: the start of the program that said it; together with ``number`` it tells labels apart for ever.
        episode: number of the episode that it is about; −1: the one that its stamp is in.
    """

    number: int
    word: Word
    by: str
    stamp_ns: int
    origin: str = ""
    episode: int = -1


@dataclass(frozen=True)
class Answer:
    """Result of a label.

    Attributes:
        label: the label.
        accepted: whether it was applied.
        text: to what it was applied, or why it was not, in words.
        episode, step: to which step it was applied, by the episode's number in the store; −1: to none.
    """

    label: Label
    accepted: bool
    text: str
    episode: int = -1
    step: int = -1

    def __str__(self) -> str:
        label = self.label
        applied = "" if self.accepted else "refused: "
        return f"label {label.number} ({label.word.value}) by {label.by}: {applied}{self.text}"
