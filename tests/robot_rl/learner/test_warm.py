"""Start from a clone that is a mean: what it imitates, that it acts until more is learnt, and what is edited.

Of one that is drawn: `test_drawn`.
"""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robot_rl.contract import Layout
from robot_rl.data.replay import Batch
from robot_rl.learner.agent import Agent
from robot_rl.learner.algorithms import rlpd
from robot_rl.learner.factory import make_agent
from robot_rl.learner.networks import clone
from robot_rl.learner.warm import WarmConfig, edit_of, edited, reach_of, warm
from tests.robot_rl.references import slopes, stir

D, A, N = 3, 2, 32
LAYOUT = Layout(D, A)
GRID = (2, 2, 3)  # features of a camera
SMALL: dict[str, dict[str, Any]] = {
    "flash_sac": {"actor_width": 4, "critic_width": 4, "blocks": 1, "bins": 11, "critic_steps": 1},
    "rlpd": {"hidden": [8], "critics": 2, "critic_steps": 1},
    "sac": {"hidden": [8]},
    "hil": {"hidden": [8], "critic_steps": 1},
    "rlpd_lagrangian": {"hidden": [8], "critics": 2, "critic_steps": 1},
}
WEIGHTS = np.float32([[0.5, -0.2], [0.1, 0.3], [-0.4, 0.2]])


def shown(states: np.ndarray) -> np.ndarray:
    """The action of the person."""
    return np.tanh(states @ WEIGHTS)


def batch(steps: int, seed: int) -> Batch:
    rng = np.random.default_rng(seed)
    rows = (steps, N)
    state = rng.normal(size=(*rows, D)).astype(np.float32)
    return Batch(
        state=state,
        action=shown(state),
        reward=rng.random(rows, np.float32),
        mask=np.ones(rows, np.float32),
        next_state=rng.normal(size=(*rows, D)).astype(np.float32),
        valid=np.ones(rows, np.float32),
        columns={
            "return_deviation": np.ones(steps, np.float32),
            "return_largest": np.ones(steps, np.float32),
            "cost": np.zeros(rows, np.float32),
            "recent_cost": np.zeros(steps, np.float32),
            "previous_action": shown(state),
        },
    )


