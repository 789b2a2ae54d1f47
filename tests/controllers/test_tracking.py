from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from controllers.core import Controller, ControllerConfig
from controllers.gains import ImpedanceGains
from controllers.impact import ImpactBound
from controllers.joint_impedance import JointGains
from controllers.model import ArmModel
from controllers.retreat import Retreat
from controllers.spatial import exp3, log3
from controllers.state import EventKind, JointSetpoint, Setpoint
from controllers.tracking import RETURN_SPEED, JointTracking, PoseTracking

DT = 0.01


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("joints", [False, True])
def test_a_rested_target_gives_way_to_a_hand_as_fast_as_it_shall(
    make_plant: Callable[..., Any], ready: np.ndarray, joints: bool, axis: int
) -> None:
    """A push of 18 N is less than the springs can bear: only the retreat moves the target, whatever the speed limit."""
    plant = make_plant()
    config = ControllerConfig(force_limit=15.0, max_speed=np.inf, hold_after=5.0, damp_after=6.0)
    controller = Controller(plant.model, config)
    controller.start(plant.state())
    controller.command(JointSetpoint(ready, 0) if joints else Setpoint(plant.model.pose, 0), 0.0)
    start = controller.target_translation
    push = -18.0 * np.eye(6)[axis]
    twist = Retreat(15.0, np.inf).evaluate(push)
    assert twist is not None
    events = []
    for _ in range(500):
        result = controller.tick(plant.state()._replace(wrench=push))
        events += [event.kind for event in result.events]
        plant.step(result.torque, plant.model.jacobian.T @ push)
    moved = (controller.target_translation - start)[axis]
    assert moved / (0.5 * twist[axis]) > 0.9  # the damped pseudoinverse leaves out a little
    assert events == [EventKind.FORCE_LIMIT]


def poses(model: ArmModel) -> tuple[PoseTracking, Callable[[], np.ndarray]]:
    tracking = PoseTracking(model, ImpedanceGains(), 0.5, 2.5, ImpactBound(np.inf))
    start = tracking.target

    def gone() -> np.ndarray:
        x, R = tracking.target
        return np.concatenate((x - start[0], log3(R @ start[1].T)))

    return tracking, gone


@pytest.mark.parametrize(
    "way", [(0.2, 0.0, 0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0, 0.8, 0.0), (0.1, 0, 0.1, 0, 0, 1)]
)
def test_a_pose_that_was_held_up_goes_on_at_the_pace_it_was_planned_with(arm: ArmModel, way: tuple[float, ...]) -> None:
    """Four seconds of way; nothing can be paid for from the first second to the sixth."""
    tracking, gone = poses(arm)
    x, R = tracking.target
    tracking.move(x + way[:3], exp3(np.array(way[3:])) @ R, 0.0, 4.0)
    times = np.arange(0, 901) * DT
    held = (times >= 1.0) & (times < 6.0)
    path = []
    for time, hold in zip(times, held, strict=True):
        tracking.follow(time, 0.0 if hold else np.inf, True)
        path.append(gone())
    speeds = np.abs(np.diff(path, axis=0)).max(axis=0) / DT
    np.testing.assert_allclose(speeds, np.array(way) / 4.0, atol=1e-6)
    assert np.abs(path[-2] - np.array(way)).max() > 1e-4
    np.testing.assert_allclose(path[-1], way, atol=1e-6)


def test_joints_that_were_held_up_go_on_at_the_pace_they_were_planned_with(arm: ArmModel, ready: np.ndarray) -> None:
    tracking = JointTracking(arm, JointGains())
    way = np.array([0.4, -0.2, 0.1, 0.0, 0.0, 0.3, -0.4])
    tracking.move(ready + way, 0.0, 4.0)
    path = []
    for tick in range(901):
        tracking.follow(tick * DT, 0.0 if 100 <= tick < 600 else np.inf, True)
        path.append(tracking.q - ready)
    np.testing.assert_allclose(np.abs(np.diff(path, axis=0)).max(axis=0) / DT, np.abs(way) / 4.0, atol=1e-6)
    np.testing.assert_allclose(path[-1], way, atol=1e-6)


def test_a_rested_joint_target_that_was_dragged_aside_does_not_jump_back(arm: ArmModel, ready: np.ndarray) -> None:
    """The last joint has been turned against its spring; a push that turning it cannot answer lets it return slowly."""
    tracking = JointTracking(arm, JointGains())
    arm.update(ready + 0.3 * np.eye(7)[6], np.zeros(7))
    tracking.give_way(np.array([0.0, 0.0, -0.05, 0.0, 0.0, 0.0]), 0.0, DT)
    path = []
    for tick in range(200):
        tracking.follow(tick * DT, np.inf, True)
        path.append(tracking.q)
    assert path[0][6] - ready[6] > 0.2
    steps = [np.abs(after - before).max() for before, after in itertools.pairwise(path)]
    assert max(steps) == pytest.approx(RETURN_SPEED * DT)
    assert abs(path[-1][6] - ready[6]) < 0.01
