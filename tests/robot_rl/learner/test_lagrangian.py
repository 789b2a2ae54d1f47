"""The Lagrangian agent against hand-made numbers, an independent reference, RLPD itself and a solvable bandit."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robot_rl.contract import Layout
from robot_rl.contract.settings import ConfigError
from robot_rl.data.parameters import unpack
from robot_rl.data.replay import Batch
from robot_rl.data.store import EpisodeStore
from robot_rl.jobs.config import load_config
from robot_rl.learner.algorithms import lagrangian, rlpd
from robot_rl.learner.algorithms.lagrangian import LagrangianConfig, LagrangianState
from robot_rl.learner.factory import make_agent
from robot_rl.learner.loop import LearnerLoop, LoopConfig
from robot_rl.learner.networks import mlp
from tests.robot_rl.recording import DOMAIN, SCHEMA, reader, steps

TINY = LagrangianConfig(
    hidden=(5, 4), critics=3, subset=2, discount=0.9, initial_temperature=0.3, cost_discount=0.8, initial_multiplier=2.0
)
N, D, A = 6, 3, 2


def tiny(config: LagrangianConfig = TINY, seed: int = 0) -> LagrangianState:
    """A small agent with no zero biases and targets that differ from the critics."""
    state = lagrangian.create(jax.random.PRNGKey(seed), Layout(D, A), config)
    rng = np.random.default_rng(seed)

    def stir(tree):
        return jax.tree.map(lambda p: p + jnp.asarray(0.3 * rng.normal(size=p.shape), p.dtype), tree)

    inner = state.rlpd
    inner = inner._replace(
        actor=stir(inner.actor), critics=stir(inner.critics), target_critics=stir(inner.target_critics)
    )
    return state._replace(
        rlpd=inner, cost_critics=stir(state.cost_critics), target_cost_critics=stir(state.target_cost_critics)
    )


def batch_of(*lead: int, seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    values = Batch(
        state=rng.normal(size=(*lead, D)),
        action=rng.uniform(-1, 1, (*lead, A)),
        reward=rng.normal(size=lead),
        mask=rng.random(lead) < 0.7,
        next_state=rng.normal(size=(*lead, D)),
        columns={"cost": rng.random(lead), "recent_cost": np.full(lead[:-1], 0.03)},
    )
    return jax.tree.map(lambda column: np.asarray(column, np.float32), values)


def constant_critics(values: list[float], inputs: int = D + A) -> mlp.Params:
    """An ensemble whose members are constants: zero weights, the value in the last bias."""
    members = len(values)
    return {
        "w0": jnp.zeros((members, inputs, 1)),
        "b0": jnp.zeros((members, 1)),
        "w1": jnp.zeros((members, 1, 1)),
        "b1": jnp.asarray(values, jnp.float32)[:, None],
    }


def linear_critics(weights: list[list[float]], inputs: int) -> mlp.Params:
    """Members ``weightsᵀ (s, a)``: one layer, no hidden one."""
    members = len(weights)
    return {"w0": jnp.asarray(weights, jnp.float32).reshape(members, inputs, 1), "b0": jnp.zeros((members, 1))}


def equal(one, two) -> bool:
    return jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), one, two))


def test_the_cost_target_by_hand() -> None:
    """C̄ = 0.25 and 0.5: the larger one counts. 0.2·1 + 0.8·0.5 = 0.6 while it goes on, 0.2 where it ends."""
    state = tiny()._replace(target_cost_critics=constant_critics([0.25, 0.5]))
    batch = batch_of(4)._replace(
        columns={"cost": np.array([1, 1, 0, 0.5], np.float32)},
        mask=np.array([1, 0, 1, 0], np.float32),  # running or cut by a time limit: 1; ended by the task: 0
    )
    target = lagrangian.cost_target(jax.random.PRNGKey(0), state, batch, TINY)
    np.testing.assert_allclose(target, [0.6, 0.2, 0.4, 0.1], rtol=1e-6)


@pytest.mark.parametrize(("critic", "expected"), [(7.0, 1.0), (-7.0, 0.0)])
def test_the_cost_target_stays_a_share(critic: float, expected: float) -> None:
    state = tiny()._replace(target_cost_critics=constant_critics([critic, critic]))
    batch = batch_of(N)._replace(mask=np.ones(N, np.float32))
    assert (lagrangian.cost_target(jax.random.PRNGKey(0), state, batch, TINY) == expected).all()


def test_the_cost_target_values_the_next_action_of_the_policy() -> None:
    """A critic that reads the first axis of the action gives that of the action which the actor draws."""
    state = tiny()._replace(target_cost_critics=linear_critics([[0, 0, 0, 0.1, 0]], D + A))
    batch = batch_of(N)._replace(mask=np.ones(N, np.float32), columns={"cost": np.full(N, 0.9, np.float32)})
    key = jax.random.PRNGKey(4)
    action, _ = mlp.tanh_gaussian(key, *mlp.actor_apply(state.rlpd.actor, batch.next_state))
    expected = 0.2 * 0.9 + 0.8 * 0.1 * np.asarray(action)[:, 0]
    np.testing.assert_allclose(lagrangian.cost_target(key, state, batch, TINY), expected, rtol=1e-5)


def test_the_actor_loss_by_hand() -> None:
    """Q = 1 and 3, C = 0.25 and 0.75, λ = 2: the value is (2 − 2 · 0.5)/3 = 1/3."""
    state = tiny()
    inner = state.rlpd._replace(critics=constant_critics([1.0, 3.0]))
    state = state._replace(rlpd=inner, cost_critics=constant_critics([0.25, 0.75]))
    loss, entropy = lagrangian.actor_loss(inner.actor, jax.random.PRNGKey(2), state, batch_of(N))
    np.testing.assert_allclose(loss, -0.3 * entropy - 1.0 / 3.0, rtol=1e-5)


def test_the_actor_goes_where_reward_less_lambda_cost_grows() -> None:
    """Q = a₀, C = ½a₀: below λ = 2 more of a₀ is better, above it less; at λ = 2 only the entropy is left."""
    state = tiny()
    inner = state.rlpd._replace(critics=linear_critics([[0, 0, 0, 1, 0]], D + A), log_alpha=jnp.float32(-jnp.inf))
    state = state._replace(rlpd=inner, cost_critics=linear_critics([[0, 0, 0, 0.5, 0]], D + A))
    batch, key = batch_of(N), jax.random.PRNGKey(0)

    def slope(multiplier: float) -> float:
        """Of the loss along the bias of the first axis' mean."""
        at = state._replace(multiplier=jnp.float32(multiplier))
        gradient = jax.grad(lambda actor: lagrangian.actor_loss(actor, key, at, batch)[0])(inner.actor)
        return float(gradient["b2"][0])

    assert slope(0.0) < slope(1.0) < -1e-4
    assert abs(slope(2.0)) < 1e-7
    assert slope(4.0) > 1e-4


