from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers.core import ControlError, Controller, ControllerConfig
from controllers.friction import FrictionConfig
from controllers.impedance import ImpedanceGains
from controllers.passivity import TankConfig
from controllers.spatial import Pose
from controllers.state import Event, EventKind, JointSetpoint, Mode, Setpoint, Tick, WrenchSetpoint
from controllers.workspace import Workspace

MILLISECONDS = 1000
# The reference may jump: no speed limit, no outflow cap.
JUMPS: dict[str, Any] = {
    "max_speed": np.inf,
    "max_turn_speed": np.inf,
    "tank": TankConfig(outflow=np.inf),
}
BOX = Workspace(np.array([0.2, -0.3, 0.1]), np.array([0.36, 0.3, 0.7]))


class Loop:
    """A plant and its controller."""

    def __init__(self, plant: Any, config: ControllerConfig | None = None) -> None:
        self.plant = plant
        self.controller = Controller(plant.model, config or ControllerConfig())
        self.events: list[Event] = list(self.controller.start(plant.state()))
        self.home = plant.model.pose
        self.seq = 0

    def command(self, pose: Pose, duration: float = 0.1, seq: int | None = None) -> tuple[Event, ...]:
        self.seq = self.seq + 1 if seq is None else seq
        events = self.controller.command(Setpoint(pose, self.seq, duration), self.plant.time)
        self.events += events
        return events

    def tick(self) -> Tick:
        result = self.controller.tick(self.plant.state())
        self.events += result.events
        self.plant.step(result.torque)
        return result

    def run(self, seconds: float) -> list[Tick]:
        return [self.tick() for _ in range(round(seconds * MILLISECONDS))]

    def kinds(self) -> list[EventKind]:
        return [event.kind for event in self.events]


@pytest.fixture
def loop(make_plant: Callable[..., Any]) -> Loop:
    return Loop(make_plant())


def along_x(pose: Pose, distance: float) -> Pose:
    return pose.moved(np.array([distance, 0.0, 0.0, 0.0, 0.0, 0.0]))


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


# Giving way


def pressed_into_a_wall(loop: Loop, q: np.ndarray | None) -> list[float]:
    """Forces [N] of a stiff wall, 2 cm away, on a TCP that is sent 15 cm along x: to a pose, or to joint positions."""
    wall_at = float(loop.home.translation[0]) + 0.02
    forces = []
    for tick in range(1500):
        if tick % 100 == 0:
            pose = Setpoint(along_x(loop.home, 0.15), tick + 1, 0.3)
            setpoint = pose if q is None else JointSetpoint(q, tick + 1, 0.3)
            loop.events += loop.controller.command(setpoint, loop.plant.time)
        model = loop.plant.model
        depth = float(model.translation[0]) - wall_at
        forces.append(max(0.0, 2e4 * depth + 100.0 * float(model.twist[0])) if depth > 0.0 else 0.0)
        wrench = np.array([-forces[-1], 0.0, 0.0, 0.0, 0.0, 0.0])
        result = loop.controller.tick(loop.plant.state()._replace(wrench=wrench))
        loop.events += result.events
        loop.plant.step(result.torque, model.jacobian.T @ wrench)
    return forces


@pytest.mark.parametrize("joints", [False, True])
def test_a_push_above_the_limit_is_given_way_to_and_reported_once_per_occurrence(
    make_plant: Callable[..., Any], ready: np.ndarray, joints: bool
) -> None:
    """The spring could press with 60 N, and would. The limit of 25 N holds but for impacts, which are over too soon."""
    gains = ImpedanceGains(translational_clip=0.03)
    free = Loop(make_plant(), ControllerConfig(gains=gains, force_limit=np.inf))
    loop = Loop(make_plant(), ControllerConfig(gains=gains, force_limit=25.0))
    q = loop.plant.model.inverse_kinematics(along_x(loop.home, 0.15), ready) if joints else None
    assert max(pressed_into_a_wall(free, q)) > 45.0
    forces = pressed_into_a_wall(loop, q)
    assert max(forces[1000:]) < 30.0
    exceeded = sum(a <= 25.0 < b for a, b in itertools.pairwise(forces))
    assert 1 <= loop.kinds().count(EventKind.FORCE_LIMIT) <= exceeded
    assert EventKind.FORCE_LIMIT not in free.kinds()
    assert loop.controller.tank.overdraft == 0.0


