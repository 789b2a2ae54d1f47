"""FlashSAC's losses, targets and steps against an independent numpy reference and finite differences."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robot_rl.contract import Layout
from robot_rl.data.replay import Batch
from robot_rl.learner.algorithms import flash_sac
from robot_rl.learner.algorithms.flash_sac import FlashConfig, FlashState
from robot_rl.learner.networks import flash
from robot_rl.learner.networks.parts import join
from tests.robot_rl.flash_reference import (
    SQUARES,
    TINY,
    A,
    D,
    N,
    Z,
    batch_of,
    member,
    moved,
    one,
    reference,
    reference_policy,
    softmax,
    tiny,
    wide,
)


def test_projection_splits_linearly_clips_and_keeps_expectations() -> None:
    split = np.asarray(flash_sac.project(jnp.ones((3, 1)), jnp.array([[0.1], [0.8], [7.0]]), jnp.asarray(Z)))
    np.testing.assert_allclose(split[0][5:7], [0.75, 0.25], atol=1e-5)  # 0.1 lies a quarter of the way from 0 to 0.4
    np.testing.assert_allclose(split[1][7], 1.0, atol=1e-5)
    np.testing.assert_allclose(split[2][-1], 1.0, atol=1e-5)
    rng = np.random.default_rng(0)
    mass, values = softmax(rng.normal(size=(50, 11))), rng.uniform(-2, 2, (50, 11))
    found = flash_sac.project(jnp.asarray(mass), jnp.asarray(values), jnp.asarray(Z))
    np.testing.assert_allclose(found, moved(values, mass), atol=1e-5)
    np.testing.assert_allclose(found @ Z, (mass * values).sum(-1), atol=1e-5)
    np.testing.assert_allclose(found.sum(-1), 1.0, atol=1e-5)


def drawn(state: FlashState, batch: Batch, seed: int):
    """Next actions and their log-probabilities as `critic_step` would draw them, by the reference."""
    noise = np.random.default_rng(seed).normal(size=(N, A))
    outputs, _ = reference(state.actor, batch.next_state, state.actor_moments)
    action, log_prob = reference_policy(outputs, noise)
    return action.astype(np.float32), log_prob.astype(np.float32)


@pytest.mark.parametrize("backup", [False, True])
def test_critic_target_equals_the_reference(backup: bool) -> None:
    config = replace(TINY, entropy_backup=backup)
    state, batch = tiny(config), one(batch_of(1, N))
    action, log_prob = drawn(state, batch, 3)
    both = np.concatenate((np.hstack((batch.state, batch.action)), np.hstack((batch.next_state, action))))
    chances = np.stack([softmax(reference(member(state.target_critics, i), both)[0][N:]) for i in range(2)])
    worse = (chances @ Z).argmin(0)
    assert 0 < worse.sum() < N  # either critic is the lower one somewhere
    future = Z - 0.3 * log_prob[:, None] * backup
    values = batch.reward[:, None] / 2.5 + 0.9 * batch.mask[:, None] * future
    expected = moved(values, chances[worse, np.arange(N)])
    found = flash_sac.critic_target(state, batch, flash_sac.encode(state, batch), action, log_prob, config)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_target_at_a_terminal_step_is_the_scaled_reward_and_at_a_time_limit_is_not() -> None:
    state, batch = tiny(), one(batch_of(1, N))._replace(mask=np.zeros(N, np.float32))
    action, log_prob = drawn(state, batch, 3)
    features = flash_sac.encode(state, batch)
    ended = flash_sac.critic_target(state, batch, features, action, log_prob, TINY)
    np.testing.assert_allclose(ended, moved(batch.reward[:, None] / 2.5, np.ones((N, 1))), atol=1e-5)
    cut = batch._replace(mask=np.ones(N, np.float32))
    cut_target = flash_sac.critic_target(state, cut, features, action, log_prob, TINY)
    assert (np.abs(np.asarray(cut_target - ended)).max(axis=-1) > 1e-2).all()


def test_rewards_are_scaled_by_whichever_is_larger_and_by_nothing_when_told_so() -> None:
    batch = one(batch_of(1, N))
    np.testing.assert_allclose(flash_sac.scaled_reward(batch, TINY), batch.reward / 2.5, rtol=1e-6)
    spread = batch._replace(columns=batch.columns | {"return_deviation": np.float32(4.0)})
    np.testing.assert_allclose(flash_sac.scaled_reward(spread, TINY), batch.reward / 4.0, rtol=1e-6)
    silent = batch._replace(reward=np.zeros(N, np.float32), columns={"return_deviation": 0.0, "return_largest": 0.0})
    assert np.array_equal(flash_sac.scaled_reward(silent, TINY), np.zeros(N))
    without = batch._replace(columns={})
    assert np.array_equal(flash_sac.scaled_reward(without, replace(TINY, scale_rewards=False)), batch.reward)
    with pytest.raises(ValueError, match="brings no statistics of returns"):
        flash_sac.scaled_reward(without, TINY)


def test_critic_loss_is_the_cross_entropy_of_the_first_half_of_one_batch() -> None:
    state, batch = tiny(), one(batch_of(1, N))
    action, _ = drawn(state, batch, 3)
    target = softmax(np.random.default_rng(0).normal(size=(N, 11)))
    both = np.concatenate((np.hstack((batch.state, batch.action)), np.hstack((batch.next_state, action))))
    found = [reference(member(state.critics, i), both) for i in range(2)]
    chances = np.stack([softmax(logits[:N]) for logits, _ in found])
    loss, (p, moments) = flash_sac.critic_loss(
        (state.critics, {}), target.astype(np.float32), state, batch, batch.next_state, action
    )
    np.testing.assert_allclose(p, chances, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(loss, -(target * np.log(chances)).sum(-1).mean(), rtol=1e-4)
    np.testing.assert_allclose(moments["m2"], [own["m2"] for _, own in found], atol=1e-4)


def test_actor_loss_takes_the_lower_critic_as_it_judges_and_the_policy_as_it_trains() -> None:
    state, batch, key = tiny(), one(batch_of(1, N)), jax.random.PRNGKey(2)
    noise = np.asarray(jax.random.normal(key, (N, A)), np.float64)
    outputs, _ = reference(state.actor, np.concatenate((batch.state, batch.next_state)))
    action, log_prob = reference_policy(outputs[:N], noise)
    seen = np.hstack((batch.state, action))
    q = np.stack(
        [softmax(reference(member(state.critics, i), seen, member(state.critic_moments, i))[0]) @ Z for i in range(2)]
    )
    assert 0 < q.argmin(0).sum() < N
    loss, (entropy, _) = flash_sac.actor_loss(state.actor, key, state, flash_sac.encode(state, batch), TINY)
    np.testing.assert_allclose(loss, (0.3 * log_prob - q.min(0)).mean(), rtol=1e-3)
    np.testing.assert_allclose(entropy, -log_prob.mean(), rtol=1e-4)


def test_temperature_aims_at_the_entropy_of_a_gaussian() -> None:
    slope = jax.grad(flash_sac.alpha_loss)
    np.testing.assert_allclose(slope(jnp.log(0.5), jnp.float32(-3.0), -1.0), 0.5 * -2.0, rtol=1e-6)  # raises log α
    np.testing.assert_allclose(slope(jnp.log(0.5), jnp.float32(0.5), -1.0), 0.5 * 1.5, rtol=1e-6)
    assert jax.grad(lambda h: flash_sac.alpha_loss(jnp.float32(0.0), h, -1.0))(jnp.float32(0.5)) == 0.0
    draws = np.random.default_rng(0).normal(0.0, 0.15, 200_000)
    surprise = 0.5 * (draws / 0.15) ** 2 + np.log(0.15 * np.sqrt(2 * np.pi))
    assert flash_sac.target_entropy(3, flash_sac.published()) == pytest.approx(3 * surprise.mean(), abs=0.03)


@pytest.mark.parametrize("which", ["critic", "actor", "actor that edits"])
def test_gradients_equal_finite_differences(which: str) -> None:
    with jax.enable_x64(True):
        state = wide(tiny()._replace(key=None))
        batch, key = wide(one(batch_of(1, N))), jax.random.PRNGKey(3)
        features = flash_sac.encode(state, batch)
        target, action = jnp.asarray(softmax(np.random.default_rng(0).normal(size=(N, 11)))), batch.action[::-1]
        if which == "critic":
            params = state.critics
            loss = lambda p: flash_sac.critic_loss((p, {}), target, state, batch, features.next, action)[0]  # noqa: E731
        else:
            state = state._replace(from_zero=jnp.float64(which == "actor that edits"))
            params = state.actor
            loss = lambda p: flash_sac.actor_loss(p, key, state, features, TINY)[0]  # noqa: E731
        loss = jax.jit(loss)
        gradient = jax.jit(jax.grad(loss))(params)
        rng = np.random.default_rng(0)
        for _ in range(5):
            way = jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape)), params)
            ahead = loss(jax.tree.map(lambda p, w: p + 1e-7 * w, params, way))
            behind = loss(jax.tree.map(lambda p, w: p - 1e-7 * w, params, way))
            slope = sum(jax.tree.leaves(jax.tree.map(lambda g, w: (g * w).sum(), gradient, way)))
            np.testing.assert_allclose((ahead - behind) / 2e-7, slope, rtol=1e-4, atol=1e-6)


def test_a_critic_step_follows_a_constant_target_and_its_first_half_alone() -> None:
    """Adam's first moment is 0.1 times the first gradient, which shows what was differentiated."""
    state, batch, key = tiny(), one(batch_of(1, N)), jax.random.PRNGKey(7)
    features = flash_sac.encode(state, batch)
    outputs, _ = flash.apply(state.actor, features.next, state.actor_moments)
    action, log_prob = flash_sac.tanh_gaussian(key, *flash.gaussian(outputs))
    target = np.asarray(flash_sac.critic_target(state, batch, features, action, log_prob, TINY))
    gradient = jax.grad(
        lambda critics: flash_sac.critic_loss(
            (critics, {}), target, state, batch, batch.next_state, np.asarray(action)
        )[0]
    )(state.critics)
    after, _ = flash_sac.critic_step(state, key, batch, features, TINY)
    for name, slope in gradient.items():
        np.testing.assert_allclose(after.critic_optimiser[0].mu[0][name], 0.1 * slope, rtol=1e-3, atol=1e-7)
    assert after.actor is state.actor and after.log_alpha is state.log_alpha
    expected = flash.bound(
        {name: old + 0.1 * (after.critics[name] - old) for name, old in state.target_critics.items()}, 16.0
    )
    for name, value in expected.items():
        np.testing.assert_allclose(after.target_critics[name], value, rtol=1e-5, atol=1e-6)


