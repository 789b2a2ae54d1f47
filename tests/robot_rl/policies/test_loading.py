"""Publication after publication: the noise of exploration goes on as long as the policy is of one make."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from robot_rl.contract import ActionSpec, AgentView, Field, Observation, layout_of
from robot_rl.data.parameters import ParameterError, pack, unpack
from robot_rl.learner.factory import make_agent
from robot_rl.policies.base import ActorPolicy
from robot_rl.policies.loading import ActorLoader, describe, load_actor
from robot_rl.tasks import make_task
from tests.robot_rl.publishing import ACTOR, parameters, policy

TASK = make_task("reach")
SEEN = Observation(7, 0, np.ones(TASK.state_size, np.float32))
CAMERA = {"wrist": (8, 8)}


def noise(policy: ActorPolicy, mean: float) -> np.ndarray:
    """ε of the next action."""
    return np.arctanh(policy.act([SEEN]).actions[0].astype(np.float64)) - mean


def test_the_noise_goes_on_over_publications() -> None:
    load, once = ActorLoader(TASK, 3, False), load_actor(policy(TASK, 1), TASK, 3, False)
    drawn = []
    for version, mean in ((1, 0.0), (2, 0.5), (5, -0.5)):
        newest = load(policy(TASK, version, mean))
        assert newest.version == version
        drawn += [noise(newest, mean) for _ in range(3)]
    np.testing.assert_allclose(drawn, [noise(once, 0.0) for _ in range(9)], atol=1e-3)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"hidden": 8}),
        ({}, {"change": {"agent": "sac", "settings": {"hidden": [4]}}}),
        ({}, {"change": {"settings": {"hidden": [4], "learning_rate": 0.1}}}),
    ],
)
def test_a_policy_of_another_make_gets_an_actor_of_its_own(one: dict[str, Any], other: dict[str, Any]) -> None:
    load = ActorLoader(TASK, 3, False)
    first, second = load(policy(TASK, 1, **one)), load(policy(TASK, 2, **other))
    assert second.actor is not first.actor
    alone = load_actor(policy(TASK, 2, **other), TASK, 3, False)
    assert np.array_equal(second.act([SEEN]).actions, alone.act([SEEN]).actions)


def test_what_is_refused_changes_nothing() -> None:
    load, once = ActorLoader(TASK, 3, False), load_actor(policy(TASK, 1, 0.5), TASK, 3, False)
    first = load(policy(TASK, 1, 0.5))
    good = policy(TASK, 2, 0.25)
    wrong = (good[:-1] + b"?", policy(TASK, 3, np.nan), policy(TASK, 4, change={"agent": "oracle"}), b"")
    for data in wrong:
        with pytest.raises(ParameterError):
            load(data)
        with pytest.raises(ParameterError):
            load.check(data)
    load.check(good)
    assert first.version == 1
    assert np.array_equal(first.act([SEEN]).actions, once.act([SEEN]).actions)
    np.testing.assert_allclose(noise(load(good), 0.25), noise(once, 0.5), atol=1e-5)


def test_a_process_that_starts_again_explores_by_other_noise() -> None:
    first, again, second = (load_actor(policy(TASK, version), TASK, 3, False) for version in (1, 1, 2))
    drawn = first.act([SEEN]).actions
    assert np.array_equal(drawn, again.act([SEEN]).actions)
    assert not np.array_equal(drawn, second.act([SEEN]).actions)


@pytest.fixture
def compilations() -> list[str]:
    """One entry for each program that XLA compiles from now on."""
    found: list[str] = []

    def listen(event: str, duration: float, **_: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            found.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    return found


def test_nothing_is_compiled_once_a_policy_is_loaded(compilations: list[str]) -> None:
    load = ActorLoader(TASK, 3, False)
    load(policy(TASK, 1, hidden=5))
    assert compilations
    compilations.clear()
    for version in range(2, 5):
        newest = load(policy(TASK, version, hidden=5))
        for _ in range(3):
            newest.act([SEEN])
    assert compilations == []


def test_a_loader_that_was_warmed_up_compiles_nothing_for_the_policies_that_come(compilations: list[str]) -> None:
    agent, data = make_agent("rlpd", {"hidden": [6]}), policy(TASK, 1, hidden=6)
    compilations.clear()
    load = ActorLoader(TASK, 3, False)
    load.warm_up(agent)
    assert compilations
    compilations.clear()
    load(data).act([SEEN])
    assert compilations == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"agent": "oracle"}, "no agent of this version acts by them: unknown agent 'oracle'"),
        ({"settings": {"hidden": [4], "haste": 3}}, "no agent of this version.*unknown key learner.settings.haste"),
        ({"settings": {"hidden": [4], "discount": 2.0}}, "no agent of this version.*discount"),
        ({"scale": [0.5] * TASK.action.size}, r"trained with scale .*0\.5.* but this run has scale"),
        ({"task": "peg_insertion"}, "trained with task 'peg_insertion', but this run has task 'reach'"),
        ({"axes": ["x"]}, "trained with axes"),
        ({"control_period": 0.05}, "trained with control_period 0.05, but this run has control_period 0.1"),
        ({"images": {"wrist": [8, 8]}}, r"needs images of \['wrist'\]; this run has cameras=\[\]"),
    ],
)
def test_what_fits_another_run_is_refused_in_words(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        load_actor(policy(TASK, change=change), TASK, 3, False)


def test_parameters_of_a_version_that_did_not_say_the_period_are_taken() -> None:
    params, version, meta = unpack(policy(TASK))
    del meta["control_period"]
    assert load_actor(pack(params, version, meta), TASK, 3, False).version == version


@pytest.mark.parametrize("missing", ["agent", "settings", "images"])
def test_parameters_that_do_not_say_how_they_act_are_refused(missing: str) -> None:
    params, version, meta = unpack(policy(TASK))
    del meta[missing]
    with pytest.raises(ParameterError, match=f"which agent acts by them: '{missing}' is missing"):
        load_actor(pack(params, version, meta), TASK, 3, False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({f"{ACTOR}/w1": np.zeros((3, 8), np.float32)}, r"actor/w1 is \(3, 8\), not \(4, "),
        ({f"{ACTOR}/b0": np.full(4, np.nan, np.float32)}, "actor/b0 of agent rlpd is not finite"),
        ({"x": np.zeros(1, np.float32)}, "they are not what agent rlpd acts by in this task: x is unknown"),
        ({f"{ACTOR}/b1": None}, "actor/b1 is missing"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(change: dict[str, np.ndarray | None], words: str) -> None:
    changed = {name: value for name, value in (parameters(TASK) | change).items() if value is not None}
    data = pack(changed, 1, describe(TASK, make_agent("rlpd", {"hidden": [4]})))
    with pytest.raises(ParameterError, match=words):
        load_actor(data, TASK, 3, False)


def seeing(images: dict[str, tuple[int, int]]) -> bytes:
    """A fresh policy of RLPD that sees ``images``."""
    agent = make_agent("rlpd", {"hidden": [4]})
    fresh = agent.actor(agent.create(jax.random.PRNGKey(0), layout_of(TASK, images)))
    return pack({name: np.asarray(value) for name, value in fresh.items()}, 1, describe(TASK, agent, images))


def test_a_policy_sees_by_its_own_cameras() -> None:
    images = CAMERA | {"front": (4, 4)}
    found = load_actor(seeing(CAMERA), TASK, 3, True, images)
    shown = {name: np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8) for name, size in images.items()}
    actions = found.act([Observation(7, 0, SEEN.state, shown)]).actions
    for camera in images:
        black = shown | {camera: np.zeros_like(shown[camera])}
        same = np.array_equal(actions, found.act([Observation(7, 0, SEEN.state, black)]).actions)
        assert same == (camera == "front")
    with pytest.raises(ParameterError, match=r"camera wrist.*\(8, 8\), not \(16, 16\)"):
        load_actor(seeing(CAMERA), TASK, 3, True, {"wrist": (16, 16)})


def test_an_agent_that_cannot_do_the_task_is_named() -> None:
    field, action = Field("width", 2, 1.0), ActionSpec(("gripper",), (1.0,))
    gripping = SimpleNamespace(name="grip", fields=(field,), action=action, control_period=0.1)
    with pytest.raises(ParameterError, match="agent hil cannot do this task: hil needs two options or more"):
        load_actor(policy(gripping, change={"agent": "hil", "settings": {"hidden": [4]}}), gripping, 3, True)


def test_a_policy_that_moves_by_another_scale_is_refused() -> None:
    params, version, meta = unpack(policy(TASK))
    with pytest.raises(ParameterError, match=r"trained with scale .*0\.5.* but this run has scale"):
        load_actor(pack(params, version, meta | {"scale": [0.5] * TASK.action.size}), TASK, 3, False)


def test_a_policy_trained_without_some_fields_is_used_without_them_or_refused_by_name() -> None:
    blind = AgentView(TASK, ("linear_velocity", "budget"))
    data = policy(blind)
    assert load_actor(data, blind, 3, True).act([Observation(7, 0, np.ones(blind.state_size, np.float32))]).version == 1
    with pytest.raises(
        ParameterError, match=r"without linear_velocity, budget of .* learner\.without=linear_velocity,b"
    ):
        load_actor(data, TASK, 3, True)
    with pytest.raises(ParameterError, match=r"with linear_velocity, budget of the state, which learner\.without"):
        load_actor(policy(TASK), blind, 3, True)
    with pytest.raises(ParameterError, match="it was trained with fields"):
        load_actor(policy(AgentView(TASK, ("tank",))), blind, 3, True)
