"""RLPD against an independent numpy reference, finite differences and a solvable decision process."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robot_rl.contract import Layout
from robot_rl.data.replay import Batch
from robot_rl.learner.algorithms import rlpd
from robot_rl.learner.algorithms.rlpd import RlpdConfig
from robot_rl.learner.networks import mlp

TINY = RlpdConfig(hidden=(5, 4), critics=3, subset=2, discount=0.9, initial_temperature=0.3)
N, D, A = 6, 3, 2


def tiny(config: RlpdConfig = TINY, seed: int = 0) -> rlpd.RlpdState:
    """A small agent with no zero biases and targets that differ from the critics."""
    state = rlpd.create(jax.random.PRNGKey(seed), Layout(D, A), config)
    rng = np.random.default_rng(seed)

    def stir(tree):
        return jax.tree.map(lambda p: p + jnp.asarray(0.1 * rng.normal(size=p.shape), p.dtype), tree)

    return state._replace(
        actor=stir(state.actor), critics=stir(state.critics), target_critics=stir(state.target_critics)
    )


def batch_of(*lead: int, seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    values = Batch(
        rng.normal(size=(*lead, D)),
        rng.uniform(-1, 1, (*lead, A)),
        rng.normal(size=lead),
        rng.random(lead) < 0.7,
        rng.normal(size=(*lead, D)),
    )
    return jax.tree.map(lambda column: np.asarray(column, np.float32), values)


@pytest.mark.parametrize("target", [None, -3.0])
def test_a_stilled_policy_takes_the_action_0_with_the_entropy_aimed_at_whatever_it_sees(target: float | None) -> None:
    config = replace(TINY, target_entropy=target)
    state = rlpd.make_agent(config).still(tiny(config))
    mean, log_std = mlp.actor_apply(state.actor, np.random.default_rng(3).normal(0.0, 5.0, (N, D)).astype(np.float32))
    np.testing.assert_array_equal(mean, 0.0)
    gaussian = 0.5 * np.log(2.0 * np.pi * np.e * np.exp(2.0 * np.asarray(log_std, np.float64)))
    np.testing.assert_allclose(gaussian.sum(axis=-1), -A if target is None else target, rtol=1e-5)


def reference_q(params, member: int, state, action) -> np.ndarray:
    """One critic in float64: Dense → LayerNorm → ReLU twice, Dense."""
    p = {name: np.asarray(value, np.float64)[member] for name, value in params.items()}
    h = np.concatenate((state, action), -1).astype(np.float64)
    for i in range(2):
        h = h @ p[f"w{i}"] + p[f"b{i}"]
        mean = h.mean(-1, keepdims=True)
        deviation = np.sqrt(((h - mean) ** 2).mean(-1, keepdims=True) + mlp.LAYER_NORM_EPSILON)
        h = np.maximum(p[f"g{i}"] * (h - mean) / deviation + p[f"c{i}"], 0.0)
    return (h @ p["w2"] + p["b2"])[:, 0]


def reference_actor(params, state, noise) -> tuple[np.ndarray, np.ndarray]:
    """Action and log-probability in float64, the latter by the change-of-variables formula itself."""
    p = {name: np.asarray(value, np.float64) for name, value in params.items()}
    h = state.astype(np.float64)
    for i in range(2):
        h = np.maximum(h @ p[f"w{i}"] + p[f"b{i}"], 0.0)
    mean, log_std = np.split(h @ p["w2"] + p["b2"], 2, axis=-1)
    std = np.exp(np.clip(log_std, np.log(1e-5), np.log(5.0)))
    raw = mean + std * noise
    density = np.exp(-0.5 * ((raw - mean) / std) ** 2) / (std * np.sqrt(2 * np.pi)) / (1 - np.tanh(raw) ** 2)
    return np.tanh(raw), np.log(density).sum(-1)


def target_parts(state, batch, key, config):
    """The subset and the next actions that `critic_target` draws from ``key``."""
    subset_key, action_key = jax.random.split(key)
    chosen = np.asarray(rlpd.draw_subset(subset_key, config.critics, config.subset))
    noise = np.asarray(jax.random.normal(action_key, (len(batch.reward), A)), np.float64)
    return chosen, *reference_actor(state.actor, batch.next_state, noise)


@pytest.mark.parametrize("backup", [False, True])
def test_critic_target_equals_the_reference(backup: bool) -> None:
    config = replace(TINY, entropy_backup=backup)
    state, batch, key = tiny(config), batch_of(N), jax.random.PRNGKey(5)
    chosen, action, log_prob = target_parts(state, batch, key, config)
    value = np.min([reference_q(state.target_critics, i, batch.next_state, action) for i in chosen], axis=0)
    if backup:
        value = value - np.exp(float(state.log_alpha)) * log_prob
    expected = batch.reward + 0.9 * batch.mask * value
    np.testing.assert_allclose(rlpd.critic_target(key, state, batch, config), expected, rtol=2e-5, atol=2e-5)


def test_target_at_a_terminal_step_is_the_reward_and_at_a_time_limit_is_not() -> None:
    state, key = tiny(), jax.random.PRNGKey(1)
    terminal = batch_of(N)._replace(mask=np.zeros(N, np.float32))
    truncated = terminal._replace(mask=np.ones(N, np.float32))
    for backup in (False, True):
        config = replace(TINY, entropy_backup=backup)
        assert np.array_equal(rlpd.critic_target(key, state, terminal, config), terminal.reward)
        assert (np.abs(rlpd.critic_target(key, state, truncated, config) - truncated.reward) > 1e-4).all()


def test_critic_loss_is_the_mean_over_all_members() -> None:
    state, batch = tiny(), batch_of(N)
    target = np.arange(N, dtype=np.float32)
    q = np.stack([reference_q(state.critics, i, batch.state, batch.action) for i in range(3)])
    loss, found = rlpd.critic_loss(state.critics, target, batch)
    np.testing.assert_allclose(found, q, rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(loss, ((q - target) ** 2).mean(), rtol=1e-5)


def test_actor_loss_takes_the_mean_critic() -> None:
    state, batch, key = tiny(), batch_of(N), jax.random.PRNGKey(2)
    noise = np.asarray(jax.random.normal(key, (N, A)), np.float64)
    action, log_prob = reference_actor(state.actor, batch.state, noise)
    q = np.mean([reference_q(state.critics, i, batch.state, action) for i in range(3)], axis=0)
    loss, entropy = rlpd.actor_loss(state.actor, key, state.critics, state.log_alpha, batch)
    np.testing.assert_allclose(loss, (0.3 * log_prob - q).mean(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(entropy, -log_prob.mean(), rtol=1e-4)


def test_log_probability_survives_saturated_actions() -> None:
    mean, log_std = jnp.full((1, A), 20.0), jnp.full((1, A), -3.0)
    action, log_prob = mlp.tanh_gaussian(jax.random.PRNGKey(0), mean, log_std)
    assert np.isfinite(log_prob).all() and (action == 1.0).all()


def test_temperature_rises_below_the_target_entropy_and_falls_above() -> None:
    slope = jax.grad(rlpd.alpha_loss)
    assert slope(jnp.float32(0.0), jnp.float32(-3.0), -1.0) == -2.0  # descending raises log α
    assert slope(jnp.float32(0.0), jnp.float32(0.5), -1.0) == 1.5


def test_subset_is_without_replacement_and_uniform() -> None:
    draws = jax.vmap(lambda key: rlpd.draw_subset(key, 10, 2))(jax.random.split(jax.random.PRNGKey(0), 9000))
    pairs = np.sort(np.asarray(draws), axis=1)
    assert (pairs[:, 0] != pairs[:, 1]).all()
    counts = np.bincount(pairs[:, 0] * 10 + pairs[:, 1], minlength=100)
    counts = counts[counts > 0]
    assert len(counts) == 45
    assert ((counts - 200.0) ** 2 / 200.0).sum() < 78.8  # χ² with 44 degrees of freedom: 1 in 1000


@pytest.mark.parametrize("which", ["critic", "actor"])
def test_gradients_equal_finite_differences(which: str) -> None:
    with jax.enable_x64(True):
        wide = lambda tree: jax.tree.map(lambda x: jnp.asarray(np.asarray(x), jnp.float64), tree)  # noqa: E731
        state, batch, key = wide(tiny()._replace(key=None)), wide(batch_of(N)), jax.random.PRNGKey(3)
        if which == "critic":
            params, loss = state.critics, lambda p: rlpd.critic_loss(p, batch.reward, batch)[0]
        else:
            params = state.actor
            loss = lambda p: rlpd.actor_loss(p, key, state.critics, state.log_alpha, batch)[0]  # noqa: E731
        gradient = jax.grad(loss)(params)
        rng = np.random.default_rng(0)
        for _ in range(5):
            way = jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape)), params)
            ahead = loss(jax.tree.map(lambda p, w: p + 1e-6 * w, params, way))
            behind = loss(jax.tree.map(lambda p, w: p - 1e-6 * w, params, way))
            slope = sum(jax.tree.leaves(jax.tree.map(lambda g, w: (g * w).sum(), gradient, way)))
            np.testing.assert_allclose((ahead - behind) / 2e-6, slope, rtol=1e-5, atol=1e-7)


def test_a_critic_step_moves_only_critics_and_a_policy_step_only_the_policy() -> None:
    state, batch = tiny(), batch_of(N)

    def moved(after: rlpd.RlpdState) -> set[str]:
        pairs = {name: (getattr(state, name), getattr(after, name)) for name in state._fields}
        leaves = {name: map(jax.tree.leaves, pair) for name, pair in pairs.items()}
        return {name for name, (a, b) in leaves.items() if not all(map(np.array_equal, a, b))}

    after, _ = rlpd.critic_step(state, jax.random.PRNGKey(0), batch, TINY)
    assert moved(after) == {"critics", "target_critics", "critic_optimiser"}
    slope = jax.tree.map(jnp.ones_like, state.actor)
    after = rlpd.policy_step(state, slope, jnp.float32(1.0), TINY)
    assert moved(after) == {"actor", "log_alpha", "actor_optimiser", "alpha_optimiser"}


def test_what_an_agent_has_beside_rlpd_is_drawn_apart_from_it() -> None:
    key = jax.random.PRNGKey(3)
    apart = np.asarray(jax.random.fold_in(key, rlpd.BESIDE))
    assert not (np.asarray(jax.random.split(key, 64)) == apart).all(axis=-1).any()


def test_only_the_drawn_members_of_the_targets_are_asked() -> None:
    state, batch, key = tiny(), batch_of(N), jax.random.PRNGKey(4)
    chosen = np.asarray(rlpd.draw_subset(jax.random.split(key)[0], TINY.critics, TINY.subset))
    (other,) = np.setdiff1d(np.arange(TINY.critics), chosen)
    broken = jax.tree.map(lambda p: p.at[other].set(jnp.nan), state.target_critics)
    assert np.isfinite(rlpd.critic_target(key, state._replace(target_critics=broken), batch, TINY)).all()


def test_no_gradient_reaches_the_target_networks_or_flows_back_from_the_temperature() -> None:
    """The gradient that `update` applies to the critics is that of a *constant* target: one step shows it."""
    config = replace(TINY, learning_rate=1e-3)
    state, batch = tiny(config), batch_of(1, N)
    keys = jax.random.split(state.key, 3)
    single = jax.tree.map(lambda column: column[0], batch)
    target = np.asarray(rlpd.critic_target(keys[2], state, single, config))
    gradient = jax.grad(lambda critics: rlpd.critic_loss(critics, target, single)[0])(state.critics)
    after, _ = rlpd.update(state, batch, config=config)
    for name, slope in gradient.items():  # the first step of Adam is the learning rate times g / (|g| + ε)
        expected = state.critics[name] - 1e-3 * slope / (np.abs(slope) + 1e-8)
        np.testing.assert_allclose(after.critics[name], expected, atol=3e-5)
    assert jax.grad(lambda h: rlpd.alpha_loss(state.log_alpha, h, -1.0))(jnp.float32(0.5)) == 0.0


def test_the_actor_step_climbs_the_critics_as_they_are_after_their_steps() -> None:
    """Adam's first moment is 0.1 times the first gradient, which shows what was differentiated."""
    config = replace(TINY, learning_rate=0.05)  # so that critics before and after differ well
    state, batch = tiny(config), batch_of(2, N)
    after, _ = rlpd.update(state, batch, config=config)
    key = jax.random.split(state.key, 4)[1]
    last = jax.tree.map(lambda column: column[-1], batch)
    gradient = jax.grad(lambda a: rlpd.actor_loss(a, key, after.critics, state.log_alpha, last)[0])(state.actor)
    for name, slope in gradient.items():
        np.testing.assert_allclose(after.actor_optimiser[0].mu[name], 0.1 * slope, rtol=1e-4, atol=1e-7)


