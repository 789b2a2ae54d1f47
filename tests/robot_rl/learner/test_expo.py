"""EXPO against an independent numpy reference, finite differences and problems whose solution is known."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robot_rl.contract import Layout
from robot_rl.data.replay import Batch
from robot_rl.learner.algorithms import expo, rlpd
from robot_rl.learner.algorithms.expo import ExpoConfig, ExpoState
from robot_rl.learner.networks import encoder, flow, mlp

TINY = ExpoConfig(
    hidden=(5, 4),
    base_hidden=(6, 5),
    critics=4,
    subset=2,
    discount=0.9,
    initial_temperature=0.3,
    candidates=3,
    base_steps=2,
    failed_weight=0.3,
    edit_scale=0.4,
    target_rate=0.05,
    base_rate=0.2,
    learning_rate=0.05,  # so that parameters before and after a step differ well
)
N, D, A = 6, 3, 2
target_of = jax.jit(expo.critic_target, static_argnames="config")
on_the_fly = jax.jit(expo.on_the_fly, static_argnames="config")
critic_step = jax.jit(partial(rlpd.critic_step, target_of=expo.critic_target), static_argnames="config")


def tiny(config: ExpoConfig = TINY, layout: Layout | None = None, seed: int = 0) -> ExpoState:
    """A small agent with no zero biases, whose averages differ from what they follow."""
    state = expo.create(jax.random.PRNGKey(seed), layout or Layout(D, A), config)
    rng = np.random.default_rng(seed)

    def stir(tree):
        return jax.tree.map(lambda p: p + jnp.asarray(0.3 * rng.normal(size=p.shape), p.dtype), tree)

    parts = ("base", "target_base", "edit", "encoder", "target_encoder", "critics", "target_critics")
    return state._replace(**{name: stir(getattr(state, name)) for name in parts})


def batch_of(*lead: int, seed: int = 0, images: tuple[str, ...] = (), state_size: int = D) -> Batch:
    rng = np.random.default_rng(seed)
    values = Batch(
        state=rng.normal(size=(*lead, state_size)),
        action=rng.uniform(-1, 1, (*lead, A)),
        reward=rng.normal(size=lead),
        mask=rng.random(lead) < 0.7,
        next_state=rng.normal(size=(*lead, state_size)),
        columns={"example": np.resize((1, 1, 0, 1), lead)},
    )
    batch = jax.tree.map(lambda column: np.asarray(column, np.float32), values)
    pixels = [{name: rng.integers(0, 256, (*lead, 16, 16, 3), np.uint8) for name in images} or None for _ in range(2)]
    return batch._replace(images=pixels[0], next_images=pixels[1])


def last_of(batch: Batch) -> Batch:
    return jax.tree.map(lambda column: column[-1], batch)


def wide(params, member: int | None = None) -> dict[str, np.ndarray]:
    """Parameters in float64, of one member."""
    return {name: np.asarray(p, np.float64)[... if member is None else member] for name, p in params.items()}


def reference_q(params, member: int, state, action) -> np.ndarray:
    """One critic: Dense → LayerNorm → ReLU twice, Dense."""
    p, h = wide(params, member), np.concatenate((state, action), -1).astype(np.float64)
    for i in range(2):
        h = h @ p[f"w{i}"] + p[f"b{i}"]
        h = (h - h.mean(-1, keepdims=True)) / np.sqrt(h.var(-1, keepdims=True) + mlp.LAYER_NORM_EPSILON)
        h = np.maximum(p[f"g{i}"] * h + p[f"c{i}"], 0.0)
    return (h @ p["w2"] + p["b2"])[..., 0]


def reference_mlp(params, inputs) -> np.ndarray:
    p = wide(params)
    h = np.maximum(inputs @ p["w0"] + p["b0"], 0.0)
    h = np.maximum(h @ p["w1"] + p["b1"], 0.0)
    return h @ p["w2"] + p["b2"]


def reference_base(params, state, noise, steps: int) -> np.ndarray:
    """Euler's method, one state and one draw at a time."""
    x = noise.astype(np.float64)
    for i in range(steps):
        time = np.full((*x.shape[:-1], 1), i / steps)
        x = x + reference_mlp(params, np.concatenate((state, x, time), -1)) / steps
    return np.clip(x, -1.0, 1.0)