def test_the_multiplier_moves_towards_the_limit_and_stays_in_its_range() -> None:
    config = replace(TINY, cost_limit=0.1, multiplier_rate=0.5, max_multiplier=2.0)
    step = lambda multiplier, cost: float(lagrangian.multiplier_step(multiplier, cost, config))  # noqa: E731
    assert step(1.0, 0.12) == pytest.approx(1.1)
    assert step(1.0, 0.05) == pytest.approx(0.75)
    assert step(1.0, 0.1) == pytest.approx(1.0)
    assert step(1.0, 1.0) == pytest.approx(1.5)  # nine times the limit too much counts as once
    assert step(1.0, 0.0) == pytest.approx(0.5)
    assert step(0.01, 0.0) == 0.0
    assert step(1.99, 1.0) == 2.0
    assert step(1.2, np.nan) == pytest.approx(1.2), "no policy has acted yet"


def test_the_multiplier_follows_what_the_policy_was_seen_to_cost_and_not_the_batch() -> None:
    batch = batch_of(2, N)
    for recent, sign in ((0.03, 0.5), (0.0, -1.0)):  # the limit is 0.02
        for cost in (batch.columns["cost"], 0.0 * batch.columns["cost"]):
            columns = {"cost": cost, "recent_cost": np.array([9.0, recent], np.float32)}
            after, info = lagrangian.update(tiny(), batch._replace(columns=columns), config=TINY)
            assert float(after.multiplier) == pytest.approx(2.0 + TINY.multiplier_rate * sign, rel=1e-6)
            assert float(info["cost/recent"]) == pytest.approx(recent)


def test_without_a_multiplier_it_is_rlpd_step_for_step() -> None:
    """Same key, same batches, λ held at 0: actor, critics, temperature, optimisers and random state agree."""
    config = replace(TINY, initial_multiplier=0.0, multiplier_rate=0.0)
    mine, theirs = (
        lagrangian.create(jax.random.PRNGKey(3), Layout(D, A), config),
        rlpd.create(jax.random.PRNGKey(3), Layout(D, A), TINY),
    )
    assert equal(mine.rlpd, theirs)
    for number in range(3):
        batch = batch_of(4, N, seed=number)
        mine, info = lagrangian.update(mine, batch, config=config)
        theirs, other = rlpd.update(theirs, batch, config=TINY)
        assert np.array_equal(mine.rlpd.key, theirs.key)
    for one, two in zip(jax.tree.leaves(mine.rlpd), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)
    assert other.items() <= {name: pytest.approx(float(info[name]), rel=1e-4, abs=1e-6) for name in other}.items()


