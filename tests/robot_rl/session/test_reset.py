from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.spatial import Pose
from robot_rl.session.directive import Command
from robot_rl.session.reset import (
    ARRIVED,
    JAMMED_TIME,
    ROCKING_TIME,
    STAGE_TIME,
    STRIDE,
    TURN,
    ResetMotion,
    ResetStep,
)
from robot_rl.tasks.base import TOOL_DOWN, Start
from robot_rl.tasks.peg_insertion import PegInsertion
from tests.robot_rl.readings import PerfectArm

TASK = PegInsertion()
STAGE_STEPS, JAMMED_STEPS, ROCKING_STEPS = (
    round(seconds * TASK.rate) for seconds in (STAGE_TIME, JAMMED_TIME, ROCKING_TIME)
)
OBJECTS = {"socket": Pose(np.array([0.5, 0.0, 0.0]), TOOL_DOWN)}
START = Start(TASK.nominal.moved(np.array([0.02, -0.02, 0.01, 0.0, 0.0, 0.1])), 0.0, OBJECTS)
LOW = TASK.nominal.translation[2] - 0.02


def run(pose: Pose, start: Start = START) -> list[tuple[Pose, ResetStep]]:
    """Measured pose and step of each control period until the end, for an arm that follows."""
    arm, motion = PerfectArm(pose), ResetMotion(TASK, start)
    taken = []
    while not taken or not (taken[-1][1].done or taken[-1][1].failure):
        measured = arm.pose
        taken.append((measured, motion.step(arm.reading())))
        arm.obey(Command(taken[-1][1].target, taken[-1][1].gripper))
    return taken


places = st.tuples(st.floats(-0.15, 0.15), st.floats(-0.15, 0.15), st.floats(-0.02, 0.1), st.floats(-0.3, 0.3))


@given(places)
def test_never_sideways_below_the_retreat_height(place: tuple[float, float, float, float]) -> None:
    x, y, z, yaw = place
    steps = run(TASK.nominal.moved(np.array([x, y, z, 0.0, 0.0, yaw])))
    lifted = False
    for measured, step in steps:
        lifted = lifted or step.place is not None
        if not lifted:
            np.testing.assert_array_equal(step.target.translation[:2], measured.translation[:2])
            np.testing.assert_allclose(step.target.quat_xyzw, measured.quat_xyzw, atol=1e-12)
        elif np.linalg.norm((step.target.translation - START.pose.translation)[:2]) > 2 * ARRIVED:
            assert step.target.translation[2] > max(TASK.retreat_height, START.pose.translation[2]) - 2 * ARRIVED
    assert steps[-1][1].done


@given(places)
def test_targets_run_only_a_little_ahead(place: tuple[float, float, float, float]) -> None:
    x, y, z, yaw = place
    for measured, step in run(TASK.nominal.moved(np.array([x, y, z, 0.0, 0.0, yaw])))[:-1]:
        ahead = step.target.difference(measured)
        assert np.linalg.norm(ahead[:3]) <= STRIDE + 1e-9
        assert np.linalg.norm(ahead[3:]) <= TURN + 1e-9


def test_objects_are_put_in_place_once_when_the_arm_is_out_of_the_way() -> None:
    steps = run(TASK.nominal.moved(np.array([0.05, 0.0, -0.02, 0.0, 0.0, 0.0])))
    placed = [(measured, step.place) for measured, step in steps if step.place is not None]
    assert len(placed) == 1
    measured, objects = placed[0]
    assert objects == OBJECTS
    assert measured.translation[2] > TASK.retreat_height - ARRIVED


def test_ends_at_the_start_with_the_gripper_as_wanted() -> None:
    *_, (measured, last) = run(TASK.nominal.moved(np.array([0.05, 0.05, 0.0, 0.0, 0.0, -0.2])))
    assert last.done
    assert last.gripper == START.gripper
    np.testing.assert_allclose(last.target.difference(START.pose), np.zeros(6), atol=1e-12)
    assert np.linalg.norm(measured.difference(START.pose)[:3]) < ARRIVED


def test_does_not_end_while_the_arm_still_moves() -> None:
    arm, motion = PerfectArm(START.pose), ResetMotion(TASK, START)
    arm.twist = np.array([0.02, 0.0, 0.0, 0.0, 0.0, 0.0])
    for _ in range(STAGE_STEPS):
        step = motion.step(arm.reading())
        assert not step.done
        arm.obey(Command(step.target, step.gripper))
    arm.twist = np.zeros(6)
    while not step.done:
        step = motion.step(arm.reading())
        arm.obey(Command(step.target, step.gripper))


@pytest.mark.parametrize("turns", [False, True])
def test_a_lift_that_jams_is_rocked_about_each_axis_until_it_comes_free(turns: bool) -> None:
    """Held down: whether it can turn or not, it is not turned further than it takes."""
    begin = Pose(np.array([0.4, 0.1, LOW]), TOOL_DOWN)
    stuck, motion = PerfectArm(begin), ResetMotion(TASK, START)
    turned = []
    quiet = JAMMED_STEPS - 1
    for _ in range(quiet + 6 * ROCKING_STEPS):
        target = motion.step(stuck.reading()).target
        assert target.translation[2] > LOW
        turned.append(target.difference(begin)[3:])
        stuck.pose = Pose(begin.translation, target.quat_xyzw) if turns else begin
    before, rocking = turned[:quiet], np.array(turned[quiet:]).reshape(3, 2, ROCKING_STEPS, 3)
    np.testing.assert_allclose(before, 0.0, atol=1e-9)
    assert np.linalg.norm(rocking, axis=-1).max() <= TURN + 1e-9
    for axis in range(3):
        there, back = rocking[axis, :, -1, axis]
        assert there > 0.3 * TURN and back < -0.3 * TURN
    stuck.obey(Command(Pose(np.array([0.4, 0.1, TASK.retreat_height]), TOOL_DOWN), START.gripper))
    assert motion.step(stuck.reading()).place == OBJECTS


@pytest.mark.parametrize(("height", "stage"), [(LOW, "lift"), (TASK.retreat_height + 0.01, "travel")])
def test_an_arm_that_is_held_fast_is_reported(height: float, stage: str) -> None:
    stuck, motion = PerfectArm(Pose(np.array([0.4, 0.1, height]), TOOL_DOWN)), ResetMotion(TASK, START)
    steps = [motion.step(stuck.reading())]
    while not steps[-1].failure:
        assert not steps[-1].done and len(steps) < STAGE_STEPS + 2
        steps.append(motion.step(stuck.reading()))
    assert len(steps) > STAGE_STEPS
    aside = 0.0 if stage == "lift" else np.linalg.norm((START.pose.translation - stuck.pose.translation)[:2])
    off = np.hypot(aside, max(TASK.retreat_height, START.pose.translation[2]) - height)
    assert f"reset stage {stage} still {off * 1000:.0f} mm from its goal" in steps[-1].failure
    assert "in the way" in steps[-1].failure
    np.testing.assert_array_equal(steps[-1].target.translation, stuck.pose.translation)
