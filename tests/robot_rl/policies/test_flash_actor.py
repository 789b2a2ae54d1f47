"""FlashSAC's numpy actor is the JAX actor as it judges; its noise lasts as long as it should."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from robot_rl.contract import Layout
from robot_rl.learner.algorithms import flash_sac
from robot_rl.learner.algorithms.flash_sac import FlashConfig
from robot_rl.learner.networks import encoder, flash
from robot_rl.policies.flash import FlashActor
from robot_rl.policies.loading import make_actor
from robot_rl.data.parameters import ParameterError, pack, unpack

D, A = 7, 3
CONFIG = FlashConfig(actor_width=8, critic_width=4)
AGENT = flash_sac.make_agent(CONFIG)


def stirred(layout: Layout | None = None) -> flash_sac.FlashState:
    """An agent whose scales, offsets and running moments are none of 0 and 1."""
    state = flash_sac.create(jax.random.PRNGKey(0), layout or Layout(D, A), CONFIG)
    rng = np.random.default_rng(0)
    stir = lambda tree: {k: np.asarray(p) + rng.uniform(0.0, 0.5, p.shape).astype("f") for k, p in tree.items()}  # noqa: E731
    return state._replace(
        actor=flash.bound(stir(state.actor)),
        actor_moments=stir(state.actor_moments),
        average_actor=flash.bound(stir(state.actor)),
        average_moments=stir(state.actor_moments),
    )


def params(layout: Layout | None = None) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in AGENT.actor(stirred(layout)).items()}


def test_parity_with_jax() -> None:
    state, seen = stirred(), np.random.default_rng(1).normal(size=(50, D)).astype(np.float32) * 3
    actor = make_actor(unpack(pack(params(), 0, {})).params, AGENT.acting, seed=0)
    assert isinstance(actor, FlashActor)
    networks = (
        (actor.newest, state.actor, state.actor_moments),
        (actor.average, state.average_actor, state.average_moments),
    )
    for network, weights, moments in networks:
        mean, std = network.distribution(seen)
        outputs, _ = flash.apply(weights, seen, moments)
        jax_mean, jax_log_std = flash.gaussian(outputs)
        np.testing.assert_allclose(mean, jax_mean, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(std, np.exp(jax_log_std), rtol=1e-3, atol=1e-7)
        assert network.sizes == (D, A)
    chosen = flash_sac.sample(
        state.average_actor, state.average_moments, seen, jax.random.PRNGKey(0), deterministic=True
    )
    acted = np.concatenate([actor.act(row, deterministic=True) for row in seen])
    np.testing.assert_allclose(acted, chosen, atol=1e-4)
    assert acted.dtype == np.float32


def test_an_agent_with_cameras_hands_out_its_encoder_too() -> None:
    layout = Layout(D, A, {"wrist": (16, 16)})
    given = params(layout)
    eyes = {name for name in given if name.startswith("encoder/")}
    assert eyes == {f"encoder/{name}" for name in encoder.create(jax.random.PRNGKey(0), layout)}
    assert given["newest/w0"].shape[0] == encoder.size(layout)


def noises(actor: FlashActor, count: int) -> np.ndarray:
    """The draws of ε that actions at one state show."""
    seen = np.zeros(D, np.float32)
    mean, std = actor.newest.distribution(seen)
    actions = np.concatenate([actor.act(seen, deterministic=False) for _ in range(count)]).astype(np.float64)
    return (np.arctanh(actions) - mean) / std


def calm() -> dict[str, np.ndarray]:
    """Parameters of a policy with μ = 0, σ = e⁻⁴: no action is anywhere near ±1."""
    given = params()
    return given | {name: 0.0 * given[name] for name in ("newest/w5", "newest/b5")}


def test_noise_is_held_for_times_that_fall_with_their_square() -> None:
    drawn = noises(FlashActor(calm(), seed=3), 20_000)
    changes = np.flatnonzero(np.abs(np.diff(drawn, axis=0)).max(axis=1) > 1e-3)
    held = np.diff(changes)
    assert held.min() == 1 and held.max() == 16
    chances = 1.0 / np.arange(1, 17) ** 2
    expected = len(held) * chances / chances.sum()
    found = np.bincount(held, minlength=17)[1:]
    assert ((found - expected) ** 2 / expected).sum() < 37.7  # χ² with 15 degrees of freedom: 1 in 1000
    fresh = drawn[changes + 1]
    assert np.abs(fresh.mean(axis=0)).max() < 4 / np.sqrt(len(fresh))
    assert np.abs(fresh.var(axis=0) - 1).max() < 4 * np.sqrt(2 / len(fresh))


def test_noise_goes_on_through_new_parameters_and_deterministic_actions() -> None:
    one, two = FlashActor(calm(), seed=5), FlashActor(calm(), seed=5)
    expected = noises(one, 40)
    found = []
    for _ in range(40):
        found.append(noises(two, 1)[0])
        two.load(calm())
        two.act(np.zeros(D, np.float32), deterministic=True)
    assert np.array_equal(found, expected)
    assert (np.diff(expected, axis=0) == 0.0).any()  # some of it was held


def test_every_step_has_noise_of_its_own_when_none_is_repeated() -> None:
    drawn = noises(FlashActor(calm(), repeats=1), 50)
    assert (np.abs(np.diff(drawn, axis=0)).max(axis=1) > 1e-3).all()


def test_what_does_not_fit_is_refused() -> None:
    given = params()
    with pytest.raises(ParameterError, match="layer 1 is not finite"):
        FlashActor(given | {"average/w1": given["average/w1"] * np.nan})
    with pytest.raises(ParameterError, match="no residual blocks"):
        FlashActor({name: value for name, value in given.items() if name not in ("newest/w5", "newest/b5")})
    with pytest.raises(ParameterError, match=r"named newest/…, average/…; got w0"):
        FlashActor(given | {"w0": given["newest/w0"]})
    with pytest.raises(ParameterError, match="repeats 0"):
        FlashActor(given, repeats=0)
    actor = FlashActor(given)
    longer = {f"{name}/w0": np.vstack((given[f"{name}/w0"], given[f"{name}/w0"][:1])) for name in ("newest", "average")}
    with pytest.raises(ParameterError, match=r"sizes \(8, 3\), the average \(7, 3\)"):
        actor.load(given | {"newest/w0": longer["newest/w0"]})
    with pytest.raises(ParameterError, match=r"sizes \(8, 3\); this policy has \(7, 3\)"):
        actor.load(given | longer)
    for deterministic in (False, True):
        with pytest.raises(ParameterError, match=r"state has shape \(8,\)"):
            actor.act(np.zeros(D + 1), deterministic)
        actor.act(np.zeros(D), deterministic)  # the old ones stay in use
