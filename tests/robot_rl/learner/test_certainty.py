"""A person who is not always sure: how much they are imitated, against hand-made numbers and finite differences."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robot_rl.contract import Layout, Source
from robot_rl.contract.settings import ConfigError
from robot_rl.data.replay import Batch
from robot_rl.learner import certainty
from robot_rl.learner.algorithms import flash_sac, hil, lagrangian, rlpd, sac
from robot_rl.learner.certainty import FIRST, MARGIN, SPREADS, Person, weighed, weighted
from robot_rl.learner.factory import make_agent
from robot_rl.learner.networks import flash
from robot_rl.learner.networks.chunk_gaussian import LEAST, MOST
from tests.robot_rl.learner.test_warm import SMALL

D, A, N = 3, 2, 8
LAYOUT = Layout(D, A)
HALFWAY = math.exp(0.5 * (LEAST + MOST))  # σ where the network says 0
TINY = rlpd.RlpdConfig(hidden=(8,), critics=2, critic_steps=2)
P, H = Source.POLICY, Source.PERSON
MODULES: dict[str, Any] = {"rlpd": rlpd, "sac": sac, "rlpd_lagrangian": lagrangian, "flash_sac": flash_sac}


def batch_of(*lead: int, seed: int = 0, person: float = 0.5) -> Batch:
    rng = np.random.default_rng(seed)
    values = Batch(
        state=rng.normal(size=(*lead, D)),
        action=rng.uniform(-1, 1, (*lead, A)),
        reward=rng.normal(size=lead),
        mask=np.ones(lead),
        next_state=rng.normal(size=(*lead, D)),
        columns={"return_deviation": np.ones(lead[:-1]), "return_largest": np.ones(lead[:-1])},
    )
    values = jax.tree.map(lambda column: np.asarray(column, np.float32), values)
    source = (rng.random(lead) < person).astype(np.uint8)
    more = {"cost": np.zeros(lead, np.float32), "recent_cost": np.zeros(lead[:-1], np.float32)}
    more |= {"previous_action": values.action, "source": source}
    return values._replace(columns={**values.columns, **more})


def saying(mean: list[float], raw: float = 0.0) -> Person:
    """β that says tanh ``mean`` and the same spread everywhere; ``raw`` 0 is `HALFWAY`."""
    bias = jnp.asarray([[*mean, *([raw] * len(mean))]], jnp.float32)
    return Person({}, {"w0": jnp.zeros((1, D, 2 * len(mean))), "b0": bias})


def multiplier(value: float) -> dict[str, jax.Array]:
    """λ that is softplus(``value``) everywhere."""
    return {"w0": jnp.zeros((1, D, 1)), "b0": jnp.full((1, 1), value, jnp.float32)}


def test_the_weighed_loss_by_hand() -> None:
    """λ = 3 and 0, distances ½ and 2: (2 + 3 · ½)/4 = 0.875, and 4 where λ is 0."""
    columns = {
        "person_action": jnp.float32([[0.0, -0.5], [1.0, 1.0]]),
        "person_weight": jnp.float32([3.0, 0.0]),
    }
    loss = weighed(jnp.float32([2.0, 4.0]), jnp.float32([[0.5, 0.0], [0.0, 0.0]]), columns)
    np.testing.assert_allclose(loss, [0.875, 4.0])
    plain = jnp.float32([2.0])
    assert weighed(plain, jnp.zeros((1, A)), {"source": plain}) is plain


def test_the_person_s_likelihood_by_hand_and_of_their_steps_alone() -> None:
    """μ = tanh ½ on both axes, σ = √0.02: −log of a Gaussian, a mean over the four numbers of the two actions."""
    batch = batch_of(4)
    batch = batch._replace(columns={"source": np.uint8([H, P, H, P])})
    loss = certainty.person_loss(saying([0.5, 0.5]), batch)
    score = (batch.action[[0, 2]].astype(np.float64) - math.tanh(0.5)) / HALFWAY
    expected = (0.5 * score**2 + math.log(HALFWAY) + 0.5 * math.log(2 * math.pi)).mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    nobody = batch._replace(columns={"source": np.full(4, P, np.uint8)})
    assert certainty.person_loss(saying([0.5, 0.5]), nobody) == 0.0


def test_the_multiplier_s_loss_by_hand() -> None:
    """D − κσ − c of two states, λ = softplus(1) in both; μ_β = 0."""
    batch, action = batch_of(2), jnp.float32([[0.5, 0.5], [1.0, -1.0]])
    person = saying([0.0, 0.0], raw=-1.0)
    sigma = math.exp(LEAST + (MOST - LEAST) * 0.5 * (1.0 + math.tanh(-1.0)))
    excess = [0.5 - SPREADS * sigma - MARGIN, 2.0 - SPREADS * sigma - MARGIN]
    loss = certainty.multiplier_loss(multiplier(1.0), person, batch, action)
    np.testing.assert_allclose(loss, -math.log1p(math.e) * np.mean(excess), rtol=1e-5)
    found = certainty.judge(person, multiplier(1.0), batch)
    np.testing.assert_allclose(found.spread, sigma, rtol=1e-5)
    np.testing.assert_allclose(found.weight, math.log1p(math.e), rtol=1e-6)


@pytest.mark.parametrize(("raw", "way"), [(-3.0, 1.0), (3.0, -1.0)])
def test_the_multiplier_rises_where_the_person_is_sure_and_falls_where_they_are_not(raw: float, way: float) -> None:
    """The policy is 0.5 off on each axis: more than a steady hand allows, and less than a groping one."""
    person, batch = saying([0.0, 0.0], raw), batch_of(N)
    slope = jax.grad(certainty.multiplier_loss)(multiplier(0.0), person, batch, jnp.full((N, A), 0.5))
    assert np.sign(-slope["b0"][0, 0]) == way


@pytest.mark.parametrize("which", ["person", "multiplier"])
def test_gradients_equal_finite_differences(which: str) -> None:
    with jax.enable_x64(True):
        wide = lambda tree: jax.tree.map(lambda x: np.asarray(x, np.float64), tree)  # noqa: E731
        rng, batch = np.random.default_rng(1), batch_of(N)
        stirred = lambda tree: jax.tree.map(lambda x: x + 0.3 * rng.normal(size=x.shape), wide(tree))  # noqa: E731
        seen = wide(batch)._replace(columns={"source": batch.columns["source"]})
        person, factor = stirred(saying([0.2, -0.3])), stirred(multiplier(0.5))
        if which == "person":
            params: Any = person
            loss = jax.jit(lambda p: certainty.person_loss(p, seen))
        else:
            params, loss = factor, jax.jit(lambda p: certainty.multiplier_loss(p, person, seen, seen.action))
        gradient = jax.jit(jax.grad(loss))(params)
        for _ in range(3):
            way = jax.tree.map(lambda p: rng.normal(size=p.shape), params)
            ahead = loss(jax.tree.map(lambda p, w: p + 1e-6 * w, params, way))
            behind = loss(jax.tree.map(lambda p, w: p - 1e-6 * w, params, way))
            slope = sum((np.asarray(g) * w).sum() for g, w in zip(*map(jax.tree.leaves, (gradient, way)), strict=True))
            np.testing.assert_allclose((ahead - behind) / 2e-6, slope, rtol=1e-5, atol=1e-7)


def test_the_policy_s_gradient_is_weighed_as_its_loss_is() -> None:
    """Of ℓ = Σ a³ and λ ‖a − μ_β‖², by finite differences; λ and μ_β have none."""
    rng = np.random.default_rng(2)
    action, person = rng.uniform(-1, 1, (2, N, A))
    weight = rng.uniform(0, 4, N)

    def loss(action, weight, person):
        columns = {"person_action": person, "person_weight": weight}
        return weighed((action**3).sum(-1), action, columns).sum()

    with jax.enable_x64(True):
        gradient = np.asarray(jax.jit(jax.grad(loss))(action, weight, person))
    for _ in range(3):
        way = rng.normal(size=action.shape)
        ahead, behind = (loss(action + sign * 1e-6 * way, weight, person) for sign in (1.0, -1.0))
        np.testing.assert_allclose((ahead - behind) / 2e-6, (gradient * way).sum(), rtol=1e-6)


def losses_of(name: str, columns: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The policy's loss of an agent, the same with ``columns`` in the batch, and μ_π ``(n, a)`` as the loss sees it."""
    config, key, module = make_agent(name, SMALL[name]).config, jax.random.PRNGKey(0), MODULES[name]
    plain = batch_of(N)
    plain = plain._replace(columns={"cost": plain.columns["cost"]})
    known = plain._replace(columns=plain.columns | columns)

    def losses() -> tuple[jax.Array, jax.Array, jax.Array]:
        state = module.make_agent(config).create(key, LAYOUT)
        if name == "flash_sac":
            features = flash_sac.encode(state, plain)
            outputs, _ = flash.apply(state.actor, jnp.concatenate((features.now, features.next)))  # norms: of the batch
            found = [
                flash_sac.actor_loss(state.actor, key, state, features, config, batch.columns)[0]
                for batch in (plain, known)
            ]
            return *found, jnp.tanh(flash.gaussian(outputs[:N])[0])
        if name == "rlpd_lagrangian":
            found = [lagrangian.actor_loss(state.rlpd.actor, key, state, batch)[0] for batch in (plain, known)]
        else:
            given = state.actor, key, state.critics, state.log_alpha
            found = [module.actor_loss(*given, batch)[0] for batch in (plain, known)]
        return *found, module.make_agent(config).mean(state, plain)

    return jax.jit(losses)()