def imitated(agent: Agent, steps: int = 400) -> Any:
    state = agent.create(jax.random.PRNGKey(0), LAYOUT)
    state = agent.measure(state, batch(8, 0).state.reshape(-1, D))
    for call in range(steps // 50):
        state, info = agent.imitate(state, batch(50, call)._replace(columns={}))
    assert np.isfinite(info["imitation/loss"])
    return state


def acts(agent: Agent, state: Any, deterministic: bool = True) -> np.ndarray:
    params, carry, key = agent.actor(state), agent.carry(LAYOUT), jax.random.PRNGKey(3)
    act = jax.jit(lambda seen: agent.act(params, carry, seen, {}, key, deterministic)[0][0])
    return np.stack([act(row) for row in batch(1, 77).state[0]])


@pytest.mark.parametrize("name", SMALL)
def test_every_agent_of_single_steps_begins_by_what_was_shown_and_is_bounded_around_it(name: str) -> None:
    agent = make_agent(name, SMALL[name] | {"held_noise": 0.0})
    state = imitated(agent)
    wanted = shown(batch(1, 77).state[0])
    np.testing.assert_allclose(acts(agent, state), wanted, atol=0.15)
    alone = acts(agent, state)
    for seed in range(3):
        state, _ = agent.update(state, batch(1, seed))
    np.testing.assert_array_equal(acts(agent, state), alone)  # nothing has earned it to act
    state = agent.turn(state, 0.0, 1.0)
    led = acts(agent, state)
    assert 0.0 < np.abs(led - alone).max() <= agent.config.reach + 1e-6
    np.testing.assert_array_equal(acts(agent, state, deterministic=False), alone)
    state = agent.turn(state, 1.0, 0.0)
    np.testing.assert_array_equal(acts(agent, state), alone)


@pytest.mark.parametrize("adopts", [False, True])
def test_the_default_agent_begins_as_the_clone_itself_and_explores_closely_around_it(adopts: bool) -> None:
    agent = make_agent("flash_sac", SMALL["flash_sac"] | {"held_noise": 0.0})
    state = imitated(agent)
    if adopts:
        published = {name: np.asarray(value) for name, value in agent.actor(state).items()}
        state = agent.adopt(agent.create(jax.random.PRNGKey(9), LAYOUT), published)
    alone = acts(agent, agent.turn(state, 0.0, 0.0))
    led = agent.turn(state, 1.0, 1.0)
    np.testing.assert_array_equal(acts(agent, led), alone)
    pushes = acts(agent, led, deterministic=False) - alone
    assert 0.0 < np.abs(pushes).max() <= 4.0 * agent.config.reach * agent.config.target_std


@pytest.mark.parametrize("name", SMALL)
def test_who_learns_on_from_the_clone_sees_what_it_sees_and_goes_on_seeing_better(name: str) -> None:
    agent = make_agent(name, SMALL[name])
    layout = Layout(D, A, {"wrist": GRID})

    def seeing(given: Batch) -> Batch:
        frames = [np.random.default_rng(i).normal(size=(*given.state.shape[:2], *GRID)) for i in range(2)]
        now, after = ({"wrist": frame.astype(np.float16)} for frame in frames)
        return given._replace(images=now, next_images=after)

    state = agent.create(jax.random.PRNGKey(0), layout)
    state, _ = agent.imitate(state, seeing(batch(5, 0))._replace(next_images=None, columns={}))
    found, target = (_encoder_of(state, field) for field in ("encoder", "target_encoder"))
    assert found.keys() == state.inner.clone.encoder.keys() and found
    for key, value in state.inner.clone.encoder.items():
        np.testing.assert_array_equal(found[key], value)
        np.testing.assert_array_equal(target[key], value)
    state, _ = agent.update(state, seeing(batch(1, 1)))
    learnt = _encoder_of(state, "encoder")
    assert any(not np.array_equal(learnt[key], value) for key, value in state.inner.clone.encoder.items())


def _encoder_of(inner: Any, field: str) -> Any:
    """The encoder of the agent within all others."""
    for name in ("inner", "inner", "arm", "rlpd"):
        inner = getattr(inner, name, inner)
    return getattr(inner, field)


@pytest.mark.parametrize(("leads", "deterministic"), [(0.0, True), (0.0, False), (1.0, True)])
def test_an_arm_that_friction_holds_is_not_pushed_in_the_same_way_for_ever(leads: float, deterministic: bool) -> None:
    quiet, noisy = (make_agent("rlpd", SMALL["rlpd"] | {"held_noise": noise}) for noise in (0.0, 0.1))
    state = noisy.turn(imitated(noisy), 0.0, leads)
    params, carry, seen = noisy.actor(state), noisy.carry(LAYOUT), batch(1, 77).state[0, 0]
    mean = quiet.act(params, carry, seen, {}, jax.random.PRNGKey(0), True)[0][0]
    pushes = []
    for step in range(400):
        action, carry = noisy.act(params, carry, seen, {}, jax.random.PRNGKey(step), deterministic)
        pushes.append(np.asarray(action[0] - mean))
    assert 0.07 < np.std(pushes) < 0.13
    same = [np.array_equal(before, now) for before, now in itertools.pairwise(pushes)]
    assert 0.2 < np.mean(same) < 0.95, "some are held, and none for ever"


def test_what_explores_by_a_noise_of_its_own_has_no_other() -> None:
    quiet, noisy = (make_agent("rlpd", SMALL["rlpd"] | {"held_noise": noise}) for noise in (0.0, 0.5))
    state = noisy.turn(imitated(noisy), 1.0, 0.0)
    np.testing.assert_array_equal(acts(noisy, state, deterministic=False), acts(quiet, state, deterministic=False))


def test_an_edit_of_a_mean_is_within_its_reach_as_the_agent_within_learns_it() -> None:
    def update(state: Any, seen: Batch) -> tuple[Any, dict[str, jax.Array]]:
        return state, {"edit": seen.action}

    spy = Agent("spy", WarmConfig(), 1, lambda key, layout: (), update, lambda state: {}, lambda *_: None)
    agent = warm(spy)
    state = agent.create(jax.random.PRNGKey(0), LAYOUT)._replace(started=jnp.float32(1.0))
    rows = batch(1, 3)
    rows = rows._replace(action=np.sign(rows.action))
    _, info = agent.update(state, rows)
    np.testing.assert_array_equal(info["edit"], rows.action)  # of a clone that has seen nothing, near 0


def test_a_step_is_to_the_agent_within_one_with_the_edit_that_makes_its_action() -> None:
    reach = reach_of(Layout(D, 3), make_agent("rlpd", {"edit": 0.5}))
    imitated = jnp.array([[0.2, -0.9, 0.0]])
    for action in ([[0.3, -0.8, 0.4]], [[-0.1, -1.0, -0.5]], [[1.0, 1.0, -1.0]]):
        edit = edit_of(jnp.array(action), imitated, reach)
        np.testing.assert_allclose(edited(imitated, edit, reach), action, atol=1e-6)
    np.testing.assert_allclose(edit, [[1.6, 3.8, -2.0]], rtol=1e-6)  # none of a policy, which stays within 1
    np.testing.assert_allclose(edited(imitated, jnp.ones((1, 3)), reach), [[0.7, -0.4, 0.5]], atol=1e-6)


@pytest.mark.parametrize("name", ["rlpd", "hil"])
def test_a_gripper_can_be_told_the_opposite_of_what_the_clone_does(name: str) -> None:
    reach = reach_of(Layout(D, 2, options=2), make_agent(name, {}))
    for imitated in (-0.9, 0.0, 0.9):
        for action in (-1.0, 1.0):
            edit = edit_of(jnp.array([[0.0, action]]), jnp.array([[0.0, imitated]]), reach)
            np.testing.assert_allclose(edited(jnp.array([[0.0, imitated]]), edit, reach)[0, 1], action, atol=1e-6)
            assert name == "rlpd" or edit[0, 1] == action  # one of its options


def test_without_demonstrations_it_is_the_algorithm_itself() -> None:
    agent = make_agent("rlpd", SMALL["rlpd"])
    inner = rlpd.make_agent(agent.config)
    state, bare = agent.create(jax.random.PRNGKey(5), LAYOUT), inner.create(jax.random.PRNGKey(5), LAYOUT)
    given = batch(1, 1)
    state, _ = agent.update(state, given)
    rows = given.state.reshape(-1, D)
    mean, deviation = rows.mean(axis=0), rows.std(axis=0)
    scaled = [(column - mean) / deviation for column in (given.state, given.next_state)]
    bare, _ = inner.update(bare, given._replace(state=scaled[0], next_state=scaled[1]))
    seen = (batch(1, 77).state[0] - mean) / deviation
    plain = np.stack([inner.act(inner.actor(bare), (), row, {}, jax.random.PRNGKey(3), True)[0][0] for row in seen])
    np.testing.assert_allclose(acts(agent, state), plain, atol=1e-5)


@pytest.mark.parametrize("kind", ["mean", "drawn"])
def test_the_gradient_of_imitation_equals_finite_differences(kind: clone.Kind) -> None:
    with jax.enable_x64(True):
        made = jax.tree.map(
            lambda leaf: jnp.asarray(leaf, jnp.float64), stir(clone.create(jax.random.PRNGKey(0), LAYOUT, kind), 1, 0.1)
        )
        given = jax.tree.map(lambda column: jnp.asarray(column[0], jnp.float64), batch(1, 2)._replace(columns={}))
        measured, derived = slopes(lambda made: clone.loss(made, jax.random.PRNGKey(1), given), made)
    np.testing.assert_allclose(derived, measured, rtol=1e-5)


def test_a_clone_is_taken_over_by_any_agent_of_the_same_layout_and_refused_by_others() -> None:
    teacher, pupil = make_agent("rlpd", SMALL["rlpd"]), make_agent("flash_sac", SMALL["flash_sac"])
    state = imitated(teacher)
    published = {name: np.asarray(value) for name, value in teacher.actor(state).items()}
    taken = pupil.adopt(pupil.create(jax.random.PRNGKey(9), LAYOUT), published)
    np.testing.assert_allclose(acts(pupil, taken), acts(teacher, state), atol=1e-6)
    with pytest.raises(ValueError, match="other sizes"):
        pupil.adopt(pupil.create(jax.random.PRNGKey(9), Layout(D, A + 1)), published)
    with pytest.raises(ValueError, match="is clone=mean, and this agent's is clone=drawn"):
        other = make_agent("flash_sac", SMALL["flash_sac"] | {"clone": "drawn"})
        other.adopt(other.create(jax.random.PRNGKey(9), LAYOUT), published)
    with pytest.raises(ValueError, match="no clone"):
        fresh = teacher.actor(teacher.create(jax.random.PRNGKey(0), LAYOUT))
        pupil.adopt(pupil.create(jax.random.PRNGKey(9), LAYOUT), fresh)
