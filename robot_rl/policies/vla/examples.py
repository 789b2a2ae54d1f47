"""Episodes of several tasks → what SmallVLA learns from: cells, words, states and chunks of actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from robot_rl.policies.vla.network import Seen
from robot_rl.policies.vla.words import SIZE, Words


@dataclass(frozen=True, eq=False)
class Episode:
    """A demonstration of T steps.

    Attributes:
        store, number: of the store that it is of, and its own there.
        instruction: what was asked for.
        cells: camera → ``(T, k, f)`` float16, see `robot_rl.policies.vla.seeing`.
        states: ``(T, d)`` float32.
        actions: ``(T, a)`` float32.
    """

    store: int
    number: int
    instruction: str
    cells: Mapping[str, np.ndarray]
    states: np.ndarray
    actions: np.ndarray


class Minibatch:
    """Observations by number, and the chunks that were executed from there on.

    Attributes:
        seen: see `Seen`.
        chunk: ``(n, H, a)``; steps behind an episode's end repeat its last action …
        weight: ``(n, H)`` … and count 0.
    """

    def __init__(self, seen: Seen, chunk: Tensor, weight: Tensor) -> None:
        self.seen, self.chunk, self.weight = seen, chunk, weight


class Examples:
    """All steps of ``episodes``.

    Args:
        episodes: at least one.
        words: encodes what was asked for.
        horizon: H.
    """

    def __init__(self, episodes: Sequence[Episode], words: Words, horizon: int) -> None:
        self.cells = {
            name: torch.from_numpy(np.concatenate([one.cells[name] for one in episodes])) for name in episodes[0].cells
        }
        self.states = torch.from_numpy(np.concatenate([one.states for one in episodes]))
        self.actions = torch.from_numpy(np.concatenate([one.actions for one in episodes]))
        lengths = [len(one.actions) for one in episodes]
        self.stores = np.repeat([one.store for one in episodes], lengths)
        self.last = torch.from_numpy(np.repeat(np.cumsum(lengths) - 1, lengths))
        texts = sorted({one.instruction for one in episodes})
        self.words, self.read = padded([words.encode(text) for text in texts])
        self.said = torch.from_numpy(np.repeat([texts.index(one.instruction) for one in episodes], lengths))
        self.horizon = horizon

    def __len__(self) -> int:
        return len(self.last)

    def take(self, rows: Tensor) -> Minibatch:
        """The observations of ``rows (n,)`` and their chunks."""
        steps = rows[:, None] + torch.arange(self.horizon)
        weight, chunk = steps <= self.last[rows, None], self.actions[torch.minimum(steps, self.last[rows, None])]
        said = self.said[rows]
        length = max(1, int(self.read[said].sum(1).max()))
        cells = {name: cells[rows].float() for name, cells in self.cells.items()}
        seen = Seen(cells, self.words[said][:, :length], self.read[said][:, :length], self.states[rows])
        return Minibatch(seen, chunk, weight.float())


def padded(texts: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Vectors ``(n, w, SIZE)`` of n texts ``(w_i, SIZE)``, and which of them are words ``(n, w)`` bool; w ≥ 1."""
    most = max(1, *(len(text) for text in texts))
    words, read = torch.zeros(len(texts), most, SIZE), torch.zeros(len(texts), most, dtype=torch.bool)
    for row, text in enumerate(texts):
        words[row, : len(text)] = torch.from_numpy(text)
        read[row, : len(text)] = True
    return words, read