def test_an_actor_step_moves_the_actor_and_the_temperature_only() -> None:
    state, batch, key = tiny(), one(batch_of(1, N)), jax.random.PRNGKey(7)
    features = flash_sac.encode(state, batch)
    gradient, (entropy, moments) = jax.grad(flash_sac.actor_loss, has_aux=True)(state.actor, key, state, features, TINY)
    after = flash_sac.policy_step(state, key, features, TINY)
    for name, slope in gradient.items():
        np.testing.assert_allclose(after.actor_optimiser[0].mu[name], 0.1 * slope, rtol=1e-3, atol=1e-7)
    aim = 0.5 * A * np.log(2 * np.pi * np.e * 0.15**2)
    np.testing.assert_allclose(after.alpha_optimiser[0].mu, 0.1 * 0.3 * (entropy - aim), rtol=1e-4)
    np.testing.assert_allclose(after.actor_moments["m0"], moments["m0"], atol=1e-6)  # the first batch is the average
    assert after.critics is state.critics and after.target_critics is state.target_critics


@pytest.mark.parametrize("std", [1e-9, 0.15, 100.0])
def test_a_stilled_policy_takes_the_action_0_with_the_noise_aimed_at_whatever_it_sees(std: float) -> None:
    config = replace(TINY, target_std=std)
    state = flash_sac.make_agent(config).still(tiny(config))
    seen = np.random.default_rng(3).normal(0.0, 5.0, (N, D)).astype(np.float32)
    for actor, moments in ((state.actor, state.actor_moments), (state.average_actor, state.average_moments)):
        mean, log_std = flash.gaussian(flash.apply(actor, seen, moments)[0])
        np.testing.assert_array_equal(mean, 0.0)
        ends = -10.0 + 6.0 * (1.0 + np.array([-0.99, 0.99]))  # where a log std can begin
        np.testing.assert_allclose(log_std, np.clip(np.log(std), *ends), rtol=1e-5)