@pytest.mark.parametrize("name", MODULES)
def test_every_policy_s_loss_is_weighed_between_its_own_and_the_distance_to_the_person(name: str) -> None:
    person = np.random.default_rng(5).uniform(-1, 1, (N, A)).astype(np.float32)
    plain, found, action = losses_of(name, {"person_action": jnp.asarray(person), "person_weight": jnp.full(N, 3.0)})
    distance = ((np.asarray(action) - person) ** 2).sum(-1).mean()
    np.testing.assert_allclose(found, (plain + 3.0 * distance) / 4.0, rtol=1e-4)


@pytest.mark.parametrize("name", ["rlpd", "flash_sac", "hil"])
def test_the_actions_compared_with_the_person_are_those_without_noise(name: str) -> None:
    """Of the newest actor; a gripper that a critic chooses is not among them."""
    agent = {"rlpd": rlpd, "flash_sac": flash_sac, "hil": hil}[name].make_agent(make_agent(name, SMALL[name]).config)
    layout = Layout(D, A + 1, options=2) if name == "hil" else LAYOUT
    state, states = agent.create(jax.random.PRNGKey(0), layout), batch_of(N).state
    found = agent.mean(state, Batch(state=states, action=None, reward=None, mask=None, next_state=None))
    if name == "flash_sac":
        expected = flash_sac.sample(state.actor, state.actor_moments, states, jax.random.PRNGKey(1), True)
    else:
        actor = state.arm.actor if name == "hil" else state.actor
        expected = rlpd.sample(actor, states, jax.random.PRNGKey(1), True, agent.config.activation)
    assert found.shape == (N, A)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_agent_learns_as_without_until_the_person_is_known_and_otherwise_from_then_on() -> None:
    """`FIRST` steps of β; minibatches without a person teach it nothing and do not count."""
    plain = rlpd.make_agent(TINY)
    agent = weighted(plain)
    state = agent.create(jax.random.PRNGKey(0), LAYOUT)
    batch = batch_of(2, N)
    after, info = agent.update(state, batch)
    alone, _ = plain.update(state.inner, batch)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), after.inner, alone)
    assert info["person/weight"] == 0.0 and after.made == 2
    assert jax.tree.all(jax.tree.map(np.array_equal, after.multiplier, state.multiplier))
    assert not jax.tree.all(jax.tree.map(np.array_equal, after.person, state.person))

    nobody = batch._replace(columns={**batch.columns, "source": np.full((2, N), P, np.uint8)})
    same, _ = agent.update(state, nobody)
    assert same.made == 0
    assert jax.tree.all(jax.tree.map(np.array_equal, same.person, state.person))

    known, info = agent.update(state._replace(made=jnp.int32(FIRST - 2)), batch)
    np.testing.assert_allclose(info["person/weight"], math.log(2.0), atol=0.01)
    assert not jax.tree.all(jax.tree.map(np.array_equal, known.multiplier, state.multiplier))
    change = jax.tree.map(lambda a, b: float(np.abs(np.asarray(a) - b).max()), known.inner.actor, alone.actor)
    assert max(change.values()) > 1e-5


