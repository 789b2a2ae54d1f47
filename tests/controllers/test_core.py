"""The core from start to end: following, the watchdog, faults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers.config import MOST
from controllers.core import ControlError, Controller, ControllerConfig
from controllers.impedance import ImpedanceGains
from controllers.passivity import TankConfig
from controllers.state import Event, EventKind, Mode, Setpoint
from tests.controllers.loop import JUMPS, MILLISECONDS, Loop, along_x

# Starting


def test_start_is_without_a_bump(loop: Loop) -> None:
    ticks = loop.run(0.2)
    assert loop.kinds() == [EventKind.STARTED]
    assert max(np.abs(tick.torque).max() for tick in ticks) < 1e-9
    assert {tick.mode for tick in ticks} == {Mode.HOLD}


def test_stiffness_is_ramped_up(loop: Loop) -> None:
    loop.command(along_x(loop.home, 0.01), duration=0.0)
    first = np.linalg.norm(loop.tick().torque)
    later = [np.linalg.norm(tick.torque) for tick in loop.run(0.05)]
    assert first == 0.0  # no time has passed since the start
    assert max(later) < 0.99 * np.sqrt(7) * 50
    assert later[10] > later[2] > 0.0


def test_a_second_start_forgets_the_first_motion(loop: Loop) -> None:
    loop.command(along_x(loop.home, 0.1))
    loop.run(0.2)
    loop.plant.dq[:] = 0.0
    loop.plant.torque[:] = 0.0
    loop.controller.start(loop.plant.state())
    assert np.abs(loop.tick().torque).max() < 1e-6
    np.testing.assert_allclose(loop.controller.target_translation, loop.plant.model.translation, atol=1e-6)


def test_before_the_start_and_after_the_end_there_is_no_torque(make_plant: Callable[..., Any]) -> None:
    plant = make_plant()
    controller = Controller(plant.model, ControllerConfig())
    result = controller.tick(plant.state())
    assert result.finished
    assert result.mode is Mode.IDLE
    assert not result.torque.any()
    (event,) = controller.command(Setpoint(plant.model.pose, 0), 0.0)
    assert event.kind is EventKind.SETPOINT_REJECTED


def test_start_refuses_a_state_that_is_not_finite(make_plant: Callable[..., Any]) -> None:
    plant = make_plant()
    plant.q[2] = np.nan
    with pytest.raises(ControlError, match="not finite"):
        Controller(plant.model, ControllerConfig()).start(plant.state())


# Following


def test_reaches_a_setpoint_with_no_more_overshoot_than_its_energy_allows(make_plant: Callable[..., Any]) -> None:
    """When the reference stops, spring and motion hold U + T; a passive arm can never stretch the spring further.

    So ½ K |e|² ≤ U + T ever after (inside the clip). The posture spring, which would add to that energy, is off; 2 %
    are left for what Coriolis compensation and the sampled spring do.
    """
    gains = ImpedanceGains(nullspace_stiffness=0.0)
    loop = Loop(make_plant(), ControllerConfig(gains=gains))
    goal = along_x(loop.home, 0.05)
    for step in range(10):
        loop.command(along_x(loop.home, 0.005 * (step + 1)))
        loop.run(0.1)
    model = loop.plant.model
    error = goal.difference(model.pose)
    energy = loop.plant.kinetic_energy() + 0.5 * (
        gains.translational_stiffness * error[:3] @ error[:3] + gains.rotational_stiffness * error[3:] @ error[3:]
    )
    bound = np.sqrt(2.0 * energy / gains.translational_stiffness)
    overshoot = 0.0
    for _ in range(20):
        loop.command(goal)
        for _ in range(200):
            loop.tick()
            overshoot = max(overshoot, float(model.translation[0] - goal.translation[0]))
    assert bound < gains.translational_clip  # or the potential above would not be the spring's
    assert overshoot <= 1.02 * bound
    # The slowest mode decays with 2.4 rad/s here: e^(−2.4 · 4) of the bound is left, 0.001 mm.
    np.testing.assert_allclose(goal.difference(model.pose)[:3], 0.0, atol=1e-5)
    assert EventKind.TANK_EMPTY not in loop.kinds()


def test_normal_motion_does_not_feel_the_tank(loop: Loop) -> None:
    """1 cm every 0.1 s, back and forth."""
    for step in range(20):
        loop.command(along_x(loop.home, 0.01 * min(step, 20 - step)))
        ticks = loop.run(0.1)
        assert min(tick.tank for tick in ticks) > 1.0
    assert loop.kinds() == [EventKind.STARTED]


def test_a_target_the_tank_cannot_pay_for_is_approached_as_far_as_it_can(make_plant: Callable[..., Any]) -> None:
    loop = Loop(make_plant(), ControllerConfig(**JUMPS))
    loop.run(0.15)
    loop.command(along_x(loop.home, 0.3), duration=0.0)
    loop.tick()
    tank, gains = loop.controller.config.tank, loop.controller.config.gains
    # Of each joint at rest, one step of the rate limit may act through a stall, and is taken away after it.
    step = loop.controller.config.max_torque_step
    coming = 7 * 0.5 * tank.acceleration * step * (tank.stall + 1e-3) ** 2
    spare = tank.capacity + tank.budget * 1e-3 - tank.reserve - tank.valve_width - coming
    # beyond the clip c the spring holds F (e − ½c), with F the force bound
    reach = spare / gains.force_bound + 0.5 * gains.translational_clip
    gone = loop.controller.target_translation[0] - loop.home.translation[0]
    assert gone == pytest.approx(reach, rel=1e-4)  # ‖·‖ for the sum over the joints
    assert loop.kinds() == [EventKind.STARTED, EventKind.TANK_EMPTY]


def test_contact_force_is_bounded_however_far_the_target(loop: Loop) -> None:
    """Against a wall that takes every torque, the TCP is pushed with the spring's bound and no more."""
    loop.command(along_x(loop.home, 0.4), duration=0.0)
    state = loop.plant.state()
    result = None
    for tick in range(200):  # the arm does not move
        result = loop.controller.tick(state._replace(time=tick * 1e-3, tau_J_d=loop.plant.torque))
        loop.plant.torque = result.torque
    force = np.linalg.lstsq(loop.plant.model.jacobian.T, result.torque, rcond=None)[0]
    np.testing.assert_allclose(force[:3], [20.0, 0.0, 0.0], atol=1e-6)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=5, deadline=None)
