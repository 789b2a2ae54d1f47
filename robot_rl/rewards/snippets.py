"""Snippets that a person is asked about, and the split of the episodes that they are of.

Episodes are split, never snippets, because those of one episode are much alike: one part is learnt from, one stops the
training, one judges. They are ordered by a hash of their names, so that the split depends on neither their order nor on
chance, and another episode changes the part of at most one for each border between parts. The two snippets of a pair
are of one part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from robot_rl.rewards.answers import AnswersError, Span

LEAST = 2  # episodes of each part


class Parts(NamedTuple):
    """Names of episodes by what they are for; each is in one part."""

    learning: tuple[str, ...]
    stopping: tuple[str, ...]
    judging: tuple[str, ...]

    def of(self, spans: Sequence[Span]) -> tuple[str, ...] | None:
        """The part that all ``spans`` are in; None where they lie in several, or in none."""
        return next((part for part in self if all(span.name in part for span in spans)), None)


def split(names: Collection[str], stopping: float, judging: float) -> Parts:
    """Parts of the episodes called ``names``: shares of them, and `LEAST` at least. Raises `AnswersError`."""
    needed = len(Parts._fields) * LEAST
    if len(names) < needed:
        raise AnswersError(f"{len(names)} episodes are too few for preferences; record {needed} at least")
    ordered = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    first = max(LEAST, round(judging * len(ordered)))
    second = first + max(LEAST, round(stopping * len(ordered)))
    second = min(second, len(ordered) - LEAST)
    first = min(first, second - LEAST)
    return Parts(tuple(ordered[second:]), tuple(ordered[first:second]), tuple(ordered[:first]))


def draw(parts: Parts, episodes: Mapping[str, Span], length: int, count: int, rng: np.random.Generator) -> list[Span]:
    """``count`` snippets of ``length`` steps, 1 or 2, of one part and, of these, of different episodes.

    ``episodes``: name → the whole episode. Parts are drawn by how many of theirs have as many steps. Raises
    `AnswersError` where too few have.
    """
    long_enough = [[name for name in part if episodes[name].steps >= length] for part in parts]
    choices = [part for part in long_enough if len(part) >= count]
    if not choices:
        raise AnswersError(f"length={length}: too few episodes have that many steps; choose shorter snippets")
    names = [name for part in choices for name in part]
    name = names[int(rng.integers(len(names)))]
    part = next(part for part in choices if name in part)
    chosen = rng.choice(len(part), count, replace=False)
    spans = []
    for place in chosen.tolist():
        whole = episodes[part[place]]
        first = int(rng.integers(whole.steps - length + 1))
        spans.append(whole._replace(step=first, steps=length))
    return spans