def reference_edit(params, state, action, noise, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """The edited action, and log π(w) by the change-of-variables formula itself."""
    mean, log_std = np.split(reference_mlp(params, np.concatenate((state, action), -1)), 2, axis=-1)
    std = np.exp(np.clip(log_std, np.log(1e-5), np.log(5.0)))
    w = np.tanh(mean + std * noise)
    density = np.exp(-0.5 * noise.astype(np.float64) ** 2) / (std * np.sqrt(2 * np.pi)) / (1 - w**2)
    return np.clip(action + scale * w, -1.0, 1.0), np.log(density).sum(-1)


def reference_candidates(base, state: ExpoState, features, key, config: ExpoConfig = TINY) -> np.ndarray:
    """``(n, 2N, a)`` of ``base`` with the noise that `expo.on_the_fly` draws from ``key``."""
    noise_key, edit_key = jax.random.split(key)
    shape = (len(features), config.candidates, A)
    noise, shake = (np.asarray(jax.random.normal(k, shape)) for k in (noise_key, edit_key))
    repeated = np.repeat(features[:, None], config.candidates, axis=1)
    imitated = reference_base(base, repeated, noise, config.base_steps)
    edited, _ = reference_edit(state.edit, repeated, imitated, shake, config.edit_scale)
    return np.concatenate((imitated, edited), axis=1)


def reference_target(state: ExpoState, batch: Batch, key, config: ExpoConfig = TINY) -> np.ndarray:
    choosing, policy_key, valuing = jax.random.split(key, 3)
    chooses, values = (
        np.asarray(jax.random.permutation(k, config.critics))[: config.subset] for k in (choosing, valuing)
    )
    candidates = reference_candidates(state.base, state, batch.next_state, policy_key, config)
    repeated = np.repeat(batch.next_state[:, None], candidates.shape[1], axis=1)
    judged = np.min([reference_q(state.target_critics, i, repeated, candidates) for i in chooses], axis=0)
    best = candidates[np.arange(len(candidates)), judged.argmax(axis=1)]
    value = np.min([reference_q(state.target_critics, i, batch.next_state, best) for i in values], axis=0)
    return batch.reward + config.discount * batch.mask * value


@pytest.mark.parametrize("seed", [1, 2])
def test_target_is_the_value_by_some_members_of_what_others_like_best(seed: int) -> None:
    state, batch, key = tiny(), batch_of(N, seed=seed), jax.random.PRNGKey(seed)
    expected = reference_target(state, batch, key)
    np.testing.assert_allclose(target_of(key, state, batch, config=TINY), expected, rtol=2e-5, atol=2e-5)


def test_target_at_a_terminal_step_is_the_reward_and_at_a_time_limit_is_not() -> None:
    state, key = tiny(), jax.random.PRNGKey(1)
    terminal = batch_of(N)._replace(mask=np.zeros(N, np.float32))
    truncated = terminal._replace(mask=np.ones(N, np.float32))
    assert np.array_equal(target_of(key, state, terminal, config=TINY), terminal.reward)
    assert (np.abs(target_of(key, state, truncated, config=TINY) - truncated.reward) > 1e-4).all()


def test_the_policy_on_the_fly_takes_the_best_candidate_of_all() -> None:
    state, features, key = tiny(), batch_of(40).state, jax.random.PRNGKey(3)
    pair = jax.tree.map(lambda p: p[:2], state.target_critics)
    action, value = on_the_fly(key, state.target_base, state.edit, pair, features, config=TINY)
    candidates = reference_candidates(state.target_base, state, features, key)
    repeated = np.repeat(features[:, None], candidates.shape[1], axis=1)
    q = np.min([reference_q(pair, i, repeated, candidates) for i in range(2)], axis=0)
    best = q.argmax(axis=1)
    np.testing.assert_allclose(action, candidates[np.arange(40), best], atol=2e-5)
    np.testing.assert_allclose(value, q.max(axis=1), rtol=2e-5, atol=2e-5)
    assert (best < TINY.candidates).any() and (best >= TINY.candidates).any()  # both kinds win somewhere


def test_only_the_drawn_members_of_the_targets_are_asked() -> None:
    state, batch = tiny(), batch_of(N)
    for seed in range(20):
        key = jax.random.PRNGKey(seed)
        choosing, _, valuing = jax.random.split(key, 3)
        drawn = [set(np.asarray(expo.draw_subset(k, TINY.critics, TINY.subset)).tolist()) for k in (choosing, valuing)]
        assert all(len(members) == TINY.subset for members in drawn)
        others = np.array(sorted(set(range(TINY.critics)) - drawn[0] - drawn[1]))
        if len(others) and drawn[0] != drawn[1]:
            break
    else:
        pytest.fail("the two subsets are always the same, or leave nothing out")
    broken = jax.tree.map(lambda p: p.at[others].set(jnp.nan), state.target_critics)
    assert np.isfinite(target_of(key, state._replace(target_critics=broken), batch, config=TINY)).all()


def test_the_backup_acts_by_averages_but_for_the_newest_base() -> None:
    state, batch, key = tiny(), batch_of(N), jax.random.PRNGKey(5)
    other = tiny(seed=9)
    target = target_of(key, state, batch, config=TINY)
    alike = state._replace(target_base=other.target_base, critics=other.critics, log_alpha=jnp.float32(3.0))
    assert np.array_equal(target_of(key, alike, batch, config=TINY), target)
    for part in ("base", "edit", "target_critics"):
        changed = state._replace(**{part: getattr(other, part)})
        assert not np.allclose(target_of(key, changed, batch, config=TINY), target), part


def test_edit_loss_edits_the_actions_of_the_batch() -> None:
    state, batch, key = tiny(), batch_of(40), jax.random.PRNGKey(2)
    noise = np.asarray(jax.random.normal(key, (40, A)))
    action, log_prob = reference_edit(state.edit, batch.state, batch.action, noise, 0.4)
    assert (np.abs(action) == 1.0).any() and (np.abs(action) < 1.0).any()  # some are cut off
    q = np.mean([reference_q(state.critics, i, batch.state, action) for i in range(4)], axis=0)
    loss, entropy = expo.edit_loss(state.edit, key, state.critics, state.log_alpha, batch, 0.4)
    np.testing.assert_allclose(loss, (0.3 * (log_prob - A * np.log(0.4)) - q).mean(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(entropy, -log_prob.mean(), rtol=1e-4)


def test_gradient_of_the_edit_loss_equals_finite_differences() -> None:
    with jax.enable_x64(True):
        double = lambda tree: jax.tree.map(lambda x: jnp.asarray(np.asarray(x), jnp.float64), tree)  # noqa: E731
        state, batch, key = double(tiny()._replace(key=None)), double(batch_of(N)), jax.random.PRNGKey(3)
        loss = jax.jit(lambda p: expo.edit_loss(p, key, state.critics, state.log_alpha, batch, 0.4)[0])
        gradient = jax.grad(loss)(state.edit)
        rng = np.random.default_rng(0)
        for _ in range(5):
            way = jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape)), state.edit)
            ahead = loss(jax.tree.map(lambda p, w: p + 1e-6 * w, state.edit, way))
            behind = loss(jax.tree.map(lambda p, w: p - 1e-6 * w, state.edit, way))
            slope = sum(jax.tree.leaves(jax.tree.map(lambda g, w: (g * w).sum(), gradient, way)))
            np.testing.assert_allclose((ahead - behind) / 2e-6, slope, rtol=1e-5, atol=1e-7)


