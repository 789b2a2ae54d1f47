"""Contract of `hardware.interfaces.Arm`: run on each driver, on the simulator and on hardware."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from controllers.core import ControllerConfig
from controllers.impedance import ImpedanceGains
from controllers.spatial import Pose
from controllers.state import Event, EventKind, Mode, Setpoint
from hardware.interfaces import Arm, ArmFault

PATIENT = replace(ControllerConfig(), hold_after=20.0, damp_after=30.0)  # a busy machine is no stale setpoint
PERIOD = 0.05  # [s] of robot time between setpoints
ACCURACY = 0.004  # [m] where the joints' friction lets the arm rest
UP = np.array([0.0, 0.0, 0.02, 0.0, 0.0, 0.0])


def follow(arm: Arm, advance: Callable[[float], None], target: Pose, first_seq: int, seconds: float) -> int:
    """Keep sending ``target`` for ``seconds``; returns the next sequence number."""
    count = round(seconds / PERIOD)
    for seq in range(first_seq, first_seq + count):
        arm.command(Setpoint(target, seq, duration=0.1))
        advance(PERIOD)
    return first_seq + count


def distance(a: Pose, b: Pose) -> float:
    return float(np.linalg.norm(a.translation - b.translation))


def check_arm(arm: Arm, advance: Callable[[float], None], provoke: Callable[[], None] | None = None) -> None:
    """Run the contract on ``arm``, which is not connected; ``advance(seconds)`` lets that much robot time pass.

    ``provoke`` makes the moving arm stop by a reflex; left out, that part is. The arm moves up by 2 cm and must have
    room for it.
    """
    assert isinstance(arm, Arm)
    arm.connect()
    try:
        idle = _check_idle(arm, advance)
        _check_holds_after_start(arm, advance, idle.pose)
        target = idle.pose.moved(UP)
        seq = _check_follows(arm, advance, target)
        seq = _check_takes_budget_and_gains(arm, advance, target, seq)
        _check_refuses(arm, advance, target, seq)
        arm.stop()
        arm.stop()
        assert arm.read().mode is Mode.IDLE
        _check_forgets_old_targets(arm, advance, target)
        arm.stop()
        if provoke is not None:
            _check_recovers_from_a_reflex(arm, advance, target, provoke)
            arm.stop()
    finally:
        arm.disconnect()
        arm.disconnect()


def _check_idle(arm: Arm, advance: Callable[[float], None]):
    first = arm.read()
    advance(0.05)
    second = arm.read()
    assert first.mode is Mode.IDLE
    assert second.seq > first.seq
    assert second.state.time > first.state.time
    assert (
        second.state.q.shape == second.state.dq.shape == second.state.tau_J.shape == second.state.tau_J_d.shape == (7,)
    )
    assert second.state.wrench.shape == second.twist.shape == (6,)
    assert np.isfinite(np.concatenate(second.state[1:])).all()
    assert 0.0 <= second.success_rate <= 1.0
    return second


def _check_holds_after_start(arm: Arm, advance: Callable[[float], None], pose: Pose) -> None:
    arm.start()
    advance(0.2)
    reading = arm.read()
    assert reading.mode in (Mode.HOLD, Mode.TRACK)
    assert distance(reading.pose, pose) < ACCURACY
    assert reading.tank > 0.0
    assert EventKind.STARTED in {event.kind for event in arm.events()}


def _check_follows(arm: Arm, advance: Callable[[float], None], target: Pose) -> int:
    seq = follow(arm, advance, target, first_seq=0, seconds=1.0)
    reading = arm.read()
    assert reading.mode is Mode.TRACK
    assert distance(reading.target, target) < 1e-6
    assert distance(reading.pose, target) < ACCURACY
    return seq


def _check_takes_budget_and_gains(arm: Arm, advance: Callable[[float], None], target: Pose, seq: int) -> int:
    arm.events()
    arm.begin_episode()
    arm.change_gains(ImpedanceGains(translational_stiffness=900.0))
    seq = follow(arm, advance, target, seq, seconds=0.2)
    kinds = [event.kind for event in arm.events()]
    assert EventKind.BUDGET_GRANTED in kinds
    assert EventKind.GAINS_CHANGED in kinds
    assert EventKind.SETPOINT_REJECTED not in kinds
    assert arm.read().budget > 0.0
    assert distance(arm.read().pose, target) < ACCURACY
    return seq


def _check_recovers_from_a_reflex(
    arm: Arm, advance: Callable[[float], None], elsewhere: Pose, provoke: Callable[[], None]
) -> None:
    """A reflex is told, holds until recovery is asked for, and the arm does not resume."""
    arm.start()
    arm.command(Setpoint(elsewhere, 0, duration=5.0))
    advance(0.1)
    arm.events()
    provoke()
    while arm.read().mode is not Mode.FAULT:
        advance(0.005)
    reading = arm.read()
    assert reading.fault
    reflexes: list[Event] = []
    while not reflexes:  # told just after the mode
        reflexes = [event for event in arm.events() if event.kind is EventKind.REFLEX]
    (reflex,) = reflexes
    assert reflex.detail == reading.fault
    with pytest.raises(ArmFault, match="recover"):
        arm.start()
    arm.recover()
    assert EventKind.RECOVERED in {event.kind for event in arm.events()}
    recovered = arm.read()
    assert (recovered.mode, recovered.fault) == (Mode.IDLE, "")
    arm.start()
    advance(0.2)
    assert arm.read().mode is Mode.HOLD
    assert distance(arm.read().pose, recovered.pose) < ACCURACY


def _check_refuses(arm: Arm, advance: Callable[[float], None], target: Pose, seq: int) -> None:
    arm.events()
    arm.command(Setpoint(target, seq - 1))  # has been used
    advance(0.02)
    arm.command(Setpoint(target.moved(np.array([0.0, 0.0, 5.0, 0.0, 0.0, 0.0])), seq))  # 5 m up
    advance(0.02)
    refused = [event for event in arm.events() if event.kind is EventKind.SETPOINT_REJECTED]
    assert len(refused) == 2
    assert all(event.detail for event in refused)
    assert distance(arm.read().target, target) < 1e-6


def _check_forgets_old_targets(arm: Arm, advance: Callable[[float], None], old: Pose) -> None:
    """Move away, stop, command while idle, start again: the arm stays."""
    arm.start()
    elsewhere = old.moved(-UP)
    follow(arm, advance, elsewhere, first_seq=0, seconds=1.0)
    arm.stop()
    arm.command(Setpoint(old, 10_000))
    before = arm.read().pose
    arm.start()
    advance(0.2)
    assert distance(arm.read().pose, before) < ACCURACY
