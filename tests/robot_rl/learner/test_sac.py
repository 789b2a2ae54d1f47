"""SAC against an independent numpy reference, finite differences and problems whose soft optimum is known."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robot_rl.contract import Layout
from robot_rl.data.replay import Batch
from robot_rl.learner.algorithms import rlpd, sac
from robot_rl.learner.algorithms.rlpd import RlpdState
from robot_rl.learner.algorithms.sac import SacConfig
from robot_rl.learner.factory import make_agent
from robot_rl.learner.networks import mlp
from tests.robot_rl.references import batch_of, dense_relu, draw, equal, slopes, stir

TINY = SacConfig(hidden=(5, 4), discount=0.9, initial_temperature=0.3)
N, D, A = 6, 3, 2


def tiny(layout: Layout = Layout(D, A)) -> RlpdState:  # noqa: B008
    """A small agent without zero biases; targets differ from critics, and neither critic is smaller everywhere."""
    state = rlpd.create(jax.random.PRNGKey(0), layout, TINY)
    return state._replace(
        actor=stir(state.actor, 1), critics=stir(state.critics, 22), target_critics=stir(state.target_critics, 29)
    )


def values(params: mlp.Params, features: np.ndarray, action: np.ndarray) -> np.ndarray:
    """Q ``(2, n)``."""
    return np.stack([dense_relu(params, np.concatenate((features, action), -1), i)[:, 0] for i in range(2)])


def test_the_target_is_soft_and_takes_the_smaller_of_both() -> None:
    state, key = tiny(), jax.random.PRNGKey(5)
    batch = batch_of(N, state=D, action=A)._replace(mask=np.array([1, 1, 1, 1, 0, 0], np.float32))
    noise = np.asarray(jax.random.normal(jax.random.split(key)[1], (N, A)), np.float64)
    action, log_prob = draw(state.actor, batch.next_state, noise)
    both = values(state.target_critics, batch.next_state, action)
    assert (both[0] < both[1]).any() and (both[0] > both[1]).any()
    expected = batch.reward + 0.9 * batch.mask * (both.min(0) - 0.3 * log_prob)
    target = rlpd.critic_target(key, state, batch, TINY)
    np.testing.assert_allclose(target, expected, rtol=1e-4, atol=1e-5)
    assert np.array_equal(target[4:], batch.reward[4:])  # nothing to come, not even entropy, where the task ended


def test_the_actor_climbs_the_smaller_of_both() -> None:
    state, batch, key = tiny(), batch_of(N, state=D, action=A), jax.random.PRNGKey(2)
    noise = np.asarray(jax.random.normal(key, (N, A)), np.float64)
    action, log_prob = draw(state.actor, batch.state, noise)
    both = values(state.critics, batch.state, action)
    assert (both[0] < both[1]).any() and (both[0] > both[1]).any()
    loss, entropy = sac.actor_loss(state.actor, key, state.critics, state.log_alpha, batch)
    np.testing.assert_allclose(loss, (0.3 * log_prob - both.min(0)).mean(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(entropy, -log_prob.mean(), rtol=1e-4)


def test_the_gradient_of_the_actor_equals_finite_differences() -> None:
    with jax.enable_x64(True):
        wide = lambda tree: jax.tree.map(lambda x: jnp.asarray(np.asarray(x), jnp.float64), tree)  # noqa: E731
        state = wide(tiny()._replace(key=None))
        batch, key = wide(batch_of(N, state=D, action=A)), jax.random.PRNGKey(3)
        loss = lambda p: sac.actor_loss(p, key, state.critics, state.log_alpha, batch)[0]  # noqa: E731
        measured, derived = slopes(loss, state.actor)
    np.testing.assert_allclose(derived, measured, rtol=1e-5, atol=1e-7)


def test_an_update_is_that_of_rlpd_but_for_the_actor() -> None:
    """The critics and their targets agree bit for bit; the actor's first gradient is that of `sac.actor_loss`."""
    config = replace(TINY, learning_rate=0.05)  # so that critics before and after differ well
    state, batch = tiny(), batch_of(2, N, state=D, action=A)
    after, info = sac.update(state, batch, config=config)
    other, _ = rlpd.update(state, batch, config=config)
    for part in ("critics", "target_critics", "critic_optimiser", "key"):
        assert equal(getattr(after, part), getattr(other, part)), part
    last = jax.tree.map(lambda column: column[-1], batch)
    key = jax.random.split(state.key, 4)[1]
    gradient = jax.grad(lambda a: sac.actor_loss(a, key, after.critics, state.log_alpha, last)[0])(state.actor)
    for name, slope in gradient.items():  # Adam's first moment is 0.1 times the first gradient
        np.testing.assert_allclose(after.actor_optimiser[0].mu[name], 0.1 * slope, rtol=1e-4, atol=1e-7)
    assert int(after.critic_optimiser[0].count) == 2 and int(after.actor_optimiser[0].count) == 1
    assert {"critic/q_mean", "critic/target_mean", "critic/norm", "actor/norm"} <= set(info)


