"""Chunked TD against an independent numpy reference, the ends of runs, gradient flow, and how it acts."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robot_rl.contract import Layout
from robot_rl.data.replay import Batch
from robot_rl.learner.algorithms import chunked
from robot_rl.learner.algorithms.chunked import ChunkedConfig, Extraction
from robot_rl.learner.networks import encoder
from robot_rl.learner.networks.mlp import LAYER_NORM_EPSILON

N, D, A, H = 6, 3, 2, 3
K = H * A
LAYOUT = Layout(D, A)
TINY = ChunkedConfig(
    horizon=H, hidden=(5, 4), critics=3, discount=0.9, flow_steps=2, samples=3, value_samples=2, failed_weight=0.3
)
TINY = replace(TINY, critic_steps=2, distillation=0.7, temperature=0.9, weight_limit=0.5)
CONFIGS = {name: replace(TINY, extraction=name) for name in get_args(Extraction)}


def tiny(config: ChunkedConfig, layout: Layout = LAYOUT, seed: int = 0) -> chunked.ChunkedState:
    """A small agent with no zero biases and targets that differ from the critics."""
    state = chunked.create(jax.random.PRNGKey(seed), layout, config)
    rng = np.random.default_rng(seed)

    def stir(tree):
        return jax.tree.map(lambda p: np.asarray(p) + rng.normal(size=p.shape).astype(np.float32) * 0.2, tree)

    return state._replace(
        values=stir(state.values), target_values=stir(state.target_values), policies=stir(state.policies)
    )


def batch_of(*lead: int, seed: int = 0, horizon: int = H, images: tuple[int, int] | None = None) -> Batch:
    """Windows of all kinds: whole ones, ones with the task's end in them, and ones that a time limit cut short."""
    rng = np.random.default_rng(seed)
    steps = np.resize((horizon, 1, 2, horizon), lead)
    valid = (np.arange(horizon) < steps[..., None]).astype(np.float32)
    picture = lambda: {"wrist": rng.integers(0, 256, (*lead, *images, 3)).astype(np.uint8)} if images else None  # noqa: E731
    values = Batch(
        state=rng.normal(size=(*lead, D)),
        action=rng.uniform(-1, 1, (*lead, horizon, A)) * valid[..., None],
        reward=rng.normal(size=(*lead, horizon)) * valid,
        mask=np.resize((1, 0, 1, 0, 1), lead),
        next_state=rng.normal(size=(*lead, D)),
        valid=valid,
        columns={"example": np.resize((1, 1, 0), lead)},
    )
    values = jax.tree.map(lambda column: np.asarray(column, np.float32), values)
    return values._replace(images=picture(), next_images=picture())


def reference_q(critics, state, chunk) -> np.ndarray:
    """``(E, n)`` in float64: Dense → LayerNorm → ReLU twice, Dense."""
    result = []
    for member in range(len(critics["w0"])):
        p = {name: np.asarray(value, np.float64)[member] for name, value in critics.items()}
        h = np.concatenate((state, chunk), -1).astype(np.float64)
        for i in range(2):
            h = h @ p[f"w{i}"] + p[f"b{i}"]
            deviation = np.sqrt(h.var(-1, keepdims=True) + LAYER_NORM_EPSILON)
            h = np.maximum(p[f"g{i}"] * (h - h.mean(-1, keepdims=True)) / deviation + p[f"c{i}"], 0.0)
        result.append((h @ p["w2"] + p["b2"])[:, 0])
    return np.array(result)


def reference_velocity(params, state, x, t) -> np.ndarray:
    h = np.concatenate((state, x, np.broadcast_to(t, (len(x), 1))), -1).astype(np.float64)
    for i in range(2):
        h = np.maximum(h @ np.asarray(params[f"w{i}"], np.float64) + params[f"b{i}"], 0.0)
    return h @ np.asarray(params["w2"], np.float64) + params["b2"]


def reference_flow(params, state, noise, steps) -> np.ndarray:
    x = np.asarray(noise, np.float64)
    for i in range(steps):
        x = x + reference_velocity(params, state, x, i / steps) / steps
    return np.clip(x, -1, 1)


