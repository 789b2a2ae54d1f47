"""Corrections of what a past step came to."""

from __future__ import annotations

from dataclasses import dataclass

from robot_rl.contract.outcome import Outcome


@dataclass(frozen=True)
class Relabel:
    """The outcome that a recorded step shall have from now on.

    Attributes:
        episode: its number in the store.
        step: counted from 0 within the episode.
        outcome: reward and ending. An ending other than running makes the step the last one that counts.
        by: who says so, e.g. ``person`` or the name of a judge.
        number: of the label, as it was acknowledged; −1: it has none.
    """

    episode: int
    step: int
    outcome: Outcome
    by: str
    number: int = -1
