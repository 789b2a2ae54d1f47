"""FlashSAC anew in numpy, and what its tests are made with."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from robot_rl.contract import Layout
from robot_rl.data.replay import Batch
from robot_rl.learner.algorithms import flash_sac
from robot_rl.learner.algorithms.flash_sac import FlashConfig, FlashState
from robot_rl.learner.networks import flash

N, D, A = 8, 3, 2
TINY = FlashConfig(
    actor_width=3,
    critic_width=4,
    critic_norm="batch",
    blocks=1,
    bins=11,
    support=2.0,
    discount=0.9,
    initial_temperature=0.3,
    learning_rate=0.01,
    final_learning_rate=0.01,
    target_rate=0.1,
    target_std=0.15,
    entropy_backup=True,
    critic_steps=1,
)
Z = np.linspace(-2.0, 2.0, 11)
SEED = 0  # with it, either critic is the lower one somewhere
SQUARES = {"wrist": (16, 16)}


def tiny(config: FlashConfig = TINY, layout: Layout | None = None) -> FlashState:
    """A small agent with no zero offsets, targets that differ from the critics, and moments that are not 0 and 1."""
    state = flash_sac.create(jax.random.PRNGKey(0), layout or Layout(D, A), config)
    rng = np.random.default_rng(SEED)

    def stir(tree):
        return {name: p + rng.normal(0.0, 0.5, p.shape).astype(np.float32) for name, p in tree.items()}

    def shift(tree):
        return {name: p + rng.uniform(0.0, 0.5, p.shape).astype(np.float32) for name, p in tree.items()}

    return state._replace(
        actor=flash.bound(stir(state.actor)),
        actor_moments=shift(state.actor_moments),
        critics=flash.bound(stir(state.critics)),
        critic_moments=shift(state.critic_moments),
        target_critics=flash.bound(stir(state.target_critics)),
        target_encoder=stir(state.target_encoder),
    )


def batch_of(*lead: int, seed: int = 0, images: bool = False, size: int = D) -> Batch:
    rng = np.random.default_rng(seed)
    pictures = [{c: rng.integers(0, 256, (*lead, *hw, 3), np.uint8) for c, hw in SQUARES.items()} for _ in range(2)]
    return Batch(
        state=rng.normal(size=(*lead, size)).astype(np.float32),
        action=rng.uniform(-1, 1, (*lead, A)).astype(np.float32),
        reward=rng.normal(size=lead).astype(np.float32),
        mask=(rng.random(lead) < 0.7).astype(np.float32),
        next_state=rng.normal(size=(*lead, size)).astype(np.float32),
        images=pictures[0] if images else None,
        next_images=pictures[1] if images else None,
        columns={
            "return_deviation": np.full(lead[:-1], 1.25, np.float32),
            "return_largest": np.full(lead[:-1], 5.0, np.float32),  # 5 / 2 = 2.5 is larger than 1.25
        },
    )


def wide(tree):
    """In float64."""
    return jax.tree.map(lambda x: jnp.asarray(np.asarray(x), jnp.float64), tree)


def member(tree, i: int):
    return {name: np.asarray(value, np.float64)[i] for name, value in tree.items()}


def reference(params, x, moments=None) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A network of one block in float64, written out, and the batch's own moments."""
    p = {name: np.asarray(value, np.float64) for name, value in params.items()}
    own = {}

    def normed(k: int, x: np.ndarray) -> np.ndarray:
        own[f"m{k}"], own[f"v{k}"] = x.mean(0), ((x - x.mean(0)) ** 2).mean(0)
        m, v = (np.asarray((moments or own)[f"{kind}{k}"], np.float64) for kind in "mv")
        return p[f"g{k}"] * (x - m) / np.sqrt(v + 1e-5) + p[f"c{k}"]

    h = normed(0, x.astype(np.float64)) @ p["w0"]
    inside = np.maximum(normed(1, h @ p["w1"]), 0.0)
    h = h + np.maximum(normed(2, inside @ p["w2"]), 0.0)
    h = p["g3"] * h / np.sqrt((h**2).mean(-1, keepdims=True) + 1e-6)
    return h @ p["w3"] * p.get("s3", 1.0) + p["b3"], own


def reference_policy(outputs, noise) -> tuple[np.ndarray, np.ndarray]:
    """Action and log-probability, the latter by the change-of-variables formula itself."""
    mean, raw = np.split(outputs, 2, axis=-1)
    std = np.exp(-10.0 + 6.0 * (1.0 + np.tanh(raw)))
    u = mean + std * noise
    density = np.exp(-0.5 * noise**2) / (std * np.sqrt(2 * np.pi)) / (1 - np.tanh(u) ** 2)
    return np.tanh(u), np.log(density).sum(-1)


def softmax(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def moved(values: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """The projection, one atom after the other."""
    out = np.zeros((len(values), len(Z)))
    for row, (places, weights) in enumerate(zip(values, mass, strict=True)):
        for place, weight in zip(np.clip(places, -2.0, 2.0), weights, strict=True):
            at = (place + 2.0) / 0.4
            low = min(int(np.floor(at)), 9)
            out[row, low] += weight * (low + 1 - at)
            out[row, low + 1] += weight * (at - low)
    return out


def one(batch: Batch) -> Batch:
    return jax.tree.map(lambda column: column[0], batch)