def test_a_stilled_policy_learns_how_far_its_head_reaches_before_anything_else() -> None:
    """At s = 0, ∂L/∂s is that of outputs times h W; no other weight has a slope, and Adam's first step is its rate."""
    state = flash_sac.still(tiny(), TINY)
    features, key = flash_sac.encode(state, one(batch_of(1, N))), jax.random.PRNGKey(7)
    both = np.concatenate((features.now, features.next))
    unscaled = {name: value for name, value in state.actor.items() if name != "s3"} | {"b3": np.zeros(2 * A)}
    head = np.asarray(reference(unscaled, both)[0][:N], np.float32)

    def loss_of(outputs: jax.Array) -> jax.Array:
        action, log_prob = flash_sac.tanh_gaussian(key, *flash.gaussian(outputs))
        logits, _ = flash_sac.critic_apply(state.critics, features.now, action, state.critic_moments)
        cost = 0.5 * (action**2).sum(axis=-1)
        return (0.3 * log_prob - (jax.nn.softmax(logits) @ Z.astype(np.float32)).min(axis=0) + cost).mean()

    slope = (jax.grad(loss_of)(jnp.tile(state.actor["b3"], (N, 1))) * head).sum(axis=0)
    gradient, _ = jax.grad(flash_sac.actor_loss, has_aux=True)(state.actor, key, state, features, TINY)
    np.testing.assert_allclose(gradient["s3"], slope, rtol=1e-3, atol=1e-5)
    assert not any(np.any(gradient[name]) for name in state.actor if name not in ("s3", "b3"))
    after = flash_sac.policy_step(state, key, features, TINY)
    np.testing.assert_allclose(after.actor["s3"], -0.01 * np.sign(slope), rtol=1e-3)


