"""References of the learners' tests: networks in float64 numpy, batches and disturbed parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from robot_rl.data.replay import Batch


def dense_relu(params: Mapping[str, Any], inputs: np.ndarray, member: int | None = None) -> np.ndarray:
    """Dense (→ LayerNorm) → ReLU, …, Dense; ``member``: of an ensemble."""
    return _dense(lambda h: np.maximum(h, 0.0), params, inputs, member)


def dense_tanh(params: Mapping[str, Any], inputs: np.ndarray, member: int | None = None) -> np.ndarray:
    """Dense (→ LayerNorm) → tanh, …, Dense; ``member``: of an ensemble."""
    return _dense(np.tanh, params, inputs, member)


def _dense(activation: Any, params: Mapping[str, Any], inputs: np.ndarray, member: int | None) -> np.ndarray:
    p = {name: np.asarray(value, np.float64) for name, value in params.items()}
    p = p if member is None else {name: value[member] for name, value in p.items()}
    last = max(int(name[1:]) for name in p)
    h = np.asarray(inputs, np.float64)
    for i in range(last):
        h = h @ p[f"w{i}"] + p[f"b{i}"]
        if f"g{i}" in p:
            h = p[f"g{i}"] * normed(h) + p[f"c{i}"]
        h = activation(h)
    return h @ p[f"w{last}"] + p[f"b{last}"]


def gelu(x: np.ndarray) -> np.ndarray:
    """By its approximation with tanh, as JAX has it."""
    found: np.ndarray = 0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3)))
    return found


def normed(x: np.ndarray) -> np.ndarray:
    """LayerNorm over the last axis, without scale and offset."""
    found: np.ndarray = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
    return found


def draw(params: Mapping[str, Any], features: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A tanh-Gaussian's action for ``noise``, and its log-probability by the change of variables itself."""
    mean, log_std = np.split(dense_relu(params, features), 2, axis=-1)
    std = np.exp(np.clip(log_std, np.log(1e-5), np.log(5.0)))
    raw = mean + std * noise
    density = np.exp(-0.5 * ((raw - mean) / std) ** 2) / (std * np.sqrt(2 * np.pi)) / (1 - np.tanh(raw) ** 2)
    return np.tanh(raw), np.log(density).sum(-1)


def batch_of(
    *lead: int, state: int, action: int, images: Sequence[str] = (), size: tuple[int, int] = (16, 16), seed: int = 0
) -> Batch:
    """Random columns with leading axes ``lead``; the last axis of actions is an option of two."""
    rng = np.random.default_rng(seed)
    actions, before = rng.uniform(-1, 1, (2, *lead, action))
    actions[..., -1], before[..., -1] = np.sign(actions[..., -1]), np.sign(before[..., -1])
    pixels = [
        {name: rng.integers(0, 256, (*lead, *size, 3), dtype=np.uint8) for name in images} or None for _ in range(2)
    ]
    values = Batch(
        state=rng.normal(size=(*lead, state)),
        action=actions,
        reward=rng.normal(size=lead),
        mask=rng.random(lead) < 0.7,
        next_state=rng.normal(size=(*lead, state)),
        valid=np.ones(lead),
        columns={
            "cost": rng.random(lead),
            "recent_cost": np.zeros(lead[:-1]),
            "previous_action": before,
            "return_deviation": np.ones(lead[:-1]),
            "return_largest": np.ones(lead[:-1]),
            "example": rng.random(lead) < 0.7,
        },
    )
    return jax.tree.map(lambda c: np.asarray(c, np.float32), values)._replace(images=pixels[0], next_images=pixels[1])


