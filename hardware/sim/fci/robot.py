"""franky-sim's robot in a scene, with what it does in every tick written for speed, and torques realised in full."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np
import pinocchio as pin
from franky_sim.constants import FRANKA_HAND_FORCE_LIMIT, FRANKA_TORQUE_LIMITS_HIGH, FRANKA_TORQUE_LIMITS_LOW

LOWEST, HIGHEST = np.array(FRANKA_TORQUE_LIMITS_LOW), np.array(FRANKA_TORQUE_LIMITS_HIGH)


def quicken(robot: Any, data: mujoco.MjData) -> None:
    """Replace methods of franky-sim 1.0.4's ``robot``, which do the same joint by joint and several times a tick.

    One thing becomes different: every torque that is accepted, and reported, acts. franky-sim clips the command,
    reports it, adds gravity, and would clip the sum once more.
    """
    quick = _Quick(robot, data)
    robot._get_state = quick.state
    robot._pre_step = quick.before_step
    robot.torque_control = quick.apply_torques
    robot._joint_position_control = quick.hold


class _Quick:
    def __init__(self, robot: Any, data: mujoco.MjData) -> None:
        self._robot, self._data = robot, data
        self._of_state = type(robot._get_state())
        self._positions, self._velocities = np.array(robot._qpos_addrs), np.array(robot._dof_addrs)
        self._stiffness, self._damping = robot._kp_hand.tolist(), robot._kv_hand.tolist()
        self._joints: Any = None  # as of the last step
        self._desired = robot._tracked_state_components["tau_J_d"]

    def state(self) -> Any:
        """Joint positions, velocities and torques; read once a tick."""
        if self._joints is None:
            q, dq = self._data.qpos[self._positions], self._data.qvel[self._velocities]
            torques = np.asarray(self._robot._applied_torques)
            self._joints = self._of_state(tuple(q.tolist()), tuple(dq.tolist()), tuple(torques.tolist()))
        return self._joints

    def before_step(self) -> None:
        """Exert the forces of the fingers."""
        self._joints = None
        robot, data = self._robot, self._data
        goal, fastest = robot._hand_goal_width / 2, robot._hand_goal_velocity
        strongest = min(FRANKA_HAND_FORCE_LIMIT, robot._hand_goal_force)
        for finger in range(2):
            at = robot._finger_dof_addrs[finger]
            velocity = float(data.qvel[at])
            brake = -self._damping[finger] * velocity
            force = self._stiffness[finger] * (goal - float(data.qpos[robot._finger_qpos_addrs[finger]])) + brake
            if abs(velocity) > fastest and velocity * force > 0.0:
                force = brake
            data.qfrc_applied[at] = max(-strongest, min(strongest, force))

    def apply_torques(self, torques: Sequence[float] | np.ndarray, has_new_command: bool = True) -> None:
        """Torques beside those against gravity, held to the limits of the joints."""
        robot = self._robot
        torques = np.minimum(np.maximum(torques, LOWEST), HIGHEST)
        self._desired.set(robot._BaseRobot__t, torques, call_observers=has_new_command)
        model, dynamics = robot._BaseRobot__model, robot._BaseRobot__data
        exerted = torques + pin.computeGeneralizedGravity(model, dynamics, np.array(self.state().q))
        robot._applied_torques = exerted
        self._data.qfrc_applied[self._velocities] = exerted

    def hold(self, target_q: np.ndarray) -> None:
        """Hold the joints by themselves, as franky-sim does where no torques are commanded."""
        robot, state = self._robot, self.state()
        q, dq = np.array(state.q), np.array(state.dq)
        model, dynamics = robot._BaseRobot__model, robot._BaseRobot__data
        coriolis = pin.nonLinearEffects(model, dynamics, q, dq) - pin.computeGeneralizedGravity(model, dynamics, q)
        robot.torque_control(robot.kp * (target_q - q) - robot.kv * dq + coriolis)