def test_edits_of_a_clone_cost_their_square_less_and_less_and_actions_cost_nothing() -> None:
    state, batch, key = tiny(), one(batch_of(1, N)), jax.random.PRNGKey(2)
    outputs, _ = reference(state.actor, np.concatenate((batch.state, batch.next_state)))
    noise = np.asarray(jax.random.normal(key, (N, A)), np.float64)
    action, _ = reference_policy(outputs[:N], noise)
    features = flash_sac.encode(state, batch)
    free, _ = flash_sac.actor_loss(state.actor, key, state, features, TINY)
    editing = state._replace(from_zero=jnp.float32(1.0))
    for cost, step in ((0.0, 0), (0.5, 0), (2.0, 0), (2.0, 30), (2.0, 60)):
        later, config = editing._replace(step=jnp.int32(step)), replace(TINY, edit_cost=cost, edit_halving=30)
        found, _ = flash_sac.actor_loss(state.actor, key, later, features, config)
        weight = cost / 2 ** (step / 30)
        np.testing.assert_allclose(found - free, weight * (action**2).sum(-1).mean(), rtol=1e-3, atol=1e-4)


def test_a_policy_that_was_not_stilled_keeps_the_reach_of_its_head() -> None:
    state, _ = flash_sac.update(
        flash_sac.create(jax.random.PRNGKey(0), Layout(D, A), TINY), batch_of(4, N), config=TINY
    )
    np.testing.assert_array_equal(state.actor["s3"], 1.0)
    assert np.any(state.actor["b3"])