def test_it_acts_by_the_parameters_of_the_agent_within_whose_columns_it_asks_for_too() -> None:
    one, two = make_agent("rlpd", SMALL["rlpd"]), make_agent("rlpd", SMALL["rlpd"], "weighted")
    shapes = [
        jax.eval_shape(lambda agent=agent: agent.actor(agent.create(jax.random.PRNGKey(0), LAYOUT)))
        for agent in (one, two)
    ]
    assert shapes[0] == shapes[1]
    assert make_agent("rlpd_lagrangian", {}, "weighted").columns == ("cost", "recent_cost", "source")
    assert make_agent("bc", {}).columns == ("source",)


def test_a_gripper_that_a_critic_chooses_is_not_modelled() -> None:
    layout = Layout(D, 3, options=2)
    agent = weighted(hil.make_agent(hil.HilConfig(hidden=(4,))))
    state = jax.eval_shape(lambda: agent.create(jax.random.PRNGKey(0), layout))
    assert state.person.policy["b2"].shape == (1, 2 * 2)


@pytest.mark.parametrize("name", ["chunked", "expo", "dsrl", "bc"])
def test_an_agent_whose_policy_is_not_weighed_is_refused_by_name(name: str) -> None:
    fitting = "plain" if name == "bc" else "plain, cut"
    with pytest.raises(
        ConfigError, match=rf"^learner\.interventions=weighted is not for agent {name}: .*; choose from {fitting}$"
    ):
        make_agent(name, {}, "weighted")


