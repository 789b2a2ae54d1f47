"""Commands of the core: which it takes, and what it makes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from controllers.core import ControllerConfig
from controllers.impedance import ImpedanceGains
from controllers.passivity import TankConfig
from controllers.spatial import Pose
from controllers.state import EventKind, JointSetpoint, Mode, Setpoint, WrenchSetpoint
from tests.controllers.loop import BOX, JUMPS, Loop, along_x

# The gate


@pytest.mark.parametrize("seq", [4, 5])
def test_a_repeated_or_older_setpoint_is_rejected(make_plant: Callable[..., Any], seq: int) -> None:
    loop = Loop(make_plant(), ControllerConfig(**JUMPS))
    loop.tick()
    assert loop.command(along_x(loop.home, 0.01), duration=0.0, seq=5) == ()
    (event,) = loop.command(along_x(loop.home, -0.2), duration=0.0, seq=seq)
    assert event.kind is EventKind.SETPOINT_REJECTED
    assert "stale" in event.detail
    loop.tick()
    assert loop.controller.target_translation[0] == pytest.approx(loop.home.translation[0] + 0.01)


def test_rejected_setpoints_are_no_sign_of_life(loop: Loop) -> None:
    loop.command(loop.home, seq=5)
    for _ in range(4):
        loop.run(0.1)
        loop.command(loop.home, seq=5)
    assert loop.controller.mode is Mode.HOLD


@pytest.mark.parametrize("duration", [-0.1, np.nan, np.inf])
def test_a_duration_that_is_no_time_is_rejected(loop: Loop, duration: float) -> None:
    (event,) = loop.command(along_x(loop.home, 0.01), duration=duration)
    assert event.kind is EventKind.SETPOINT_REJECTED
    assert "duration" in event.detail


def test_a_target_absurdly_far_away_is_rejected(loop: Loop) -> None:
    (event,) = loop.command(along_x(loop.home, 0.6))
    assert event.kind is EventKind.SETPOINT_REJECTED
    assert "0.600 m away" in event.detail


def test_targets_outside_the_workspace_are_clipped_and_said_so_once_per_excursion(
    make_plant: Callable[..., Any],
) -> None:
    loop = Loop(make_plant(), ControllerConfig(workspace=BOX, **JUMPS))
    for distance in (0.03, 0.08, 0.085, 0.03, 0.08):
        loop.command(along_x(loop.home, distance), duration=0.0)
        loop.tick()
        assert BOX.contains(Pose.from_rotation(loop.controller.target_translation, np.eye(3)))
    assert loop.kinds() == [EventKind.STARTED, EventKind.SETPOINT_CLIPPED, EventKind.SETPOINT_CLIPPED]
    assert loop.controller.target_translation[0] == pytest.approx(0.36)


def test_a_setpoint_too_far_for_its_time_is_approached_at_the_speed_limit(loop: Loop) -> None:
    """0.2 m in 0.01 s are taken in 0.4 s; a second one as fast is not reported again, a slow one ends the excursion."""
    loop.run(0.1)
    (event,) = loop.command(along_x(loop.home, 0.2), duration=0.01)
    assert event.kind is EventKind.SETPOINT_CLIPPED
    assert event.detail == "asks for 20 m/s; slowed to the speed limit of 0.5 m/s"
    before = loop.controller.target_translation
    for tick in range(200):
        loop.tick()
        target = loop.controller.target_translation
        assert np.linalg.norm(target - before) <= 0.5e-3 + 1e-12, tick
        before = target
    assert loop.command(along_x(loop.home, 0.2), duration=0.01) == ()
    assert loop.command(Pose.from_rotation(before, loop.home.rotation), duration=0.1) == ()
    assert len(loop.command(along_x(loop.home, 0.2), duration=0.01)) == 1


def test_a_turn_is_slowed_down_like_a_way(loop: Loop) -> None:
    (event,) = loop.command(loop.home.moved(np.array([0.0, 0.0, 0.0, 0.0, 0.0, 1.0])), duration=0.0)
    assert event.detail == "asks for 1 rad at once; slowed to the speed limit of 2.5 rad/s"


def test_a_target_held_up_by_the_tank_does_not_catch_up_faster_than_the_limit(make_plant: Callable[..., Any]) -> None:
    """Nothing moves until somebody pushes the arm along; what the tank then affords is taken at 0.5 m/s at most."""
    loop = Loop(make_plant(), ControllerConfig(tank=TankConfig(capacity=0.5, budget=0.0)))
    wall = loop.plant.state()
    before = loop.controller.target_translation
    for tick in range(400):
        moved = 1e-3 * max(0, tick - 200)  # 1 m/s
        state = wall._replace(time=tick * 1e-3, q=wall.q + moved * np.array([0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]))
        if tick % 100 == 0:
            loop.controller.command(Setpoint(along_x(loop.home, 0.3), tick + 1, 0.1), tick * 1e-3)
        loop.controller.tick(state)
        target = loop.controller.target_translation
        assert np.linalg.norm(target - before) <= 0.5e-3 + 1e-12, tick
        before = target


def test_joint_setpoints_are_followed_without_a_bump_and_back(loop: Loop, ready: np.ndarray) -> None:
    """Switching laws freezes the reference where the arm is: no torque of either spring is left at that moment."""
    goal = ready + np.array([0.2, 0.1, -0.1, 0.1, 0.2, -0.2, 0.3])
    loop.run(0.2)
    seq = 0
    for _ in range(20):
        seq += 1
        loop.events += loop.controller.command(JointSetpoint(goal, seq, 0.3), loop.plant.time)
        loop.run(0.1)
    np.testing.assert_allclose(loop.plant.q, goal, atol=2e-3)
    np.testing.assert_allclose(
        loop.controller.target_translation, loop.plant.model.forward_kinematics(goal).translation, atol=1e-4
    )
    before = loop.plant.torque.copy()
    loop.command(loop.plant.model.pose, duration=0.1, seq=seq + 1)
    result = loop.tick()
    assert np.abs(result.torque - before).max() < 0.2
    np.testing.assert_allclose(loop.controller.target_translation, loop.plant.model.translation, atol=1e-4)
    assert loop.kinds() == [EventKind.STARTED]


def test_joint_setpoints_share_their_numbers_with_poses(loop: Loop, ready: np.ndarray) -> None:
    loop.command(loop.home, seq=3)
    (event,) = loop.controller.command(JointSetpoint(ready, 3), loop.plant.time)
    assert "stale" in event.detail


@pytest.mark.parametrize(
    ("q", "why"),
    [
        (np.full(7, np.nan), "not finite"),
        (np.zeros(6), "7 numbers"),
        (np.array([1.2, -np.pi / 4, 0.0, -3 * np.pi / 4, 0.0, np.pi / 2, np.pi / 4]), "outside the workspace"),
    ],
)
def test_joint_setpoints_that_make_no_sense_are_rejected_with_the_reason(
    make_plant: Callable[..., Any], q: np.ndarray, why: str
) -> None:
    loop = Loop(make_plant(), ControllerConfig(workspace=BOX))
    (event,) = loop.controller.command(JointSetpoint(q, 1), 0.0)
    assert event.kind is EventKind.SETPOINT_REJECTED
    assert why in event.detail


def test_joint_setpoints_keep_clear_of_the_limits_and_of_the_speed_limit(loop: Loop, ready: np.ndarray) -> None:
    beyond = ready.copy()
    beyond[3] = 5.0
    (event,) = loop.controller.command(JointSetpoint(beyond, 1, 0.0), 0.0)
    assert event.kind is EventKind.SETPOINT_CLIPPED
    assert "joint 4" in event.detail
    assert "speed limit" in event.detail
    before, fastest = loop.controller.target_translation, 0.0
    for _ in range(100):
        loop.tick()
        fastest = max(fastest, float(np.linalg.norm(loop.controller.target_translation - before)) / 1e-3)
        before = loop.controller.target_translation
    assert 0.1 < fastest < 0.51  # chords are a little shorter than the path


@pytest.mark.parametrize(
    ("wrench", "why"),
    [
        (np.array([np.inf, 0, 0, 0, 0, 0]), "not finite"),
        (np.array([25.0, 25.0, 0, 0, 0, 0]), "more than max_force 30 N"),
        (np.array([0, 0, 0, 0, 0, 11.0]), "max_moment 10 N·m"),
    ],
)
def test_wrenches_that_make_no_sense_are_rejected_with_the_reason(loop: Loop, wrench: np.ndarray, why: str) -> None:
    (event,) = loop.controller.command(WrenchSetpoint(wrench, 1), 0.0)
    assert event.kind is EventKind.SETPOINT_REJECTED
    assert why in event.detail


def test_a_wrench_is_exerted_on_the_world_and_fades_when_it_is_not_renewed(loop: Loop) -> None:
    """Against a wall that takes every torque the TCP pushes as asked for, until 0.25 s after the last one."""
    wrench = np.array([5.0, -10.0, 3.0, 0.5, 1.0, -0.5])
    state, forces = loop.plant.state(), []
    for tick in range(600):
        time = tick * 1e-3
        if tick % 50 == 0:
            loop.controller.command(Setpoint(loop.home, tick + 1), time)
        if tick == 150:
            loop.controller.command(WrenchSetpoint(wrench, 1), time)
        result = loop.controller.tick(state._replace(time=time, tau_J_d=loop.plant.torque))
        loop.plant.torque = result.torque
        forces.append(np.linalg.lstsq(loop.plant.model.jacobian.T, result.torque, rcond=None)[0])
    np.testing.assert_allclose(forces[149], 0.0, atol=1e-6)
    np.testing.assert_allclose(forces[399], wrench, atol=1e-6)
    np.testing.assert_allclose(forces[450], 0.5 * wrench, atol=0.2)
    np.testing.assert_allclose(forces[520], 0.0, atol=1e-6)


def test_gains_are_ramped_and_a_start_goes_back_to_the_configured_ones(loop: Loop) -> None:
    loop.run(0.15)
    soft = ImpedanceGains(translational_stiffness=200.0, translational_damping=30.0)
    (event,) = loop.controller.change_gains(soft, loop.plant.time)
    assert event.kind is EventKind.GAINS_CHANGED
    assert event.detail == "translational stiffness 2000 → 200 N/m, translational damping 89 → 30 N·s/m within 0.3 s"
    ramp = []
    for _ in range(round(1e3 * loop.controller.config.gain_ramp) + 1):
        loop.tick()
        ramp.append(float(np.max(loop.controller.gains.translational_stiffness)))
    assert max(np.abs(np.diff(ramp))) <= 1800.0 * 1e-3 / loop.controller.config.gain_ramp * 1.001
    assert loop.controller.gains == soft
    loop.controller.start(loop.plant.state())
    assert loop.controller.gains == loop.controller.config.gains


def test_ten_times_the_stiffness_is_paid_before_it_acts_and_goes_as_far_as_the_tank_can_pay(
    make_plant: Callable[..., Any],
) -> None:
    """3 cm from the target, inside the clip: 200 N/m hold 0.09 J, ten times that 0.9 J; the tank has 0.5 J."""
    soft = ImpedanceGains(translational_stiffness=200.0, translational_clip=0.04, translational_damping=30.0)
    tank = TankConfig(capacity=0.5, budget=0.0)
    loop = Loop(make_plant(), ControllerConfig(gains=soft, tank=tank, max_speed=np.inf))
    state = loop.plant.state()
    loop.controller.command(Setpoint(along_x(loop.home, 0.03), 1, 0.0), 0.0)
    last = None
    for tick in range(600):
        if tick % 100 == 0:
            loop.controller.command(Setpoint(along_x(loop.home, 0.03), tick + 2, 0.0), tick * 1e-3)
        if tick == 150:
            stiff = ImpedanceGains(translational_stiffness=2000.0, translational_clip=0.04)
            loop.controller.change_gains(stiff, 0.15)
        last = loop.controller.tick(state._replace(time=tick * 1e-3))
    assert last is not None
    held = 0.5 * float(np.max(loop.controller.gains.translational_stiffness)) * 0.03**2
    coming = 0.0153  # [J] kept back at rest, see above
    assert held == pytest.approx(tank.capacity - tank.reserve - tank.valve_width - coming, rel=0.01)
    assert last.tank == pytest.approx(tank.capacity - held, abs=1e-3)
    assert last.activity > 0.1


def test_gains_that_cannot_be_sampled_are_rejected(loop: Loop) -> None:
    (event,) = loop.controller.change_gains(ImpedanceGains(translational_damping=1e5), 0.0)
    assert event.kind is EventKind.SETPOINT_REJECTED
    assert "translational_damping" in event.detail


def test_nothing_commanded_before_a_start_survives_it(loop: Loop, ready: np.ndarray) -> None:
    """Joint goal, wrench and gains of the motion before: the next one holds where the arm is."""
    loop.controller.command(JointSetpoint(ready + 0.2, 1), 0.0)
    loop.controller.command(WrenchSetpoint(np.array([20.0, 0, 0, 0, 0, 0]), 1), 0.0)
    loop.controller.change_gains(ImpedanceGains(translational_stiffness=600.0), 0.0)
    loop.run(0.2)
    loop.plant.dq[:] = 0.0
    loop.plant.torque[:] = 0.0
    loop.controller.start(loop.plant.state())
    assert max(np.abs(tick.torque).max() for tick in loop.run(0.2)) < 1e-6
    assert loop.controller.gains == loop.controller.config.gains
