"""Pessimistic critics of chunks, for a policy that is no agent here: what it sees comes as vectors, its chunks as data.

ALOE's critics (arXiv 2602.12691; `robot_rl.learner.algorithms.chunked` has them with a flow of its own). Of a window
that begins at z_t, whose h executed actions are a, with proposals b_1 … b_M of the policy at both its ends:

    y    = Σ_{k<h} γ^k r_{t+k} + γ^h m min_i Q̄_i(z_{t+h}, b'),   b' one of the proposals there, drawn anew each time
    L_Q  = mean over members and windows of (Q_i(z_t, a) − y)²
    A    = min_i Q_i(z_t, a) − mean_j min_i Q_i(z_t, b_j)
    w    = exp(clip((A − Ā)/(β σ), −c, c)),   Ā and σ over all windows whose future is known

Windows at the end of a run are as in `chunked`: behind a task's end actions are drawn at random, and a window that a
time limit or an abort cut short teaches nothing and weighs 0.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from robot_rl.data.replay import Batch
from robot_rl.learner.algorithms.chunked import Values, critic_loss, fill, q_values, standard_scores
from robot_rl.learner.networks.mlp import Params, critics_apply, critics_create

JUDGED = 512  # windows that are valued at once


class CriticSettings(NamedTuple):
    """``members`` of the ensemble, their ``hidden`` layers, γ of a step, Adam's rate, τ of the targets."""

    members: int
    hidden: tuple[int, ...]
    discount: float
    learning_rate: float
    target_rate: float


class Windows(NamedTuple):
    """n windows of h steps.

    Attributes:
        seen, then_seen: ``(n, f)`` where a window begins, and after its last valid step.
        action: ``(n, h, a)``; reward, valid: ``(n, h)``; mask: ``(n,)``: as in `robot_rl.data.replay.Batch`.
        proposed, then_proposed: ``(n, M, h a)`` of the policy at both.
    """

    seen: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    valid: np.ndarray
    mask: np.ndarray
    then_seen: np.ndarray
    proposed: np.ndarray
    then_proposed: np.ndarray

    def take(self, rows: np.ndarray) -> Windows:
        """Those of ``rows``, any shape, in its place of the axis n."""
        return Windows(*(part[rows] for part in self))

    @property
    def batch(self) -> Batch:
        """The same for functions that know no proposals."""
        return Batch(self.seen, self.action, self.reward, self.mask, self.then_seen, self.valid)


class CriticState(NamedTuple):
    """Everything that learns."""

    critics: Params
    targets: Params
    optimiser: Any
    key: jax.Array


def create(seed: int, features: int, size: int, settings: CriticSettings) -> CriticState:
    """Fresh critics of ``features`` numbers and chunks of ``size``."""
    critic_key, key = jax.random.split(jax.random.PRNGKey(seed))
    critics = critics_create(critic_key, features, size, settings.hidden, settings.members, True)
    return CriticState(critics, critics, optax.adam(settings.learning_rate).init(critics), key)


def restored(state: CriticState) -> CriticState:
    """``state`` of arrays of any kind, to learn on from."""
    found: CriticState = jax.tree.map(jnp.asarray, state)
    return found


def target(key: jax.Array, state: CriticState, windows: Windows, settings: CriticSettings) -> jax.Array:
    """y ``(n,)``."""
    count, many = windows.then_proposed.shape[:2]
    one = jax.random.randint(key, (count, 1, 1), 0, many)
    chunk = jnp.take_along_axis(jnp.asarray(windows.then_proposed), one, axis=1)[:, 0]
    value = critics_apply(state.targets, jnp.asarray(windows.then_seen), chunk).min(axis=0)
    horizon = windows.reward.shape[1]
    rewards = jnp.asarray(windows.reward) @ settings.discount ** jnp.arange(horizon)
    found: jax.Array = rewards + settings.discount**horizon * jnp.asarray(windows.mask) * value
    return found


