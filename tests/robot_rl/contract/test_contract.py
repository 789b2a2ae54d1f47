from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.spatial import Pose, exp3
from robot_rl.contract import ACTION_AXES, ActionChunk, ActionSpec, ContractError, Ending, Outcome, lead_of
from robot_rl.tasks.base import TOOL_DOWN

FULL = ActionSpec(ACTION_AXES, (0.01, 0.01, 0.01, 0.05, 0.05, 0.05, 1.0))
PLANAR = ActionSpec(("x", "y", "yaw"), (0.01, 0.02, 0.05))
NOMINAL = Pose(np.array([0.5, 0.0, 0.2]), TOOL_DOWN)
unit = st.floats(-1.0, 1.0, width=32)


@pytest.mark.parametrize(
    ("outcome", "terminated", "truncated"),
    [
        (Outcome.running(0.5), False, False),
        (Outcome.success(), True, False),
        (Outcome.failure("dropped it"), True, False),
        (Outcome.timeout(), False, True),
        (Outcome.aborted("reflex"), False, True),
    ],
)
def test_an_outcome_terminates_or_truncates_never_both(outcome: Outcome, terminated: bool, truncated: bool) -> None:
    assert (outcome.terminated, outcome.truncated) == (terminated, truncated)
    assert outcome.done == (terminated or truncated)


def test_outcomes_carry_reward_and_reason() -> None:
    assert Outcome.success() == Outcome(1.0, Ending.SUCCESS)
    assert Outcome.timeout(0.25).reward == 0.25
    assert Outcome.failure("dropped it").reason == "dropped it"
    assert Outcome.aborted("reflex") == Outcome(0.0, Ending.ABORTED, "reflex")


@pytest.mark.parametrize(
    ("axes", "scale", "named"),
    [
        (("x", "w"), (0.01, 0.01), r"\['w'\].*choose from"),
        (("y", "x"), (0.01, 0.01), r"\('y', 'x'\).*order"),
        (("x", "x"), (0.01, 0.01), "distinct"),
        (("x", "y"), (0.01,), r"\(0.01,\)"),
        (("x",), (0.0,), "positive"),
    ],
)
def test_a_wrong_action_spec_is_refused_by_name(axes: tuple, scale: tuple, named: str) -> None:
    with pytest.raises(ContractError, match=named):
        ActionSpec(axes, scale)


@given(st.lists(unit, min_size=7, max_size=7))
def test_an_action_and_its_displacement_are_inverses(values: list[float]) -> None:
    action = np.array(values, dtype=np.float32)
    gripper = FULL.gripper(action)
    np.testing.assert_allclose(FULL.from_delta(FULL.delta(action), gripper), action, atol=1e-6)


@given(st.lists(st.floats(-10.0, 10.0), min_size=6, max_size=6), st.floats(0.0, 1.0))
def test_actions_from_any_displacement_are_within_bounds(delta: list[float], gripper: float) -> None:
    action = FULL.from_delta(np.array(delta), gripper)
    assert action.dtype == np.float32
    assert np.abs(action).max() <= 1.0
    inside = np.abs(np.array(delta)) <= np.array(FULL.scale[:6])
    np.testing.assert_allclose(FULL.delta(action)[inside], np.array(delta)[inside], atol=1e-7)


def test_undriven_axes_have_no_displacement_and_lose_theirs() -> None:
    np.testing.assert_allclose(PLANAR.delta(np.array([1.0, -0.5, 1.0])), [0.01, -0.01, 0.0, 0.0, 0.0, 0.05])
    delta = np.array([0.005, 0.01, 0.3, 0.4, 0.5, -0.025])
    np.testing.assert_allclose(PLANAR.from_delta(delta, None), [0.5, 0.5, -0.5], atol=1e-7)


def test_gripper_is_an_opening_from_closed_to_open() -> None:
    assert PLANAR.gripper(np.zeros(3)) is None
    openings = [FULL.gripper(np.array([0, 0, 0, 0, 0, 0, value])) for value in (-1.0, 0.0, 1.0, 3.0)]
    assert openings == [0.0, 0.5, 1.0, 1.0]
    with pytest.raises(ContractError, match="need an opening"):
        FULL.from_delta(np.zeros(6), None)


@given(st.lists(unit, min_size=7, max_size=7))
def test_a_target_is_the_measured_pose_moved_by_the_action(values: list[float]) -> None:
    action = np.array(values)
    pose = NOMINAL.moved(np.array([0.03, -0.02, 0.01, 0.1, -0.2, 0.3]))
    target = FULL.target(pose, action, NOMINAL)
    np.testing.assert_allclose(target.difference(pose), FULL.delta(action), atol=1e-9)


@given(st.lists(unit, min_size=3, max_size=3))
def test_undriven_axes_of_a_target_stay_nominal(values: list[float]) -> None:
    action = np.array(values)
    pose = NOMINAL.moved(np.array([0.03, -0.02, 0.01, 0.0, 0.0, 0.3]))
    target = PLANAR.target(pose, action, NOMINAL)
    np.testing.assert_allclose(target.translation[:2], pose.translation[:2] + action[:2] * (0.01, 0.02), atol=1e-12)
    assert target.translation[2] == NOMINAL.translation[2]
    wanted = exp3(np.array([0.0, 0.0, 0.3 + 0.05 * action[2]])) @ NOMINAL.rotation
    np.testing.assert_allclose(target.rotation, wanted, atol=1e-9)


def test_a_reference_leads_by_no_more_than_pulls_harder_and_a_target_by_an_action_more() -> None:
    reference = NOMINAL.moved(np.array([0.03, -0.004, 0.0, 0.0, 0.0, -0.2]))
    np.testing.assert_allclose(lead_of(reference, NOMINAL), [0.01, -0.004, 0.0, 0.0, 0.0, -0.05], atol=1e-9)
    np.testing.assert_allclose(PLANAR.reach, [0.02, 0.03, 0.0, 0.0, 0.0, 0.1])


def test_zero_actions_do_not_wind_up() -> None:
    pose = NOMINAL.moved(np.array([0.03, 0.0, 0.02, 0.05, 0.0, 0.3]))
    once = PLANAR.target(pose, np.zeros(3), NOMINAL)
    twice = PLANAR.target(once, np.zeros(3), NOMINAL)
    np.testing.assert_allclose(twice.difference(once), np.zeros(6), atol=1e-9)


@pytest.mark.parametrize(
    ("actions", "named"), [(np.zeros(3), r"\(3,\)"), (np.zeros((0, 3)), r"\(0, 3\)"), ([[np.nan, 0.0]], "17.*nan")]
)
def test_a_chunk_that_cannot_be_executed_is_refused(actions: np.ndarray, named: str) -> None:
    with pytest.raises(ContractError, match=named):
        ActionChunk(17, actions)


def test_a_chunk_is_float32() -> None:
    assert ActionChunk(0, np.zeros((2, 3))).actions.dtype == np.float32
