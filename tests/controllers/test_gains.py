from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.gains import MAX_FORCE, UNITS, GainError, ImpedanceGains, describe_change, interpolate

SOFT = ImpedanceGains((200.0, 0.0, 1000.0), translational_clip=(0.1, 0.05, 0.1), rotational_stiffness=0.0)


@st.composite
def gains(draw: st.DrawFn) -> ImpedanceGains:
    def axes(most: float) -> tuple[float, ...]:
        return tuple(draw(st.floats(0.0, most)) for _ in range(3))

    K, force = axes(1e4), axes(MAX_FORCE)
    clip = tuple(max(f / k, 1e-6) if k > 1.0 else 1.0 for k, f in zip(K, force, strict=True))
    rotational = draw(st.floats(0.0, 100.0))
    return ImpedanceGains(
        K, rotational, axes(200.0), 5.0, clip, draw(st.floats(1e-3, 0.12)), inertial_damping=draw(st.floats(0.0, 1.0))
    )


def test_defaults_push_with_20_newtons_an_axis_and_turn_with_3_75_newton_metres() -> None:
    assert ImpedanceGains().force_bound == pytest.approx(20.0)
    assert ImpedanceGains().moment_bound == pytest.approx(3.75)


def test_axes_may_differ() -> None:
    assert SOFT.force_bound == pytest.approx((20.0, 0.0, 100.0))
    assert ImpedanceGains((2000, 2000, 2000.0)) == ImpedanceGains()
    assert ImpedanceGains(np.array([1.0, 2.0, 3.0])).translational_stiffness == (1.0, 2.0, 3.0)


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(ImpedanceGains)])
@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_gains_of_the_wrong_sign_are_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(GainError, match=name):
        ImpedanceGains(**{name: value})


@pytest.mark.parametrize("value", [(1.0, 2.0), (1.0, -2.0, 3.0), (1.0, np.nan, 3.0)])
def test_axes_of_the_wrong_number_or_sign_are_refused_by_name(value: tuple[float, ...]) -> None:
    with pytest.raises(GainError, match="translational_damping"):
        ImpedanceGains(translational_damping=value)
    with pytest.raises(GainError, match="rotational_damping must be one number"):
        ImpedanceGains(rotational_damping=(1.0, 2.0, 3.0))


@pytest.mark.parametrize("name", ["rotational_clip", "translational_clip"])
def test_a_clip_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(GainError, match="clip"):
        ImpedanceGains(**{name: 0.0})


def test_springs_that_push_too_hard_are_refused() -> None:
    with pytest.raises(GainError, match=r"translational_stiffness .* 200.* N; the most allowed along an axis is 100"):
        ImpedanceGains(translational_stiffness=20000.0)
    with pytest.raises(GainError, match="translational_clip"):
        ImpedanceGains((0.0, 0.0, 2000.0), translational_clip=0.06)
    with pytest.raises(GainError, match="rotational_stiffness"):
        ImpedanceGains(rotational_stiffness=300.0)
    assert ImpedanceGains(1e4, translational_clip=0.01).force_bound == pytest.approx(MAX_FORCE)


def test_damping_by_ratio_is_critical_for_unit_mass() -> None:
    """x'' + D x' + K x = 0 has the double root −√K."""
    damped = ImpedanceGains((400.0, 900.0, 1600.0), rotational_stiffness=25.0).damped_by_ratio()
    assert damped.translational_damping == pytest.approx((40.0, 60.0, 80.0))
    assert damped.rotational_damping == pytest.approx(10.0)
    for D, K in zip(damped.translational_damping, damped.translational_stiffness, strict=True):
        np.testing.assert_allclose(np.roots([1.0, D, K]), -(K**0.5), rtol=1e-6)


