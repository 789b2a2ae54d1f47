"""Training of a SmallVLA by imitation; what it sees and reads was encoded before.

    θ̄ ← d_k θ̄ + (1 − d_k) θ,   d_k = min(0.9999, 1 − (1 + k)^−0.75) after step k = 0, 1, …     (Diffusion Policy)

Only the average θ̄ is judged on held-out episodes, always by the same noises and times, and only it is kept.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from robot_rl.policies.vla.config import VlaConfig
from robot_rl.policies.vla.examples import Episode, Examples, Minibatch
from robot_rl.policies.vla.network import CLEAN, SmallVla
from robot_rl.policies.vla.words import Words

MOST_DECAY, POWER = 0.9999, 0.75  # of the average
LARGEST_GRADIENT = 1.0  # norm beyond which it is cut
JUDGED = 512  # observations at most by which a look judges


class Look(NamedTuple):
    """Losses after ``step`` steps: mean of the minibatches since the last look, and of held-out episodes."""

    step: int
    learning: float
    held_out: float


class Fitted(NamedTuple):
    """Result of a training: the average's network, and all looks."""

    network: SmallVla
    looks: tuple[Look, ...]


def split(episodes: Sequence[Episode], share: float, seed: int) -> tuple[list[Episode], list[Episode]]:
    """Episodes to learn from, and held-out ones: of each store with several a ``share``, one at least."""
    rng = np.random.default_rng(seed)
    learning: list[Episode] = []
    held_out: list[Episode] = []
    for store in sorted({one.store for one in episodes}):
        found = [one for one in episodes if one.store == store]
        count = min(len(found) - 1, max(1, round(share * len(found)))) if share else 0
        kept = set(rng.permutation(len(found))[:count].tolist())
        for number, one in enumerate(found):
            (held_out if number in kept else learning).append(one)
    return learning, held_out


def fit(
    config: VlaConfig,
    learning: Sequence[Episode],
    held_out: Sequence[Episode],
    words: Words,
    seed: int,
    say: Callable[[Look], None] = lambda look: None,
    threads: int = 0,
) -> Fitted:
    """A network that imitates ``learning``.

    Args:
        config: its settings.
        learning, held_out: of the same cameras; the second may be empty.
        words: encodes what was asked for.
        seed: of the weights, the minibatches and the noise.
        say: called with each look.
        threads: of the processor, of this whole process; 0: as many as torch takes.
    """
    if threads:
        torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    examples = Examples(learning, words, config.horizon)
    judged = Examples(held_out, words, config.horizon) if held_out else None
    cells = {name: (part.shape[1], part.shape[2]) for name, part in examples.cells.items()}
    network = SmallVla(config, cells, examples.states.shape[1], examples.actions.shape[1])
    network.standardise(examples.states)
    average = copy.deepcopy(network).eval().requires_grad_(False)
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.decay)
    chances = chance_of_each(examples.stores, config.weights)
    looks: list[Look] = []
    losses: list[float] = []
    for step, rows in zip(range(config.steps), _drawn(chances, config.batch, seed), strict=False):
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * rate(step, config)
        batch = unread(examples.take(rows), config.unread, generator)
        loss = drawn_loss(network, batch, config, generator)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
        optimiser.step()
        decay = min(MOST_DECAY, 1.0 - (1.0 + step) ** -POWER)
        with torch.no_grad():
            for mean, value in zip(average.parameters(), network.parameters(), strict=True):
                mean.lerp_(value, 1.0 - decay)
        losses.append(float(loss.detach()))
        if (step + 1) % config.every == 0 or step + 1 == config.steps:
            looks.append(Look(step + 1, float(np.mean(losses)), judge(average, judged, config)))
            losses.clear()
            say(looks[-1])
    return Fitted(average, tuple(looks))


def drawn_loss(network: SmallVla, batch: Minibatch, config: VlaConfig, generator: torch.Generator) -> Tensor:
    """The loss of ``batch``, each observation with ``draws`` noises and times, and prefixes where they are learnt."""
    return network.loss(network.context(batch.seen), *draw(batch.chunk, batch.weight, config, generator))


def draw(
    chunk: Tensor, weight: Tensor, config: VlaConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Chunks, weights, noises and times of a loss: of each of ``chunk (n, H, a)``, with ``weight (n, H)``, ``draws`` in
    a row, some of whose first actions are given where prefixes are learnt."""
    chunk, weight = (part.repeat_interleave(config.draws, 0) for part in (chunk, weight))
    noise = torch.randn(chunk.shape, generator=generator)
    time = torch.rand(len(chunk), 1, generator=generator)
    if config.prefix:
        count = torch.randint(0, config.prefix + 1, (len(chunk), 1), generator=generator)
        given = torch.arange(config.horizon) < count
        time, weight = torch.where(given, CLEAN, time), torch.where(given, 0.0, weight)
    return chunk, weight, noise, time


@torch.no_grad()
def judge(network: SmallVla, examples: Examples | None, config: VlaConfig) -> float:
    """The loss of ``examples``, by noises and times that are always the same; not a number without any."""
    if examples is None:
        return math.nan
    rows = torch.linspace(0, len(examples) - 1, min(JUDGED, len(examples))).round().long()
    generator = torch.Generator().manual_seed(0)
    return float(drawn_loss(network, examples.take(rows), config, generator))


def unread(batch: Minibatch, chance: float, generator: torch.Generator) -> Minibatch:
    """The same with each word left out by ``chance``."""
    kept = torch.rand(batch.seen.read.shape, generator=generator) >= chance
    return Minibatch(batch.seen._replace(read=batch.seen.read & kept), batch.chunk, batch.weight)


def chance_of_each(stores: np.ndarray, weights: Sequence[float]) -> np.ndarray:
    """The chance ``(n,)`` of each step to be drawn: stores are drawn by their ``weights``, alike without any."""
    shares = np.array([weights[store] if weights else 1.0 for store in range(int(stores.max()) + 1)])
    chances = (shares / np.maximum(np.bincount(stores), 1))[stores]
    total: np.ndarray = chances / chances.sum()
    return total


def rate(step: int, config: VlaConfig) -> float:
    """The learning rate of ``step``, as a share of the largest."""
    risen = min(1.0, (step + 1) / max(1, config.warm_up))
    return risen * 0.5 * (1.0 + math.cos(math.pi * step / config.steps))


def _drawn(chances: np.ndarray, count: int, seed: int) -> Iterator[Tensor]:
    """Rows of one minibatch after the other."""
    rng = np.random.default_rng(seed)
    cumulated = np.cumsum(chances)
    while True:
        rows = np.searchsorted(cumulated, rng.random(count) * cumulated[-1], side="right")
        yield torch.from_numpy(np.minimum(rows, len(chances) - 1))
