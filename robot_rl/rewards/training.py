"""Training of a reward classifier's head: balanced minibatches, an early stop and a calibration on other episodes.

The encoder is frozen, so every frame is encoded once, and again for each shifted and brightened copy of it. A minibatch
has as many successes as failures. The training stops when the loss on the stopping episodes has not fallen for a while,
and the weights of its least are kept. Then T and b′ of p = σ(z / T + b′) minimise the log loss of the same episodes,
with Platt's (1999) targets for n₊ and n₋ *episodes*, which keep the probabilities of a perfect separation off 0 and 1:

    y₊ = (n₊ + 1) / (n₊ + 2)      y₋ = 1 / (n₋ + 2)

Of n ordered stages the head answers n questions, *has stage k been reached?* (Frank and Hall 2001: cumulative, not
softmax). Each is a binary one with frames of its own to leave out, a calibration and a threshold, so that all that is
said of success is said of each stage, and a mistake by two stages costs more than one by one. A minibatch has as many
frames of each number of stages reached, and its loss is the mean over all questions that its frames answer.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize
from torch.nn.functional import binary_cross_entropy_with_logits

from robot_rl.contract import Reading
from robot_rl.rewards.classifier import Head, Preparation, Prepared, logits
from robot_rl.rewards.config import TrainingSettings
from robot_rl.rewards.labels import LEFT_OUT, SUCCESS

FALL = 1e-3  # of the stopping loss that is worth waiting for
SHIFT, BRIGHTNESS = 4, 0.2  # pixels, and share, by which copies differ at most


@dataclass(frozen=True, eq=False)
class Frames:
    """Readings of one episode that have a label.

    Attributes:
        readings: T of them, whose pictures differ.
        labels: ``(T, n)`` int8, for each stage: `SUCCESS` (it has been reached), `FAILURE` or `LEFT_OUT`.
    """

    readings: Sequence[Reading]
    labels: np.ndarray


class Look(NamedTuple):
    """Losses after ``step`` steps: mean of the minibatches since the last look, and of the stopping episodes."""

    step: int
    learning: float
    stopping: float


class Scale(NamedTuple):
    """T and b′ of p = σ(z / T + b′)."""

    temperature: float
    offset: float


class Fitted(NamedTuple):
    """Result of a training: the head with its best weights, T and b′ of each stage, and all looks."""

    head: Head
    scales: tuple[Scale, ...]
    looks: tuple[Look, ...]


def fit(
    preparation: Preparation,
    learning: Sequence[Callable[[], Frames]],
    stopping: Sequence[Callable[[], Frames]],
    settings: TrainingSettings,
    say: Callable[[str], None] = lambda line: None,
) -> Fitted:
    """A head for ``preparation``.

    Args:
        learning, stopping: read an episode when its turn comes, so that few pictures are held.
        say: called with a line now and then, to tell a person how far it is.
    """
    rng = np.random.default_rng(settings.seed)
    torch.manual_seed(settings.seed)
    inputs, labels, _ = _encoded(preparation, learning, settings.copies, rng, say, "to learn from")
    held_out, held_out_labels, succeed = _encoded(preparation, stopping, 0, rng, say, "to stop by")
    stages = labels.shape[1]
    head = Head(preparation.shapes, preparation.seen.state_size, stages)
    head.standardise(inputs)
    best, least, waited, looks, losses = copy.deepcopy(head.state_dict()), np.inf, 0, list[Look](), list[float]()
    optimiser = torch.optim.Adam(head.parameters(), lr=settings.rate)
    reached = (labels == SUCCESS).sum(axis=1)
    kinds = [kind for stage in range(stages, -1, -1) if len(kind := np.flatnonzero(reached == stage))]
    for step in range(1, settings.steps + 1):
        chosen = np.concatenate([rng.choice(kind, settings.half) for kind in kinds])
        head.train()
        grids = {camera: torch.from_numpy(grid[chosen]) for camera, grid in inputs.grids.items()}
        z = head(grids, torch.from_numpy(inputs.state[chosen]))
        loss = stages_loss(z, torch.from_numpy(labels[chosen]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
        if step % settings.every and step != settings.steps:
            continue
        looks.append(Look(step, float(np.mean(losses)), mean_loss(logits(head, held_out), held_out_labels)))
        losses.clear()
        say(f"step {step} of {settings.steps}: loss {looks[-1].learning:.4f}, held out {looks[-1].stopping:.4f}")
        waited += 1
        if looks[-1].stopping < least - FALL:
            waited = 0
        if looks[-1].stopping < least:
            best, least = copy.deepcopy(head.state_dict()), looks[-1].stopping
        if waited >= settings.patience:
            break
    head.load_state_dict(best)
    z = logits(head, held_out)
    scales = []
    for stage in range(stages):
        known = held_out_labels[:, stage] != LEFT_OUT
        truth = held_out_labels[known, stage] == SUCCESS
        scales.append(Scale(*calibrated(z[known, stage], truth, int(succeed[stage]), len(stopping))))
    return Fitted(head.eval(), tuple(scales), tuple(looks))


def stages_loss(z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean log loss of ``z (n, stages)``; what ``labels`` of the same shape leave out counts for nothing."""
    known = labels != LEFT_OUT
    return binary_cross_entropy_with_logits(z[known], (labels[known] == SUCCESS).to(z.dtype))