def test_an_average_of_the_latest_actors_is_published_beside_the_newest() -> None:
    """With a share of 1 the plain average of all; with ½ step k has the rate 1 / (1 + k/2); with 0 it is the newest."""
    batch = one(batch_of(1, N))
    for share, rates in ((1.0, (1, 1 / 2, 1 / 3)), (0.5, (1, 2 / 3, 1 / 2)), (0.0, (1, 1, 1))):
        config = replace(TINY, average_share=share)
        state = tiny(config)
        features, average, moments = flash_sac.encode(state, batch), state.average_actor, state.average_moments
        for k, rate in enumerate(rates):
            state = state._replace(step=jnp.int32(config.actor_every * k))
            state = flash_sac.policy_step(state, jax.random.PRNGKey(k), features, config)
            average = flash.bound({n: old + rate * (state.actor[n] - old) for n, old in average.items()})
            moments = {n: old + rate * (state.actor_moments[n] - old) for n, old in moments.items()}
        published = flash_sac.make_agent(config).actor(state)
        for name, value in join(average=average, average_moments=moments).items():
            np.testing.assert_allclose(published[name], value, rtol=1e-4, atol=1e-5)
        for name, value in join(newest=state.actor, newest_moments=state.actor_moments).items():
            assert np.array_equal(published[name], value)
        same = np.allclose(published["average/w1"], published["newest/w1"], atol=1e-4)
        assert same == (share == 0.0)


def test_actor_and_temperature_step_before_every_second_critic_step_however_calls_are_cut() -> None:
    whole, _ = flash_sac.update(tiny(), batch_of(4, N), config=TINY)
    state, counts = tiny(), []
    for i in range(3):
        batch = jax.tree.map(lambda column, i=i: column[i : i + 1], batch_of(4, N))
        state, _ = flash_sac.update(state, batch, config=TINY)
        counts.append((int(state.step), int(state.actor_optimiser[0].count), int(state.alpha_optimiser[0].count)))
    assert counts == [(1, 1, 1), (2, 1, 1), (3, 2, 2)]
    assert (int(whole.critic_optimiser[0].count), int(whole.actor_optimiser[0].count)) == (4, 2)


def test_the_learning_rate_falls_by_half_a_cosine() -> None:
    optimiser, weight = flash_sac.published(100).optimiser, jnp.float32(0.0)
    sizes = []
    start = optimiser.init(weight)
    for count in (0, 50, 100, 1000):
        state = jax.tree.map(lambda x, c=count: jnp.int32(c) if x.dtype == jnp.int32 else x, start)
        sizes.append(float(optimiser.update(jnp.float32(1.0), (start[0], *state[1:]))[0]))
    np.testing.assert_allclose(sizes, [-3e-4, -2.25e-4, -1.5e-4, -1.5e-4], rtol=1e-4)