@partial(jax.jit, static_argnames="settings")
def learn(state: CriticState, windows: Windows, settings: CriticSettings) -> tuple[CriticState, dict[str, jax.Array]]:
    """A step for each of G minibatches; ``windows`` has leading axes ``(G, n)``."""
    adam = optax.adam(settings.learning_rate)

    def step(held: CriticState, given: tuple[jax.Array, Windows]) -> tuple[CriticState, dict[str, jax.Array]]:
        key, part = given
        fill_key, target_key = jax.random.split(key)
        y = target(target_key, held, part, settings)
        values, chunk = Values({}, held.critics), fill(fill_key, part.batch)
        (loss, (q, _)), slope = jax.value_and_grad(critic_loss, has_aux=True)(values, chunk, y, part.batch)
        change, optimiser = adam.update(slope.critics, held.optimiser)
        critics = optax.apply_updates(held.critics, change)
        targets = optax.incremental_update(critics, held.targets, settings.target_rate)
        return held._replace(critics=critics, targets=targets, optimiser=optimiser), {
            "critic/loss": loss,
            "critic/q_mean": q.mean(),
            "critic/target_mean": y.mean(),
        }

    keys = jax.random.split(state.key, len(windows.mask) + 1)
    state, rows = jax.lax.scan(step, state._replace(key=keys[0]), (keys[1:], windows))
    info = {name: value.mean() for name, value in rows.items()}
    return state, info | {"critic/norm": optax.tree.norm(state.critics)}


@jax.jit
def _advantage(critics: Params, windows: Windows) -> tuple[jax.Array, jax.Array]:
    """A ``(n,)``, and min_i Q_i of the executed chunks."""
    chunk = jnp.asarray(windows.action).reshape(len(windows.action), 1, -1)
    q = q_values(critics, jnp.asarray(windows.seen), jnp.concatenate((chunk, windows.proposed), axis=1)).min(axis=0)
    return q[:, 0] - q[:, 1:].mean(axis=1), q[:, 0]


def advantages(critics: Params, windows: Windows) -> tuple[np.ndarray, np.ndarray]:
    """A ``(n,)`` of all ``windows``, and the values ``(n,)`` of what was executed."""
    rows = np.arange(_padded(len(windows.mask))).reshape(-1, JUDGED) % len(windows.mask)
    parts = [_advantage(critics, windows.take(part)) for part in rows]  # of one size, which is compiled once
    found, values = (
        np.concatenate([np.asarray(part) for part in one])[: len(windows.mask)] for one in zip(*parts, strict=True)
    )
    return found, values


def weights(advantage: np.ndarray, size: np.ndarray, windows: Windows, beta: float, limit: float) -> np.ndarray:
    """w ``(n,)`` of ``advantage (n,)``, a difference of values of ``size (n,)``; 0 where the future is not known."""
    known = np.maximum(windows.valid[:, -1], 1.0 - windows.mask)
    found: np.ndarray = known * exponential(advantage, size, known, beta, limit)
    return found


def exponential(score: np.ndarray, size: np.ndarray, known: np.ndarray, beta: float, limit: float) -> np.ndarray:
    """exp(clip((x − x̄)/(β σ), −c, c)) ``(n,)`` of ``score`` x, with x̄ and σ over the ``known (n,)`` ones.

    ``size (n,)`` is of the values that x is a difference of, see `standard_scores`.
    """
    more = _padded(len(score)) - len(score)  # or each number of windows would be compiled for
    score, size, known = (np.pad(part, (0, more)) for part in (score, np.abs(size), known))
    scores = np.asarray(standard_scores(jnp.asarray(score), jnp.asarray(size), jnp.asarray(known)))
    found: np.ndarray = np.exp(np.clip(scores[: len(scores) - more] / beta, -limit, limit))
    return found


def _padded(count: int) -> int:
    """The least multiple of `JUDGED` from ``count`` on."""
    return -(-count // JUDGED) * JUDGED