@given(gains(), gains(), st.floats(0.0, 1.0))
def test_between_two_gains_nothing_leaves_the_range_of_the_two(a: ImpedanceGains, b: ImpedanceGains, s: float) -> None:
    between = interpolate(a, b, s)
    for name in ("force_bound", "moment_bound", *(f.name for f in dataclasses.fields(ImpedanceGains))):
        low, high = np.sort((np.broadcast_to(getattr(a, name), 3), np.broadcast_to(getattr(b, name), 3)), axis=0)
        values = np.broadcast_to(getattr(between, name), 3)
        assert (values >= low * (1 - 1e-9) - 1e-12).all(), name
        assert (values <= high * (1 + 1e-9) + 1e-12).all(), name
    for name in ("translational_stiffness", "force_bound"):  # these two go linearly
        mean = (1.0 - s) * np.broadcast_to(getattr(a, name), 3) + s * np.broadcast_to(getattr(b, name), 3)
        np.testing.assert_allclose(np.broadcast_to(getattr(between, name), 3), mean, rtol=1e-9, atol=1e-9)


def test_a_rising_stiffness_and_a_falling_clip_do_not_meet_in_a_strong_spring() -> None:
    stiff, wide = ImpedanceGains(1e4, translational_clip=0.01), ImpedanceGains(1e3, translational_clip=0.1)
    for s in np.linspace(0.0, 1.0, 11):
        assert interpolate(wide, stiff, float(s)).force_bound == pytest.approx(MAX_FORCE)


def test_interpolation_is_held_at_its_ends() -> None:
    other = ImpedanceGains(500.0)
    assert interpolate(SOFT, other, -0.5) is SOFT
    assert interpolate(SOFT, other, 1.5) is other


def test_default_gains_may_be_sampled_at_a_kilohertz_and_slow_loops_may_not_have_them() -> None:
    for gains in (ImpedanceGains(), ImpedanceGains().damped_by_mass(0.7), ImpedanceGains().damped_by_ratio()):
        gains.check_sampling()
    with pytest.raises(GainError, match="translational_damping"):
        ImpedanceGains().check_sampling(period=0.1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("translational_damping", (89.0, 1.0, 89.0)),  # 2000 N/m · 0.5 ms
        ("rotational_damping", 0.0375),  # 75 N·m/rad · 0.5 ms
        ("nullspace_damping", 0.004),
        ("translational_damping", 3500.0),  # 2 · 1.7 kg / 1 ms = 3400
        ("rotational_damping", 80.0),  # 2 · 0.04 kg·m² / 1 ms
    ],
)
def test_damping_that_does_not_survive_sampling_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(GainError, match=name):
        dataclasses.replace(ImpedanceGains(), **{name: value}).check_sampling()


@pytest.mark.parametrize(("K", "share", "stable"), [(2e3, 1.02, True), (2e3, 0.98, False), (0.0, 0.0, True)])
def test_the_least_damping_is_where_a_sampled_spring_begins_to_gain_energy(
    K: float, share: float, stable: bool
) -> None:
    """A free mass on a sampled spring with continuous damping D, solved exactly from sample to sample."""
    T, m = 1e-3, 1.7
    D = share * 0.5 * K * T
    decay = D / m
    a = np.exp(-decay * T)
    if decay > 0.0:
        velocity, push = (1.0 - a) / decay, (T - (1.0 - a) / decay) / D
        step = np.array([[1.0 - K * push, velocity], [-K * (1.0 - a) / D, a]])
    else:
        step = np.array([[1.0, T], [0.0, 1.0]])
    radius = np.abs(np.linalg.eigvals(step)).max()
    assert (radius <= 1.0) == stable
    gains = ImpedanceGains(K, translational_damping=D)
    if stable:
        gains.check_sampling(mass=m)
    else:
        with pytest.raises(GainError, match="translational_damping"):
            gains.check_sampling(mass=m)


def test_a_change_of_gains_is_told_by_what_changes() -> None:
    old = ImpedanceGains(translational_stiffness=200.0, rotational_stiffness=7.5, translational_damping=30.0)
    new = dataclasses.replace(old, translational_stiffness=(2000.0, 2000.0, 500.0), rotational_stiffness=75.0)
    told = "translational stiffness 200 → (2000, 2000, 500) N/m, rotational stiffness 7.5 → 75 N·m/rad"
    assert describe_change(old, new) == told
    assert describe_change(old, dataclasses.replace(old, inertial_damping=0.7)) == "inertial damping 0 → 0.7"
    assert describe_change(old, old) == "gains as they were"
    assert set(UNITS) == {field.name for field in dataclasses.fields(ImpedanceGains)}
