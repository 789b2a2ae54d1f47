from __future__ import annotations

import numpy as np
import pytest

from controllers.core import Controller, ControllerConfig
from controllers.state import ArmState, Setpoint

pytest.importorskip("franky_sim")

from hardware.franka.model import fr3_model
from hardware.franka.rehearsal import LEAD, Rehearsal

Q = np.array([0.1, -0.7, 0.2, -2.3, 0.1, 1.6, 0.7])


def torques(rehearse: bool) -> np.ndarray:
    """Commands of a controller along a made-up motion, with a rehearsal between its ticks or without."""
    model = fr3_model()
    config = ControllerConfig()
    controller, rehearsal = Controller(model, config), Rehearsal(model, config)
    random = np.random.default_rng(3)
    previous, q, commanded = np.zeros(7), Q.copy(), []
    for tick in range(400):
        dq = 0.3 * random.standard_normal(7)
        q = q + 1e-3 * dq
        state = ArmState(1e-3 * tick, q, dq, previous, previous, random.standard_normal(6))
        if tick == 0:
            controller.start(state)
        if tick % 100 == 0:
            controller.command(Setpoint(model.pose.moved(0.05 * random.standard_normal(6)), tick), state.time)
        previous = controller.tick(state).torque
        commanded.append(previous)
        if rehearse:
            rehearsal.tick(state)
    return np.array(commanded)


def test_rehearsal_leaves_no_trace_in_what_is_commanded() -> None:
    assert np.abs(torques(rehearse=False)).max() > 1.0
    np.testing.assert_array_equal(torques(rehearse=True), torques(rehearse=False))


@pytest.mark.parametrize(("since_arrival", "expected"), [(0.0002, 0.0008 - LEAD), (0.0009, None), (0.002, None)])
def test_rehearsal_waits_for_its_time_or_not_at_all(since_arrival: float, expected: float | None) -> None:
    slept: list[float] = []
    rehearsal = Rehearsal(fr3_model(), ControllerConfig(), clock=lambda: 5.0 + since_arrival, sleep=slept.append)
    assert rehearsal.wait(5.0) == (expected is not None)
    assert slept == ([] if expected is None else [pytest.approx(expected)])
