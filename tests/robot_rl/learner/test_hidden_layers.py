"""Hidden layers as settings say: in every network of the agents that share RLPD's, learning and acting."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robot_rl.contract import Layout
from robot_rl.contract.settings import ConfigError
from robot_rl.learner.factory import make_algorithm
from robot_rl.learner.networks import mlp
from robot_rl.learner.networks.parts import part
from tests.robot_rl.references import batch_of, dense_relu, dense_tanh, stir

D, A = 3, 3
NAMES = ["rlpd", "sac", "rlpd_lagrangian", "hil"]


def finite(tree: Any) -> bool:
    return all(bool(np.isfinite(leaf).all()) for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize(("activation", "dense"), [("relu", dense_relu), ("tanh", dense_tanh)])
def test_networks_equal_the_reference(activation: mlp.Activation, dense: Any, norm: bool) -> None:
    rng, key = np.random.default_rng(0), jax.random.PRNGKey(0)
    state, action = rng.normal(size=(7, D)).astype(np.float32), rng.uniform(-1, 1, (7, A)).astype(np.float32)
    actor = stir(mlp.actor_create(key, D, A, (6, 5), norm), 1)
    assert ("g1" in actor) == norm and mlp.action_size_of(actor) == A
    mean, log_std = mlp.actor_apply(actor, state, activation)
    expected = np.split(dense(actor, state), 2, axis=-1)
    np.testing.assert_allclose(mean, expected[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(log_std, np.clip(expected[1], np.log(1e-5), np.log(5.0)), rtol=1e-4, atol=1e-5)
    critics = stir(mlp.critics_create(key, D, A, (6, 5), 2, norm), 2)
    values = [dense(critics, np.hstack((state, action)), member)[:, 0] for member in range(2)]
    np.testing.assert_allclose(mlp.critics_apply(critics, state, action, activation), values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("asked", "other"), [("relu", "tanh"), ("tanh", "relu")])
def test_no_network_has_another_activation_than_asked_for(
    monkeypatch: pytest.MonkeyPatch, name: str, asked: mlp.Activation, other: mlp.Activation
) -> None:
    """Whatever the other one touched would not be finite."""
    monkeypatch.setitem(mlp.ACTIVATIONS, other, lambda x: x * jnp.nan)
    width = {"relu": 9, "tanh": 11}[asked]  # of no other test: functions are traced anew
    agent = make_algorithm(name, {"hidden": [width, 4], "activation": asked, "critic_steps": 2})
    layout = Layout(D, A, options=2)
    state, info = agent.update(agent.create(jax.random.PRNGKey(0), layout), batch_of(2, 6, state=D, action=A))
    assert finite(info) and finite(agent.actor(state))
    for deterministic in (False, True):
        actions, _ = agent.act(
            agent.actor(state), (), jnp.ones(D), {}, jax.random.PRNGKey(1), deterministic=deterministic
        )
        assert finite(actions)


def test_hil_has_the_published_hidden_layers_and_the_others_their_own() -> None:
    for name in NAMES:
        agent = make_algorithm(name, {"hidden": [6, 5]})
        params = agent.actor(agent.create(jax.random.PRNGKey(0), Layout(D, A, options=2)))
        actor = part(params, "arm" if name == "hil" else "actor")
        assert agent.config.activation == ("tanh" if name == "hil" else "relu")
        assert ("g0" in actor and "g1" in actor) == (name == "hil")
    assert {"g0", "g1", "c0", "c1"} <= set(part(params, "grasp"))


def test_an_unknown_activation_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="activation='gelu' must be one of relu, tanh"):
        make_algorithm("hil", {"activation": "gelu"})