@pytest.mark.parametrize(("size", "cameras"), [pytest.param(0, SQUARES, marks=pytest.mark.slow), (D, SQUARES)])
def test_images_with_and_without_a_state(size: int, cameras) -> None:
    """The encoder learns by the critics through s alone; it costs the actor nothing and learns nothing from it."""
    state = tiny(layout=Layout(size, A, cameras))
    batch = batch_of(1, N, images=True, size=size)
    after, info = flash_sac.update(state, batch, config=TINY)
    assert all(np.isfinite(value) for value in info.values())
    for name, before in state.encoder.items():
        assert not np.array_equal(after.encoder[name], before), name
        expected = 0.1 * after.encoder[name] + 0.9 * state.target_encoder[name]
        np.testing.assert_allclose(after.target_encoder[name], expected, rtol=1e-4, atol=1e-5)

    single = one(batch)
    action = jnp.asarray(single.action)

    def through(encoder_params, image, next_image):
        seen = state._replace(encoder=encoder_params)
        shown = single._replace(images=image, next_images=next_image)
        features = flash_sac.encode(seen, shown)
        return flash_sac.actor_loss(state.actor, jax.random.PRNGKey(0), seen, features, TINY)[0]

    still = jax.grad(through)(state.encoder, single.images, single.next_images)
    assert all(np.array_equal(g, np.zeros_like(g)) for g in jax.tree.leaves(still))
    target = np.full((N, 11), 1 / 11, np.float32)
    learns = jax.grad(
        lambda encoder_params: flash_sac.critic_loss(
            (state.critics, encoder_params), target, state, single, flash_sac.encode(state, single).next, action
        )[0]
    )(state.encoder)
    assert all(np.abs(g).max() > 0 for g in jax.tree.leaves(learns))


def test_what_the_critics_see_of_images_comes_from_their_own_encoder() -> None:
    state, batch = tiny(layout=Layout(D, A, SQUARES)), one(batch_of(1, N, images=True))
    features = flash_sac.encode(state, batch)
    swapped = flash_sac.encode(state._replace(encoder=state.target_encoder), batch)
    assert np.array_equal(features.target_now, swapped.now) and np.array_equal(features.target_next, swapped.next)
    assert np.abs(features.now - features.target_now).max() > 0.01


def test_deterministic_under_a_seed_and_free_of_side_effects() -> None:
    state, batch = tiny(), batch_of(1, N)
    before = jax.tree.map(np.array, state)
    first, second = (flash_sac.update(state, batch, config=TINY)[0] for _ in range(2))
    other, _ = flash_sac.update(state._replace(key=jax.random.PRNGKey(99)), batch, config=TINY)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), first, second))
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), before, state))
    assert not np.array_equal(first.key, state.key)
    assert not np.array_equal(first.actor["w0"], other.actor["w0"])


def test_the_loop_can_see_that_any_part_is_not_finite() -> None:
    state, batch = tiny(), batch_of(1, N)
    _, info = flash_sac.update(state, batch, config=TINY)
    assert {"critic/q_mean", "critic/target_mean", "critic/norm", "actor/norm", "encoder/norm"} <= set(info)
    spoilt = state._replace(critic_moments=state.critic_moments | {"v2": state.critic_moments["v2"] * np.nan})
    _, info = flash_sac.update(spoilt, batch, config=TINY)
    assert not np.isfinite(info["critic/norm"])
    spoilt = state._replace(average_moments=state.average_moments | {"m0": state.average_moments["m0"] * np.nan})
    _, info = flash_sac.update(spoilt._replace(step=jnp.int32(20)), batch, config=TINY)
    assert not np.isfinite(info["actor/norm"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"discount": 1.0},
        {"critic_steps": 0},
        {"blocks": 0},
        {"bins": 1},
        {"support": 0.0},
        {"noise_repeats": 0},
        {"average_share": 1.1},
    ],
)
def test_config_values_that_make_no_sense(wrong) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        FlashConfig(**wrong)


def test_each_of_several_critics_begins_with_weights_of_its_own() -> None:
    critics, _ = flash.create(jax.random.PRNGKey(3), 47, 256, 2, 101, members=2)
    alone, _ = flash.create(jax.random.PRNGKey(3), 47, 256, 2, 101)
    assert {name: value.shape[1:] for name, value in critics.items()} == {n: v.shape for n, v in alone.items()}
    for inner in np.asarray(critics["w1"]):  # (256, 1024): columns of norm 1
        np.testing.assert_allclose(np.linalg.norm(inner, axis=0), 1.0, rtol=1e-5)
        assert np.linalg.matrix_rank(inner) == 256
    assert not np.allclose(critics["w0"][0], critics["w0"][1])
