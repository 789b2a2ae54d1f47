"""EXPO's numpy actor is the policy that JAX trains, and refuses what does not fit."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from robot_rl.contract import Layout
from robot_rl.learner.algorithms import expo
from robot_rl.learner.algorithms.expo import ExpoConfig
from robot_rl.learner.networks import flow, mlp
from robot_rl.policies.expo import ExpoActor
from robot_rl.policies.loading import make_actor
from robot_rl.data.parameters import ParameterError, pack, unpack

CONFIG = ExpoConfig(hidden=(32, 16), base_hidden=(24, 24), critics=5, candidates=4, base_steps=3, edit_scale=0.4)
F, A = 7, 3


def parameters(seed: int = 0, features: int = F) -> dict[str, np.ndarray]:
    state = expo.create(jax.random.PRNGKey(seed), Layout(features, A), CONFIG)
    rng = np.random.default_rng(seed)
    flat = {name: np.asarray(p) for name, p in expo.published(state).items()}
    return {name: p + rng.normal(size=p.shape).astype(np.float32) * 0.3 for name, p in flat.items()}


def actor(params=None, seed: int = 0) -> ExpoActor:
    published = unpack(pack(params or parameters(), 0, {"acting": dict(expo.make_agent(CONFIG).acting)}))
    made = make_actor(published.params, published.meta["acting"], seed)
    assert isinstance(made, ExpoActor)
    return made


def part(params, name: str) -> dict[str, np.ndarray]:
    return {key.removeprefix(f"{name}/"): p for key, p in params.items() if key.startswith(f"{name}/")}


def test_candidates_and_their_values_are_those_of_jax() -> None:
    params, rng = parameters(), np.random.default_rng(1)
    for _ in range(5):
        features = rng.normal(size=F).astype(np.float32)
        noise, shake = rng.normal(size=(2, 4, A)).astype(np.float32)
        candidates = actor(params).propose(features, noise, shake)
        imitated = flow.flow_sample(part(params, "base"), np.tile(features, (4, 1)), noise, 3)
        inputs = np.concatenate((np.tile(features, (4, 1)), imitated), axis=1)
        mean, log_std = mlp.actor_apply(part(params, "edit"), inputs)
        edited = np.clip(imitated + 0.4 * np.tanh(mean + np.exp(log_std) * shake), -1.0, 1.0)
        np.testing.assert_allclose(candidates, np.concatenate((imitated, edited)), rtol=1e-4, atol=1e-4)


def test_without_noise_the_mean_of_all_critics_decides() -> None:
    params, rng = parameters(), np.random.default_rng(2)
    chosen = set()
    for _ in range(20):
        features = rng.normal(size=F).astype(np.float32)
        fixed = np.random.default_rng(0).standard_normal((4, A), np.float32)
        fixed[0] = 0.0
        candidates = actor(params).propose(features, fixed, np.zeros((4, A), np.float32))
        q = expo.candidate_values(part(params, "critics"), features[None], candidates[None])[:, 0]
        best = int(np.asarray(q).mean(axis=0).argmax())
        chosen.add(best >= 4)
        action = actor(params).act(features, deterministic=True)
        assert action.shape == (1, A) and action.dtype == np.float32
        np.testing.assert_allclose(action[0], candidates[best], atol=1e-6)
    assert chosen == {False, True}


def test_with_noise_the_minimum_of_two_different_critics_decides() -> None:
    params, features = parameters(), np.ones(F, np.float32)
    acting, mirror = actor(params, seed=3), np.random.default_rng(3)
    asked, otherwise = set(), 0
    for _ in range(60):
        noise = np.zeros((2, 4, A), np.float32)
        mirror.standard_normal(out=noise, dtype=np.float32)
        pair = mirror.permutation(5)[:2]
        candidates = actor(params).propose(features, *noise)
        q = np.asarray(expo.candidate_values(part(params, "critics"), features[None], candidates[None])[:, 0])
        best = q[pair].min(axis=0).argmax()
        np.testing.assert_allclose(acting.act(features, deterministic=False)[0], candidates[best], atol=1e-6)
        asked.add(tuple(sorted(pair.tolist())))
        otherwise += best != q.mean(axis=0).argmax()
    assert len(asked) == 10 and all(a != b for a, b in asked)
    assert otherwise > 5


def test_noise_is_seeded_and_goes_on_after_new_parameters() -> None:
    features = np.ones(F, np.float32)
    one, two = actor(seed=5), actor(seed=5)
    assert np.array_equal(one.act(features, False), two.act(features, False))
    two.load(parameters())
    draws = [one.act(features, False) for _ in range(3)]
    assert np.array_equal(draws, [two.act(features, False) for _ in range(3)])
    assert not np.array_equal(draws[0], draws[1])
    assert np.array_equal(one.act(features, True), actor(seed=6).act(features, True))
    two.load(parameters(seed=3))
    assert not np.array_equal(one.act(features, True), two.act(features, True))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"other/w0": np.zeros(1, np.float32)}, "other/w0"),
        ({"base/b0": np.full(24, np.nan, np.float32)}, "not finite"),
        ({"critics/w0": np.zeros((5, F, 32), np.float32)}, "take"),
        ({"edit/w1": np.zeros((3, 16), np.float32)}, "layer 1"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(change, named) -> None:
    with pytest.raises(ParameterError, match=named):
        actor(parameters() | change)


def test_parameters_of_another_task_are_refused() -> None:
    acting = actor()
    before = acting.act(np.zeros(F), True)
    with pytest.raises(ParameterError, match=r"sizes \(8, 3\)"):
        acting.load(parameters(features=F + 1))
    assert np.array_equal(acting.act(np.zeros(F), True), before)  # the old ones stay in use
