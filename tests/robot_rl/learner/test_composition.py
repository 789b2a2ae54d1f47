"""Several policies as one: each alone by its weight, a flow told as a diffusion, and sums where both are known."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robot_rl.learner.composition import Parent, composed
from robot_rl.learner.networks.chunk_diffusion import diffusion_sample, kept_signal
from robot_rl.learner.networks.chunk_flow import flow_sample
from robot_rl.learner.networks.mixer import mixer_create
from tests.robot_rl.references import stir

F, A, H, LEVELS, STEPS = 3, 2, 4, 20, 5
NOISE = np.random.default_rng(0).normal(size=(6, H, A)).astype(np.float32)


def parent(seed: int, is_flow: bool) -> Parent:
    policy = stir(mixer_create(jax.random.PRNGKey(seed), F, A, H, 8, 1), seed, 0.2)
    return Parent(policy, np.random.default_rng(seed).normal(size=(1, F)).astype(np.float32), is_flow)


class Known(Parent):
    """One that always ends at the same ``features``, whichever of the two it is: both fields are known then."""

    def velocity(self, x: jax.Array, t: jax.Array) -> jax.Array:
        return (self.features - x) / (1.0 - t)

    def noise_in(self, x: jax.Array, t: jax.Array, kept: jax.Array) -> jax.Array:
        if self.is_flow:
            return super().noise_in(x, t, kept)
        return (x - jnp.sqrt(kept) * self.features) / jnp.sqrt(1.0 - kept)


@pytest.mark.parametrize("own", [0, 1])
@pytest.mark.parametrize("is_flow", [True, False])
def test_who_alone_has_a_weight_acts_as_it_does_alone(is_flow: bool, own: int) -> None:
    both = [parent(1, is_flow), parent(2, is_flow)]
    found = composed(both, [1.0 - own, float(own)], NOISE, STEPS, LEVELS)
    alone = both[own]
    expected = (
        flow_sample(alone.policy, alone.features, NOISE, STEPS)
        if is_flow
        else diffusion_sample(alone.policy, alone.features, NOISE, STEPS, LEVELS)
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(np.asarray(composed(both, [0.5, 0.5], NOISE, STEPS, LEVELS)) - expected).max() > 0.01


@pytest.mark.parametrize("level", [0, 7, 19])
def test_the_noise_that_a_flow_sees_is_what_was_added(level: int) -> None:
    chunk, kept = np.full((H, A), 0.4, np.float32), np.float32(kept_signal(LEVELS)[level])
    x = math.sqrt(kept) * chunk + math.sqrt(1.0 - kept) * NOISE
    found = Known({}, jnp.asarray(chunk), True).noise_in(x, jnp.zeros(1), jnp.float32(kept))
    np.testing.assert_allclose(found, NOISE, atol=2e-3 / math.sqrt(1.0 - kept))


@pytest.mark.parametrize("kinds", [(True, True), (False, False), (True, False)])
def test_two_ends_become_one_between_them_by_weight(kinds: tuple[bool, bool]) -> None:
    ends = [np.full((H, A), value, np.float32) for value in (-0.8, 0.4)]
    both = [Known({}, jnp.asarray(end), is_flow) for end, is_flow in zip(ends, kinds, strict=True)]
    found = composed(both, [0.25, 0.75], NOISE, STEPS, LEVELS)
    np.testing.assert_allclose(found, np.full(NOISE.shape, 0.1), atol=5e-3)


def test_a_step_of_two_flows_by_hand() -> None:
    both = [parent(1, True), parent(2, True)]
    v = [np.asarray(one.velocity(NOISE, jnp.zeros(1))) for one in both]
    found = composed(both, [0.3, 0.7], NOISE, 1, LEVELS)
    np.testing.assert_allclose(found, np.clip(NOISE + 0.3 * v[0] + 0.7 * v[1], -1.0, 1.0), atol=1e-5)