def test_the_base_only_imitates() -> None:
    """Other critics, edits, temperature, rewards and ends of tasks: the base policy becomes the very same."""
    state, other, batch = tiny(), tiny(seed=9), batch_of(2, N)
    parts = {name: getattr(other, name) for name in ("edit", "critics", "target_critics", "target_base", "log_alpha")}
    after, _ = expo.update(state, batch, config=TINY)
    strange, _ = expo.update(
        state._replace(**parts), batch._replace(reward=-batch.reward, mask=1.0 - batch.mask), config=TINY
    )
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), after.base, strange.base))
    assert not np.allclose(after.critics["w0"], strange.critics["w0"])
    policy_key = jax.random.split(state.key, 4)[1]
    last = last_of(batch)
    counts = np.float32([1.0 if example else 0.3 for example in last.columns["example"]])[:, None]
    assert counts.min() < counts.max()
    gradient = jax.grad(flow.flow_loss)(state.base, jax.random.split(policy_key)[0], last.state, last.action, counts)
    for name, slope in gradient.items():  # Adam's first moment is 0.1 times the first gradient
        np.testing.assert_allclose(after.base_optimiser[0].mu[name], 0.1 * slope, rtol=1e-4, atol=1e-7)


def test_critics_learn_from_a_constant_target() -> None:
    state, batch, key = tiny(), batch_of(N), jax.random.PRNGKey(6)
    target = reference_target(state, batch, key)
    gradient = jax.grad(lambda critics: rlpd.critic_loss(critics, target, batch)[0])(state.critics)
    after, _ = critic_step(state, key, batch, config=TINY)
    for name, slope in gradient.items():
        np.testing.assert_allclose(after.critic_optimiser[0].mu[1][name], 0.1 * slope, rtol=1e-3, atol=1e-6)
        expected = state.target_critics[name] + 0.05 * (after.critics[name] - state.target_critics[name])
        np.testing.assert_allclose(after.target_critics[name], expected, rtol=1e-5, atol=1e-6)


