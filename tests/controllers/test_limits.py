from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from controllers.limits import JointRepulsion, LimitError, TorqueLimiter
from controllers.model import ArmModel

EFFORT = np.array([87.0] * 4 + [12.0] * 3)


def torques(bound: float) -> st.SearchStrategy[np.ndarray]:
    return hnp.arrays(np.float64, 7, elements=st.floats(-bound, bound))


@given(torque=torques(1e6), share=hnp.arrays(np.float64, 7, elements=st.floats(-1.0, 1.0)))
def test_torque_is_clamped_and_never_steps_by_more_than_the_limit(torque: np.ndarray, share: np.ndarray) -> None:
    previous = share * EFFORT
    limited, saturated = TorqueLimiter(EFFORT).limit(torque, previous)
    assert (np.abs(limited) <= EFFORT).all()
    # previous + 0.99 rounds once, at up to 87 N·m
    assert np.abs(limited - previous).max() <= 0.99 + 87 * np.finfo(float).eps
    assert saturated == bool((np.abs(torque) > EFFORT).any())


def test_torque_within_the_limits_is_left_alone() -> None:
    torque = np.linspace(-0.9, 0.9, 7)
    limited, saturated = TorqueLimiter(EFFORT).limit(torque, np.zeros(7))
    np.testing.assert_array_equal(limited, torque)
    assert not saturated


def test_torque_of_a_robot_beyond_its_limits_is_led_back_no_faster_than_the_rate() -> None:
    limited, _ = TorqueLimiter(EFFORT).limit(np.zeros(7), np.full(7, 100.0))
    np.testing.assert_allclose(limited, 99.01)


@pytest.mark.parametrize("effort", [np.zeros(7), np.full(6, 1.0), np.full(7, np.nan)])
def test_torque_limits_must_be_positive(effort: np.ndarray) -> None:
    with pytest.raises(LimitError, match="effort"):
        TorqueLimiter(effort)


def test_torque_steps_the_robot_would_trip_on_are_refused() -> None:
    with pytest.raises(LimitError, match="max_step"):
        TorqueLimiter(EFFORT, max_step=1.5)


def test_repulsion_is_the_gradient_of_its_potential(arm: ArmModel, rng: np.random.Generator) -> None:
    repulsion = JointRepulsion(arm.lower, arm.upper, margin=0.2, peak=5.0)
    step = 1e-6
    for _ in range(20):
        q = rng.uniform(arm.lower - 0.1, arm.upper + 0.1)
        torque = repulsion.evaluate(q)[0].copy()
        for joint in range(7):
            offset = step * np.eye(7)[joint]
            ahead, behind = repulsion.evaluate(q + offset)[1], repulsion.evaluate(q - offset)[1]
            # rounding 1e-16 / 1e-6; at a kink of the torque the difference quotient is off by stiffness · step
            assert torque[joint] == pytest.approx(-(ahead - behind) / (2 * step), abs=25.0 * step + 1e-8)


def test_repulsion_pushes_inward_up_to_its_peak_and_is_silent_elsewhere(arm: ArmModel) -> None:
    repulsion = JointRepulsion(arm.lower, arm.upper, margin=0.2, peak=5.0)
    np.testing.assert_allclose(repulsion.evaluate(arm.lower)[0], 5.0)
    np.testing.assert_allclose(repulsion.evaluate(arm.upper + 0.3)[0], -5.0)
    torque, potential = repulsion.evaluate(0.5 * (arm.lower + arm.upper))
    assert not torque.any()
    assert potential == 0.0


@pytest.mark.parametrize(("margin", "peak"), [(0.0, 5.0), (-0.1, 5.0), (0.2, -1.0), (3.0, 5.0)])
def test_repulsion_refuses_margins_that_make_no_sense(arm: ArmModel, margin: float, peak: float) -> None:
    with pytest.raises(LimitError, match="repulsion"):
        JointRepulsion(arm.lower, arm.upper, margin, peak)
