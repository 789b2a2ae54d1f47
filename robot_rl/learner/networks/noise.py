"""Noise that is held: one draw serves several steps, for pushes that last move an arm where ones that cancel do not."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from robot_rl.contract import Layout

REPEATS = 16  # longest time that one draw is held [steps]


class HeldNoise(NamedTuple):
    """ε ``(1, a)`` and the steps that it is still held for."""

    noise: jax.Array
    left: jax.Array


def no_noise(layout: Layout) -> HeldNoise:
    """The one that acting begins with: the first step draws anew."""
    return HeldNoise(jnp.zeros((1, layout.action_size)), jnp.int32(0))


def hold(key: jax.Array, held: HeldNoise, repeats: int = REPEATS) -> HeldNoise:
    """The noise of this step: the one before, or, once that has served its time, a new ε ~ N(0, I).

    It serves n steps in a row, P(n) ∝ n⁻² up to ``repeats``.
    """
    noise_key, time_key = jax.random.split(key)
    times = jnp.arange(1, repeats + 1)
    return hold_for(noise_key, held, times[jax.random.categorical(time_key, -2.0 * jnp.log(times))])


def hold_for(key: jax.Array, held: HeldNoise, steps: jax.Array | int) -> HeldNoise:
    """The noise of this step: the one before, or, once that has served its time, a new ε ~ N(0, I) for ``steps``."""
    drawn = HeldNoise(jax.random.normal(key, held.noise.shape), jnp.asarray(steps, held.left.dtype))
    now: HeldNoise = jax.tree.map(lambda new, old: jnp.where(held.left == 0, new, old), drawn, held)
    return now._replace(left=now.left - 1)
