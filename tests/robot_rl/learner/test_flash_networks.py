"""FlashSAC's networks: against the reference in both modes, and their norms."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robot_rl.contract import Layout
from robot_rl.learner.algorithms import flash_sac
from robot_rl.learner.networks import flash
from tests.robot_rl.flash_reference import TINY, A, D, N, batch_of, member, one, reference, tiny


def test_networks_equal_the_reference_in_both_modes() -> None:
    state, x = tiny(), np.random.default_rng(1).normal(size=(N, D + A)).astype(np.float32)
    trained, moments = flash.apply(state.critics, x)
    judged, none = flash.apply(state.critics, x, state.critic_moments)
    assert none == {}
    for i in range(2):
        expected, own = reference(member(state.critics, i), x)
        np.testing.assert_allclose(trained[i], expected, rtol=1e-3, atol=1e-4)
        for name, value in own.items():
            np.testing.assert_allclose(moments[name][i] if moments[name].ndim > 1 else moments[name], value, atol=1e-5)
        expected, _ = reference(member(state.critics, i), x, member(state.critic_moments, i))
        np.testing.assert_allclose(judged[i], expected, rtol=1e-3, atol=1e-4)


def norms(params, reach: float | None = None) -> list[np.ndarray]:
    """Values that shall be 1: norms of weights per output, of others over √d, but of the RMSNorm over ``reach``."""
    p = {name: np.asarray(value, np.float64) for name, value in params.items()}
    ratios = [np.sqrt((p[name] ** 2).sum(-2)) for name in p if name[0] == "w"]
    for name in (name for name in p if name[0] == "g"):
        squares = p[name] ** 2 + p.get("c" + name[1:], 0.0) ** 2
        of_head = "c" + name[1:] not in p
        ratios.append(np.sqrt(squares.sum(-1)) / (reach if of_head and reach else np.sqrt(squares.shape[-1])))
    return ratios


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_norms_are_bounded_from_the_start_and_after_every_step_of_everything(norm: str) -> None:
    config = replace(TINY, critic_norm=norm)
    fresh = flash_sac.create(jax.random.PRNGKey(0), Layout(D, A), config)
    before = tiny(config)
    after, _ = flash_sac.update(before, batch_of(1, N), config=config)
    assert np.abs(after.critics["w0"] - before.critics["w0"]).max() > 1e-3
    for state in (fresh, after):
        for params, reach in (
            (state.actor, None),
            (state.average_actor, None),
            (state.critics, 16.0),
            (state.target_critics, 16.0),
        ):
            for ratio in norms(params, reach):
                np.testing.assert_allclose(ratio, 1.0, rtol=1e-5)


def test_critics_with_layer_norms_equal_the_reference_and_know_no_batch() -> None:
    config = replace(TINY, critic_norm="layer")
    state = tiny(config)
    x = np.random.default_rng(1).normal(size=(N, D + A)).astype(np.float32)
    found, moments = flash.apply(state.critics, x, state.critic_moments)
    for i in range(2):
        p, running = member(state.critics, i), member(state.critic_moments, i)

        def normed(k: int, x: np.ndarray, p=p) -> np.ndarray:
            return p[f"g{k}"] * (x - x.mean(-1, keepdims=True)) / (x.std(-1, keepdims=True) + 1e-9) + p[f"c{k}"]

        inputs = np.hstack(((x - running["m0"]) / np.sqrt(running["v0"] + 1.0), np.ones((N, 1))))
        h = inputs @ p["w0"]
        h = h + np.maximum(normed(2, np.maximum(normed(1, h @ p["w1"]), 0.0) @ p["w2"]), 0.0)
        h = p["g3"] * h / np.sqrt((h**2).mean(-1, keepdims=True) + 1e-6)
        np.testing.assert_allclose(found[i], h @ p["w3"] + p["b3"], rtol=1e-3, atol=1e-3)
    assert set(moments) == set(state.critic_moments) == {"m0", "v0"}
    np.testing.assert_allclose(moments["m0"], x.mean(0), atol=1e-6)
    alone, _ = flash.apply(state.critics, x[:1], state.critic_moments)
    np.testing.assert_allclose(alone[:, 0], found[:, 0], atol=1e-5)

    batch = one(batch_of(1, N))
    after, _ = flash_sac.update(state._replace(step=jnp.int32(0)), batch_of(1, N), config=config)
    inputs = np.hstack((batch.state, batch.action))
    np.testing.assert_allclose(after.critic_moments["m0"], np.tile(inputs.mean(0), (2, 1)), atol=1e-5)
    np.testing.assert_allclose(after.critic_moments["v0"], np.tile(inputs.var(0, ddof=1), (2, 1)), atol=1e-5)


def test_bounding_keeps_directions_and_the_free_bias() -> None:
    params = {k: 3.0 * p + 0.2 for k, p in tiny().actor.items()}
    held = flash.bound(params)
    np.testing.assert_allclose(held["w1"], params["w1"] / np.linalg.norm(params["w1"], axis=0), rtol=1e-5)
    np.testing.assert_allclose(held["g1"] / held["c1"], params["g1"] / params["c1"], rtol=1e-5)
    assert np.array_equal(held["b3"], params["b3"])


def test_running_moments_start_as_averages_and_then_follow() -> None:
    """Two batches of equal size: the average of both; the variances are those that n − 1 makes unbiased."""
    rng = np.random.default_rng(0)
    batches = [rng.normal(3.0, 2.0, (5, D)).astype(np.float32) for _ in range(2)]
    state = flash_sac.create(jax.random.PRNGKey(0), Layout(D, A), TINY)
    running = state.actor_moments
    for i, x in enumerate(batches):
        _, moments = flash.apply(state.actor, x)
        running = flash.follow(running, moments, 5, flash_sac._moment_rate(jnp.int32(i), TINY))
    np.testing.assert_allclose(running["m0"], np.mean(batches, axis=(0, 1)), rtol=1e-5)
    np.testing.assert_allclose(running["v0"], np.mean([x.var(0, ddof=1) for x in batches], axis=0), rtol=1e-5)
    assert float(flash_sac._moment_rate(jnp.int32(5000), TINY)) == pytest.approx(0.01)
