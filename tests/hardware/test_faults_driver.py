"""Faults between driver and robot: packets lost, joint limits, collisions, a gripper that hangs.

The real driver against the simulated robot that enforces what a real one does. Rows of the table in docs/SAFETY.md: the
robot's own milliseconds, reported and never asserted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from controllers.spatial import Pose
from controllers.state import EventKind, JointSetpoint, Mode, Setpoint
from hardware.franka.arm import FrankaArm
from hardware.franka.collision import CollisionThresholds
from hardware.interfaces import ArmFault
from hardware.sim.channel.client import SceneClient
from hardware.sim.channel.faults import Faults
from tests.contracts.arm_contract import PATIENT
from tests.fault_table import FaultTable, check_torques
from tests.hardware.simulated import SimulatedServer

pytest.importorskip("franky_sim")
pytest.importorskip("pylibfranka")

PATIENCE = 120.0  # [s] before a test gives up waiting
PERIOD = 0.05  # [s] of robot time between setpoints
AT_REST = 0.005  # [m] that an arm may sag when control begins


class Hand:
    """Commands an arm in robot time."""

    def __init__(self, arm: FrankaArm) -> None:
        self.arm = arm
        self.seq = 0

    def follow(self, target: Callable[[float], Pose | np.ndarray], until: Callable[[float], bool]) -> float:
        """Send ``target(t)``, t [s] of robot time from now, until ``until(t)``; returns the last t.

        While this process is held up t stands still, so that no target jumps ahead on a busy machine.
        """
        t, last = 0.0, self.arm.read().state.time
        due = last
        deadline = time.monotonic() + PATIENCE
        while True:
            assert time.monotonic() < deadline, "what the test waits for does not happen"
            now = self.arm.read().state.time
            t, last = t + min(now - last, PERIOD), now
            if until(t):
                return t
            if now >= due:
                due = now + PERIOD
                self.seq += 1
                goal = target(t)
                setpoint = Setpoint(goal, self.seq) if isinstance(goal, Pose) else JointSetpoint(goal, self.seq, 1.0)
                self.arm.command(setpoint)
            time.sleep(0.002)


@pytest.fixture
def link(robot: SimulatedServer) -> Iterator[SceneClient]:
    with SceneClient(robot.address) as client:
        yield client
        client.set_faults(Faults())


@pytest.mark.parametrize("loss", [0.01, 0.05, 0.2])
def test_packets_lost(robot: SimulatedServer, link: SceneClient, loss: float, fault_table: FaultTable) -> None:
    """A circle of 3 cm a side is followed while packets get lost in both directions."""
    with FrankaArm(robot.address, PATIENT) as arm:
        arm.start()
        home, hand = arm.read().pose, Hand(arm)
        missed = link.statistics()["missed"]
        link.set_faults(Faults(loss=loss, seed=1))
        worst = 0.0

        def circle(t: float) -> Pose:
            return home.moved(
                np.array([0.0, 0.03 * np.sin(2 * np.pi * t), 0.03 * (1 - np.cos(2 * np.pi * t)), 0, 0, 0])
            )

        def done(t: float) -> bool:
            nonlocal worst
            reading = arm.read()
            assert reading.mode in (Mode.TRACK, Mode.HOLD), reading.fault
            worst = max(worst, float(np.linalg.norm(reading.pose.translation - circle(t).translation)))
            return t > 4.0

        hand.follow(circle, done)
        ticks = arm.telemetry()
        link.set_faults(Faults())
        missed = link.statistics()["missed"] - missed
    check_torques(ticks)
    assert missed > 0
    fault_table.add(
        f"packet loss {loss:.0%}, both ways",
        f"motion goes on, {worst * 1000:.0f} mm behind its target at most; {missed:.0f} commands missed",
    )


def test_a_connection_cut_off(robot: SimulatedServer, link: SceneClient, fault_table: FaultTable) -> None:
    with FrankaArm(robot.address, PATIENT) as arm:
        arm.start()
        home, hand = arm.read().pose, Hand(arm)
        hand.follow(lambda t: home, lambda t: t > 0.3)
        link.set_faults(Faults(loss=1.0))
        began = time.monotonic()
        _wait(lambda: arm.read().mode is Mode.FAULT)
        noticed = 1000.0 * (time.monotonic() - began)
        reading = arm.read()
        link.set_faults(Faults())
        check_torques(arm.telemetry())
        fault_table.add("packet loss 100 %", f"FAULT: {reading.fault}", noticed)
        arm.recover()
        arm.start()
        _wait(lambda: arm.read().mode is Mode.HOLD)
        assert np.linalg.norm(arm.read().pose.translation - home.translation) < 0.01


def test_a_joint_at_its_limit(robot: SimulatedServer, fault_table: FaultTable) -> None:
    """Asked to go a radian beyond its limit, the joint stops before it, and the robot has nothing to object to."""
    with FrankaArm(robot.address, PATIENT) as arm:
        arm.start()
        hand = Hand(arm)
        q = arm.read().state.q.copy()
        q[6] = 4.0
        hand.follow(lambda t: q, lambda t: t > 6.0)
        reading, events = arm.read(), arm.events()
        assert reading.mode is Mode.TRACK, reading.fault
        said = [event for event in events if event.kind in (EventKind.SETPOINT_CLIPPED, EventKind.SETPOINT_REJECTED)]
        assert said
        margin = 3.0508 - reading.state.q[6]
        assert margin > 0.0
        check_torques(arm.telemetry())
    fault_table.add("joint 7 asked 1 rad beyond its limit", f"{said[0].detail}; rests {margin:.2f} rad before it")


def lowered(home: Pose) -> Callable[[float], Pose]:
    """From ``home`` straight down at 0.1 m/s, to below the floor."""
    depth = home.translation[2] + 0.05
    return lambda t: home.moved(np.array([0.0, 0.0, -min(0.1 * t, depth), 0.0, 0.0, 0.0]))


def test_pushed_into_the_floor(robot: SimulatedServer, fault_table: FaultTable) -> None:
    """A spring with a clipped error is bounded in force, so that the robot has nothing to object to."""
    with FrankaArm(robot.address, PATIENT) as arm:
        arm.start()
        home, hand, forces = arm.read().pose, Hand(arm), [0.0]

        def done(t: float) -> bool:
            forces.append(float(np.linalg.norm(arm.read().state.wrench[:3])))
            return t > 8.0

        hand.follow(lowered(home), done)
        assert arm.read().mode is Mode.TRACK, arm.read().fault
        assert forces[-1] > 5.0, "the arm never met the floor"
        check_torques(arm.telemetry())
        held, largest = np.median(forces[-100:]), max(forces)
        hand.follow(lambda t: home, lambda t: t > 3.0)
    fault_table.add("pushed into the floor at 0.1 m/s", f"{largest:.0f} N on impact, {held:.0f} N held; goes on")


def test_collision_above_the_threshold(robot: SimulatedServer, link: SceneClient, fault_table: FaultTable) -> None:
    """The robot's own reflex, with thresholds low enough for what a clipped spring can do."""
    thresholds = CollisionThresholds(force=(8.0, 8.0, 8.0, 30.0, 30.0, 30.0))
    upright = np.array([0.0, 0.0, 0.0, 1.0])
    with FrankaArm(robot.address, PATIENT, collision=thresholds) as arm:
        arm.start()
        home, hand = arm.read().pose, Hand(arm)
        under_a_finger = home.translation[:2] + 0.045 * home.rotation[:2, 1]  # the fingers open along the hand's y
        link.place({"cube": Pose(np.array([*under_a_finger, 0.02]), upright)})
        touched = float("inf")

        def done(t: float) -> bool:
            nonlocal touched
            if np.linalg.norm(arm.read().state.wrench[:3]) > 1.0:
                touched = min(touched, t)
            return arm.read().mode is Mode.FAULT

        end = hand.follow(lowered(home), done)
        fault = arm.read().fault
        assert "cartesian_reflex" in fault
        check_torques(arm.telemetry())
        fault_table.add("collision above the robot's threshold (8 N)", f"FAULT: {fault}", 1000.0 * (end - touched))
        with pytest.raises(ArmFault, match="recover"):
            arm.start()
        link.place({"cube": Pose(np.array([0.3, 0.5, 0.02]), upright)})
        _wait(lambda: np.linalg.norm(arm.read().state.wrench[:3]) < 2.0)  # what is felt fades after what was touched
        arm.recover()
        arm.start()
        before = arm.read().pose
        Hand(arm).follow(lambda t: before, lambda t: t > 0.5)
        assert arm.read().mode is Mode.TRACK
        assert np.linalg.norm(arm.read().pose.translation - before.translation) < AT_REST, "the old target is void"


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "what the test waits for does not happen"
        time.sleep(0.002)