def test_torque_never_steps_by_more_than_one_newton_metre(make_plant: Callable[..., Any], seed: int) -> None:
    rng = np.random.default_rng(seed)
    loop = Loop(make_plant(dq=rng.uniform(-0.5, 0.5, 7)))
    previous = loop.plant.torque
    for step in range(10):
        loop.command(loop.home.moved(rng.uniform(-0.25, 0.25, 6) * (1, 1, 1, 8, 8, 8)), duration=0.05 * (step % 3))
        for tick in loop.run(0.04):
            assert np.abs(tick.torque - previous).max() < 1.0
            assert (np.abs(tick.torque) <= loop.plant.model.effort).all()
            previous = tick.torque


# The watchdog


def test_without_setpoints_the_arm_holds_then_damps_out_then_finishes(loop: Loop) -> None:
    loop.command(along_x(loop.home, 0.1), duration=0.5)
    modes, seen = [], 0.0
    while loop.controller.mode is not Mode.IDLE and loop.plant.time < 3.0:
        result = loop.tick()
        if not modes or modes[-1][1] is not result.mode:
            modes.append((round(loop.plant.time, 3), result.mode))
        seen = loop.plant.time
    assert [mode for _, mode in modes] == [Mode.TRACK, Mode.HOLD, Mode.DAMP, Mode.IDLE]
    assert modes[1][0] == pytest.approx(0.25, abs=0.003)
    assert modes[2][0] == pytest.approx(1.0, abs=0.003)
    assert 1.5 <= seen <= 2.01
    assert loop.kinds()[1:] == [EventKind.SETPOINT_STALE, EventKind.DAMPING, EventKind.FINISHED]
    assert result.finished


def test_hold_is_at_the_pose_measured_when_setpoints_stopped(loop: Loop) -> None:
    loop.command(along_x(loop.home, 0.1), duration=0.5)
    while loop.controller.mode is not Mode.HOLD:
        loop.tick()
    np.testing.assert_array_equal(loop.controller.target_translation, loop.plant.model.translation)
    frozen = loop.controller.target_translation.copy()
    loop.run(0.3)
    np.testing.assert_array_equal(loop.controller.target_translation, frozen)
    assert frozen[0] < loop.home.translation[0] + 0.09