def test_each_loss_moves_only_its_own_networks() -> None:
    """The costs reach the reward critics not at all, and the actor only through λ.

    Compared are Adam's moments: its first step has the size of the learning rate whatever the gradient.
    """
    state, batch = tiny(), batch_of(2, N)
    dearer = batch._replace(columns=batch.columns | {"cost": 1.0 - batch.columns["cost"]})
    one, two = (lagrangian.update(state, b, config=TINY)[0] for b in (batch, dearer))
    assert equal(one.rlpd.critic_optimiser, two.rlpd.critic_optimiser)
    assert equal(one.rlpd.target_critics, two.rlpd.target_critics)
    assert not equal(one.cost_optimiser, two.cost_optimiser)
    assert not equal(one.rlpd.actor_optimiser, two.rlpd.actor_optimiser)
    free = state._replace(multiplier=jnp.float32(0.0))
    one, two = (lagrangian.update(free, b, config=TINY)[0] for b in (batch, dearer))
    assert equal(one.rlpd.actor_optimiser, two.rlpd.actor_optimiser)
    richer = lagrangian.update(free, batch._replace(reward=1.0 - batch.reward), config=TINY)[0]
    assert equal(one.cost_optimiser, richer.cost_optimiser)
    assert not equal(one.rlpd.critic_optimiser, richer.rlpd.critic_optimiser)


def test_the_actor_gradient_equals_finite_differences() -> None:
    with jax.enable_x64(True):
        wide = lambda tree: jax.tree.map(lambda x: jnp.asarray(np.asarray(x), jnp.float64), tree)  # noqa: E731
        state = tiny()
        state = wide(state._replace(rlpd=state.rlpd._replace(key=jnp.float32(0))))
        batch, key = wide(batch_of(N)), jax.random.PRNGKey(3)
        loss = jax.jit(lambda p: lagrangian.actor_loss(p, key, state, batch)[0])
        actor = state.rlpd.actor
        gradient = jax.jit(jax.grad(loss))(actor)
        rng = np.random.default_rng(0)
        for _ in range(5):
            way = jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape)), actor)
            ahead = loss(jax.tree.map(lambda p, w: p + 1e-6 * w, actor, way))
            behind = loss(jax.tree.map(lambda p, w: p - 1e-6 * w, actor, way))
            slope = sum(jax.tree.leaves(jax.tree.map(lambda g, w: (g * w).sum(), gradient, way)))
            np.testing.assert_allclose((ahead - behind) / 2e-6, slope, rtol=1e-5, atol=1e-7)


def test_the_cost_critics_step_against_a_constant_target() -> None:
    """Adam's first moment is 0.1 times the first gradient, which shows what was differentiated."""
    state, batch = tiny(), batch_of(1, N)
    single = jax.tree.map(lambda column: column[0], batch)
    key = jax.random.fold_in(jax.random.split(state.rlpd.key, 3)[2], rlpd.BESIDE)
    target = np.asarray(lagrangian.cost_target(key, state, single, TINY))
    gradient = jax.grad(lambda critics: rlpd.critic_loss(critics, target, single)[0])(state.cost_critics)
    after, _ = lagrangian.update(state, batch, config=TINY)
    for name, slope in gradient.items():
        np.testing.assert_allclose(after.cost_optimiser[0].mu[name], 0.1 * slope, rtol=1e-4, atol=1e-7)
        old = state.target_cost_critics[name]
        expected = old + TINY.target_rate * (after.cost_critics[name] - old)
        np.testing.assert_allclose(after.target_cost_critics[name], expected, rtol=1e-5, atol=1e-7)


def test_deterministic_under_a_seed() -> None:
    state, batch = tiny(), batch_of(4, N)
    one, two = (lagrangian.update(state, batch, config=TINY)[0] for _ in range(2))
    other_key = state._replace(rlpd=state.rlpd._replace(key=jax.random.PRNGKey(99)))
    assert equal(one, two)
    assert not equal(one.cost_critics, lagrangian.update(other_key, batch, config=TINY)[0].cost_critics)


@pytest.mark.slow
def test_the_mean_cost_of_a_chain_converges_to_the_solution() -> None:
    """0 → 1 (cost 0), 1 → end (cost 1); state 2 costs 0.3 for ever. γ_c = 0.5: C = 0.25, 0.5 and 0.3."""
    config = LagrangianConfig(hidden=(32, 32), critics=2, learning_rate=1e-3, target_rate=0.05, cost_discount=0.5)
    states = np.eye(3, dtype=np.float32)
    rng = np.random.default_rng(0)
    state = lagrangian.create(jax.random.PRNGKey(0), Layout(3, 1), config)
    for _ in range(150):
        where = rng.integers(0, 3, (10, 32))
        action = rng.uniform(-1, 1, (10, 32, 1)).astype(np.float32)
        mask = np.array([1.0, 0.0, 1.0], np.float32)[where]
        cost = np.array([0.0, 1.0, 0.3], np.float32)[where]
        columns = {"cost": cost, "recent_cost": cost[:, 0]}
        batch = Batch(states[where], action, 0 * cost, mask, states[np.array([1, 1, 2])[where]], columns=columns)
        state, _ = lagrangian.update(state, batch, config=config)
    actions = np.linspace(-0.9, 0.9, 7, dtype=np.float32)[:, None]
    for number, value in enumerate((0.25, 0.5, 0.3)):
        cost = mlp.critics_apply(state.cost_critics, np.tile(states[number], (7, 1)), actions)
        np.testing.assert_allclose(cost, value, atol=0.03)