def mean_loss(z: np.ndarray, labels: np.ndarray) -> float:
    """Mean over the stages of the balanced loss of ``z (n, stages)``, what ``labels`` leave out aside."""
    known = labels != LEFT_OUT
    return float(
        np.mean(
            [
                balanced_loss(z[known[:, stage], stage], labels[known[:, stage], stage] == SUCCESS)
                for stage in range(z.shape[1])
            ]
        )
    )


def balanced_loss(z: np.ndarray, truth: np.ndarray) -> float:
    """Log loss of ``z (n,)``, successes and failures weighing the same."""
    losses = np.logaddexp(0.0, np.where(truth, -z, z))
    return float(np.mean([losses[kind].mean() for kind in (truth, ~truth) if kind.any()]))


def calibrated(z: np.ndarray, truth: np.ndarray, succeed: int, episodes: int) -> tuple[float, float]:
    """T and b′ for ``z (n,)``; of the episodes ``succeed`` have a success, and all of them failure."""
    targets = np.where(truth, (succeed + 1.0) / (succeed + 2.0), 1.0 / (episodes + 2.0))

    def loss(values: np.ndarray) -> float:
        scaled = z * np.exp(values[0]) + values[1]
        return float(np.mean(np.logaddexp(0.0, scaled) - targets * scaled))

    found = minimize(loss, np.zeros(2), method="Nelder-Mead")
    return float(np.exp(-found.x[0])), float(found.x[1])


def _encoded(
    preparation: Preparation,
    episodes: Sequence[Callable[[], Frames]],
    copies: int,
    rng: np.random.Generator,
    say: Callable[[str], None],
    what: str,
) -> tuple[Prepared, np.ndarray, np.ndarray]:
    """Inputs of all frames with a label, labels ``(N, n)``, and how many episodes show each stage ``(n,)``."""
    parts, labels, succeed = [], [], np.zeros(1, dtype=np.int64)
    for number, read in enumerate(episodes, 1):
        episode = read()
        succeed = succeed + (episode.labels == SUCCESS).any(axis=0)
        kept = np.flatnonzero((episode.labels != LEFT_OUT).any(axis=1)).tolist()
        readings = [episode.readings[index] for index in kept]
        for number_of_copy in range(1 + copies):
            if readings:
                shown = [varied(one, rng) for one in readings] if number_of_copy else readings
                parts.append(preparation(shown))
                labels.append(episode.labels[kept])
        if number % 5 == 0 or number == len(episodes):
            say(f"encoded {number} of {len(episodes)} episodes {what}")
    grids = {camera: np.concatenate([part.grids[camera] for part in parts]) for camera in preparation.seen.views}
    return Prepared(grids, np.concatenate([part.state for part in parts])), np.concatenate(labels), succeed


def varied(reading: Reading, rng: np.random.Generator) -> Reading:
    """``reading`` with all its pictures shifted and brightened, each by chance."""
    return replace(reading, images={name: _varied(picture, rng) for name, picture in reading.images.items()})


def _varied(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    height, width = picture.shape[:2]
    wide = np.pad(picture, ((SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)), mode="edge")
    y, x = rng.integers(0, 2 * SHIFT + 1, 2)
    gain = 1.0 + rng.uniform(-BRIGHTNESS, BRIGHTNESS)
    return np.clip(gain * wide[y : y + height, x : x + width], 0.0, 255.0).astype(np.uint8)
