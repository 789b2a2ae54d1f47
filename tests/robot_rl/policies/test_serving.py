"""An agent that is served: compiled once, with noise of its own, and asked about nothing that does not fit."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from robot_rl.contract import Layout, Observation, Planned
from robot_rl.data.parameters import ParameterError
from robot_rl.learner.agent import Agent
from robot_rl.learner.factory import make_agent, make_algorithm
from robot_rl.learner.networks.guidance import Method
from robot_rl.policies.base import ActorPolicy, Policy, RandomPolicy
from robot_rl.policies.serving import AgentActor

D, A = 5, 2
LAYOUT = Layout(D, A)
SEEING = Layout(D, A, {"wrist": (8, 8)})
STATE = np.linspace(-1.0, 1.0, D, dtype=np.float32)
SETTINGS: dict[str, dict[str, Any]] = {
    "rlpd": {"hidden": [8]},
    "hil": {"hidden": [8]},
    "flash_sac": {"actor_width": 4, "critic_width": 4},
    "chunked": {"hidden": [8], "horizon": 3, "samples": 4},
    "expo": {"hidden": [8], "base_hidden": [8], "critics": 4, "candidates": 3},
    "bc": {"width": 8, "blocks": 1, "horizon": 3, "executed": 3, "steps": 2},
    "dsrl": {"hidden": [8], "horizon": 3},
    "gorl": {"hidden": [8], "horizon": 3},
    "rlt": {"hidden": [8], "horizon": 3},
    "pa_rl": {"hidden": [8], "horizon": 3},
}
AGENTS = {name: make_algorithm(name, settings) for name, settings in SETTINGS.items()}


def params_of(agent: Agent, layout: Layout = LAYOUT, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    fresh = agent.actor(agent.create(jax.random.PRNGKey(seed), layout))
    return {name: np.asarray(p) + np.float32(0.1) * rng.random(p.shape, np.float32) for name, p in fresh.items()}


def served(name: str, seed: int = 0, layout: Layout = LAYOUT) -> AgentActor:
    return AgentActor(AGENTS[name], layout, params_of(AGENTS[name], layout), (seed,))


def acts(actor: AgentActor, count: int, deterministic: bool = False) -> np.ndarray:
    return np.stack([actor.act(STATE, {}, deterministic) for _ in range(count)])


def test_it_is_compiled_when_it_is_warmed_up_and_never_again() -> None:
    traced = []

    def act(params, carry, state, images, key, deterministic):  # type: ignore[no-untyped-def]
        traced.append(deterministic)
        return AGENTS["rlpd"].act(params, carry, state, images, key, deterministic)

    agent = AGENTS["rlpd"]._replace(act=act)
    actor = AgentActor(agent, SEEING, params_of(agent, SEEING), (0,))
    image = {"wrist": np.ones((8, 8, 3), np.uint8)}
    assert traced == []
    actor.warm_up(deterministic=False)
    assert traced == [False]
    for _ in range(3):
        actor.act(STATE, image, deterministic=False)
        actor.load(params_of(agent, SEEING, seed=1))
    another = AgentActor(agent, SEEING, params_of(agent, SEEING), (1,))
    another.act(STATE.astype(np.float64), image, deterministic=False)
    assert traced == [False], "neither values nor seeds make another program"
    actor.act(STATE, image, deterministic=True)
    assert traced == [False, True]


@pytest.mark.parametrize("name", AGENTS)
def test_noise_is_seeded_and_goes_on_through_warming_up_new_parameters_and_deterministic_actions(name: str) -> None:
    one, two, other = (served(name, seed) for seed in (5, 5, 6))
    expected, params = acts(one, 30), params_of(AGENTS[name])
    found = []
    for _ in range(30):
        two.warm_up(deterministic=False)
        found.append(two.act(STATE, {}, deterministic=False))
        two.load(params)
        two.act(STATE, {}, deterministic=True)
    assert np.array_equal(found, expected)
    assert not np.array_equal(acts(other, 30), expected)
    assert len(np.unique(expected[:, 0, 0])) > 5
    assert expected.dtype == np.float32 and expected.shape == (30, AGENTS[name].horizon, A)
    assert np.abs(expected).max() <= 1.0


@pytest.mark.parametrize("name", AGENTS)
def test_actions_without_exploration_are_the_same_for_every_seed(name: str) -> None:
    one, other = served(name, 5), served(name, 6)
    acts(one, 3)
    deterministic = acts(one, 4, deterministic=True)
    assert np.array_equal(deterministic, acts(other, 4, deterministic=True))
    draws = len(np.unique(deterministic.reshape(4, -1), axis=0))
    assert draws == (4 if name in ("chunked", "bc", "rlt", "pa_rl") else 1), "a flow draws even then"


def test_several_seeds_are_another_one_than_each() -> None:
    agent = AGENTS["rlpd"]
    draws = [acts(AgentActor(agent, LAYOUT, params_of(agent), seeds), 1) for seeds in ((1,), (2,), (1, 2), (2, 1))]
    assert len({float(drawn[0, 0, 0]) for drawn in draws}) == 4


@pytest.mark.parametrize("name", AGENTS)
def test_new_parameters_are_acted_by(name: str) -> None:
    actor, fresh = served(name), AgentActor(AGENTS[name], LAYOUT, params_of(AGENTS[name], seed=1), (0,))
    before = acts(served(name), 2, deterministic=True)
    actor.load(params_of(AGENTS[name], seed=1))
    after = acts(actor, 2, deterministic=True)
    assert np.array_equal(after, acts(fresh, 2, deterministic=True)) and not np.array_equal(after, before)


def test_observations_that_do_not_fit_are_refused_and_other_cameras_left_alone() -> None:
    actor = served("rlpd", layout=SEEING)
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    seen = actor.act(STATE, {"wrist": image}, True)
    assert np.array_equal(seen, actor.act(STATE, {"wrist": image, "front": np.zeros((4, 4, 3), np.uint8)}, True))
    assert not np.array_equal(seen, actor.act(STATE, {"wrist": image[::-1]}, True))
    with pytest.raises(ParameterError, match=r"camera wrist.*image \(8, 8, 3\), not none"):
        actor.act(STATE, {}, True)
    with pytest.raises(ParameterError, match=r"image \(8, 8, 3\), not \(4, 4, 3\)"):
        actor.act(STATE, {"wrist": image[:4, :4]}, True)
    with pytest.raises(ParameterError, match=r"state has shape \(6,\)"):
        actor.act(np.zeros(D + 1), {"wrist": image}, True)


ACTING = SimpleNamespace(action=SimpleNamespace(size=A))  # a task, as far as a random policy looks at it


@pytest.mark.parametrize("policy", [RandomPolicy(ACTING), ActorPolicy(served("rlpd"), version=4)])
def test_policies_answer_the_observation_they_were_asked_about(policy: Policy) -> None:
    chunk = policy.act([Observation(123, 0, np.zeros(D, np.float32))])
    assert isinstance(policy, Policy)
    assert chunk.stamp_ns == 123 and chunk.actions.shape == (1, A)
    assert (np.abs(chunk.actions) <= 1.0).all()
    assert chunk.version == getattr(policy, "version", -1)


PLAN = Planned(np.full((3, A), 0.6, np.float32), delay=2)


@pytest.mark.parametrize(("name", "method"), [("chunked", "jacobian"), ("chunked", "identity"), ("bc", "identity")])
def test_a_flow_takes_up_what_is_planned_behind_all_that_is_around_it(name: str, method: Method) -> None:
    agent = make_agent(name, SETTINGS[name])
    params = params_of(agent)
    free = AgentActor(agent, LAYOUT, params, (0,))
    guided = AgentActor(agent, LAYOUT, params, (0,), guidance=method)
    guided.warm_up(deterministic=True)
    wilful = np.stack([free.act(STATE, {}, True, PLAN) for _ in range(20)])
    taken = np.stack([guided.act(STATE, {}, True, PLAN) for _ in range(20)])
    away = [np.abs(chunks - 0.6).mean(axis=(0, 2)) for chunks in (wilful, taken)]
    assert (away[1][:2] < 0.3 * away[0][:2]).all(), "the first two will have acted"
    assert away[1][2] > away[1][1]
    again = AgentActor(agent, LAYOUT, params, (0,), guidance=method)
    expected = AgentActor(agent, LAYOUT, params, (0,)).act(STATE, {}, True)
    nothing = Planned(np.zeros((0, A)), delay=0)
    np.testing.assert_array_equal(again.act(STATE, {}, True, nothing), expected, "there is nothing to take up")


@pytest.mark.parametrize("model", ["flow", "diffusion"])
def test_what_was_learnt_to_be_continued_is_continued_as_it_is(model: str) -> None:
    agent = make_agent("bc", SETTINGS["bc"] | {"model": model, "prefix": 2})
    actor = AgentActor(agent, LAYOUT, params_of(agent), (0,), guidance="jacobian")
    chunk = actor.act(STATE, {}, True, PLAN)
    np.testing.assert_array_equal(chunk[:2], PLAN.actions[:2])
    assert (chunk[2] != PLAN.actions[2]).all(), "it will not have acted"
    longer = actor.act(STATE, {}, True, Planned(np.full((3, A), 0.6, np.float32), delay=3))
    assert (longer[2] != PLAN.actions[2]).all(), "no more than were learnt"


@pytest.mark.parametrize(("name", "settings"), [("rlpd", {"hidden": [8]}), ("chunked", {"extraction": "one_step"})])
def test_an_agent_that_cannot_take_up_a_plan_leaves_it_alone(name: str, settings: dict[str, Any]) -> None:
    agent = make_agent(name, settings)
    params = params_of(agent)
    assert not agent.guided
    actor = AgentActor(agent, LAYOUT, params, (0,), guidance="jacobian")
    expected = AgentActor(agent, LAYOUT, params, (0,)).act(STATE, {}, True)
    np.testing.assert_array_equal(actor.act(STATE, {}, True, PLAN), expected)