@pytest.mark.slow
def test_the_policy_meets_the_limit_of_a_bandit() -> None:
    """Reward −½(a − 1)², cost (a + 1)/2, one step: within d = 0.3 the best is a = −0.4, not a = 1.

    λ is then the slope of the reward there over that of the cost, 1.4 / 0.5 = 2.8. γ_c = 0 makes C the step's own cost.
    """
    config = LagrangianConfig(
        hidden=(16, 16),
        critics=2,
        learning_rate=3e-3,
        initial_temperature=0.01,
        target_entropy=-2.0,
        cost_limit=0.3,
        cost_discount=0.0,
        initial_multiplier=1.5,
        multiplier_rate=0.01,
    )
    rng = np.random.default_rng(0)
    state = lagrangian.create(jax.random.PRNGKey(0), Layout(1, 1), config)
    nothing = np.zeros((4, 64, 1), np.float32)
    seen: list[float] = []
    for number in range(900):
        acted = rlpd.sample(state.rlpd.actor, nothing[0], jax.random.PRNGKey(number))
        seen.append(float(0.5 * (acted.mean() + 1.0)))
        tried = rng.uniform(-1, 1, (4, 64)).astype(np.float32)
        batch = Batch(
            state=nothing,
            action=tried[..., None],
            reward=-0.5 * (tried - 1.0) ** 2,
            mask=nothing[..., 0],
            next_state=nothing,
            columns={
                "cost": 0.5 * (tried + 1.0),
                "recent_cost": np.full(4, np.mean(seen[-5:]), np.float32),
            },
        )
        state, _ = lagrangian.update(state, batch, config=config)
    assert np.mean(seen[:100]) > 0.4
    assert np.mean(seen[-200:]) == pytest.approx(0.3, abs=0.03)
    assert float(state.multiplier) == pytest.approx(2.8, abs=0.3)


def test_the_learner_loop_feeds_it_costs_and_resumes_it_bit_for_bit(tmp_path) -> None:
    agent = lagrangian.make_agent(LagrangianConfig(hidden=(8, 8), critics=3, multiplier_rate=1.0))
    config = LoopConfig(utd=4.0, start_after=10, batch_size=8)

    def loop() -> LearnerLoop:
        online = reader(tmp_path / "online")
        return LearnerLoop(agent, DOMAIN, online=[online], config=config, checkpoints=tmp_path / "checkpoints")

    with EpisodeStore.create_or_open(tmp_path / "online", SCHEMA) as store:
        first, second = loop(), None
        for seed in range(2):
            writer = store.begin({"seed": seed})
            for step in steps(20, seed):  # costs 0 … 0.95
                writer.append(step)
            writer.finish()
            if second is not None:
                assert second.restore()
            for learner in filter(None, (first, second)):
                while learner.step():
                    pass
            if second is None:
                first.checkpoint()
                second = loop()
    assert first.version == second.version == 30
    assert equal(first.state, second.state)
    assert 0.3 < first.metrics()["cost/batch_mean"] < 0.7
    assert first.metrics()["cost/recent"] == pytest.approx(8.9 / 17)  # the mean of all that no person decided
    assert first.metrics()["cost/multiplier"] == 10.0  # far above the limit since the first call
    assert unpack(first.parameters()).params.keys() == first.agent.actor(first.state).keys()


def test_the_configuration_reaches_the_agent() -> None:
    config = load_config(None, ["learner.agent=rlpd_lagrangian", "learner.settings.cost_limit=0.05"])
    agent = make_agent(config.learner.agent, config.learner.settings)
    assert (agent.name, agent.config.cost_limit) == ("rlpd_lagrangian", 0.05)
    with pytest.raises(ConfigError, match="rlpd_lagrangian"):
        load_config(None, ["learner.agent=rlpd_lagrangean"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"cost_limit": 1.5},
        {"cost_limit": 0.0},
        {"cost_discount": 1.0},
        {"cost_critics": 0},
        {"multiplier_rate": -1.0},
        {"initial_multiplier": 30.0},
        {"subset": 11},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_config_values_that_make_no_sense(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LagrangianConfig(**wrong)
