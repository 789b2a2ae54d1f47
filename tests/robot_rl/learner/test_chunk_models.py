"""Flow, diffusion, energy and Gaussian of chunks against numpy, finite differences, given beginnings and two ways."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from robot_rl.learner.networks import mixer
from robot_rl.learner.networks.chunk_diffusion import diffusion_loss, diffusion_sample, kept_signal
from robot_rl.learner.networks.chunk_energy import STILL, energy, energy_loss, energy_sample
from robot_rl.learner.networks.chunk_flow import flow_loss, flow_sample
from robot_rl.learner.networks.chunk_gaussian import gaussian_apply, gaussian_create, gaussian_loss, mean_error
from robot_rl.learner.networks.mlp import Params
from tests.robot_rl.references import gelu, normed, stir

F, A, H, N, LEVELS = 3, 2, 4, 5, 12
FEATURES, CHUNK = (np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32) for shape in ((N, F), (N, H, A)))
WEIGHT = np.float32(np.arange(H) < np.array([H, 1, 2, H, 3])[:, None])


def params(width: int = 8, blocks: int = 2, horizon: int = H) -> Params:
    """A small mixer, no number of which is 0."""
    return stir(mixer.mixer_create(jax.random.PRNGKey(0), F, A, horizon, width, blocks), 3, 0.3)


def dense(p: Any, name: str, x: np.ndarray) -> np.ndarray:
    return x @ p[f"{name}/w"] + p[f"{name}/b"]


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1.0 + np.exp(-x))


def reference(tree: Params, s: np.ndarray, x: np.ndarray, t: np.ndarray) -> np.ndarray:
    """The network for one chunk ``x (H, a)`` with times ``t (H,)``, token by token, in float64."""
    p = {name: np.asarray(value, np.float64) for name, value in tree.items()}
    periods = 4e-3 * 1000.0 ** (np.arange(32) / 31.0)
    c = [np.concatenate([f(2 * np.pi * time / periods) for f in (np.sin, np.cos)]) for time in t]
    c = [silu(dense(p, "t1", silu(dense(p, "t0", one)))) for one in c]
    steps = range(len(x))
    h = np.stack([x[i] @ p["x/w"] + s @ p["s/w"] + p["in/b"] for i in steps])
    for block in range(sum("/w3" in name for name in p)):
        w = {name[2:]: value for name, value in p.items() if name.startswith(f"{block}/")}
        parts = [np.split(c[i] @ w["m"] + w["n"], 6 if len(x) > 1 else 3) for i in steps]
        if len(x) > 1:
            u = np.stack([(1 + parts[i][1]) * normed(h[i]) + parts[i][0] for i in steps])
            columns = [gelu(u[:, j] @ w["w1"] + w["b1"]) @ w["w2"] + w["b2"] for j in range(h.shape[1])]
            mixed = np.stack(columns, axis=1)
            h = np.stack([h[i] + parts[i][2] * mixed[i] for i in steps])
        u = np.stack([(1 + parts[i][-2]) * normed(h[i]) + parts[i][-3] for i in steps])
        h = np.stack([h[i] + parts[i][-1] * (gelu(u[i] @ w["w3"] + w["b3"]) @ w["w4"] + w["b4"]) for i in steps])
    halves = [np.split(c[i] @ p["m"] + p["n"], 2) for i in steps]
    return np.stack([dense(p, "out", (1 + halves[i][1]) * normed(h[i]) + halves[i][0]) for i in steps])


@pytest.mark.parametrize("horizon", [H, 1])
def test_the_network_equals_the_reference_and_one_time_stands_for_all(horizon: int) -> None:
    p, t = params(horizon=horizon), np.random.default_rng(2).random((N, horizon)).astype(np.float32)
    chunk = CHUNK[:, :horizon]
    found = mixer.mixer_apply(p, FEATURES, chunk, t)
    expected = np.stack([reference(p, FEATURES[i], chunk[i], t[i]) for i in range(N)])
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=2e-3)  # of sines at 2πt/0.004 in float32
    one = mixer.mixer_apply(p, FEATURES, chunk, t[:, :1])
    np.testing.assert_allclose(one, mixer.mixer_apply(p, FEATURES, chunk, np.repeat(t[:, :1], horizon, 1)), atol=1e-5)


def test_a_fresh_network_is_the_identity_between_its_ends() -> None:
    """AdaLN-zero: neither other tokens nor the time matter."""
    p = mixer.mixer_create(jax.random.PRNGKey(0), F, A, H, 8, 2)
    there = mixer.mixer_apply(p, FEATURES, CHUNK, jnp.zeros((N, 1)))
    changed = CHUNK.copy()
    changed[:, 1:] += 1.0
    np.testing.assert_array_equal(mixer.mixer_apply(p, FEATURES, changed, jnp.ones((N, 1)))[:, 0], there[:, 0])


def test_signal_kept_by_the_squared_cosine() -> None:
    """ᾱ is f((k + 1)/K)/f(0), but for the last level, whose β is cut at 0.999."""
    f = [math.cos((i / LEVELS + 0.008) / 1.008 * math.pi / 2) ** 2 for i in range(LEVELS + 1)]
    kept = kept_signal(LEVELS)
    np.testing.assert_allclose(kept[:-1], [f[k + 1] / f[0] for k in range(LEVELS - 1)], rtol=1e-12)
    np.testing.assert_allclose(kept[-1], kept[-2] * 0.001, rtol=1e-12)


def drawn(key: jax.Array, prefix: int) -> tuple[np.ndarray, jax.Array, np.ndarray]:
    """Noise, the key of times, and the count of given tokens of each chunk, as the losses draw them."""
    noise_key, time_key, prefix_key = jax.random.split(key, 3)
    count = np.asarray(jax.random.randint(prefix_key, (N, 1), 0, prefix + 1)) if prefix else np.zeros((N, 1), int)
    return np.asarray(jax.random.normal(noise_key, CHUNK.shape), np.float64), time_key, count[:, 0]


@pytest.mark.parametrize("prefix", [0, 2])
def test_the_loss_of_a_flow_by_hand(prefix: int) -> None:
    p, key = params(), jax.random.PRNGKey(4)
    noise, time_key, count = drawn(key, prefix)
    times = np.asarray(jax.random.uniform(time_key, (N, 1)))[:, 0]
    total, counted = 0.0, 0
    for i in range(N):
        t = np.array([1.0 if h < count[i] else times[i] for h in range(H)])
        v = reference(p, FEATURES[i], (1 - t[:, None]) * noise[i] + t[:, None] * CHUNK[i], t)
        for h in range(count[i], int(WEIGHT[i].sum())):
            total, counted = total + ((v[h] - (CHUNK[i, h] - noise[i, h])) ** 2).sum(), counted + A
    assert (count > 0).any() == bool(prefix)
    np.testing.assert_allclose(flow_loss(p, key, FEATURES, CHUNK, WEIGHT, prefix), total / counted, rtol=2e-3)


@pytest.mark.parametrize("prefix", [0, 2])
def test_the_loss_of_a_diffusion_by_hand(prefix: int) -> None:
    p, key = params(), jax.random.PRNGKey(4)
    noise, level_key, count = drawn(key, prefix)
    levels = np.asarray(jax.random.randint(level_key, (N, 1), 0, LEVELS))[:, 0]
    total, counted = 0.0, 0
    for i in range(N):
        k = [-1 if h < count[i] else levels[i] for h in range(H)]
        kept = np.array([1.0 if one < 0 else kept_signal(LEVELS)[one] for one in k])[:, None]
        point = np.sqrt(kept) * CHUNK[i] + np.sqrt(1 - kept) * noise[i]
        predicted = reference(p, FEATURES[i], point, np.array([(one + 1) / LEVELS for one in k]))
        for h in range(count[i], int(WEIGHT[i].sum())):
            total, counted = total + ((predicted[h] - noise[i, h]) ** 2).sum(), counted + A
    found = diffusion_loss(p, key, FEATURES, CHUNK, WEIGHT, LEVELS, prefix)
    np.testing.assert_allclose(found, total / counted, rtol=2e-3)


def test_the_loss_of_a_gaussian_by_hand() -> None:
    p = stir(gaussian_create(jax.random.PRNGKey(0), F, A, H, (6,)), 3, 0.1)
    mean, log_std = (np.asarray(part, np.float64) for part in gaussian_apply(p, FEATURES, H))
    assert np.abs(mean).max() < 1.0 and math.log(0.02) < log_std.min() < log_std.max() < 0.0
    density = np.exp(-0.5 * ((CHUNK - mean) / np.exp(log_std)) ** 2) / np.sqrt(2 * np.pi * np.exp(2 * log_std))
    expected = -np.log(density)[WEIGHT > 0].mean()
    np.testing.assert_allclose(gaussian_loss(p, FEATURES, CHUNK, WEIGHT), expected, rtol=1e-4)
    error = ((CHUNK - mean) ** 2)[WEIGHT > 0].mean()
    np.testing.assert_allclose(mean_error(p, FEATURES, CHUNK, WEIGHT), error, rtol=1e-4)


def slope(p: Params, s: np.ndarray, x: np.ndarray) -> np.ndarray:
    """∇E at ``x (H, a)`` by central differences of the reference."""
    found = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        ahead, behind = x.copy(), x.copy()
        ahead[place] += 1e-5
        behind[place] -= 1e-5
        high, low = (0.5 * ((at - reference(p, s, at, np.zeros(H))) ** 2).sum() for at in (ahead, behind))
        found[place] = (high - low) / 2e-5
    return found


def test_the_loss_of_an_energy_by_hand() -> None:
    """Levelling off in the last fifth of the way only: some windows are before it, some in it."""
    p, key = params(), jax.random.PRNGKey(10)
    noise_key, time_key = jax.random.split(key)
    noise = np.asarray(jax.random.normal(noise_key, CHUNK.shape), np.float64)
    times = np.asarray(jax.random.uniform(time_key, (N, 1, 1)), np.float64)[:, 0, 0]
    assert (times > 0.8).any() and (times < 0.8).any()
    total, counted = 0.0, 0
    for i in range(N):
        falls = (noise[i] - CHUNK[i]) * (1.0 if times[i] < 0.8 else (1 - times[i]) * 5)
        error = slope(p, FEATURES[i], (1 - times[i]) * noise[i] + times[i] * CHUNK[i]) - falls
        for h in range(int(WEIGHT[i].sum())):
            total, counted = total + (error[h] ** 2).sum(), counted + A
    np.testing.assert_allclose(energy_loss(p, key, FEATURES, CHUNK, WEIGHT), total / counted, rtol=1e-4)


def test_a_chunk_of_an_energy_goes_downhill_until_it_is_still() -> None:
    """Each by itself: when one is still does not depend on those beside it."""
    p = {name: 0.3 * value for name, value in params().items()}  # not so steep that a step leads up
    noise = 0.5 * np.random.default_rng(6).normal(size=(N, H, A))
    x, made = noise.copy(), np.zeros(N, int)
    for i in range(N):
        while made[i] < 40:
            change = -0.2 * slope(p, FEATURES[i], x[i])
            x[i], made[i] = x[i] + change, made[i] + 1
            if np.abs(change).max() <= STILL:
                break
    assert len(set(made)) > 1 and made.max() < 40
    found = np.asarray(energy_sample(p, FEATURES, np.float32(noise), 40))
    np.testing.assert_allclose(found, np.clip(x, -1, 1), atol=1e-4)
    few = np.asarray(energy_sample(p, FEATURES, np.float32(noise), 2))
    heights = [np.asarray(energy(p, FEATURES, np.float32(at))) for at in (noise, few, found)]
    assert (heights[0] > heights[1]).all() and (heights[1] > heights[2]).all()
    by_hand = [0.5 * ((x[i] - reference(p, FEATURES[i], x[i], np.zeros(H))) ** 2).sum() for i in range(N)]
    np.testing.assert_allclose(energy(p, FEATURES, np.float32(x)), by_hand, rtol=1e-4)


LOSSES: dict[str, Callable[[Any, jax.Array], jax.Array]] = {
    "flow": lambda p, key: flow_loss(p, key, FEATURES, CHUNK, WEIGHT, 2),
    "diffusion": lambda p, key: diffusion_loss(p, key, FEATURES, CHUNK, WEIGHT, LEVELS, 2),
    "energy": lambda p, key: energy_loss(p, key, FEATURES, CHUNK, WEIGHT),
    "gaussian": lambda p, key: gaussian_loss(p, FEATURES, CHUNK, WEIGHT),
}


@pytest.mark.parametrize("model", LOSSES)
def test_gradients_equal_finite_differences(model: str) -> None:
    fresh = gaussian_create(jax.random.PRNGKey(0), F, A, H, (6,)) if model == "gaussian" else params()
    with jax.enable_x64(True):
        rng, key = np.random.default_rng(3), jax.random.PRNGKey(5)
        p = {name: jnp.asarray(np.asarray(value), jnp.float64) for name, value in fresh.items()}
        loss = jax.jit(lambda p: LOSSES[model](p, key))
        gradient = jax.grad(loss)(p)
        for _ in range(3):
            way = {name: rng.normal(size=value.shape) for name, value in p.items()}
            ahead, behind = (loss({name: p[name] + sign * 1e-6 * way[name] for name in p}) for sign in (1, -1))
            slope = sum((gradient[name] * way[name]).sum() for name in p)
            np.testing.assert_allclose((ahead - behind) / 2e-6, slope, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("count", [None, 2])
def test_sampling_a_flow_is_eulers_method_from_what_is_given(count: int | None) -> None:
    p, noise = params(), 0.5 * np.random.default_rng(6).normal(size=(N, H, A))
    given = None if count is None else np.float32(0.3 * CHUNK[::-1])
    x, known = noise.copy(), np.arange(H) < (count or 0)
    for j in range(3):
        for i in range(N):
            if given is not None:
                x[i, known] = given[i, known]
            x[i] += reference(p, FEATURES[i], x[i], np.where(known, 1.0, j / 3)) / 3
    if given is not None:
        x[:, known] = given[:, known]
    found = np.asarray(flow_sample(p, FEATURES, np.float32(noise), 3, given, count or 0))
    np.testing.assert_allclose(found, np.clip(x, -1, 1), atol=5e-3)
    if given is not None:
        np.testing.assert_array_equal(found[:, :2], given[:, :2])
        free = flow_sample(p, FEATURES, np.float32(noise), 3)
        assert np.abs(found[:, 2:] - np.asarray(free)[:, 2:]).max() > 1e-3  # the others continue it


@pytest.mark.parametrize("count", [None, 2])
def test_sampling_a_diffusion_is_ddim_from_what_is_given(count: int | None) -> None:
    """K = 12 in four steps: k = 9, 6, 3, 0."""
    p, noise = params(), np.random.default_rng(10).normal(size=(N, H, A))
    given = None if count is None else np.float32(0.3 * CHUNK[::-1])
    x, known, kept = noise.copy(), np.arange(H) < (count or 0), kept_signal(LEVELS)
    for k in (9, 6, 3, 0):
        before = kept[k - 3] if k else 1.0
        for i in range(N):
            if given is not None:
                x[i, known] = given[i, known]
            epsilon = reference(p, FEATURES[i], x[i], np.where(known, 0.0, (k + 1) / LEVELS))
            action = np.clip((x[i] - math.sqrt(1 - kept[k]) * epsilon) / math.sqrt(kept[k]), -1, 1)
            x[i] = math.sqrt(before) * action + math.sqrt(1 - before) * epsilon
    if given is not None:
        x[:, known] = given[:, known]
    found = np.asarray(diffusion_sample(p, FEATURES, np.float32(noise), 4, LEVELS, given, count or 0))
    np.testing.assert_allclose(found, x, atol=5e-3)
    if given is not None:
        np.testing.assert_array_equal(found[:, :2], given[:, :2])


def test_all_that_sample_from_noise_keep_two_ways_and_a_gaussian_goes_between() -> None:
    """A person passes an obstacle on the left or on the right, all H steps on the same side: actions of ±0.6.

    256 draws: the share of a side has a standard error of 0.03; the networks' own errors allow 0.2.
    """
    features, horizon = jnp.zeros((128, 1)), 2
    fresh = {
        "flow": mixer.mixer_create(jax.random.PRNGKey(0), 1, 1, horizon, 16, 1),
        "diffusion": mixer.mixer_create(jax.random.PRNGKey(0), 1, 1, horizon, 16, 1),
        "energy": mixer.mixer_create(jax.random.PRNGKey(0), 1, 1, horizon, 16, 1),
        "gaussian": gaussian_create(jax.random.PRNGKey(0), 1, 1, horizon, (16,)),
    }
    ones = jnp.ones((128, horizon))
    losses: dict[str, Callable[..., jax.Array]] = {
        "flow": lambda p, key, chunk: flow_loss(p, key, features, chunk, ones),
        "diffusion": lambda p, key, chunk: diffusion_loss(p, key, features, chunk, ones, 50),
        "energy": lambda p, key, chunk: energy_loss(p, key, features, chunk, ones),
        "gaussian": lambda p, key, chunk: gaussian_loss(p, features, chunk, ones),
    }

    @jax.jit
    def train(trees: Any, key: jax.Array) -> Any:
        adam = optax.adam(1e-2)

        def loss(trees: Any, key: jax.Array) -> jax.Array:
            side_key, loss_key = jax.random.split(key)
            side = jnp.where(jax.random.bernoulli(side_key, shape=(128, 1, 1)), 0.6, -0.6)
            chunk = jnp.broadcast_to(side, (128, horizon, 1))
            return sum(losses[name](tree, loss_key, chunk) for name, tree in trees.items())

        def step(carry: Any, key: jax.Array) -> tuple[Any, None]:
            trees, moments = carry
            change, moments = adam.update(jax.grad(loss)(trees, key), moments)
            return (optax.apply_updates(trees, change), moments), None

        return jax.lax.scan(step, (trees, adam.init(trees)), jax.random.split(key, 400))[0][0]

    learnt = train(fresh, jax.random.PRNGKey(1))
    noise = jax.random.normal(jax.random.PRNGKey(2), (256, horizon, 1))
    samples = {
        "flow": flow_sample(learnt["flow"], jnp.zeros((256, 1)), noise, 10),
        "diffusion": diffusion_sample(learnt["diffusion"], jnp.zeros((256, 1)), noise, 10, 50),
        "energy": energy_sample(learnt["energy"], jnp.zeros((256, 1)), noise, 10),
    }
    for name, found in samples.items():
        chunks = np.asarray(found)[..., 0]
        right = (chunks > 0.0).all(axis=1)
        assert (right | (chunks < 0.0).all(axis=1)).mean() > 0.9, name  # no chunk changes sides
        assert abs(right.mean() - 0.5) < 0.2, name
        assert (np.abs(np.abs(chunks) - 0.6) < 0.25).mean() > 0.85, name
    mean, log_std = gaussian_apply(learnt["gaussian"], features, horizon)
    assert np.abs(mean).max() < 0.2 and np.exp(log_std).min() > 0.4
