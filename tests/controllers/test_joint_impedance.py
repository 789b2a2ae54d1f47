from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from controllers.gains import GainError
from controllers.joint_impedance import MAX_TORQUE, JointGains, JointImpedance

GAINS = JointGains()


def joints(bound: float) -> st.SearchStrategy[np.ndarray]:
    return hnp.arrays(np.float64, 7, elements=st.floats(-bound, bound, allow_subnormal=False))


@given(joints(3.0), joints(0.2))
def test_torque_is_bounded_and_the_gradient_of_a_potential_that_is_never_negative(
    q: np.ndarray, error: np.ndarray
) -> None:
    law, step = JointImpedance(GAINS), 1e-6
    torque, energy = law.spring(q, q + error)
    torque = torque.copy()
    assert energy >= 0.0
    assert (np.abs(torque) <= np.array(GAINS.torque_bound) * (1 + 1e-12)).all()
    for joint in range(7):
        offset = step * np.eye(7)[joint]
        ahead, behind = law.spring(q + offset, q + error)[1], law.spring(q - offset, q + error)[1]
        # rounding 1e-15 · 30 J / step; where the clip begins, the quotient is off by at most stiffness · step
        assert torque[joint] == pytest.approx(-(ahead - behind) / (2 * step), abs=600.0 * step + 1e-7)


@given(joints(3.0))
def test_damping_takes_energy_out(dq: np.ndarray) -> None:
    assert JointImpedance(GAINS).damping(dq) @ dq <= 0.0


def test_arm_reaches_its_target_without_overshooting_by_much(make_plant: Callable[..., Any], ready: np.ndarray) -> None:
    plant, law = make_plant(ready), JointImpedance(GAINS)
    goal = ready + np.array([0.2, -0.2, 0.1, 0.2, -0.3, 0.2, 0.3])
    highest = np.zeros(7)
    for _ in range(2500):
        plant.model.update(plant.q, plant.dq)
        plant.step(law.spring(plant.q, goal)[0] + law.damping(plant.dq) + plant.model.coriolis)
        highest = np.maximum(highest, (plant.q - ready) / (goal - ready))
    np.testing.assert_allclose(plant.q, goal, atol=1e-3)
    assert (highest < 1.3).all()


def test_torque_is_stiffness_times_error_below_the_clip(ready: np.ndarray) -> None:
    law = JointImpedance(dataclasses.replace(GAINS, stiffness=(100.0,) * 7))
    np.testing.assert_allclose(law.spring(ready, ready + 0.01)[0], 1.0)


def test_default_torque_bounds() -> None:
    assert GAINS.torque_bound == pytest.approx((30.0, 30.0, 30.0, 30.0, 5.0, 4.5, 4.0))
    assert (np.array(GAINS.torque_bound) < MAX_TORQUE).all()


@pytest.mark.parametrize("name", ["stiffness", "damping", "clip"])
@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_gains_that_make_no_sense_are_refused_by_name_and_joint(name: str, value: float) -> None:
    values = list(getattr(GAINS, name))
    values[4] = value
    with pytest.raises(GainError, match=f"{name} of joint 5"):
        dataclasses.replace(GAINS, **{name: tuple(values)})
    with pytest.raises(GainError, match=f"joint {name} needs"):
        dataclasses.replace(GAINS, **{name: (1.0,) * 6})


def test_springs_that_push_too_hard_and_clips_of_nothing_are_refused() -> None:
    with pytest.raises(GainError, match="joint 7"):
        dataclasses.replace(GAINS, stiffness=(*GAINS.stiffness[:6], 200.0))
    with pytest.raises(GainError, match="clip of joint 1"):
        dataclasses.replace(GAINS, clip=(0.0,) * 7)


def test_damping_has_to_survive_sampling() -> None:
    GAINS.check_sampling()
    with pytest.raises(GainError, match="damping of joint 3"):
        dataclasses.replace(GAINS, damping=(50.0, 50.0, 0.3, 30.0, 10.0, 8.0, 6.0)).check_sampling()
    with pytest.raises(GainError, match="damping of joint 5"):
        GAINS.check_sampling(inertia=(0.195, 0.195, 0.195, 0.195, 0.005, 0.074, 0.074))