def test_a_takeover_cuts_no_values_of_an_agent_that_learns_none() -> None:
    with pytest.raises(ConfigError, match=r"^learner\.interventions=cut is not for agent bc: .*; choose from plain$"):
        make_agent("bc", {}, "cut")


@pytest.mark.slow
def test_a_policy_follows_a_sure_hand_and_its_own_values_where_the_hand_gropes() -> None:
    """A bandit. The reward is that of a = +½; the person does −½: with a steady hand where s₀ < 0, else with any."""
    config = rlpd.RlpdConfig(hidden=(32,), critics=2, critic_steps=4, discount=0.0, learning_rate=1e-3)
    agent = weighted(rlpd.make_agent(config))
    state, rng = agent.create(jax.random.PRNGKey(0), Layout(1, 1)), np.random.default_rng(0)
    for _ in range(1500):
        s = rng.choice([-1.0, 1.0], (4, 64, 1)).astype(np.float32)
        person = rng.random((4, 64)) < 0.5
        steady, groping = -0.5 + 0.02 * rng.normal(size=s.shape), rng.uniform(-1, 1, s.shape)
        own = rng.uniform(-1, 1, s.shape)
        action = np.where(person[..., None], np.where(s < 0.0, steady, groping), own).astype(np.float32)
        batch = Batch(
            state=s,
            action=action,
            reward=-((action[..., 0] - 0.5) ** 2),
            mask=np.zeros((4, 64), np.float32),
            next_state=s,
            columns={"source": person.astype(np.uint8)},
        )
        state, _ = agent.update(state, batch)
    sides = Batch(state=np.float32([[-1.0], [1.0]]), action=None, reward=None, mask=None, next_state=None)
    found = certainty.judge(state.person, state.multiplier, sides)
    sure, groping = rlpd.mean_action(state.inner, sides, config)[:, 0]
    assert found.weight[0] > 1.2 * found.weight[1]
    assert sure < groping - 0.2


def test_an_edit_of_a_drawn_clone_is_not_weighed() -> None:
    with pytest.raises(
        ConfigError, match=r"weighted is not for agent rlpd: with .*clone=drawn .*choose from plain, cut"
    ):
        make_agent("rlpd", {"clone": "drawn"}, "weighted")
