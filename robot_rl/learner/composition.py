"""Several policies as one: at each step towards a chunk they agree on where it goes.

This is GPC, general policy composition (Cao et al., arXiv 2510.01068):

    ε̂(x_k, k) = Σ_i w_i ε̂_i(x_k, k),   w_i ≥ 0, Σ_i w_i = 1

which is a step along the sum of their scores, −ε̂/√(1 − ᾱ_k). Where all parents are flows, whose velocities belong to
one path from noise to chunks, v = Σ_i w_i v_i is the same, and Euler's method takes it. Else a step is one of DDIM, and
a flow says ε̂ there, too: divided by √ᾱ_k + √(1 − ᾱ_k), x_k is a point of its path, at the time t at which the shares
of chunk and noise are those of k.

    t = √ᾱ_k / (√ᾱ_k + √(1 − ᾱ_k)),   ε̂ = x_t − t v(x_t, t)

Nothing is learnt. As many steps are taken as the parent with most of them takes, K at most, and as few actions handed
out as the one with fewest hands out. A parent is a flow or a diffusion that the agent `bc` published, and sees by its
own encoder, so one may see what others do not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from robot_rl.learner.algorithms.bc import BcConfig
from robot_rl.learner.networks import encoder
from robot_rl.learner.networks.chunk_diffusion import denoised
from robot_rl.learner.networks.chunk_flow import carried
from robot_rl.learner.networks.mixer import mixer_apply
from robot_rl.learner.networks.mlp import Params
from robot_rl.learner.networks.parts import part
from robot_rl.learner.standard import unwrapped

WEIGHTS = "weights"  # w among the parameters
KEPT = 8  # compositions whose function is kept


class Parent(NamedTuple):
    """A chunk policy, its features ``(1, f)`` of what is seen, and whether it is a flow; else it is a diffusion."""

    policy: Params
    features: jax.Array
    is_flow: bool

    def velocity(self, x: jax.Array, t: jax.Array) -> jax.Array:
        """v ``(…, H, a)`` of a flow at points ``x (…, H, a)`` and the time ``t (1,)``."""
        return mixer_apply(self.policy, self.features, x, t)

    def noise_in(self, x: jax.Array, t: jax.Array, kept: jax.Array) -> jax.Array:
        """ε̂ ``(…, H, a)`` in ``x (…, H, a)``, whose share of chunk is ᾱ ``kept``, at a diffusion's time ``t (1,)``."""
        if not self.is_flow:
            return mixer_apply(self.policy, self.features, x, t)
        chunk, noise = jnp.sqrt(kept), jnp.sqrt(1.0 - kept)
        time, point = chunk / (chunk + noise), x / (chunk + noise)
        return point - time * self.velocity(point, time[None])


def composed(
    parents: Sequence[Parent], weights: jax.Array | Sequence[float], noise: jax.Array, steps: int, levels: int
) -> jax.Array:
    """Chunks ``(…, H, a)`` in [−1, 1] that ``noise (…, H, a)`` leads to, by ``steps``.

    ``weights``: w, one of each parent; ``levels``: K of those that are diffusions.
    """

    def velocity(x: jax.Array, t: jax.Array) -> jax.Array:
        return sum_of([parent.velocity(x, t) for parent in parents])

    def predict(x: jax.Array, t: jax.Array, kept: jax.Array) -> jax.Array:
        return sum_of([parent.noise_in(x, t, kept) for parent in parents])

    def sum_of(said: Sequence[jax.Array]) -> jax.Array:
        return jnp.tensordot(jnp.asarray(weights, noise.dtype), jnp.stack(said), axes=1)

    if all(parent.is_flow for parent in parents):
        return carried(velocity, noise, steps)
    return denoised(predict, noise, steps, levels)


class ParentSpec(NamedTuple):
    """A parent's settings and the cameras that it sees by."""

    config: BcConfig
    cameras: tuple[str, ...]


def joined(parents: Sequence[Mapping[str, Any]], weights: Any) -> dict[str, Any]:
    """Parameters of `acting`: those that each of ``parents`` published, and the ``weights`` w."""
    params = {f"{number}/{name}": value for number, one in enumerate(parents) for name, value in one.items()}
    return params | {WEIGHTS: weights}


@lru_cache(maxsize=KEPT)
def acting(specs: tuple[ParentSpec, ...]) -> Callable[..., Any]:
    """`_act` of ``specs``, always the same function, so that other weights compile nothing anew."""
    return partial(_act, specs=specs)


def _act(
    params: Mapping[str, jax.Array],
    carry: Any,
    state: jax.Array,
    images: Mapping[str, jax.Array],
    key: jax.Array,
    deterministic: bool,
    specs: Sequence[ParentSpec],
) -> tuple[jax.Array, Any]:
    """The first actions ``(s, a)`` of a chunk of all; see `robot_rl.learner.agent.Agent.act`."""
    parents = []
    for number, (config, cameras) in enumerate(specs):
        own, z = part(params, str(number)), state
        if config.scale_inputs:
            own, z = unwrapped(own, state)
        features = encoder.see(own, z, {name: images[name] for name in cameras})
        parents.append(Parent(part(own, config.model), features, config.model == "flow"))
    configs = [spec.config for spec in specs]
    noise = jax.random.normal(key, (1, configs[0].horizon, parents[0].policy["out/b"].shape[-1]))
    levels = next((config.noise_levels for config in configs if config.model == "diffusion"), 0)
    steps = max(config.steps for config in configs)
    chunk = composed(parents, params[WEIGHTS], noise, min(steps, levels) if levels else steps, levels)
    return chunk[0, : min(config.acted for config in configs)], carry
