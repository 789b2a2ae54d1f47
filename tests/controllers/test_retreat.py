from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from controllers.core import Controller, ControllerConfig
from controllers.spatial import Pose
from controllers.state import EventKind, Setpoint
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
