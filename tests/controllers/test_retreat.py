from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from controllers.core import Controller, ControllerConfig
from controllers.spatial import Pose
from controllers.state import EventKind, JointSetpoint, Setpoint
from controllers.workspace import Workspace

BOX = Workspace(np.array([0.2, -0.05, 0.1]), np.array([0.5, 0.05, 0.7]))


def test_a_hand_may_push_the_arm_out_of_the_workspace_and_the_next_setpoints_bring_it_back_no_faster_than_allowed(
    make_plant: Callable[..., Any],
) -> None:
    """The setpoints go on all the while, at the place where the hand found the arm."""
    plant = make_plant()
    controller = Controller(plant.model, ControllerConfig(workspace=BOX, force_limit=20.0, max_speed=0.2))
    controller.start(plant.state())
    home = plant.model.pose
    push = np.array([0.0, 30.0, 0.0, 0.0, 0.0, 0.0])
    events, path = [], [controller.target_translation[1]]

    def run(ticks: int, goal: Pose | None, wrench: np.ndarray) -> None:
        for tick in range(ticks):
            if goal is not None and tick % 100 == 0:
                controller.command(Setpoint(goal, len(path), 0.1), plant.time)
            result = controller.tick(plant.state()._replace(wrench=wrench))
            events.extend(event.kind for event in result.events)
            path.append(controller.target_translation[1])
            plant.step(result.torque, plant.model.jacobian.T @ wrench)

    run(1200, home, push)
    assert path[-1] > 0.06
    out = len(path)
    run(150, None, np.zeros(6))
    assert path[-1] == pytest.approx(path[out], abs=1e-3)
    run(1200, home, np.zeros(6))
    assert path[-1] == pytest.approx(home.translation[1], abs=1e-6)
    assert np.abs(np.diff(path[out:])).max() <= 0.2e-3 + 1e-9
    assert events == [EventKind.FORCE_LIMIT]


@pytest.mark.parametrize("joints", [False, True])
def test_an_arm_that_presses_on_what_does_not_move_leaves_when_it_is_told_to(
    make_plant: Callable[..., Any], ready: np.ndarray, joints: bool
) -> None:
    """Neither arm nor wall moves, and the wall answers with the force of a spring."""
    plant = make_plant()
    state = plant.state()
    limit = 20.0
    controller = Controller(plant.model, ControllerConfig(force_limit=limit))
    controller.start(state)
    begin, J = controller.target_translation, plant.model.jacobian.copy()
    ways = {-1.0: np.array([0.004, 0.0, -0.012]), 1.0: np.array([0.0, 0.0, 0.006])}
    time, pressed, seq = state.time, [], 0
    for sense, way in ways.items():
        goal = plant.model.pose.moved(np.concatenate((way, np.zeros(3))))
        q = ready + np.linalg.lstsq(J, np.concatenate((way, np.zeros(3))), rcond=None)[0]
        for tick in range(3000):
            if tick % 100 == 0:
                seq += 1
                controller.command(JointSetpoint(q, seq, 0.1) if joints else Setpoint(goal, seq, 0.1), time)
            time += 1e-3
            spring = 2000.0 * np.clip(controller.target_translation - begin, -0.01, 0.01)
            controller.tick(state._replace(time=time, wrench=np.concatenate((-spring, np.zeros(3)))))
            pressed.append(float(np.linalg.norm(spring)))
        reached = controller.target_translation - begin
        if sense < 0.0:
            assert 0.75 * limit < pressed[-1] < 0.85 * limit, "as hard as it may"
        else:
            np.testing.assert_allclose(reached, way, atol=2e-4)
    assert max(pressed) < 1.5 * limit