def test_the_temperature_aims_at_minus_the_number_of_axes() -> None:
    """H − H̄ decides which way log α goes: an all but deterministic actor raises it, a wide one lowers it."""
    state, batch = tiny(), batch_of(1, N, state=D, action=A)
    for log_std, rises in ((-6.0, True), (0.0, False)):
        bias = state.actor["b2"].at[A:].set(log_std)
        actor = state.actor | {"w2": state.actor["w2"].at[:, A:].set(0.0), "b2": bias}
        after, info = sac.update(state._replace(actor=actor), batch, config=TINY)
        assert (after.log_alpha > state.log_alpha) == rises == (info["actor/entropy"] < -A)


def test_defaults_are_the_papers() -> None:
    agent = make_agent("sac", {})
    config = agent.config
    assert (config.critics, config.subset, config.layer_norm, config.entropy_backup) == (2, 2, False, True)
    assert (config.hidden, config.learning_rate, config.target_rate) == ((256, 256), 3e-4, 0.005)
    assert (config.discount, config.initial_temperature, config.target_entropy) == (0.99, 1.0, None)
    assert agent.updates_per_call == 1 and not any(name.startswith("g") for name in tiny().critics)


@pytest.mark.parametrize("layout", [Layout(D, A, {"wrist": (16, 16)}), Layout(0, A, {"wrist": (16, 16)})])
def test_it_sees_images(layout: Layout) -> None:
    """With them and without a state: all that learns moves and stays finite; the encoder moves by the critics alone."""
    agent = sac.make_agent(TINY)
    state = agent.create(jax.random.PRNGKey(0), layout)
    batch = batch_of(1, N, state=layout.state_size, action=A, images=("wrist",))
    after, info = agent.update(state, batch)
    assert np.isfinite(list(info.values())).all() and "encoder/norm" in info
    assert not equal(after.encoder, state.encoder) and not equal(after.target_encoder, state.target_encoder)
    assert {"encoder/wrist/k0", "actor/w0"} <= set(agent.actor(after))
    assert equal(after.encoder, rlpd.update(state, batch, config=TINY)[0].encoder)  # whose actor differs


def test_deterministic_under_a_seed() -> None:
    state, batch = tiny(), batch_of(1, N, state=D, action=A)
    one, two = (sac.update(state, batch, config=TINY)[0] for _ in range(2))
    other, _ = sac.update(state._replace(key=jax.random.PRNGKey(9)), batch, config=TINY)
    assert equal(one, two) and not equal(one.actor, other.actor) and not equal(one.key, state.key)


def learn(config: SacConfig, alpha: float, reward, mask: float, calls: int) -> RlpdState:
    """An agent of one state and one axis; α is held, so that the optimum is known."""
    state = rlpd.create(jax.random.PRNGKey(0), Layout(1, 1), config)
    rng = np.random.default_rng(0)
    ones = np.ones((8, 64), np.float32)
    for _ in range(calls):
        action = rng.uniform(-1, 1, (8, 64, 1)).astype(np.float32)
        batch = Batch(ones[..., None], action, reward(action[..., 0]), mask * ones, ones[..., None])
        state, _ = sac.update(state._replace(log_alpha=jnp.log(jnp.float32(alpha))), batch, config=config)
    return state


def test_the_policy_of_a_bandit_is_the_soft_optimum() -> None:
    """Reward −2.5 (a − 0.3)², α = 0.05: π ∝ exp(Q/α) is a Gaussian at 0.3 of variance α/(2 · 2.5) = 0.1²."""
    config = SacConfig(hidden=(64, 64), learning_rate=3e-3)
    state = learn(config, 0.05, lambda a: (-2.5 * (a - 0.3) ** 2).astype(np.float32), 0.0, 400)
    draws = np.asarray(rlpd.sample(state.actor, np.ones((4000, 1)), jax.random.PRNGKey(0)))
    assert abs(draws.mean() - 0.3) < 0.04
    assert 0.075 < draws.std() < 0.13


def test_the_value_of_a_loop_is_that_of_its_entropy() -> None:
    """No reward, for ever, γ = ½, α = ½: all actions are alike, π is as wide as it can be, H ≈ log 2, and
    Q = γ (Q + α H) = ½ log 2."""
    config = SacConfig(hidden=(32, 32), learning_rate=3e-3, discount=0.5, target_rate=0.05)
    state = learn(config, 0.5, lambda a: np.zeros_like(a), 1.0, 150)
    actions = np.linspace(-0.9, 0.9, 7, dtype=np.float32)[:, None]
    q = mlp.critics_apply(state.critics, np.ones((7, 1), np.float32), actions)
    np.testing.assert_allclose(q, 0.5 * np.log(2.0), atol=0.04)