def test_a_fresh_setpoint_resumes_from_the_held_pose_without_a_bump(loop: Loop) -> None:
    loop.command(along_x(loop.home, 0.05), duration=0.1)
    loop.run(0.5)
    assert loop.controller.mode is Mode.HOLD
    before = loop.controller.target_translation.copy()
    loop.command(along_x(loop.home, -0.05), duration=0.2)
    result = loop.tick()
    assert result.mode is Mode.TRACK
    # the first millisecond of 200: under 1 % of the way
    assert np.linalg.norm(loop.controller.target_translation - before) < 0.01 * 0.15
    assert not result.finished


def test_setpoints_do_not_revive_an_arm_that_is_damping_out(loop: Loop) -> None:
    loop.run(1.1)
    assert loop.controller.mode is Mode.DAMP
    (event,) = loop.command(loop.home)
    assert event.kind is EventKind.SETPOINT_REJECTED
    assert "DAMP" in event.detail


def test_stop_damps_out_from_any_motion(loop: Loop) -> None:
    loop.command(along_x(loop.home, 0.1), duration=0.3)
    loop.run(0.15)
    loop.controller.stop()
    ticks = []
    while not ticks or not ticks[-1].finished:
        ticks.append(loop.tick())
        assert len(ticks) < 1.1 * MILLISECONDS
    assert ticks[0].mode is Mode.DAMP
    assert ticks[-1].mode is Mode.IDLE
    assert np.abs(loop.plant.dq).max() < 0.1
    assert np.abs(ticks[-1].torque).max() < 1.0


# Faults


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("field", ["q", "dq", "tau_J_d", "wrench"])
def test_a_measurement_that_is_not_finite_ends_the_motion_with_no_torque(loop: Loop, field: str, value: float) -> None:
    loop.command(along_x(loop.home, 0.05))
    loop.run(0.05)
    state = loop.plant.state()
    bad = getattr(state, field).copy()
    bad[3] = value
    result = loop.controller.tick(state._replace(**{field: bad}))
    assert result.finished
    assert result.mode is Mode.FAULT
    assert not result.torque.any()
    assert [event.kind for event in result.events] == [EventKind.FINISHED]
    assert loop.controller.tick(state).finished


def test_saturation_is_reported_once(make_plant: Callable[..., Any]) -> None:
    # 100 N along x, 0.2 m below the axis of the sixth joint, is more than its 12 N·m.
    stiff = ImpedanceGains(translational_stiffness=1e4, translational_damping=20.0)
    loop = Loop(make_plant(), ControllerConfig(gains=stiff, max_jump=5.0))
    state = loop.plant.state()
    loop.command(loop.home.moved(np.array([0.02, 0.0, 0.0, 0.0, 0.0, 0.0])), duration=0.0)
    events: list[Event] = []
    for tick in range(150):
        result = loop.controller.tick(state._replace(time=tick * 1e-3, tau_J_d=loop.plant.torque))
        loop.plant.torque = result.torque
        events += result.events
        assert (np.abs(result.torque) <= loop.plant.model.effort).all()
    assert [event.kind for event in events].count(EventKind.TORQUE_SATURATED) == 1


# Configuration


@pytest.mark.parametrize(
    "values",
    [
        {"hold_after": 0.0},
        {"ramp_up": np.nan},
        {"max_jump": -1.0},
        {"damp_after": 0.1},
        {"max_torque_step": 1.5},
        {"max_torque_step": np.nan},
        {"repulsion_margin": -0.1},
        {"repulsion_peak": 1e3},
    ],
)
def test_configurations_that_make_no_sense_are_refused_by_name(values: dict[str, float]) -> None:
    with pytest.raises(ControlError, match=next(iter(values))):
        ControllerConfig(**values)


def test_the_limits_of_a_real_arm_have_bounds() -> None:
    ControllerConfig().check_real()
    for name, most in MOST.items():
        group, _, key = name.rpartition(".")
        for value, fits in ((most, True), (np.nextafter(most, np.inf), False), (np.inf, False)):
            if key in ("hold_after", "damp_after", "wrench_ramp", "max_jump", "capacity", "budget") and value == np.inf:
                continue  # refused of any arm
            made = {key: value} | ({"damp_after": 2.0 * value} if key == "hold_after" else {})
            changes = {group: TankConfig(**made)} if group else made
            config = ControllerConfig(**changes)  # type: ignore[arg-type]
            if fits:
                config.check_real()
            else:
                with pytest.raises(ControlError, match=f"{name}=.* for a real arm"):
                    config.check_real()