def test_the_edit_climbs_the_critics_as_they_are_after_their_steps() -> None:
    state, batch = tiny(), batch_of(2, N)
    after, _ = expo.update(state, batch, config=TINY)
    key = jax.random.split(jax.random.split(state.key, 4)[1])[1]
    gradient = jax.grad(lambda edit: expo.edit_loss(edit, key, after.critics, state.log_alpha, last_of(batch), 0.4)[0])(
        state.edit
    )
    for name, slope in gradient.items():
        np.testing.assert_allclose(after.edit_optimiser[0].mu[name], 0.1 * slope, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("goal", "aim", "way"), [(None, -float(A), -1.0), (50.0, 50.0, 1.0)])
def test_temperature_seeks_the_entropy_of_the_unscaled_edit(goal: float | None, aim: float, way: float) -> None:
    state, batch = tiny(), batch_of(2, N)
    after, info = expo.update(state, batch, config=replace(TINY, target_entropy=goal))
    assert np.sign(aim - info["edit/entropy"]) == way, "the two cases go different ways"
    assert np.sign(after.log_alpha - state.log_alpha) == way


def test_the_base_average_follows_slowly_and_each_part_takes_its_steps() -> None:
    state = tiny()
    after, info = expo.update(state, batch_of(2, N), config=TINY)
    for name, old in state.target_base.items():
        expected = old + 0.2 * (after.base[name] - old)
        np.testing.assert_allclose(after.target_base[name], expected, rtol=1e-5, atol=1e-6)
    assert int(after.critic_optimiser[0].count) == 2
    for part in ("base", "edit", "alpha"):
        assert int(getattr(after, f"{part}_optimiser")[0].count) == 1
    assert all(np.isfinite(value) for value in info.values())
    assert {"critic/q_mean", "critic/target_mean", "critic/norm", "actor/norm", "base/norm"} <= set(info)
    assert "encoder/norm" not in info and state.encoder == {}


def test_what_is_not_finite_shows() -> None:
    state, batch = tiny(), batch_of(2, N)
    for part, metric in (("base", "base/norm"), ("edit", "actor/norm"), ("critics", "critic/norm")):
        params = getattr(state, part)
        _, info = expo.update(state._replace(**{part: params | {"b0": params["b0"] * jnp.nan}}), batch, config=TINY)
        assert not np.isfinite(info[metric])


def test_deterministic_under_a_seed_and_free_of_side_effects() -> None:
    state, batch = tiny(), batch_of(2, N)
    before = jax.tree.map(np.array, state)
    one, two = (expo.update(state, batch, config=TINY)[0] for _ in range(2))
    other, _ = expo.update(state._replace(key=jax.random.PRNGKey(99)), batch, config=TINY)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), one, two))
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), before, state))
    assert not np.array_equal(one.key, state.key)
    for part in ("base", "edit", "critics"):
        assert not np.array_equal(getattr(one, part)["w0"], getattr(other, part)["w0"])