def expected_target(key, state, batch, config, valued: np.ndarray | None = None) -> np.ndarray:
    """y, one window and one candidate at a time; the target critics see ``valued`` where the others see next_state."""
    valued = batch.next_state if valued is None else valued
    count = 3 if config.extraction == "best_of_n" else 1
    noise = np.asarray(jax.random.normal(key, (N, count, K)))
    y = np.zeros(N)
    for i in range(N):
        s = batch.next_state[i : i + 1]
        if config.extraction == "one_step":
            z = noise[i].astype(np.float64)
            candidates = np.clip(z + reference_velocity(state.policies.one_step, s, z, 0.0), -1, 1)
        else:
            steps = config.flow_steps
            candidates = np.concatenate([reference_flow(state.policies.flow, s, z[None], steps) for z in noise[i]])
        judged = [reference_q(state.values.critics, s, c[None]).mean() for c in candidates]
        q = reference_q(state.target_values.critics, valued[i : i + 1], candidates[[int(np.argmax(judged))]])
        value = q.min() if config.extraction == "aloe" else q.mean()
        rewards = sum(0.9**k * batch.reward[i, k] for k in range(H))
        y[i] = rewards + 0.9**H * batch.mask[i] * value
    return y


@pytest.mark.parametrize("name", get_args(Extraction))
def test_critic_target_equals_the_reference(name: str) -> None:
    config, batch, key = CONFIGS[name], batch_of(N), jax.random.PRNGKey(5)
    state = tiny(config)
    expected = expected_target(key, state, batch, config)
    np.testing.assert_allclose(chunked.critic_target(key, state, batch, config), expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", get_args(Extraction))
def test_a_chunk_is_chosen_by_the_learning_encoder_and_valued_by_the_slow_one(name: str) -> None:
    config, key = CONFIGS[name], jax.random.PRNGKey(5)
    batch, state = batch_of(N, images=(16, 16)), tiny(config, Layout(D, A, {"wrist": (16, 16)}))
    learning, slow = (
        np.asarray(encoder.features(values.encoder, batch.next_state, batch.next_images))
        for values in (state.values, state.target_values)
    )
    expected = expected_target(key, state, batch._replace(next_state=learning), config, slow)
    np.testing.assert_allclose(chunked.critic_target(key, state, batch, config), expected, rtol=1e-4, atol=1e-4)
    swapped = expected_target(key, state, batch._replace(next_state=slow), config, learning)
    assert np.abs(expected - swapped).max() > 1e-2


def test_target_of_a_window_with_the_end_in_it_is_its_rewards_and_at_a_time_limit_it_is_not() -> None:
    state, key = tiny(TINY), jax.random.PRNGKey(1)
    reward = np.tile(np.array([1.0, 10.0, 100.0], np.float32), (N, 1))
    ended = batch_of(N)._replace(mask=np.zeros(N, np.float32), reward=reward)
    np.testing.assert_allclose(chunked.critic_target(key, state, ended, TINY), 1 + 9 + 81, rtol=1e-6)
    limited = ended._replace(mask=np.ones(N, np.float32))
    assert (np.abs(chunked.critic_target(key, state, limited, TINY) - 91) > 1e-3).all()


def test_executed_steps_are_kept_and_the_others_drawn_anew() -> None:
    batch = batch_of(N)
    one, two = (np.asarray(chunked.fill(jax.random.PRNGKey(i), batch)).reshape(N, H, A) for i in range(2))
    executed = batch.valid > 0
    assert np.array_equal(one[executed], batch.action[executed])
    drawn = one[~executed]
    assert (np.abs(drawn) <= 1).all() and (drawn != two[~executed]).all() and drawn.min() < 0 < drawn.max()


def test_only_windows_whose_future_is_known_teach_the_critics() -> None:
    batch = batch_of(4)._replace(mask=np.array([1, 0, 1, 0], np.float32))  # steps: H, 1, 2, H
    assert np.array_equal(chunked.whole(batch), (1, 1, 0, 1))
    state, chunk = tiny(TINY), chunked.fill(jax.random.PRNGKey(0), batch)
    target = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    loss, (q, features) = chunked.critic_loss(state.values, chunk, target, batch)
    expected = reference_q(state.values.critics, batch.state, chunk)
    np.testing.assert_allclose(q, expected, rtol=2e-5, atol=2e-5)
    assert np.array_equal(features, batch.state)
    np.testing.assert_allclose(loss, ((expected - target) ** 2)[:, [0, 1, 3]].sum() / 12, rtol=1e-5)
    slope = jax.grad(lambda t: chunked.critic_loss(state.values, chunk, t, batch)[0])(target)
    assert slope[2] == 0.0 and (slope[jnp.array([0, 1, 3])] != 0.0).all()


def flow_error(state, key, batch, chunk) -> np.ndarray:
    """``(n, k)`` squared errors of the flow's velocity, in float64."""
    noise_key, time_key = jax.random.split(key)
    noise = np.asarray(jax.random.normal(noise_key, chunk.shape), np.float64)
    t = np.asarray(jax.random.uniform(time_key, (len(chunk),)), np.float64)[:, None]
    v = reference_velocity(state.policies.flow, batch.state, (1 - t) * noise + t * chunk, t)
    return (v - (chunk - noise)) ** 2


def expected_policy_loss(key, state, batch, chunk, config) -> float:
    flow_key, noise_key = jax.random.split(key)
    critics, valid = state.values.critics, np.repeat(batch.valid, A, axis=1)
    assert set(batch.columns["example"]) == {0.0, 1.0}
    error = np.array([1.0 if example else 0.3 for example in batch.columns["example"]])[:, None]
    error = error * flow_error(state, flow_key, batch, chunk)
    if config.extraction == "best_of_n":
        return (valid * error).mean()
    if config.extraction == "aloe":
        noise = np.asarray(jax.random.normal(noise_key, (N, 2, K)))
        proposed = [reference_flow(state.policies.flow, batch.state, noise[:, j], 2) for j in range(2)]
        v = np.mean([reference_q(critics, batch.state, p).min(axis=0) for p in proposed], axis=0)
        advantage = reference_q(critics, batch.state, chunk).min(axis=0) - v
        known = np.array([bool(v[-1]) or not m for v, m in zip(batch.valid, batch.mask, strict=True)])
        assert known.any() and not known.all()
        scores = (advantage - advantage[known].mean()) / (0.9 * advantage[known].std())
        assert (np.abs(scores) > 0.5).any() and (np.abs(scores) < 0.5).any()  # the clip shows
        return ((known * np.exp(np.clip(scores, -0.5, 0.5)))[:, None] * valid * error).mean()
    z = np.asarray(jax.random.normal(noise_key, (N, K)), np.float64)
    teacher = reference_flow(state.policies.flow, batch.state, z, 2)
    action = z + reference_velocity(state.policies.one_step, batch.state, z, 0.0)
    q = reference_q(critics, batch.state, np.clip(action, -1, 1)).mean()
    return (valid * error).mean() + 0.7 * ((action - teacher) ** 2).mean() - q


@pytest.mark.parametrize("name", get_args(Extraction))
def test_policy_loss_equals_the_reference(name: str) -> None:
    config, batch, key = CONFIGS[name], batch_of(N), jax.random.PRNGKey(8)
    state, chunk = tiny(config), chunked.fill(jax.random.PRNGKey(3), batch)
    loss, _ = chunked.policy_loss(state.policies, key, state.values.critics, batch.state, chunk, batch, config)
    expected = expected_policy_loss(key, state, batch, np.asarray(chunk, np.float64), config)
    np.testing.assert_allclose(loss, expected, rtol=2e-5)


def test_scores_by_hand_whatever_the_scale_of_rewards() -> None:
    """Of 1, 2, 3 and a window that is cut short: Ā = 2, σ = √(2/3). Values a thousand times as large: the same."""
    advantage, known = np.float32([1, 2, 3, 100]), np.float32([1, 1, 1, 0])
    expected = (advantage - 2.0) / np.sqrt(2.0 / 3.0)
    for scale in np.float32([1e-3, 1.0, 1e3]):
        scores = chunked.standard_scores(scale * advantage, scale * np.full(4, 30.0, np.float32), known)
        np.testing.assert_allclose(scores, expected, rtol=1e-5)


@pytest.mark.parametrize("level", [0.0, 1.0, 4e4])
def test_equal_advantages_all_count_as_one(level: float) -> None:
    """Differences of the last digit are no advantage either."""
    values = np.full(4, level, np.float32)
    rounded = np.spacing(values) * np.float32([1, -1, 0, 0])
    np.testing.assert_allclose(chunked.standard_scores(rounded, values, np.ones(4, np.float32)), 0.0, atol=2e-3)


def test_a_minibatch_without_a_whole_window_teaches_the_policy_of_aloe_nothing() -> None:
    config, key = CONFIGS["aloe"], jax.random.PRNGKey(7)
    batch = batch_of(N)._replace(mask=np.ones(N, np.float32), valid=np.tile(np.float32([1, 1, 0]), (N, 1)))
    state, chunk = tiny(config), chunked.fill(key, batch)
    loss, slope = jax.value_and_grad(
        lambda p: chunked.policy_loss(p, key, state.values.critics, batch.state, chunk, batch, config)[0]
    )(state.policies)
    assert loss == 0.0 and size(slope) == 0.0


def test_weights_stay_when_all_values_are_a_thousand_times_as_large() -> None:
    """The last layer of the critics is linear, so its weights and biases scale Q."""
    config, batch, key = replace(CONFIGS["aloe"], weight_limit=5.0), batch_of(N), jax.random.PRNGKey(7)
    state, chunk = tiny(config), chunked.fill(jax.random.PRNGKey(3), batch)
    critics = state.values.critics
    larger = critics | {name: 1000.0 * critics[name] for name in ("w2", "b2")}
    one, two = (
        chunked.advantage_weight(key, c, state.policies.flow, batch.state, chunk, chunked.whole(batch), config)
        for c in (critics, larger)
    )
    np.testing.assert_allclose(two, one, rtol=1e-4)
    assert np.ptp(one) > 0.5


def size(tree) -> float:
    return max((float(np.abs(leaf).max()) for leaf in jax.tree.leaves(tree)), default=0.0)


@pytest.mark.parametrize("name", get_args(Extraction))
def test_what_the_policy_loss_teaches_and_what_it_leaves_alone(name: str) -> None:
    config, batch, key = CONFIGS[name], batch_of(N), jax.random.PRNGKey(7)
    state, chunk = tiny(config), chunked.fill(jax.random.PRNGKey(3), batch)

    def loss(policies, features, config=config):
        return chunked.policy_loss(policies, key, state.values.critics, features, chunk, batch, config)[0]

    policies, features = jax.grad(loss, argnums=(0, 1))(state.policies, batch.state)
    assert size(features) == 0.0
    assert size(policies.flow) > 0.0
    if name == "one_step":  # neither critics nor the distillation reach the flow: it learns as by imitation alone
        imitation = jax.grad(functools.partial(loss, config=CONFIGS["best_of_n"]))(state.policies, batch.state)
        np.testing.assert_allclose(policies.flow["w0"], imitation.flow["w0"], rtol=1e-5, atol=1e-8)
        without = jax.grad(functools.partial(loss, config=replace(config, distillation=0.0)))(
            state.policies, batch.state
        )
        assert size(policies.one_step) > 0.0 and size(without.one_step) > 0.0
        assert size(jax.tree.map(jnp.subtract, without.one_step, policies.one_step)) > 0.0
    if name == "aloe":  # the weights are numbers: their gradient would be another
        weights = lambda flow: chunked.advantage_weight(  # noqa: E731
            key, state.values.critics, flow, batch.state, chunk, chunked.whole(batch), config
        ).sum()
        assert size(jax.grad(weights)(state.policies.flow)) == 0.0


def test_steps_that_were_not_executed_are_not_imitated() -> None:
    """The error of a step counts exactly where the step is valid: seen in the last layer's biases, one each number."""
    batch, key = batch_of(N), jax.random.PRNGKey(2)
    batch = batch._replace(valid=np.tile(np.array([1, 1, 0], np.float32), (N, 1)))
    for name in ("best_of_n", "aloe"):
        config = CONFIGS[name]
        state, chunk = tiny(config), chunked.fill(key, batch)
        gradient = jax.grad(
            lambda p, state=state, chunk=chunk, config=config: chunked.policy_loss(
                p, key, state.values.critics, batch.state, chunk, batch, config
            )[0]
        )(state.policies)
        assert (gradient.flow["b2"][: 2 * A] != 0.0).all() and (gradient.flow["b2"][2 * A :] == 0.0).all()


@pytest.mark.parametrize("which", ["critic", "policy"])
def test_gradients_equal_finite_differences(which: str) -> None:
    """Of ``one_step``, whose loss has all the terms but the weights; those are constants."""
    config = CONFIGS["one_step"]
    with jax.enable_x64(True):
        wide = lambda tree: jax.tree.map(lambda x: jnp.asarray(np.asarray(x), jnp.float64), tree)  # noqa: E731
        state, batch, key = wide(tiny(config)._replace(key=None)), wide(batch_of(N)), jax.random.PRNGKey(3)
        chunk = chunked.fill(key, batch)
        if which == "critic":
            params, loss = state.values, lambda p: chunked.critic_loss(p, chunk, batch.state[:, 0], batch)[0]
        else:  # the teacher is a constant: with the flow moved, it would move too
            params = state.policies.one_step
            loss = lambda p: chunked.policy_loss(  # noqa: E731
                state.policies._replace(one_step=p), key, state.values.critics, batch.state, chunk, batch, config
            )[0]
        loss = jax.jit(loss)
        gradient = jax.grad(loss)(params)
        rng = np.random.default_rng(0)
        for _ in range(4):
            way = jax.tree.map(lambda p: rng.normal(size=p.shape), params)
            ahead = loss(jax.tree.map(lambda p, w: p + 1e-6 * w, params, way))
            behind = loss(jax.tree.map(lambda p, w: p - 1e-6 * w, params, way))
            slope = sum(jax.tree.leaves(jax.tree.map(lambda g, w: (g * w).sum(), gradient, way)))
            np.testing.assert_allclose((ahead - behind) / 2e-6, slope, rtol=1e-5, atol=1e-7)


def test_an_update_is_the_critics_step_on_a_constant_target_then_the_policys_by_the_new_critics() -> None:
    """Adam's first moment is 0.1 times the first gradient; its first step the learning rate times g / (|g| + ε)."""
    config = replace(CONFIGS["one_step"], learning_rate=0.05, critic_steps=1)
    state, batch = tiny(config), batch_of(1, N)
    after, info = chunked.update(state, batch, config=config)
    single = jax.tree.map(lambda column: column[0], batch)
    fill_key, target_key, policy_key, _ = jax.random.split(jax.random.split(state.key, 2)[1], 4)
    chunk = chunked.fill(fill_key, single)
    target = np.asarray(chunked.critic_target(target_key, state, single, config))
    gradient = jax.grad(lambda v: chunked.critic_loss(v, chunk, target, single)[0])(state.values)
    for name, slope in gradient.critics.items():
        np.testing.assert_allclose(after.value_optimiser[0].mu.critics[name], 0.1 * slope, rtol=1e-3, atol=1e-7)
        old, new = state.target_values.critics[name], after.values.critics[name]
        np.testing.assert_allclose(after.target_values.critics[name], old + 0.005 * (new - old), rtol=1e-4, atol=1e-6)
    slope = jax.grad(
        lambda p: chunked.policy_loss(p, policy_key, after.values.critics, single.state, chunk, single, config)[0]
    )(state.policies)
    for name, value in slope.one_step.items():
        np.testing.assert_allclose(after.policy_optimiser[0].mu.one_step[name], 0.1 * value, rtol=1e-3, atol=1e-7)
    np.testing.assert_allclose(info["critic/target_mean"], target.mean(), rtol=1e-5)


@pytest.mark.parametrize("name", get_args(Extraction))
def test_one_call_makes_g_steps_of_each_and_is_deterministic(name: str) -> None:
    config, batch = CONFIGS[name], batch_of(2, N)
    state = tiny(config)
    before = jax.tree.map(np.array, state)
    (one, info), (two, _) = (chunked.update(state, batch, config=config) for _ in range(2))
    other, _ = chunked.update(state._replace(key=jax.random.PRNGKey(99)), batch, config=config)
    same = lambda a, b: jax.tree.all(jax.tree.map(lambda x, y: bool((x == y).all()), a, b))  # noqa: E731
    assert int(one.value_optimiser[0].count) == int(one.policy_optimiser[0].count) == 2
    assert same(one, two) and same(before, state) and not np.array_equal(one.key, state.key)
    assert not np.array_equal(one.policies.flow["w0"], other.policies.flow["w0"])
    assert all(np.isfinite(value) for value in info.values())
    assert {"critic/loss", "critic/q_mean", "critic/target_mean", "critic/norm", "policy/norm"} <= set(info)


@pytest.mark.parametrize(("name", "state_size"), [("aloe", D), ("one_step", D), ("best_of_n", 0)])
def test_images_teach_the_encoder_through_the_critics_alone(name: str, state_size: int) -> None:
    layout = Layout(state_size, A, {"wrist": (16, 16)})
    config = replace(CONFIGS[name], critic_steps=1)
    state, other = (chunked.create(jax.random.PRNGKey(seed), layout, config) for seed in range(2))
    batch = batch_of(1, N, images=(16, 16))
    batch = batch._replace(
        state=batch.state[..., :state_size],
        next_state=batch.next_state[..., :state_size],
        mask=np.zeros_like(batch.mask),  # nothing to bootstrap, so that no policy has a say in the target
    )
    after, info = chunked.update(state, batch, config=config)
    strange, _ = chunked.update(state._replace(policies=other.policies), batch, config=config)
    for part, value in after.values.encoder.items():
        assert np.array_equal(value, strange.values.encoder[part])
        assert "/b" in part or not np.array_equal(value, state.values.encoder[part])
    assert not np.allclose(after.policies.flow["w0"], strange.policies.flow["w0"])
    assert all(np.isfinite(value) for value in info.values())
    followed = after.target_values.encoder["wrist/w"] - state.target_values.encoder["wrist/w"]
    np.testing.assert_allclose(
        followed, 0.005 * (after.values.encoder["wrist/w"] - state.values.encoder["wrist/w"]), atol=1e-7
    )
    published = chunked.make_agent(config).actor(after)
    assert np.array_equal(published["encoder/wrist/w"], after.values.encoder["wrist/w"])


def test_with_a_horizon_of_one_windows_are_transitions() -> None:
    config = replace(TINY, horizon=1, critic_steps=1)
    state, batch = tiny(config), batch_of(1, N, horizon=1)
    flat = batch._replace(action=batch.action[:, :, 0], reward=batch.reward[..., 0], valid=batch.valid[..., 0])
    after, _ = chunked.update(state, flat, config=config)
    single = jax.tree.map(lambda column: column[0], batch)
    expected, _ = chunked.train_step(state, jax.random.split(state.key, 2)[1], single, config)
    for name, value in expected.policies.flow.items():
        np.testing.assert_allclose(after.policies.flow[name], value, atol=1e-5)
    assert chunked.make_agent(config).horizon == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"extraction": "qc"}, {"horizon": 0}, {"samples": 0}, {"hidden": ()}, {"discount": 1.0},
        {"temperature": 0.0}, {"critic_steps": 0},
    ],
)  # fmt: skip
def test_config_values_that_make_no_sense(wrong) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ChunkedConfig(**wrong)