def test_target_critics_follow_slowly() -> None:
    state = tiny()
    after, _ = rlpd.update(state, batch_of(1, N), config=TINY)
    for name, old in state.target_critics.items():
        expected = old + TINY.target_rate * (after.critics[name] - old)
        np.testing.assert_allclose(after.target_critics[name], expected, rtol=1e-5, atol=1e-7)


def test_one_call_makes_g_critic_steps_and_one_actor_step() -> None:
    state = tiny()
    after, info = rlpd.update(state, batch_of(4, N), config=TINY)
    assert int(after.critic_optimiser[0].count) == 4
    assert int(after.actor_optimiser[0].count) == 1
    assert int(after.alpha_optimiser[0].count) == 1
    assert all(np.isfinite(value) for value in info.values())
    assert {"critic/loss", "critic/q_mean", "actor/loss", "actor/entropy", "temperature/alpha"} <= set(info)


def test_deterministic_under_a_seed_and_free_of_side_effects() -> None:
    state, batch = tiny(), batch_of(4, N)
    before = jax.tree.map(np.array, state)
    one, two = (rlpd.update(state, batch, config=TINY)[0] for _ in range(2))
    other, _ = rlpd.update(state._replace(key=jax.random.PRNGKey(99)), batch, config=TINY)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), one, two))
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), before, state))
    assert not np.array_equal(one.key, state.key)
    assert not np.array_equal(one.actor["w0"], other.actor["w0"])


