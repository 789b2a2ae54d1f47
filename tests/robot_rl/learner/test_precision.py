"""Learning in bfloat16: close to float32 by what its 8 bits allow, and no closer; stored in it, no step is lost."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robot_rl.contract import Layout
from robot_rl.contract.settings import ConfigError
from robot_rl.data.parameters import pack, unpack
from robot_rl.data.replay import Batch
from robot_rl.learner.checkpoint import leaves_to_tree, load, save, tree_to_leaves
from robot_rl.learner.config import AGENTS
from robot_rl.learner.factory import make_algorithm
from robot_rl.learner.networks import encoder, flash, flow, mlp, precision
from tests.robot_rl.references import stir

LAYOUT = Layout(5, 2, options=2)
EPSILON = 2.0**-8  # bfloat16's; a number is rounded by half of that at most
SMALL: dict[str, dict[str, Any]] = {name: {"hidden": [16], "critic_steps": 2} for name in AGENTS.builtin} | {
    "expo": {"hidden": [16], "base_hidden": [16], "base_steps": 2, "critic_steps": 2, "candidates": 2},
    "chunked": {"hidden": [16], "horizon": 2, "flow_steps": 2, "samples": 2, "critic_steps": 2},
    "bc": {"horizon": 2, "width": 8, "blocks": 1, "steps": 2, "critic_steps": 2, "candidates": 2},
    "dsrl": {"hidden": [16], "horizon": 2, "flow_steps": 2, "critic_steps": 2},
    "gorl": {"hidden": [16], "horizon": 2, "flow_steps": 2, "critic_steps": 2, "stage": 1},
    "rlt": {"hidden": [16], "horizon": 2, "flow_steps": 2, "critic_steps": 2},
    "pa_rl": {"hidden": [16], "horizon": 2, "flow_steps": 2, "samples": 2, "critic_steps": 2},
    "flash_sac": {"actor_width": 8, "critic_width": 8, "blocks": 1, "critic_steps": 2},
}


def batch_for(agent: Any, seed: int) -> Batch:
    rng = np.random.default_rng(seed)
    lead = (agent.updates_per_call, 16)
    steps = lead if agent.horizon == 1 else (*lead, agent.horizon)
    columns = Batch(
        state=rng.normal(size=(*lead, 5)),
        action=np.tanh(rng.normal(size=(*steps, 2))),
        reward=rng.random(steps),
        mask=rng.random(lead) < 0.8,
        next_state=rng.normal(size=(*lead, 5)),
        valid=np.ones(steps),
        columns={
            "cost": rng.random(lead),
            "recent_cost": np.full(lead[0], 0.1),
            "previous_action": np.tanh(rng.normal(size=(*lead, 2))),
            "return_deviation": np.ones(lead[0]),
            "return_largest": np.ones(lead[0]),
            "example": rng.random(lead) < 0.7,
            "source": np.ones(lead),
        },
    )
    return jax.tree.map(lambda column: np.asarray(column, np.float32), columns)


def fresh(agent: Any) -> Any:
    return agent.create(jax.random.PRNGKey(0), LAYOUT)


def learn(name: str, calls: int = 3, **settings: Any) -> tuple[Any, Any, dict[str, float]]:
    agent = make_algorithm(name, SMALL[name] | settings)
    state = fresh(agent)
    for seed in range(calls):
        state, info = agent.update(state, batch_for(agent, seed))
    return agent, state, {key: float(value) for key, value in info.items()}


def parameters(state: Any) -> dict[str, jax.Array]:
    """Leaves stored in ``parameter_dtype``, by name: not optimisers, moments, the average, keys, counts, scales."""
    leaves = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(state)}
    kept = ("optim", "mom", "average")
    return {name: x for name, x in leaves.items() if name.endswith("']") and not any(part in name for part in kept)}


def others(state: Any) -> list[jax.Array]:
    mine = {id(leaf) for leaf in parameters(state).values()}
    return [leaf for leaf in jax.tree.leaves(state) if id(leaf) not in mine]


def away(state: Any, other: Any) -> float:
    """Largest difference of a parameter."""
    pairs = zip(parameters(state).values(), parameters(other).values(), strict=True)
    return max(float(jnp.abs(a.astype(jnp.float32) - b.astype(jnp.float32)).max()) for a, b in pairs)


def products(jaxpr: Any) -> list[Any]:
    """All matrix products of a traced function, those within its loops and calls included."""
    found = []
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            found.append(equation)
        for inner in jax.tree.leaves(tuple(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")):
            inner = getattr(inner, "jaxpr", inner)
            found += products(inner) if hasattr(inner, "eqns") else []
    return found


@pytest.mark.parametrize("dtype", get_args(precision.Format))
@pytest.mark.parametrize("name", AGENTS.builtin)
def test_all_networks_multiply_in_the_format_asked_for(name: str, dtype: str) -> None:
    agent = make_algorithm(name, SMALL[name] | {"dtype": dtype})
    state = jax.eval_shape(lambda: fresh(agent))
    found = products(jax.make_jaxpr(agent.update)(state, batch_for(agent, 0)).jaxpr)
    factors = [[factor.aval for factor in product.invars] for product in found]
    matrices = [pair for pair in factors if min(factor.ndim for factor in pair) > 1]  # vectors: sums of rewards, bins
    assert len(matrices) > 10
    for pair in matrices:  # slopes of what a network hands out are float32, and meet its last weights
        assert (jnp.bfloat16 in [factor.dtype for factor in pair]) == (dtype == "bfloat16")
    after, _ = jax.eval_shape(agent.update, state, batch_for(agent, 0))
    assert [leaf.dtype for leaf in jax.tree.leaves(after)] == [leaf.dtype for leaf in jax.tree.leaves(state)]
    assert {leaf.dtype for leaf in parameters(after).values()} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize("name", ["rlpd", "chunked", "flash_sac"])
def test_updates_in_bfloat16_stay_close_to_those_in_float32(name: str) -> None:
    agent, exact, expected = learn(name)
    _, rounded, found = learn(name, dtype="bfloat16")
    assert all(leaf.dtype != jnp.bfloat16 for leaf in jax.tree.leaves(rounded))
    assert set(found) == set(expected)
    steps = 3 * agent.updates_per_call
    # Adam moves each parameter by its rate at most (√10 of it, at worst), whatever the gradient: twice that apart.
    assert 0.0 < away(exact, rounded) <= 2.0 * 10**0.5 * steps * agent.config.learning_rate
    for key in ("critic/q_mean", "critic/target_mean", "critic/loss"):
        assert found[key] == pytest.approx(expected[key], rel=16 * EPSILON, abs=16 * EPSILON)
        assert found[key] != expected[key]


@pytest.mark.parametrize("name", AGENTS.builtin)
def test_parameters_stored_in_bfloat16_are_float32_for_optimisers_and_actors(name: str) -> None:
    exact, agent = (
        make_algorithm(name, SMALL[name] | {"parameter_dtype": kind}) for kind in get_args(precision.Format)
    )
    start = jax.eval_shape(lambda: fresh(agent))
    after, _ = jax.eval_shape(agent.update, start, batch_for(agent, 0))
    kept = [leaf.dtype for leaf in others(jax.eval_shape(lambda: fresh(exact)))]
    for state in (start, after):
        assert {leaf.dtype for leaf in parameters(state).values()} == {jnp.dtype(jnp.bfloat16)}
        assert [leaf.dtype for leaf in others(state)] == kept

    assert {leaf.dtype for leaf in jax.eval_shape(agent.actor, after).values()} == {np.dtype(np.float32)}


def test_parameters_stored_in_bfloat16_learn_what_those_in_float32_do() -> None:
    agent, exact, _ = learn("rlpd")
    _, stored, _ = learn("rlpd", parameter_dtype="bfloat16")
    largest = max(float(jnp.abs(leaf).max()) for leaf in parameters(exact).values())
    steps = 3 * agent.updates_per_call * agent.config.learning_rate
    assert 0.0 < away(exact, stored) <= 4 * 2 * EPSILON * largest + 2.0 * 10**0.5 * steps
    published = {key: np.asarray(value) for key, value in agent.actor(stored).items()}
    assert {value.dtype for value in unpack(pack(published, 0, {})).params.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("name", AGENTS.builtin)
@pytest.mark.parametrize("setting", ["dtype", "parameter_dtype"])
def test_an_unknown_format_is_refused_with_those_there_are(name: str, setting: str) -> None:
    with pytest.raises(ConfigError, match=rf"agent {name}: .*{setting}='float16' must be one of float32, bfloat16"):
        make_algorithm(name, {setting: "float16"})


@functools.cache
def _networks() -> dict[str, tuple[Any, Any]]:
    """Scalar functions of parameters, of each kind of network there is, over batches whose slopes do not cancel."""
    key = jax.random.PRNGKey(1)
    x, a = jax.random.normal(key, (64, 5)), jnp.tanh(jax.random.normal(jax.random.PRNGKey(2), (64, 2)))
    images = {"c": jax.random.randint(key, (64, 16, 16, 3), 0, 256, jnp.uint8)}
    encoder_params = encoder.create(jax.random.PRNGKey(5), Layout(5, 2, {"c": (16, 16)}))
    flash_params, _ = flash.create(key, 5, 16, 1, 3, members=2)
    return {
        "actor": (
            mlp.actor_create(key, 5, 2, (32, 32)),
            lambda p: sum((part**2).mean() for part in mlp.actor_apply(p, x)),
        ),
        "critics": (
            mlp.critics_create(key, 5, 2, (32, 32), 3, True),
            lambda p: ((mlp.critics_apply(p, x, a) - 1.0) ** 2).mean(),
        ),
        "flow": (flow.flow_create(key, 5, 2, (32, 32)), lambda p: flow.flow_loss(p, key, x, a + 3.0)),
        "encoder": (encoder_params, lambda p: (encoder.features(p, x, images)[:, 5:] * jnp.arange(64.0)).mean()),
        "flash": (flash_params, lambda p: ((flash.apply(p, x)[0] - 1.0) ** 2).mean()),
    }


@pytest.mark.parametrize("network", ["actor", "critics", "flow", "encoder", "flash"])
def test_gradients_in_bfloat16_are_those_in_float32_by_its_precision(network: str) -> None:
    params, loss = _networks()[network]
    params = stir(params, 3, 0.1)
    exact_value, exact = jax.jit(jax.value_and_grad(loss))(params)
    value, found = jax.jit(precision.value_and_grad(loss, "bfloat16", has_aux=False))(params)
    assert value.dtype == jnp.float32 and {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype(jnp.float32)}
    assert value == pytest.approx(exact_value, rel=8 * EPSILON) and value != exact_value
    for name, slope in exact.items():
        error = float(jnp.linalg.norm(found[name] - slope) / jnp.linalg.norm(slope))
        # Taking the mean out of a slope, as a batch norm does, leaves a small difference of numbers that were rounded.
        assert 0.0 < error < (32 if network == "flash" else 16) * EPSILON, name
    multiplied = str(jax.make_jaxpr(precision.value_and_grad(loss, "bfloat16", has_aux=False))(params))
    products = [line for line in multiplied.splitlines() if "dot_general" in line]
    assert products and any("bf16" in line.split("=")[0] for line in products)


def test_float32_is_what_jax_does_by_itself() -> None:
    for params, loss in _networks().values():
        mine = precision.value_and_grad(loss, "float32", has_aux=False)
        assert str(jax.make_jaxpr(mine)(params)) == str(jax.make_jaxpr(jax.value_and_grad(loss))(params))


def test_what_is_no_parameter_keeps_its_format() -> None:
    low = jax.eval_shape(lambda: precision.cast(fresh(make_algorithm("flash_sac", SMALL["flash_sac"])), "bfloat16"))
    assert low.actor["w0"].dtype == low.target_critics["g1"].dtype == jnp.bfloat16
    moments = jax.tree.leaves((low.actor_moments, low.critic_moments, low.average_actor, low.average_moments))
    assert {leaf.dtype for leaf in (*moments, low.log_alpha)} == {jnp.dtype(jnp.float32)}
    assert low.actor_optimiser[0].mu["w0"].dtype == jnp.float32
    images = {"c": np.zeros((1, 2, 2, 3), np.uint8)}
    batch = precision.cast(Batch(*(np.zeros(1, np.float32),) * 5, images=images), "bfloat16")
    assert batch.images["c"].dtype == np.uint8 and batch.reward.dtype == np.float32


def test_rounding_at_random_is_right_on_average() -> None:
    values = jnp.array([1.0, 1.0 + 0.25 * EPSILON, -1.0 - 0.7 * EPSILON, 3e-3, 0.0, jnp.inf, jnp.nan])
    keys = jax.random.split(jax.random.PRNGKey(4), 4000)
    drawn = jax.vmap(lambda key: precision.store(key, {"w": values}, "bfloat16")["w"].astype(jnp.float32))(keys)
    gap = 2 * EPSILON * jnp.abs(values[:5])  # between neighbours; more than it is for all but powers of two
    np.testing.assert_allclose(drawn[:, :5].mean(axis=0), values[:5], atol=float(5 * EPSILON / 4000**0.5))
    assert (jnp.abs(drawn[:, :5] - values[:5]) <= gap).all()
    assert (drawn[:, 0] == 1.0).all() and (drawn[:, 4] == 0.0).all()
    assert jnp.isinf(drawn[:, 5]).all() and jnp.isnan(drawn[:, 6]).all()


def test_steps_below_the_last_bit_are_not_lost() -> None:
    """1000 steps, each a tenth of what rounding to the nearest would drop."""
    step = 0.05 * EPSILON
    start = {"w": jnp.ones(256, jnp.bfloat16)}

    def move(state: Any, key: jax.Array) -> tuple[Any, None]:
        state = jax.tree.map(lambda w: w + step, precision.cast(state, "float32"))
        return precision.store(key, state, "bfloat16"), None

    keys = jax.random.split(jax.random.PRNGKey(5), 1000)
    end, _ = jax.lax.scan(move, start, keys)
    assert (jnp.bfloat16(1.0) + jnp.bfloat16(step)) == 1.0
    assert float(end["w"].astype(jnp.float32).mean()) == pytest.approx(1.0 + 1000 * step, rel=0.01)


def test_a_checkpoint_keeps_bfloat16_exactly(tmp_path: Path) -> None:
    _, state, _ = learn("rlpd", calls=1, parameter_dtype="bfloat16")
    found = leaves_to_tree(state, load(save(tmp_path, 1, state, {})).leaves)
    for mine, theirs in zip(jax.tree.leaves(state), jax.tree.leaves(found), strict=True):
        assert mine.dtype == theirs.dtype and np.array_equal(np.asarray(mine), np.asarray(theirs))
    exact = fresh(make_algorithm("rlpd", SMALL["rlpd"]))
    assert leaves_to_tree(exact, tree_to_leaves(state)).actor["w0"].dtype == jnp.float32