def test_an_arm_that_holds_gives_way_to_a_strong_hand_and_stays_there(loop: Loop) -> None:
    loop.run(0.2)
    loop.command(loop.home)
    push = np.array([0.0, 50.0, 0.0, 0.0, 0.0, 0.0])
    for tick in range(500):
        if tick % 100 == 0:
            loop.command(Pose.from_rotation(loop.controller.target_translation, loop.home.rotation))
        state = loop.plant.state()._replace(wrench=push if tick < 300 else np.zeros(6))
        result = loop.controller.tick(state)
        loop.events += result.events
        loop.plant.step(result.torque, loop.plant.model.jacobian.T @ push if tick < 300 else 0.0)
    assert loop.kinds().count(EventKind.FORCE_LIMIT) == 1
    assert loop.plant.model.translation[1] - loop.home.translation[1] > 0.02


# The budget


def test_the_budget_lasts_for_one_episode_and_a_new_one_does_not_fill_the_tank(make_plant: Callable[..., Any]) -> None:
    """Friction uses the tank up at a held target; what is granted in all is the episode's budget."""
    tank = TankConfig(capacity=1.0, budget=5.0, episode_budget=0.5)
    loop = Loop(make_plant(), ControllerConfig(tank=tank))
    assert loop.tick().budget == 0.5
    loop.controller.tank.account = 0.3
    loop.run(0.05)
    result = loop.run(0.1)[-1]
    assert result.budget == 0.0
    assert result.tank == pytest.approx(0.8, abs=1e-3)
    (event,) = loop.controller.begin_episode()
    assert event.kind is EventKind.BUDGET_GRANTED
    assert loop.controller.tank.level == pytest.approx(0.8, abs=1e-3)
    result = loop.run(0.2)[-1]
    assert result.tank == pytest.approx(1.0, abs=1e-3)
    assert result.budget == pytest.approx(0.3, abs=2e-3), "what the tank has no room for is not drawn"


def test_a_filter_switched_off_books_and_reports_and_holds_nothing_back(make_plant: Callable[..., Any]) -> None:
    """0.3 m away the spring holds 5.9 J; the tank had 0.5."""
    off = TankConfig(capacity=0.5, budget=0.0, filter=False, outflow=np.inf)
    loop = Loop(make_plant(), ControllerConfig(**{**JUMPS, "tank": off}))
    loop.run(0.15)
    loop.command(along_x(loop.home, 0.3), duration=0.0)
    result = loop.tick()
    assert loop.controller.target_translation[0] == pytest.approx(loop.home.translation[0] + 0.3)
    assert result.tank == pytest.approx(0.5 - 20.0 * (0.3 - 0.005), abs=0.01)
    assert EventKind.TANK_EMPTY in loop.kinds()
    assert loop.run(0.1)[-1].activity == pytest.approx(0.1, abs=0.01)


def test_the_outflow_cap_limits_how_fast_a_jump_drains_the_tank(make_plant: Callable[..., Any]) -> None:
    loop = Loop(make_plant(), ControllerConfig(tank=TankConfig(outflow=10.0, budget=0.0), max_speed=np.inf))
    loop.run(0.15)
    loop.command(along_x(loop.home, 0.05), duration=0.0)
    levels = [tick.tank for tick in loop.run(0.05)]
    assert np.diff(levels).min() == pytest.approx(-0.01, rel=0.1)
    assert EventKind.TANK_EMPTY not in loop.kinds()


def test_what_waits_for_the_outflow_cap_does_not_count_as_held_back(make_plant: Callable[..., Any]) -> None:
    loop = Loop(make_plant(), ControllerConfig(tank=TankConfig(outflow=10.0), max_speed=np.inf))
    loop.run(0.15)
    loop.command(along_x(loop.home, 0.05), duration=0.0)
    assert loop.run(0.05)[-1].activity == 0.0
    gone = loop.controller.target_translation[0] - loop.home.translation[0]
    assert 0.01 < gone < 0.04, "or the cap would not have been in the way"


def test_the_start_says_what_it_grants(loop: Loop) -> None:
    assert "full with 2.00 J, 300 J for this episode" in loop.events[0].detail


