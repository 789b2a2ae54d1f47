"""HIL against hand-made numbers, an independent reference, RLPD itself and a solvable grasp."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robot_rl.contract import AgentView, Layout
from robot_rl.contract.settings import ConfigError
from robot_rl.data.replay import Batch
from robot_rl.learner.algorithms import hil, rlpd
from robot_rl.learner.algorithms.hil import HilConfig, HilState
from robot_rl.learner.factory import make_agent, make_algorithm
from robot_rl.learner.networks import encoder, mlp
from robot_rl.policies.serving import AgentActor
from robot_rl.tasks import make_task
from tests.robot_rl.references import batch_of, dense_tanh, equal, slopes, stir

TINY = HilConfig(hidden=(5, 4), discount=0.5, initial_temperature=0.3, toggle_penalty=0.25)
N, D, A = 6, 3, 3
LAYOUT = Layout(D, A, options=2)


def tiny(layout: Layout = LAYOUT, config: HilConfig = TINY) -> HilState:
    """A small agent with no zero biases and targets that differ from the critics."""
    state = hil.create(jax.random.PRNGKey(0), layout, config)
    arm = state.arm._replace(actor=stir(state.arm.actor, 1), critics=stir(state.arm.critics, 2))
    return state._replace(arm=arm, grasp=stir(state.grasp, 9), target_grasp=stir(state.target_grasp, 4))


def constant(*values: float) -> mlp.Params:
    """A grasp critic with the same values for its options everywhere."""
    return {"w0": jnp.zeros((1, D, len(values))), "b0": jnp.asarray([values], jnp.float32)}


def test_the_target_by_hand() -> None:
    """G likes option 1 better, which Ḡ values 2, so γ · 2 is to come, and not γ · 4; 0.25 less where it toggles."""
    state = tiny()._replace(grasp=constant(0.0, 1.0), target_grasp=constant(4.0, 2.0))
    batch = batch_of(4, state=D, action=A)._replace(reward=np.array([0, 0, 1, 1], np.float32))
    batch.action[:, -1], batch.columns["previous_action"][:, -1] = [1, -1, 1, -1], [1, -1, -1, 1]
    ended = np.array([1, 0, 1, 0], np.float32)  # running or cut by a time limit: 1; ended by the task: 0
    target = hil.grasp_target(state, batch._replace(mask=ended), TINY)
    np.testing.assert_allclose(target, [1.0, 0.0, 1.75, 0.75], rtol=1e-6)


def test_the_target_equals_the_reference() -> None:
    state, batch = tiny(), batch_of(40, state=D, action=A)
    chosen = dense_tanh(state.grasp, batch.next_state, 0).argmax(-1)
    assert 0 < chosen.sum() < 40
    value = dense_tanh(state.target_grasp, batch.next_state, 0)[np.arange(40), chosen]
    toggled = batch.action[:, -1] != batch.columns["previous_action"][:, -1]
    expected = batch.reward - 0.25 * toggled + 0.5 * batch.mask * value
    np.testing.assert_allclose(hil.grasp_target(state, batch, TINY), expected, rtol=1e-4, atol=1e-5)


def test_the_loss_judges_the_option_that_was_taken() -> None:
    state, batch, target = tiny(), batch_of(N, state=D, action=A), np.arange(N, dtype=np.float32)
    taken = dense_tanh(state.grasp, batch.state, 0)[np.arange(N), (batch.action[:, -1] > 0).astype(int)]
    loss, g = hil.grasp_loss(state.grasp, target, batch, TINY)
    np.testing.assert_allclose(g, taken, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(loss, ((taken - target) ** 2).mean(), rtol=1e-4)
    batch.action[:, -1] = 1.0
    slope = jax.grad(lambda p: hil.grasp_loss(p, target, batch, TINY)[0])(state.grasp)["b2"][0]
    assert slope[0] == 0.0 != slope[1]


def test_its_gradient_equals_finite_differences() -> None:
    with jax.enable_x64(True):
        wide = lambda tree: jax.tree.map(lambda x: jnp.asarray(np.asarray(x), jnp.float64), tree)  # noqa: E731
        grasp, batch = wide(tiny().grasp), wide(batch_of(N, state=D, action=A))
        measured, derived = slopes(lambda p: hil.grasp_loss(p, batch.reward, batch, TINY)[0], grasp)
    np.testing.assert_allclose(derived, measured, rtol=1e-5, atol=1e-7)


def test_the_target_is_a_constant_to_the_gradient_and_follows_slowly() -> None:
    """The first step of Adam is the learning rate times g / (|g| + ε), g with the target held."""
    config = replace(TINY, learning_rate=1e-3)
    state, batch = tiny(), batch_of(1, N, state=D, action=A)
    single = jax.tree.map(lambda column: column[0], batch)
    target = np.asarray(hil.grasp_target(state, single, config))
    gradient = jax.grad(lambda p: hil.grasp_loss(p, target, single, config)[0])(state.grasp)
    after, info = hil.update(state, batch, config=config)
    for name, slope in gradient.items():
        expected = state.grasp[name] - 1e-3 * slope / (np.abs(slope) + 1e-8)
        np.testing.assert_allclose(after.grasp[name], expected, atol=3e-5)
        old = state.target_grasp[name]
        np.testing.assert_allclose(after.target_grasp[name], old + 0.005 * (after.grasp[name] - old), atol=1e-6)
    assert {"grasp/loss", "grasp/q_mean", "grasp/norm", "critic/norm", "actor/norm"} <= set(info)


@pytest.mark.parametrize("cameras", [(), pytest.param(("wrist",), marks=pytest.mark.slow)])
def test_the_arm_is_learnt_by_rlpd_as_if_it_had_no_gripper(cameras: tuple[str, ...]) -> None:
    """Bit for bit, encoder included: neither the gripper's actions nor the grasp critic's loss reach it."""
    images = dict.fromkeys(cameras, (16, 16))
    state = tiny(Layout(D, A, images, options=2))
    batch = batch_of(2, N, state=D, action=A, images=cameras)
    after, info = hil.update(state, batch, config=TINY)
    alone, others = rlpd.update(state.arm, batch._replace(action=batch.action[..., :-1]), config=TINY)
    assert equal(after.arm, alone)
    assert all(info[name] == value for name, value in others.items())
    assert not equal(after.grasp, state.grasp) and not equal(after.target_grasp, state.target_grasp)
    assert int(after.grasp_optimiser[0].count) == 2
    assert bool(cameras) == bool(after.arm.encoder)


def test_the_grasp_critic_learns_from_what_the_encoders_see() -> None:
    """Features of the images by the encoder, of the next ones by its slow copy, as the arm's critics. Each image
    is of one colour, which no shift changes."""
    state = tiny(Layout(0, A, {"wrist": (16, 16)}, options=2))
    arm = state.arm._replace(encoder=stir(state.arm.encoder, 5, by=0.1))
    batch = batch_of(1, N, state=0, action=A, images=("wrist",))
    now, after = (
        np.broadcast_to(i["wrist"][:, :, :1, :1], (1, N, 16, 16, 3)) for i in (batch.images, batch.next_images)
    )
    _, info = hil.update(
        state._replace(arm=arm), batch._replace(images={"wrist": now}, next_images={"wrist": after}), config=TINY
    )
    seen = jax.tree.map(lambda column: column[0], batch)._replace(
        state=encoder.features(arm.encoder, batch.state[0], {"wrist": now[0]}),
        next_state=encoder.features(arm.target_encoder, batch.state[0], {"wrist": after[0]}),
    )
    loss, _ = hil.grasp_loss(state.grasp, hil.grasp_target(state, seen, TINY), seen, TINY)
    np.testing.assert_allclose(info["grasp/loss"], loss, rtol=1e-4)


def test_without_options_it_is_rlpd() -> None:
    layout = Layout(D, A)
    state, batch = tiny(layout), batch_of(2, N, state=D, action=A)
    after, _ = hil.update(state, batch, config=TINY)
    assert equal(after.arm, rlpd.update(state.arm, batch, config=TINY)[0])
    assert equal(hil.create(jax.random.PRNGKey(0), layout, TINY).arm, rlpd.create(jax.random.PRNGKey(0), layout, TINY))
    assert not after.grasp and not any(name.startswith("grasp/") for name in hil.make_agent(TINY).actor(after))


@pytest.mark.parametrize(("options", "values"), [(2, [-1, 1]), (3, [-1, 0, 1]), (5, [-1, -0.5, 0, 0.5, 1])])
def test_options_are_the_values_nearest(options: int, values: list[float]) -> None:
    for way in (-0.2 / options, 0.0, 0.2 / options):
        found = hil.option_of(jnp.asarray(values) + way, options)
        assert found.tolist() == list(range(options))


def test_deterministic_under_a_seed() -> None:
    state, batch = tiny(), batch_of(2, N, state=D, action=A)
    one, two = (hil.update(state, batch, config=TINY)[0] for _ in range(2))
    assert equal(one, two) and not equal(one.arm.key, state.arm.key)
    fresh = [hil.create(jax.random.PRNGKey(seed), LAYOUT, TINY) for seed in (0, 0, 1)]
    assert equal(fresh[0], fresh[1]) and not equal(fresh[0].grasp, fresh[2].grasp)


def test_the_values_of_a_grasp_converge_to_the_solution() -> None:
    """Far from the thing: closing (1) brings it near, opening (0) leaves it far. Near it: closing ends with reward 1,
    opening goes back. Every closing follows an opening and costs p = 0.1, γ = ½: G(near, 1) = 1 − 0.1 = 0.9,
    G(far, 1) = −0.1 + ½ 0.9 = 0.35, G(far, 0) = G(near, 0) = ½ 0.35 = 0.175.
    """
    config = HilConfig(hidden=(32, 32), discount=0.5, toggle_penalty=0.1, learning_rate=1e-3, target_rate=0.05)
    state = hil.create(jax.random.PRNGKey(0), Layout(2, 2, options=2), config)
    rng, places = np.random.default_rng(0), np.eye(2, dtype=np.float32)
    for _ in range(150):
        near, closes = rng.integers(0, 2, (2, 10, 32))
        ends = (near * closes).astype(np.float32)
        action = np.stack((rng.uniform(-1, 1, near.shape), 2.0 * closes - 1.0), -1).astype(np.float32)
        batch = Batch(
            places[near],
            action,
            ends,
            1.0 - ends,
            places[closes],
            columns={"previous_action": -np.ones_like(action)},
        )
        state, _ = hil.update(state, batch, config=config)
    np.testing.assert_allclose(hil.grasp_values(state.grasp, places, config), [[0.175, 0.35], [0.175, 0.9]], atol=0.03)


def test_a_gripper_of_a_task_becomes_an_option_from_store_to_action() -> None:
    layout = AgentView(make_task("pick_cube")).layout()
    agent = make_algorithm("hil", {"hidden": [16]})
    state = agent.create(jax.random.PRNGKey(0), layout)
    state, _ = agent.update(state, batch_of(2, N, state=layout.state_size, action=layout.action_size))
    actor = AgentActor(agent, layout, agent.actor(state), (0,))
    features = np.random.default_rng(0).normal(size=(30, layout.state_size))
    chosen = np.concatenate([actor.act(row, {}, deterministic=True) for row in features])
    mean, _ = mlp.actor_apply(state.arm.actor, jnp.asarray(features, jnp.float32), "tanh")
    np.testing.assert_allclose(chosen[:, :-1], np.tanh(mean), atol=1e-5)
    best = hil.grasp_values(state.grasp, jnp.asarray(features, jnp.float32), agent.config).argmax(-1)
    assert np.array_equal(chosen[:, -1], 2.0 * best - 1.0)


@pytest.mark.parametrize("layout", [Layout(D, A, options=1), Layout(D, 1, options=2)])
def test_layouts_it_cannot_work_with_are_refused(layout: Layout) -> None:
    with pytest.raises(ValueError, match="two options or more"):
        make_agent("hil", {}).create(jax.random.PRNGKey(0), layout)


@pytest.mark.parametrize("setting", ["toggle_penalty", "grasp_temperature"])
def test_settings_that_make_no_sense_are_refused_by_name(setting: str) -> None:
    with pytest.raises(ConfigError, match=setting):
        make_agent("hil", {setting: -0.1})
