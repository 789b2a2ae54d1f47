from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from controllers.friction import MAX_CAP, FrictionCompensation, FrictionConfig, FrictionError

COULOMB = (1.137, 1.137, 1.137, 1.137, 0.763, 0.44, 0.248)  # of the simulated FR3 [N·m]
VISCOUS = (0.21,) * 7
speeds = hnp.arrays(np.float64, 7, elements=st.floats(-5.0, 5.0))


def compensation(share: float, cap: float = MAX_CAP) -> FrictionCompensation:
    c, b = (tuple(share * v for v in values) for values in (COULOMB, VISCOUS))
    return FrictionCompensation(FrictionConfig(c, b, smoothing=0.05, cap=cap))


@given(speeds, st.floats(0.0, 1.0))
def test_power_is_never_more_than_friction_takes_when_it_is_estimated_too_low(dq: np.ndarray, share: float) -> None:
    power = compensation(share).torque(dq) * dq
    heat = np.array(COULOMB) * np.abs(dq) + np.array(VISCOUS) * dq**2
    assert (power >= 0.0).all()
    assert (power <= heat * (1 + 1e-12)).all()


@given(speeds)
def test_torque_is_odd_and_capped(dq: np.ndarray) -> None:
    torque = compensation(1.0, cap=0.6).torque(dq).copy()
    assert np.abs(torque).max() <= 0.6
    np.testing.assert_array_equal(compensation(1.0, cap=0.6).torque(-dq), -torque)


def test_most_of_the_friction_is_compensated_at_speed() -> None:
    dq = np.full(7, 0.5)
    np.testing.assert_allclose(compensation(0.7).torque(dq), 0.7 * (np.array(COULOMB) + 0.105), rtol=1e-6)
    np.testing.assert_allclose(compensation(1.0).torque(np.full(7, 0.05)) - 0.0105, math.tanh(1.0) * np.array(COULOMB))


def test_nothing_is_compensated_by_default() -> None:
    assert not FrictionConfig().active
    assert compensation(0.7).config.active
    assert not FrictionCompensation(FrictionConfig()).torque(np.linspace(-2.0, 2.0, 7)).any()


@pytest.mark.parametrize(
    "values",
    [
        {"coulomb": (1.0,) * 6},
        {"coulomb": (-0.1,) + (0.0,) * 6},
        {"viscous": (math.nan,) * 7},
        {"smoothing": 0.0},
        {"smoothing": math.inf},
        {"cap": -0.1},
        {"cap": 2.5},
        {"cap": math.nan},
    ],
)
def test_parameters_that_make_no_sense_are_refused_by_name(values: dict[str, object]) -> None:
    with pytest.raises(FrictionError, match=next(iter(values))):
        FrictionConfig(**values)
