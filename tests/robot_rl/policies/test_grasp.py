"""The numpy actor with a grasp critic: the learner's functions, draws by their weights, misfits refused."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from robot_rl.contract import Layout
from robot_rl.learner.algorithms import hil
from robot_rl.learner.algorithms.hil import HilConfig
from robot_rl.policies.actor import NumpyActor
from robot_rl.policies.grasp import GraspActor
from robot_rl.data.parameters import ParameterError, pack, unpack
from tests.robot_rl.references import stir

D, A, OPTIONS = 7, 3, 3


def params(seed: int = 0, layer_norm: bool = True, options: int = OPTIONS) -> dict[str, np.ndarray]:
    config = HilConfig(hidden=(32, 16), layer_norm=layer_norm)
    state = hil.create(jax.random.PRNGKey(seed), Layout(D, A, options=options), config)
    state = state._replace(grasp=stir(state.grasp, seed), arm=state.arm._replace(actor=stir(state.arm.actor, seed)))
    return {name: np.asarray(value) for name, value in hil.published(state).items()}


def grasp_of(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The learner's grasp critic with the published parameters."""
    return {name.removeprefix("grasp/"): p[None] for name, p in weights.items() if name.startswith("grasp/")}


@pytest.mark.parametrize("layer_norm", [True, False])
def test_parity_with_jax(layer_norm: bool) -> None:
    weights, features = params(layer_norm=layer_norm), np.random.default_rng(1).normal(size=(50, D)).astype(np.float32)
    actor = GraspActor(unpack(pack(weights, 0, {})).params)
    expected = hil.grasp_values(grasp_of(weights), features)
    np.testing.assert_allclose(actor._grasp.outputs_of(features)[0], expected, rtol=1e-4, atol=1e-4)
    arm = NumpyActor({name.removeprefix("arm/"): p for name, p in weights.items() if name.startswith("arm/")})
    for row, values in zip(features, expected, strict=True):
        action = actor.act(row, deterministic=True)
        assert action.shape == (1, A) and action.dtype == np.float32
        assert np.array_equal(action[0, :-1], arm(row, deterministic=True))
        assert action[0, -1] == values.argmax() - 1.0  # −1, 0 or 1
        assert hil.option_of(action[:, -1], OPTIONS) == values.argmax()


def test_draws_follow_the_values() -> None:
    """P(o) ∝ exp(Q(o)/T); none but the best as T → 0, nor of the deterministic policy."""
    weights, features = params(), np.ones(D, np.float32)
    values = np.asarray(hil.grasp_values(grasp_of(weights), features))
    spread = float(np.ptp(values))
    odds = np.exp((values - values.max()) / spread)
    expected = odds / odds.sum()
    actor = GraspActor(weights, temperature=spread, seed=3)
    draws = np.array([actor.act(features, deterministic=False)[0] for _ in range(4000)])
    found = [(draws[:, -1] == value).mean() for value in (-1.0, 0.0, 1.0)]
    assert np.abs(found - expected).max() < 4 * 0.5 / np.sqrt(4000)
    assert draws[:, 0].std() > 0.0
    best = values.argmax() - 1.0
    cold = GraspActor(weights, temperature=1e-4 * spread)
    assert all(cold.act(features, deterministic=False)[0, -1] == best for _ in range(50))
    assert all(actor.act(features, deterministic=True)[0, -1] == best for _ in range(50))


def test_noise_is_seeded_and_goes_on_after_new_parameters() -> None:
    one, two, other = (GraspActor(params(), temperature=1.0, seed=seed) for seed in (5, 5, 6))
    features = np.ones(D, np.float32)
    rows = [np.concatenate([actor.act(features, False) for _ in range(20)]) for actor in (one, two, other)]
    assert np.array_equal(rows[0], rows[1])
    assert not np.array_equal(rows[0][:, -1], rows[2][:, -1])
    two.load(params())
    assert np.array_equal(one.act(features, False), two.act(features, False))


def test_new_parameters_are_acted_by() -> None:
    actor, features = GraspActor(params()), np.random.default_rng(0).normal(size=(20, D))
    actor.load(params(1))
    fresh = GraspActor(params(1))
    assert all(np.array_equal(actor.act(row, True), fresh.act(row, True)) for row in features)


def test_without_a_grasp_critic_all_axes_are_the_arms() -> None:
    weights = params(options=0)
    actor = GraspActor(weights, temperature=0.01)
    assert actor.act(np.ones(D, np.float32), deterministic=True).shape == (1, A)
    with pytest.raises(ParameterError, match="3 options; this policy has 0"):
        actor.load(params())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"grasp/w1": np.zeros((3, 16), np.float32)}, "grasp layer 1"),
        ({"grasp/w0": np.zeros((D + 1, 32), np.float32)}, "grasp layer 0"),
        ({"grasp/b2": np.full(OPTIONS, np.nan, np.float32)}, "grasp layer 2 is not finite"),
        ({"grasp/g2": np.zeros(OPTIONS, np.float32)}, "are named w0"),
        ({"grasp/w2": np.zeros((16, 1), np.float32), "grasp/b2": np.zeros(1, np.float32)}, "two options or more"),
        ({"arm/w0": np.zeros((D, 3), np.float32)}, "layer 0"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(change: dict[str, np.ndarray], named: str) -> None:
    with pytest.raises(ParameterError, match=named):
        GraspActor(params() | change)
    actor, features = GraspActor(params()), np.ones(D, np.float32)
    with pytest.raises(ParameterError):
        actor.load(params(1) | change)
    old = GraspActor(params())  # which stay in use, both parts
    assert np.array_equal(actor.act(features, deterministic=True), old.act(features, deterministic=True))
    assert np.array_equal(actor._grasp.outputs_of(features[None]), old._grasp.outputs_of(features[None]))
