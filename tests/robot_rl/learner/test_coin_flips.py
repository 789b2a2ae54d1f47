"""Counts by flips of coins: coins, network and loss by hand, and that what is shown often counts more than the rest."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from robot_rl.learner.networks import coin_flips
from robot_rl.learner.networks.coin_flips import BLOCKS, COINS, Counts
from robot_rl.learner.networks.mlp import Params
from tests.robot_rl.references import gelu, normed, stir

SIZE, N = 3, 7
SAMPLES = np.random.default_rng(0).normal(size=(N, SIZE)).astype(np.float32)


def counts() -> Counts:
    """Counts no number of whose networks is 0."""
    fresh = coin_flips.counts_create(jax.random.PRNGKey(0), SIZE)
    return fresh._replace(learnt=stir(fresh.learnt, 1, 0.1), prior=stir(fresh.prior, 2, 0.1))


def reference(tree: Params, z: np.ndarray) -> np.ndarray:
    p: dict[str, Any] = {name: np.asarray(value, np.float64) for name, value in tree.items()}
    h = normed(gelu(z @ p["in/w"] + p["in/b"]))
    for i in range(BLOCKS):
        h = h + gelu(normed(h) @ p[f"{i}/w"] + p[f"{i}/b"]) @ p[f"{i}/v"] + p[f"{i}/c"]
    return h @ p["out/w"] + p["out/b"]


def test_coins_are_fair_independent_and_always_those_of_the_sample() -> None:
    rows = np.random.default_rng(1).normal(size=(4000, SIZE)).astype(np.float32)
    found = np.asarray(coin_flips.coins(rows))
    assert set(np.unique(found)) == {-1.0, 1.0}
    np.testing.assert_array_equal(coin_flips.coins(rows[::-1].copy()), found[::-1])
    products = found.T @ found / len(found) - np.eye(COINS)
    assert np.abs(found.mean(axis=0)).max() < 5.0 / math.sqrt(len(rows)) > np.abs(products).max()
    near = np.asarray(coin_flips.coins(np.nextafter(rows, np.float32(np.inf))))
    assert 0.45 < (near == found).mean() < 0.55  # of two samples that differ by their last bits


def test_coins_by_hand() -> None:
    factors = np.asarray(jax.random.bits(jax.random.PRNGKey(coin_flips.HASH), (SIZE, COINS), jnp.uint32)) | 1
    bits = [int(value) for value in SAMPLES[0].view(np.uint32)]
    first = [sum(b * int(f) for b, f in zip(bits, column, strict=True)) % 2**32 >> 31 for column in factors.T]
    np.testing.assert_array_equal(coin_flips.coins(SAMPLES)[0], [1.0 - 2.0 * bit for bit in first])


def test_moments_network_and_loss_by_hand() -> None:
    seen = counts()
    for part in (SAMPLES[:3], SAMPLES[3:]):
        more = np.concatenate((part, 9.0 * part))  # the second half does not count
        seen = coin_flips.see_prior(seen, more, np.repeat(np.float32([1, 0]), len(part)))
    nothing = coin_flips.see_prior(seen, SAMPLES, np.zeros(N, np.float32))
    assert float(seen.seen) == float(nothing.seen) == 2.0
    np.testing.assert_array_equal(seen.prior_moments, nothing.prior_moments)
    p = [reference(seen.prior, part) for part in (SAMPLES[:3], SAMPLES[3:])]
    mean, square = (np.mean([(q**power).mean(axis=0) for q in p], axis=0) for power in (1, 2))
    np.testing.assert_allclose(seen.prior_moments, [mean, square], rtol=1e-3, atol=1e-4)
    f = reference(seen.learnt, SAMPLES) + (reference(seen.prior, SAMPLES) - mean) / np.sqrt(square - mean**2)
    np.testing.assert_allclose(coin_flips.flips(seen, SAMPLES), f, rtol=1e-3, atol=2e-3)
    np.testing.assert_allclose(coin_flips.rareness(seen, SAMPLES), (f**2).mean(axis=1), rtol=1e-3, atol=2e-3)
    flipped, weight = coin_flips.coins(SAMPLES), np.float32([1, 0, 1, 1, 0, 1, 1])
    expected = ((f - flipped) ** 2).mean(axis=1)[weight > 0].mean()
    np.testing.assert_allclose(coin_flips.counts_loss(seen, SAMPLES, flipped, weight), expected, rtol=1e-3)


def test_the_slope_of_the_loss_is_that_of_finite_differences() -> None:
    weight, flipped = np.ones(N, np.float32), coin_flips.coins(SAMPLES)
    seen = coin_flips.see_prior(counts(), SAMPLES, weight)
    loss = jax.jit(lambda learnt: coin_flips.counts_loss(seen._replace(learnt=learnt), SAMPLES, flipped, weight))
    slope = jax.grad(loss)(seen.learnt)
    size = float(optax.tree.norm(slope))
    ahead, behind = (jax.tree.map(lambda w, s, e=e: w + e * s / size, seen.learnt, slope) for e in (1e-2, -1e-2))
    assert float(loss(ahead) - loss(behind)) / 2e-2 == pytest.approx(size, rel=2e-2)


def test_a_count_is_how_many_coins_were_flipped_there() -> None:
    """Three places, at each of which samples came with coins of their own: f comes to be the mean of these."""
    times = np.array([1, 4, 16])
    place = np.repeat(np.eye(3, dtype=np.float32), times, axis=0)
    flipped = np.random.default_rng(3).choice([-1.0, 1.0], (len(place), COINS)).astype(np.float32)
    every = np.ones(len(place), np.float32)
    seen = coin_flips.see_prior(coin_flips.counts_create(jax.random.PRNGKey(1), 3), place, every)
    adam = optax.adam(3e-3)

    @jax.jit
    def fit(seen: Counts, state: Any) -> tuple[Counts, Any]:
        def loss(learnt: Params) -> jax.Array:
            return coin_flips.counts_loss(seen._replace(learnt=learnt), place, flipped, every)

        change, state = adam.update(jax.grad(loss)(seen.learnt), state)
        return seen._replace(learnt=optax.apply_updates(seen.learnt, change)), state

    state = adam.init(seen.learnt)
    for _ in range(300):
        seen, state = fit(seen, state)
    means = [flipped[place[:, i] > 0].mean(axis=0) for i in range(3)]
    found = np.asarray(coin_flips.rareness(seen, np.eye(3, dtype=np.float32)))
    np.testing.assert_allclose(found, [(mean**2).mean() for mean in means], rtol=0.05)
    assert found[0] == pytest.approx(1.0, rel=0.05) and 1.0 / found[1] < 8.0 < 1.0 / found[2]
