"""A reward model of a person's preferences: an ensemble of small networks f on the state of the task (torch).

For snippets A and B of T steps, with R the mean of f over the states that close their steps, the person prefers A with
the probability of Bradley and Terry (1952), as Christiano et al. (2017) take it,

    p = σ(R_A − R_B)      L = −μ log p − (1 − μ) log(1 − p),      μ = 1, 0, or ½ where neither is better

and of a score q from 1 to 5 the loss is (R − ½ (q − 3))²; the mean is over all answers. Each member of the ensemble

    f(x) = W₂ tanh(W₁ tanh(W₀ x̂ + b₀) + b₁) + b₂,      x̂ = (x − mean) · scale, by the learning snippets

is fitted by itself to all of them, and their mean counts. The training stops when the loss on the stopping answers,
whose episodes nothing was learnt from, has not fallen for a while; the weights of its least are kept. `Fitted` says how
well the mean agrees with the judging answers, whose episodes had a say in neither.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import save as bytes_of
from torch import nn
from torch.nn.functional import softplus

from robot_rl.contract.files import write_atomically
from robot_rl.rewards.answers import EQUAL, FIRST
from robot_rl.rewards.config import RankSettings
from robot_rl.rewards.preferred import LAYERS, LEVELS, WEIGHTS, Card, PreferenceError
from robot_rl.rewards.saved import digest_of

FALL = 1e-4  # of the stopping loss that is worth waiting for
MIDDLE, STEP = 3.0, 0.5  # of the scores, and R between one and the next
LEAST_SCALE = 1e-3  # of an input's standard deviation, below which it is taken for constant


class Compared(NamedTuple):
    """An answer with the states that it is about: ``first (T, d)``, ``second (T, d)`` or None, and what was said."""

    first: np.ndarray
    second: np.ndarray | None
    answer: int


class Ensemble(nn.Module):
    """f of ``members`` networks on ``size`` inputs. The inputs' scale is taken once, by `standardise`."""

    def __init__(self, size: int, width: int, members: int) -> None:
        super().__init__()
        sizes = (size, width, width, 1)
        for layer in range(LAYERS):
            bound = sizes[layer] ** -0.5
            weight = (2.0 * torch.rand(members, sizes[layer], sizes[layer + 1]) - 1.0) * bound
            self.register_parameter(f"weight_{layer}", nn.Parameter(weight))
            self.register_parameter(f"bias_{layer}", nn.Parameter(torch.zeros(members, sizes[layer + 1])))
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))
        self.register_buffer("levels", torch.linspace(0.0, 1.0, LEVELS))

    def standardise(self, states: np.ndarray) -> None:
        """Take the scale of ``states (n, size)``: mean 0, standard deviation 1, and 0 for what hardly varies."""
        deviation = states.std(axis=0)
        scale = np.where(deviation > LEAST_SCALE, 1.0 / np.maximum(deviation, LEAST_SCALE), 0.0)
        with torch.no_grad():
            self.get_buffer("mean").copy_(torch.from_numpy(states.mean(axis=0)))
            self.get_buffer("scale").copy_(torch.from_numpy(scale))

    def take_levels(self, states: np.ndarray) -> None:
        """Take the quantiles of f over ``states (n, size)``, by which g is reckoned."""
        with torch.no_grad():
            f = self(torch.from_numpy(states).to(self.get_buffer("mean").dtype)).mean(0)
            self.get_buffer("levels").copy_(torch.quantile(f, torch.linspace(0.0, 1.0, LEVELS, dtype=f.dtype)))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """f ``(members, n)`` of ``states (n, size)``."""
        h = ((states - self.get_buffer("mean")) * self.get_buffer("scale"))[None]
        for layer in range(LAYERS):
            h = h @ self.get_parameter(f"weight_{layer}") + self.get_parameter(f"bias_{layer}")[:, None]
            if layer < LAYERS - 1:
                h = torch.tanh(h)
        return h[..., 0]