def test_targets_see_images_by_the_slow_encoder_and_losses_by_the_learning_one() -> None:
    state = tiny(layout=Layout(D, A, {"wrist": (16, 16)}))
    batch, key = batch_of(N, images=("wrist",), state_size=D), jax.random.PRNGKey(2)
    shifted = encoder.augment(jax.random.fold_in(key, 2), batch)
    before = encoder.features(state.encoder, shifted.state, shifted.images)
    ahead = encoder.features(state.target_encoder, shifted.next_state, shifted.next_images)
    expected = target_of(key, state, batch._replace(next_state=ahead), config=TINY)
    q = [reference_q(state.critics, member, np.asarray(before), batch.action) for member in range(TINY.critics)]
    after, (seen, info) = critic_step(state, key, batch, config=TINY)
    np.testing.assert_allclose(seen.state, before, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(seen.next_state, ahead, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(info["critic/target_mean"], expected.mean(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(info["critic/loss"], np.mean((np.array(q) - expected) ** 2), rtol=1e-3)
    for name, value in after.target_encoder.items():
        blend = (1.0 - TINY.target_rate) * state.target_encoder[name] + TINY.target_rate * after.encoder[name]
        np.testing.assert_allclose(value, blend, rtol=1e-4, atol=1e-6)


def test_images_are_learnt_by_the_critics_alone() -> None:
    layout = Layout(0, A, {"wrist": (16, 16)})  # nothing but images
    state, batch = tiny(layout=layout), batch_of(2, N, images=("wrist",), state_size=0)
    after, info = expo.update(state, batch, config=TINY)
    assert np.isfinite(info["encoder/norm"]) and not np.array_equal(after.encoder["wrist/w"], state.encoder["wrist/w"])
    # The policies' step comes after the critics' and leaves their encoder as it is, whatever the policies are.
    strange, _ = expo.update(state._replace(log_alpha=state.log_alpha + 1.0), batch, config=TINY)
    for name, value in after.encoder.items():
        assert np.array_equal(value, strange.encoder[name])
    assert not np.allclose(after.edit["w0"], strange.edit["w0"])
    published = expo.published(after)
    assert np.array_equal(published["encoder/wrist/w"], after.target_encoder["wrist/w"])
    assert np.array_equal(published["base/w0"], after.target_base["w0"])
    assert np.array_equal(published["critics/w0"], after.target_critics["w0"])


@pytest.fixture(scope="module")
def solved() -> tuple[ExpoConfig, ExpoState]:
    """Two states: 0 leads to 1 without reward, 1 ends with 1 − (a − ½)². The data's actions are uniform in [−1, 1]."""
    config = ExpoConfig(
        hidden=(32, 32),
        base_hidden=(32, 32),
        critics=4,
        discount=0.5,
        learning_rate=3e-3,
        target_rate=0.05,
        base_rate=0.1,
        edit_scale=0.3,
        base_steps=3,
    )
    states, rng = np.eye(2, dtype=np.float32), np.random.default_rng(0)
    state = expo.create(jax.random.PRNGKey(0), Layout(2, 1), config)
    for _ in range(400):
        where = rng.integers(0, 2, (4, 64))
        action = rng.uniform(-1, 1, (4, 64, 1)).astype(np.float32)
        reward = np.where(where == 1, 1.0 - (action[..., 0] - 0.5) ** 2, 0.0).astype(np.float32)
        mask = (where == 0).astype(np.float32)
        example = {"example": np.ones((4, 64), np.float32)}
        batch = Batch(states[where], action, reward, mask, states[np.ones_like(where)], columns=example)
        state, _ = expo.update(state, batch, config=config)
    return config, state


def test_values_are_those_of_the_best_action_and_not_of_the_imitated_one(solved) -> None:
    """Q(0) = γ · max = 0.5. Imitation alone is worth γ (1 − 1/3 − 1/4) = 0.21, the worst candidate less than that."""
    _, state = solved
    actions = np.linspace(-0.8, 0.8, 5, dtype=np.float32)[:, None]
    for where, expected in ((0, np.full(5, 0.5)), (1, 1.0 - (actions[:, 0] - 0.5) ** 2)):
        q = mlp.critics_apply(state.critics, np.tile(np.eye(2, dtype=np.float32)[where], (5, 1)), actions)
        np.testing.assert_allclose(q.mean(axis=0), expected, atol=0.1)


def test_edits_go_towards_the_best_action_as_far_as_they_may(solved) -> None:
    """w* = clip((½ − a)/β, −1, 1); the temperature keeps the edits a little off."""
    config, state = solved
    actions = np.array([[-0.8], [0.0], [0.5], [0.95]], np.float32)
    where = np.tile(np.float32([0.0, 1.0]), (4, 1))
    mean, _ = mlp.actor_apply(state.edit, np.concatenate((where, actions), 1))
    edits = config.edit_scale * np.tanh(np.asarray(mean)[:, 0])
    np.testing.assert_allclose(edits, [0.3, 0.3, 0.0, -0.3], atol=0.12)


def test_config_values_that_make_no_sense() -> None:
    for wrong in (
        {"subset": 11},
        {"discount": 1.0},
        {"critic_steps": 0},
        {"candidates": 0},
        {"base_steps": 0},
        {"edit_scale": 0.0},
        {"base_rate": 0.0},
        {"target_rate": 1.5},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            ExpoConfig(**wrong)
