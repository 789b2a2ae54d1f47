"""The state that a simulated robot reports, derived quickly while it is controlled by torques or holds by itself.

franky-sim 1.0.4 derives it for every kind of motion at once, by seventeen components that ask each other, which takes
many times as long as the physics. An arm that learns knows two cases only: torques, where what is desired is what is
measured, and none, where the joints are held. Here these are written out; all other motions are left to franky-sim.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import pinocchio as pin
from franky_sim.franka_robot_state import FrankaRobotState

from controllers.state import TICK

MEMORY = 0.95  # of the filtered derivatives: y ← MEMORY y + (1 − MEMORY) Δx / Δt
WIRE = struct.Struct("<320f2B41?41?Bf")  # as libfranka reads a state
NOTHING = dict(FrankaRobotState().__dict__)  # every field of a state


def pack_state(state: FrankaRobotState) -> bytes:
    """The bytes of a state, those of `FrankaRobotState.pack_state`, in one go."""
    s = state
    return WIRE.pack(
        *(*s.O_T_EE, *s.O_T_EE_d, *s.F_T_EE, *s.EE_T_K, *s.F_T_NE, *s.NE_T_EE),
        *(s.m_ee, *s.I_ee, *s.F_x_Cee[:3], s.m_load, *s.I_load, *s.F_x_Cload[:3]),
        *(*s.elbow, *s.elbow_d, *s.tau_J, *s.tau_J_d, *s.dtau_J, *s.q, *s.q_d, *s.dq, *s.dq_d, *s.ddq_d),
        *(*s.joint_contact, *s.cartesian_contact, *s.joint_collision, *s.cartesian_collision),
        *(*s.tau_ext_hat_filtered, *s.O_F_ext_hat_K, *s.K_F_ext_hat_K, *s.O_dP_EE_d, *s.O_ddP_O[:3]),
        *(*s.elbow_c, *s.delbow_c, *s.ddelbow_c, *s.O_T_EE_c, *s.O_dP_EE_c, *s.O_ddP_EE_c),
        *(*s.theta, *s.dtheta, *s.accelerometer_top, *s.accelerometer_bottom),
        *(s.motion_generator_mode, s.controller_mode, *s.errors, *s.reflex_reason, s.robot_mode),
        s.control_command_success_rate,
    )


class Derived:
    """State that a robot of franky-sim reports. From `begin` to `end` it takes the place of its ``_post_step``.

    All that it derives then can be read where franky-sim's own can, and is the same, but for ``O_T_EE`` of an arm that
    holds by itself: franky-sim overwrites the measured pose with the desired one.
    """

    def __init__(self, robot: Any) -> None:
        """``robot``: franky-sim's, whose joints are read by ``_get_state()``."""
        self._robot = robot
        self._parts = robot._tracked_state_components
        self._desired = np.zeros((2, 7))  # q_d and its derivative
        self._others = np.zeros((2, 27))  # dq, dq_d, tau_J and O_dP_EE_d, and their derivatives
        self._fresh = True
        self._held: tuple[np.ndarray, pin.SE3, np.ndarray] | None = None
        self._carried: tuple[object, ...] = ()  # what the load and the frames of the hand were …
        self._constants: dict[str, Any] = {}  # … when these were derived
        self.begin()

    def begin(self) -> None:
        """Derive from now on, with no derivative known."""
        self._fresh = True
        self._robot._post_step = self._post_step

    def end(self) -> None:
        """Leave it to franky-sim, which begins with no derivative known either."""
        self._robot.__dict__.pop("_post_step", None)

    @property
    def measured_rotation(self) -> np.ndarray:
        """Of the TCP in the base frame."""
        rotation: np.ndarray = self._parts["O_T_EE"]._TrackedStateComponent__value.rotation
        return rotation

    def report(self, **felt: Any) -> FrankaRobotState:
        """The robot's ``state``, with what it feels and is told of by others (by the names of the state's fields)."""
        robot = self._robot
        joints = robot._get_state()
        values = {name: part._TrackedStateComponent__value for name, part in self._parts.items()}
        q, q_d = joints.q, values["q_d"].tolist()
        desired = _by_columns(values["O_T_EE_d"])
        state: FrankaRobotState = object.__new__(FrankaRobotState)
        state.__dict__.update(  # its constructor sets each of the sixty fields of a frozen dataclass by a call
            NOTHING,
            q=q,
            q_d=q_d,
            dq=joints.dq,
            dq_d=values["dq_d"].tolist(),
            ddq_d=values["ddq_d"].tolist(),
            tau_J=joints.tau_j,
            dtau_J=values["dtau_J"].tolist(),
            tau_J_d=values["tau_J_d"].tolist(),
            O_T_EE=_by_columns(values["O_T_EE"]),
            O_T_EE_d=desired,
            O_T_EE_c=desired if values["O_T_EE_c"] is values["O_T_EE_d"] else _by_columns(values["O_T_EE_c"]),
            O_dP_EE_d=values["O_dP_EE_d"].tolist(),
            O_dP_EE_c=values["O_dP_EE_c"].tolist(),
            O_ddP_EE_c=values["O_ddP_EE_c"].tolist(),
            elbow=(q[2], 1.0 if q[3] > 0.0 else -1.0),
            elbow_d=(q_d[2], 1.0 if q_d[3] > 0.0 else -1.0),
            elbow_c=values["elbow_c"].tolist(),
            delbow_c=values["delbow_c"].tolist(),
            ddelbow_c=values["ddelbow_c"].tolist(),
            **self._of_the_hand(),
            **felt,
        )
        return state

    def _of_the_hand(self) -> dict[str, Any]:
        """The load and the frames of the hand, which change only when a driver sets them."""
        robot = self._robot
        carried = (robot._BaseRobot__NE_T_EE, robot.EE_T_K, robot.m_load, robot.F_x_Cload, robot.I_load)
        if carried != self._carried:
            names = (
                *("F_T_EE", "EE_T_K", "F_T_NE", "NE_T_EE", "F_x_Cee", "I_ee", "m_ee", "F_x_Ctotal"),
                *("m_load", "I_load", "F_x_Cload"),
            )
            state = robot.state
            self._constants = {name: getattr(state, name) for name in names}
            self._carried = carried
        return self._constants

    def _post_step(self) -> None:
        robot, parts = self._robot, self._parts
        time = robot._BaseRobot__t
        state = robot._get_state()
        q, dq, tau = np.array(state.q), np.array(state.dq), np.array(state.tau_j)
        measured = self._pose(q)
        holds = parts["q_d"].has_explicit_value(time)
        if not holds:
            q_d, pose, jacobian = q, measured, self._jacobian(q)
        else:
            q_d = parts["q_d"]._TrackedStateComponent__explicit_value
            if self._held is None or not np.array_equal(self._held[0], q_d):
                self._held = q_d, self._pose(q_d), self._jacobian(q_d)
            _, pose, jacobian = self._held
        _follow(self._desired, q_d, self._fresh)
        dq_d = self._desired[1].copy() if holds else dq
        twist = jacobian @ dq_d
        _follow(self._others, np.concatenate((dq, dq_d, tau, twist)), self._fresh)
        self._fresh = False
        derivative = self._others[1].copy()
        acceleration, effort, change = derivative[:7], derivative[14:21], derivative[21:]
        for name, value in (
            *(("dq", dq), ("q_d", q_d), ("dq_d", dq_d), ("ddq_d", acceleration), ("tau_J", tau), ("dtau_J", effort)),
            ("tau_J_d", parts["tau_J_d"]._TrackedStateComponent__explicit_value),
            *(("O_T_EE", measured), ("O_T_EE_d", pose), ("O_T_EE_c", pose)),
            *(("O_dP_EE_d", twist), ("O_dP_EE_c", twist), ("O_ddP_EE_c", change)),
            ("elbow_c", np.array((state.q[2], math.copysign(1.0, state.q[3])))),
            ("delbow_c", np.array((acceleration[2], 0.0))),
            ("ddelbow_c", np.array((state.dq[2], 0.0))),
        ):
            part = parts[name]
            part._TrackedStateComponent__value, part._TrackedStateComponent__finalized_time = value, time
        robot._BaseRobot__prev_t, robot._BaseRobot__t = time, time + TICK

    def _pose(self, q: np.ndarray) -> pin.SE3:
        return self._robot.kinematics(q).copy()

    def _jacobian(self, q: np.ndarray) -> np.ndarray:
        """Of the TCP at the joints ``q``, ``(6, 7)`` in base axes."""
        robot = self._robot
        model, dynamics, tcp = robot._BaseRobot__model, robot._BaseRobot__data, robot._BaseRobot__tcp_frame_id
        jacobian: np.ndarray = pin.computeFrameJacobian(model, dynamics, q, tcp, pin.ReferenceFrame.LOCAL_WORLD_ALIGNED)
        return jacobian


def _follow(known: np.ndarray, value: np.ndarray, fresh: bool) -> None:
    """Take in ``value``; ``known`` holds the value before and its filtered derivative."""
    last, derivative = known
    if fresh:
        derivative[:] = 0.0
    else:
        derivative *= MEMORY
        derivative += ((1.0 - MEMORY) / TICK) * (value - last)
    last[:] = value


def _by_columns(pose: pin.SE3) -> list[float]:
    columns: list[float] = pose.homogeneous.T.ravel().tolist()
    return columns