def returns(f: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
    """R ``(members, snippets)``: means of ``f (members, n)`` over consecutive snippets of ``lengths``."""
    return torch.stack([part.mean(dim=1) for part in f.split(list(lengths), dim=1)], dim=1)


def pair_loss(first: torch.Tensor, second: torch.Tensor, mu: torch.Tensor) -> torch.Tensor:
    """L of each pair: ``first, second``: R_A and R_B, ``mu``: μ, of shapes that fit each other."""
    lead = first - second
    return mu * softplus(-lead) + (1.0 - mu) * softplus(lead)


def score_loss(R: torch.Tensor, score: torch.Tensor) -> torch.Tensor:
    """(R − ½ (q − 3))² of each score q."""
    return (R - STEP * (score - MIDDLE)) ** 2


class Batch(NamedTuple):
    """All answers of a part at once: the states of their snippets one behind the other, and which of them are what.

    Attributes:
        states: ``(n, d)``.
        lengths: of the snippets.
        first, second, mu: places of the snippets of pairs ``(p,)``, and μ.
        scored, score: places of the snippets that have a score ``(q,)``, and these.
    """

    states: torch.Tensor
    lengths: tuple[int, ...]
    first: torch.Tensor
    second: torch.Tensor
    mu: torch.Tensor
    scored: torch.Tensor
    score: torch.Tensor


def batch_of(answers: Sequence[Compared], kind: torch.dtype = torch.float32) -> Batch:
    """``answers`` at once; one of them at least."""
    snippets: list[np.ndarray] = []
    pairs: list[tuple[int, int, float]] = []
    scores: list[tuple[int, float]] = []
    for one in answers:
        place = len(snippets)
        snippets.append(one.first)
        if one.second is None:
            scores.append((place, float(one.answer)))
            continue
        snippets.append(one.second)
        pairs.append((place, place + 1, 0.5 if one.answer == EQUAL else float(one.answer == FIRST)))
    places = torch.tensor([pair[:2] for pair in pairs], dtype=torch.long).reshape(-1, 2)
    return Batch(
        torch.from_numpy(np.concatenate(snippets)).to(kind),
        tuple(len(snippet) for snippet in snippets),
        places[:, 0],
        places[:, 1],
        torch.tensor([mu for *_, mu in pairs], dtype=kind),
        torch.tensor([place for place, _ in scores], dtype=torch.long),
        torch.tensor([score for _, score in scores], dtype=kind),
    )


def loss_of(model: Ensemble, batch: Batch) -> torch.Tensor:
    """Mean of L over all answers and members."""
    R = returns(model(batch.states), batch.lengths)
    pairs = pair_loss(R[:, batch.first], R[:, batch.second], batch.mu)
    return torch.cat((pairs, score_loss(R[:, batch.scored], batch.score)), dim=1).mean()


class Look(NamedTuple):
    """Losses after ``step`` steps, of the learning answers and of the stopping ones."""

    step: int
    learning: float
    stopping: float


class Fitted(NamedTuple):
    """Result of a training: the model with its best weights, all looks, and agreement and error as in `Card`."""

    model: Ensemble
    looks: tuple[Look, ...]
    agreement: float | None
    error: float | None


def fit(
    learning: Sequence[Compared],
    stopping: Sequence[Compared],
    judging: Sequence[Compared],
    settings: RankSettings,
    say: Callable[[str], None] = lambda line: None,
) -> Fitted:
    """A model of ``learning``. Raises `PreferenceError` where nothing is there to learn from or to stop by."""
    if not learning or not stopping:
        raise PreferenceError(
            f"{len(learning)} answers to learn from and {len(stopping)} to stop by are too few; give more: "
            "robot-rl reward prefer --run DIR answers=60"
        )
    torch.manual_seed(settings.seed)
    known, held_out = batch_of(learning), batch_of(stopping)
    states = known.states.numpy()
    model = Ensemble(states.shape[1], settings.width, settings.members)
    model.standardise(states)
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.rate, weight_decay=settings.decay)
    best, least, waited, looks = copy.deepcopy(model.state_dict()), np.inf, 0, list[Look]()
    for step in range(1, settings.steps + 1):
        loss = loss_of(model, known)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % settings.every and step != settings.steps:
            continue
        with torch.no_grad():
            looks.append(Look(step, float(loss.detach()), float(loss_of(model, held_out))))
        waited += 1
        if looks[-1].stopping < least - FALL:
            waited = 0
        if looks[-1].stopping < least:
            best, least = copy.deepcopy(model.state_dict()), looks[-1].stopping
        if waited >= settings.patience:
            break
    say(f"step {looks[-1].step} of {settings.steps}: loss {looks[-1].learning:.4f}, least held out {least:.4f}")
    model.load_state_dict(best)
    model.take_levels(states)
    return Fitted(model, tuple(looks), *judged(model, judging))


def judged(model: Ensemble, judging: Sequence[Compared]) -> tuple[float | None, float | None]:
    """Agreement with the pairs of ``judging`` in which one is better, and error in its scores; None without any."""
    if not judging:
        return None, None
    batch = batch_of(judging)
    with torch.no_grad():
        R = returns(model(batch.states), batch.lengths).mean(0)
    decided = batch.mu != 0.5
    same = ((R[batch.first] > R[batch.second]) == (batch.mu > 0.5))[decided]
    errors = R[batch.scored] / STEP + MIDDLE - batch.score
    return (
        float(same.double().mean()) if len(same) else None,
        float(errors.double().square().mean().sqrt()) if len(errors) else None,
    )


def weights(model: Ensemble) -> bytes:
    """The model's weights as the content of a file."""
    data: bytes = bytes_of({name: value.contiguous() for name, value in model.state_dict().items()})
    return data


def save(folder: Path, card: Card, data: bytes) -> None:
    """Write a preference with weights ``data``; one that is there is replaced."""
    if digest_of(data) != card.weights:
        raise PreferenceError("weights and description are of two preferences")
    write_atomically(folder / WEIGHTS, data)
    card.write(folder)