def test_sampled_actions_explore_and_the_deterministic_one_does_not() -> None:
    state = tiny()
    inputs = jnp.ones((N, D))
    draws = [rlpd.sample(state.actor, inputs, jax.random.PRNGKey(i)) for i in range(2)]
    fixed = [rlpd.sample(state.actor, inputs, jax.random.PRNGKey(i), deterministic=True) for i in range(2)]
    assert not np.array_equal(*draws) and np.array_equal(*fixed)
    assert (np.abs(draws[0]) <= 1.0).all()


def test_values_of_a_two_state_chain_converge_to_the_solution() -> None:
    """0 → 1 (reward 0), 1 → end (reward 1) or, for odd actions' sake, any action: Q(1) = 1, Q(0) = γ.

    A third state loops for ever with reward 0.1 and is only ever cut by time limits: Q(2) = 0.1 / (1 − γ) = 0.2 for
    γ = 0.5. With exact fixed data the fixed point is exact; Adam at rate 1e-3 dithers by its step size times the
    network's gradient, far below the tolerance of 0.03 that separates the right values from every wrong discount.
    """
    config = RlpdConfig(hidden=(32, 32), critics=4, discount=0.5, learning_rate=1e-3, target_rate=0.05)
    states = np.eye(3, dtype=np.float32)
    rng = np.random.default_rng(0)
    state = rlpd.create(jax.random.PRNGKey(0), Layout(3, 1), config)
    for _ in range(150):
        where = rng.integers(0, 3, (10, 32))
        action = rng.uniform(-1, 1, (10, 32, 1)).astype(np.float32)
        reward = np.array([0.0, 1.0, 0.1], np.float32)[where]
        mask = np.array([1.0, 0.0, 1.0], np.float32)[where]
        batch = Batch(states[where], action, reward, mask, states[np.array([1, 1, 2])[where]])
        state, _ = rlpd.update(state, batch, config=config)
    actions = np.linspace(-0.9, 0.9, 7, dtype=np.float32)[:, None]
    for number, value in enumerate((0.5, 1.0, 0.2)):
        q = mlp.critics_apply(state.critics, np.tile(states[number], (7, 1)), actions)
        np.testing.assert_allclose(q, value, atol=0.03)


def test_the_actor_finds_the_best_action_of_a_bandit() -> None:
    """Reward 1 − (a − 0.5)², always terminal: a* = 0.5; the entropy target leaves std ~ 0.1, α then biases little."""
    config = RlpdConfig(hidden=(32, 32), critics=4, learning_rate=3e-3, initial_temperature=0.01, target_entropy=-2.0)
    rng = np.random.default_rng(0)
    state = rlpd.create(jax.random.PRNGKey(0), Layout(1, 1), config)
    for _ in range(300):
        action = rng.uniform(-1, 1, (4, 64, 1)).astype(np.float32)
        zeros = np.zeros((4, 64, 1), np.float32)
        batch = Batch(zeros, action, 1 - (action[..., 0] - 0.5) ** 2, zeros[..., 0], zeros)
        state, _ = rlpd.update(state, batch, config=config)
    best = rlpd.sample(state.actor, jnp.zeros((1, 1)), jax.random.PRNGKey(0), deterministic=True)
    assert abs(float(best[0, 0]) - 0.5) < 0.1


def test_config_values_that_make_no_sense() -> None:
    for wrong in ({"subset": 11}, {"discount": 1.0}, {"critic_steps": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            RlpdConfig(**wrong)