def test_a_shortage_is_one_event_however_long_it_lasts(make_plant: Callable[..., Any], ready: np.ndarray) -> None:
    """The joint springs at their clips hold more than the torques in force leave of the tank."""
    loop = Loop(make_plant())
    far = ready.copy()
    far[0] += 0.8
    loop.controller.command(JointSetpoint(far, 0, 0.5), 0.0)
    loop.run(0.24)
    assert loop.kinds().count(EventKind.TANK_EMPTY) == 1


def test_gains_change_while_the_joints_are_followed_whatever_the_tank_holds(
    make_plant: Callable[..., Any], ready: np.ndarray
) -> None:
    """The Cartesian spring, whose target was left behind, does not act and costs nothing."""
    loop = Loop(make_plant(), ControllerConfig(hold_after=5.0, damp_after=6.0))
    far = ready.copy()
    far[0] += 0.5
    loop.controller.command(JointSetpoint(far, 0, 1.0), 0.0)
    before = loop.run(1.2)[-1].activity
    stiff = ImpedanceGains(translational_stiffness=3000.0, translational_damping=110.0)
    loop.controller.change_gains(stiff, loop.plant.time)
    result = loop.run(0.32)[-1]
    assert loop.controller.gains.translational_stiffness == pytest.approx(3000.0)
    assert result.activity == before


def test_a_state_that_was_overtaken_grants_nothing(make_plant: Callable[..., Any]) -> None:
    loop = Loop(make_plant(), ControllerConfig(tank=TankConfig(budget=5.0)))
    state, tank = loop.plant.state(), loop.controller.tank
    tank.account = 0.5
    for milliseconds in (2, 1, 3, 2, 4, 3, 5):
        loop.controller.tick(state._replace(time=1e-3 * milliseconds))
    assert tank.config.episode_budget - tank.budget == pytest.approx(5.0 * 5e-3)


def test_an_overdraft_is_reported_once(make_plant: Callable[..., Any]) -> None:
    """Somebody moves the arm along its torques faster than any assumption allows."""
    loop = Loop(make_plant(), ControllerConfig(tank=TankConfig(budget=0.0)))
    torque = np.full(7, 10.0)
    state = loop.plant.state()._replace(tau_J_d=torque)
    for tick in range(1, 4):
        moved = state._replace(time=1e-3 * tick, q=state.q + 0.02 * tick)
        loop.events += loop.controller.tick(moved).events
    assert loop.controller.tank.overdraft == pytest.approx(3 * 7 * 10.0 * 0.02 - 2.0)
    assert loop.kinds().count(EventKind.OVERDRAFT) == 1


def test_friction_is_not_compensated_any_longer_when_the_motion_has_been_damped_out(
    make_plant: Callable[..., Any],
) -> None:
    """It would be damping with the wrong sign."""
    dq = np.full(7, 0.3)
    limp = ImpedanceGains(0.0, 0.0, 0.0, 0.0, nullspace_stiffness=0.0, nullspace_damping=0.0)
    commands = []
    for coulomb in (0.0, 1.0):
        friction = FrictionConfig(coulomb=(coulomb,) * 7)
        config = ControllerConfig(gains=limp, friction=friction, rest_timeout=5.0)
        controller = Controller(make_plant().model, config)
        state = make_plant(dq=dq).state()
        controller.start(state)
        controller.stop()
        for tick in range(700):
            state = state._replace(time=1e-3 * tick, q=state.q + 1e-3 * dq * (tick > 0), tau_J_d=np.zeros(7))
            result = controller.tick(state)
        assert result.mode is Mode.DAMP
        commands.append(result.torque)
    np.testing.assert_array_equal(*commands)


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


def test_configuration_survives_a_trip_to_another_process() -> None:
    config = ControllerConfig(workspace=BOX, gains=ImpedanceGains(translational_stiffness=600.0))
    copy = pickle.loads(pickle.dumps(config))
    assert copy.gains == config.gains
    assert copy.tank == config.tank
    np.testing.assert_array_equal(copy.workspace.lower, BOX.lower)


@pytest.mark.parametrize("values", [{"hold_after": 0.0}, {"ramp_up": np.nan}, {"max_jump": -1.0}, {"damp_after": 0.1}])
def test_configurations_that_make_no_sense_are_refused_by_name(values: dict[str, float]) -> None:
    with pytest.raises(ControlError, match=next(iter(values))):
        ControllerConfig(**values)