def windows(*lead: int, state: int, action: int, horizon: int, seed: int = 0) -> Batch:
    """Windows of all kinds, in turns along ``lead``: whole ones, with the task's end in them, cut by a time limit."""
    rng = np.random.default_rng(seed)
    ends = np.resize((horizon, 1, 2, horizon), lead)[..., None]
    valid = (np.arange(horizon) < ends).astype(np.float32)
    values = Batch(
        state=rng.normal(size=(*lead, state)),
        action=rng.uniform(-1, 1, (*lead, horizon, action)) * valid[..., None],
        reward=rng.normal(size=(*lead, horizon)) * valid,
        mask=np.resize((1, 0, 1, 0, 1), lead),
        next_state=rng.normal(size=(*lead, state)),
        valid=valid,
    )
    return jax.tree.map(lambda column: np.asarray(column, np.float32), values)


def stir(tree: Any, seed: int, by: float = 0.3) -> Any:
    """``tree`` with noise on every parameter: no zero biases, and targets that differ from what they follow."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda p: p + jnp.asarray(by * rng.normal(size=p.shape), p.dtype), tree)


def slopes(loss: Any, params: Any, draws: int = 5) -> tuple[list[float], list[float]]:
    """Directional derivatives of ``loss`` along random directions: by central differences, and by `jax.grad`."""
    loss = jax.jit(loss)
    gradient = jax.jit(jax.grad(loss))(params)
    rng = np.random.default_rng(0)
    measured, derived = [], []
    for _ in range(draws):
        way = jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape)), params)
        ahead = loss(jax.tree.map(lambda p, w: p + 1e-6 * w, params, way))
        behind = loss(jax.tree.map(lambda p, w: p - 1e-6 * w, params, way))
        measured.append(float(ahead - behind) / 2e-6)
        derived.append(float(sum(jax.tree.leaves(jax.tree.map(lambda g, w: (g * w).sum(), gradient, way)))))
    return measured, derived


def equal(one: Any, two: Any) -> bool:
    """Whether two trees are the same, bit for bit."""
    return jax.tree.structure(one) == jax.tree.structure(two) and jax.tree.all(
        jax.tree.map(lambda a, b: bool((a == b).all()), one, two)
    )


def flow(params: Mapping[str, Any], features: np.ndarray, noise: np.ndarray, steps: int) -> np.ndarray:
    """Where ``noise (n, k)`` ends for ``features (f,)`` or ``(n, f)``, by Euler's method."""
    x = np.asarray(noise, np.float64)
    features = np.broadcast_to(features, (len(x), np.shape(features)[-1]))
    for i in range(steps):
        inputs = np.hstack((features, x, np.full((len(x), 1), i / steps)))
        x = x + dense_relu(params, inputs) / steps
    return np.clip(x, -1.0, 1.0)


def embedding(params: Mapping[str, Any], name: str, image: np.ndarray) -> np.ndarray:
    """An image's features in float64, window by window: output (i, j) looks at rows i·s − before …, with 0 outside."""
    hidden = image.astype(np.float64) / 255 - 0.5
    for layer, (kernel, stride, channels) in enumerate(((4, 4, 32), (3, 2, 32))):
        height, width, _ = hidden.shape
        rows, columns = int(np.ceil(height / stride)), int(np.ceil(width / stride))
        top = max((rows - 1) * stride + kernel - height, 0) // 2
        left = max((columns - 1) * stride + kernel - width, 0) // 2
        out = np.tile(np.asarray(params[f"{name}/b{layer}"], np.float64), (rows, columns, 1))
        weights = np.asarray(params[f"{name}/k{layer}"])
        for i, j, a, b in np.ndindex(rows, columns, kernel, kernel):
            y, x = i * stride - top + a, j * stride - left + b
            if 0 <= y < height and 0 <= x < width:
                out[i, j] += hidden[y, x] @ weights[a, b]
        assert out.shape == (rows, columns, channels)
        hidden = np.maximum(out, 0.0)
    flat = hidden.reshape(-1) @ np.asarray(params[f"{name}/w"]) + np.asarray(params[f"{name}/b"])
    normal = (flat - flat.mean()) / np.sqrt(flat.var() + 1e-6)
    return np.tanh(normal * params[f"{name}/g"] + params[f"{name}/c"])
