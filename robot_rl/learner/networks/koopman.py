"""Koopman features: numbers of a state that actions move linearly (KORR).

    z = φ(s),   ẑ'(s, a) = A z + B a,   L = mean of ‖ẑ'(s, a) − φ(s')‖²/k + ‖D z − s‖²/d

φ is a small MLP, A, B and D are matrices. The second term, by which the state is found in its features again, keeps φ
from becoming constant, which the first alone would reward.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from robot_rl.learner.networks.mlp import Params, ensemble_apply, ensemble_create
from robot_rl.learner.networks.parts import join, part

HIDDEN = (64,)
STATE, ACTION, BACK = "A", "B", "D"


def create(key: jax.Array, state_size: int, action_size: int, features: int) -> Params:
    """Fresh parameters; none for no ``features``."""
    if not features:
        return {}
    network_key, state_key, action_key, back_key = jax.random.split(key, 4)
    network = ensemble_create(network_key, (state_size, *HIDDEN, features), 1, layer_norm=False)
    matrices = {
        STATE: jnp.eye(features) + 0.01 * jax.random.normal(state_key, (features, features)),
        ACTION: 0.01 * jax.random.normal(action_key, (action_size, features)),
        BACK: 0.1 * jax.random.normal(back_key, (features, state_size)),
    }
    return join(network=network, matrices=matrices)


def encode(params: Params, state: jax.Array) -> jax.Array:
    """φ(s) ``(…, k)`` of ``state (…, d)``."""
    return ensemble_apply(part(params, "network"), state)[0]


def predict(params: Params, state: jax.Array, action: jax.Array) -> jax.Array:
    """ẑ' ``(…, k)`` after ``action (…, a)`` in ``state (…, d)``."""
    matrices = part(params, "matrices")
    predicted: jax.Array = encode(params, state) @ matrices[STATE] + action @ matrices[ACTION]
    return predicted


def loss(params: Params, state: jax.Array, action: jax.Array, next_state: jax.Array) -> jax.Array:
    """L over n steps: ``state, next_state (n, d)``, ``action (n, a)``."""
    ahead = predict(params, state, action) - encode(params, next_state)
    back = encode(params, state) @ part(params, "matrices")[BACK] - state
    found: jax.Array = (ahead**2).mean() + (back**2).mean()
    return found
