"""The tour of orientations, driven by the simulated arm in process, with a tool that nobody knows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from controllers.core import ControllerConfig
from controllers.spatial import Pose, exp3
from controllers.state import Setpoint
from hardware.force.arm import ArmWrench
from hardware.force.survey import LEAST_READINGS, TURN, Rest, Survey, tilted
from hardware.force.tool import ToolError, identify
from hardware.franka.model import fr3_model
from hardware.scene import SceneSpec
from hardware.sim.world.inprocess import InProcessWorld
from tests.hardware.loaded_wrist import FRAME, MOUNT, TOOL, LoadedWrist

STEP = 0.02  # [s]
STILL = np.zeros(6)
STRETCHED = np.array([0.0, 0.9, 0.0, -0.4, 0.0, 1.3, 0.0])  # almost [rad]


def test_the_arm_tilts_its_hand_and_the_tool_is_found() -> None:
    with InProcessWorld(SceneSpec(), ControllerConfig()) as world:
        wrist = LoadedWrist(lambda: ArmWrench.of(world.read()))
        world.start()
        begin = world.read()
        survey = Survey(tilted(begin.pose, fr3_model(), begin.state.q), MOUNT)
        seq = 0
        while not survey.done:
            now = world.read()
            seq += 1
            target = survey.step(now.state.time, now.pose, now.twist, wrist.read().wrench)
            world.command(Setpoint(target, seq))
            world.advance(STEP)
            assert now.state.time < 60.0
        end = world.read().pose
    assert np.abs(end.difference(begin.pose)).max() < 0.05, "it ends as it began"
    found = identify(survey.taken, FRAME)
    assert found.tool.mass == pytest.approx(TOOL.mass, rel=0.05)
    assert found.tool.centre is not None and TOOL.centre is not None
    assert np.linalg.norm(found.tool.centre - TOOL.centre) < 0.003
    np.testing.assert_allclose(found.tool.bias, TOOL.bias, atol=0.5)


def test_orientations_turn_about_the_tool_centre_point() -> None:
    model = fr3_model()
    q = np.array(SceneSpec().start_q)
    pose = model.forward_kinematics(q)
    poses = tilted(pose, model, q)
    assert poses[0] is poses[-1] is pose
    for goal in poses[1:-1]:
        np.testing.assert_allclose(goal.translation, pose.translation)
        assert np.linalg.norm(goal.difference(pose)[3:]) == pytest.approx(np.radians(30.0))


def test_an_arm_that_cannot_tilt_its_hand_is_told_where_to_go() -> None:
    model = fr3_model()
    pose = model.forward_kinematics(STRETCHED)
    with pytest.raises(ToolError, match="of 6 directions only; bring it to the middle"):
        tilted(pose, model, STRETCHED)


def rest_for(rest: Rest, seconds: float, twist: Callable[[float], np.ndarray] = lambda _: STILL) -> list[float]:
    """Times [s] at which a mean was handed out; each reading's force is the time."""
    times = []
    for k in range(round(seconds / STEP)):
        now = k * STEP
        if rest.feed(now, np.eye(3), twist(now), np.full(6, now)) is not None:
            times.append(now)
    return times


def test_readings_count_at_rest_only() -> None:
    assert min(rest_for(Rest(), 2.0)) > 1.0
    moving = np.array([0.02, 0.0, 0.0, 0.0, 0.0, 0.0])
    assert min(rest_for(Rest(), 3.0, lambda now: moving if now < 0.9 else STILL)) > 1.9
    turning = np.array([0.0, 0.0, 0.0, 0.0, 0.1, 0.0])
    assert rest_for(Rest(), 3.0, lambda now: turning if round(now / STEP) % 40 == 0 else STILL) == []


def test_a_mean_is_of_the_readings_after_the_arm_has_settled() -> None:
    rest = Rest()
    taken = None
    for k in range(100):
        taken = taken or rest.feed(k * STEP, np.eye(3), STILL, np.full(6, 9.0 if k < 20 else 1.0))
    assert taken is not None
    np.testing.assert_allclose(taken.wrench, 1.0)
    few = Rest()
    assert all(few.feed(0.2 * k, np.eye(3), STILL, STILL) is None for k in range(LEAST_READINGS))


def test_targets_move_no_faster_than_stated() -> None:
    start = Pose.identity()
    goal = Pose.from_rotation(np.zeros(3), exp3(np.array([0.0, 1.0, 0.0])))
    survey = Survey([start, goal, start], np.eye(3))
    before = start
    now = 0.0
    while not survey.done:
        now += STEP
        target = survey.step(now, before, STILL, np.ones(6))
        assert np.linalg.norm(target.difference(before)[3:]) <= TURN * STEP + 1e-9
        before = target
    assert now > 2.0 / TURN


def test_an_arm_that_never_rests_is_said() -> None:
    survey = Survey([Pose.identity()], np.eye(3))
    with pytest.raises(ToolError, match="does not come to rest at pose 1 of 1"):
        for k in range(10_000):
            survey.step(k * STEP, Pose.identity(), np.ones(6), np.zeros(6))
