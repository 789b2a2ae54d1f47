"""Inputs and outputs of one control tick: plain values, no behaviour."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from controllers.spatial import Pose

JOINTS = 7
TICK = 1e-3  # [s] from one measurement, and one torque, to the next


class ArmState(NamedTuple):
    """One measurement of the arm, as the robot reports it every millisecond.

    Built 1000 times a second, hence a NamedTuple without validation: drivers hand over finite arrays.

    Attributes:
        time: robot time [s]; the clock of everything in the control loop.
        q, dq: joint positions [rad] and velocities [rad/s], ``(7,)``.
        tau_J: measured joint torques [N·m], ``(7,)``.
        tau_J_d: last torque command the robot accepted [N·m], gravity excluded, ``(7,)``.
        wrench: external wrench on the TCP [N, N·m], base axes, ``(6,)``.
    """

    time: float
    q: np.ndarray
    dq: np.ndarray
    tau_J: np.ndarray
    tau_J_d: np.ndarray
    wrench: np.ndarray


@dataclass(frozen=True, eq=False)
class Setpoint:
    """Target of the TCP.

    Attributes:
        pose: target pose of the TCP in the base frame.
        seq: rises with every new setpoint; a repeated or lower number is a stale one.
        duration: time [s] over which the reference moves from where it is to ``pose``; 0 jumps.
    """

    pose: Pose
    seq: int
    duration: float = 0.1


@dataclass(frozen=True, eq=False)
class JointSetpoint:
    """Target of the joints.

    Attributes:
        q: target joint positions ``(7,)`` [rad].
        seq: shares its numbers with `Setpoint`.
        duration: time [s] over which the reference moves there; 0 jumps.
    """

    q: np.ndarray
    seq: int
    duration: float = 0.1


@dataclass(frozen=True, eq=False)
class WrenchSetpoint:
    """A wrench that the TCP shall exert on top of the impedance law; it fades out when no fresh one comes.

    Attributes:
        wrench: ``(6,)`` [N, N·m], on the world, base axes at the TCP.
        seq: rises with every new one; numbers of its own.
    """

    wrench: np.ndarray
    seq: int


AnySetpoint = Setpoint | JointSetpoint | WrenchSetpoint


class Mode(enum.IntEnum):
    """State of the controller."""

    IDLE = 0  # not started, or the motion has been finished
    TRACK = 1  # following setpoints
    HOLD = 2  # setpoints went stale: holding the pose measured at that moment
    DAMP = 3  # stale for longer: stiffness ramped to zero, damping only
    FAULT = 4  # the robot stopped the motion (reflex, communication): recovery is asked for
    STOPPED = 5  # a person stopped it (user stop, emergency stop): only a person releases it


class EventKind(enum.IntEnum):
    """Decisions of the control loop that somebody outside must hear of."""

    SETPOINT_REJECTED = 1
    SETPOINT_CLIPPED = 2
    SETPOINT_STALE = 3
    DAMPING = 4
    FINISHED = 5
    TORQUE_SATURATED = 6
    TANK_EMPTY = 7
    REFLEX = 8
    STARTED = 9
    STOPPED = 10  # user stop or emergency stop
    RECOVERED = 11
    FORCE_LIMIT = 12  # the arm yields to a force above its limit
    GAINS_CHANGED = 13
    BUDGET_GRANTED = 14  # a new episode, with a new energy budget
    WRITER_REFUSED = 15  # somebody without the lease commanded the arm
    OVERDRAFT = 16  # the arm was given more energy than the tank held: an assumption behind its bound did not hold


class Event(NamedTuple):
    """Something that happened in the control loop, at robot time ``time`` [s], with the reason in words."""

    time: float
    kind: EventKind
    detail: str


class Tick(NamedTuple):
    """Result of one control tick.

    Attributes:
        torque: command without gravity [N·m], ``(7,)``: within limits, at most 1 N·m from ``state.tau_J_d``. Zero,
            whatever came before, where there is no motion to command: before the start, after the end, in a fault.
        mode: see `Mode`.
        tank: energy left in the tank [J].
        budget: energy left of the episode's budget [J].
        activity: for how long the controller was held back since the start because the tank could not pay, weighted by
            the share held back [s]; with the filter switched off, what it would have held back.
        events: what happened in this tick; almost always empty.
        finished: the motion shall end with this command.
    """

    torque: np.ndarray
    mode: Mode
    tank: float
    budget: float
    activity: float
    events: tuple[Event, ...]
    finished: bool
