"""Following a reference with an impedance law, as far as the energy tank can pay for it.

Two laws, one interface: `PoseTracking` pulls the TCP towards a pose, `JointTracking` pulls the joints towards joint
positions. Each holds its target, the path to its goal, and the potential U in its spring.

A target that is held up, because the tank cannot pay or because the arm gives way, continues from where it is: the path
is planned anew, at the pace of the setpoint and never faster, so that there is never a distance to catch up. Where the
setpoint asked for no way, and so for no pace, a target that was pushed aside comes back at the speed limit, joints at
`RETURN_SPEED`.
"""

from __future__ import annotations

import abc
import math

import numpy as np

from controllers.gains import ImpedanceGains
from controllers.impact import ImpactBound
from controllers.impedance import CartesianImpedance, feedforward
from controllers.interpolation import Interpolator, JointSegment, PoseSegment, limited_duration
from controllers.joint_impedance import JointGains, JointImpedance
from controllers.model import ArmModel
from controllers.passivity import affordable_fraction
from controllers.spatial import exp3, log3
from controllers.state import JOINTS, ArmState

PSEUDOINVERSE_DAMPING = 1e-3  # of the retreat in joint space, near singular postures
LEVER = 0.2  # [m] by which turns are weighed against ways, to measure how far a path of poses is
NO_WAY = 1e-6  # a path shorter than this is none: what is left of it says nothing of the pace [m], [rad]
RETURN_SPEED = 0.5  # of a joint target back to its goal, where no setpoint says how fast [rad/s]


class Tracking(abc.ABC):
    """One law and its reference.

    Attributes:
        potential: U, energy in the spring at full stiffness, after the last `follow` [J].
        share: how much of the last tick's move of the target, or of the gains, was affordable, 0–1.
    """

    potential: float
    share: float

    @property
    @abc.abstractmethod
    def target(self) -> tuple[np.ndarray, np.ndarray]:
        """Where the TCP is at the target: ``(3,)`` [m] and ``(3, 3)``, base frame."""

    @abc.abstractmethod
    def hold(self) -> None:
        """Make what is measured the target."""

    @abc.abstractmethod
    def follow(self, time: float, allowance: float, enforce: bool) -> float:
        """Move the target along its path to ``time`` [s], to where U does not exceed ``allowance`` [J].

        A move that does not raise U is always made. Without ``enforce`` the move is made whole, and only `share` says
        what would have been affordable.

        Returns:
            The potential U [J].
        """

    @abc.abstractmethod
    def give_way(self, twist: np.ndarray, time: float, dt: float) -> None:
        """Lead the target away with ``twist (6,)`` [m/s, rad/s] for ``dt`` [s], and no longer towards what pushes.

        Of the goal, the part against ``twist`` is dropped for good. A target beyond the spring's clip is taken back to
        the clip first, which leaves the force as it is: there is nothing to unwind before it falls.
        """

    @abc.abstractmethod
    def torque(self, state: ArmState, spring_share: float, wrench: np.ndarray | None) -> np.ndarray:
        """Torques ``(7,)`` [N·m] of the law, with the spring scaled by ``spring_share``.

        ``wrench (6,)`` [N, N·m], base axes, is exerted by the TCP on top of it.
        """


class PoseTracking(Tracking):
    """Cartesian impedance, and a posture for the joint that is left over."""

    def __init__(
        self, model: ArmModel, gains: ImpedanceGains, max_speed: float, max_turn_speed: float, impact: ImpactBound
    ) -> None:
        self._model = model
        self._impact = impact
        self._law = CartesianImpedance(gains)
        self._max_speed, self._max_turn_speed = max_speed, max_turn_speed
        self._path = Interpolator()
        self._posture = model.q.copy()
        self._spring = np.zeros(6)
        self.hold()

    def hold(self) -> None:
        model = self._model
        self._x, self._R = model.translation, model.rotation
        self._goal = (self._x, self._R)
        self._pace = 0.0
        self._path.hold(*self._goal)
        self.potential, self.share = 0.0, 1.0

    @property
    def target(self) -> tuple[np.ndarray, np.ndarray]:
        return self._x, self._R

    def hold_posture(self) -> None:
        """Make the measured joint positions the posture to prefer."""
        self._posture = self._model.q.copy()

    @property
    def gains(self) -> ImpedanceGains:
        """The gains in use."""
        return self._law.gains

    def set_gains(self, gains: ImpedanceGains) -> None:
        """Use ``gains`` from the next `follow` on, whatever they cost."""
        self._law.set_gains(gains)

    def energy(self, gains: ImpedanceGains) -> float:
        """U [J] that the spring would have with ``gains`` at the present target; leaves these set."""
        self._law.set_gains(gains)
        return self._law.spring(self._model, self._x, self._R)[1]

    def move(self, translation: np.ndarray, rotation: np.ndarray, time: float, duration: float) -> None:
        """Make ``translation (3,)`` [m], ``rotation (3, 3)`` the goal, to be reached ``duration`` [s] after ``time``.

        It takes longer where the speed limits ask for it.
        """
        self._goal = (translation, rotation)
        way = self._way_from(self._x, self._R)
        self._pace = duration / way if way > NO_WAY else 0.0
        self._plan(self._x, self._R, time)

    def follow(self, time: float, allowance: float, enforce: bool) -> float:
        law, model = self._law, self._model
        translation, rotation = self._path.at(time)
        self._spring, self.potential = law.spring(model, translation, rotation)
        self.share = 1.0
        if self.potential > allowance:
            move = PoseSegment(self._x, self._R, translation, rotation)
            self.share = affordable_fraction(lambda s: law.spring(model, *move.at(s))[1], allowance)
            held_up = enforce and self.share < 1.0
            if held_up:
                translation, rotation = move.at(self.share)
            self._spring, self.potential = law.spring(model, translation, rotation)
            if held_up:
                self._x, self._R = translation, rotation
                self._plan(translation, rotation, time)
        self._x, self._R = translation, rotation
        return self.potential

    def give_way(self, twist: np.ndarray, time: float, dt: float) -> None:
        model, gains = self._model, self.gains
        x, R = self._x, self._R
        goal_x, goal_R = self._goal
        if twist[:3].any():
            clip = np.asarray(gains.translational_clip)
            x = model.translation + np.clip(x - model.translation, -clip, clip) + twist[:3] * dt
            goal_x = x + _without_return(goal_x - x, twist[:3])
        if twist[3:].any():
            turn = log3(R.dot(model.rotation.T))
            turn *= min(1.0, gains.rotational_clip / max(float(np.linalg.norm(turn)), 1e-12))
            R = exp3(twist[3:] * dt).dot(exp3(turn)).dot(model.rotation)
            goal_R = exp3(_without_return(log3(goal_R.dot(R.T)), twist[3:])).dot(R)
        self._goal = (goal_x, goal_R)
        self._plan(x, R, time)

    def torque(self, state: ArmState, spring_share: float, wrench: np.ndarray | None) -> np.ndarray:
        model = self._model
        total = self._law.damping(model)
        total += spring_share * self._spring
        if wrench is not None:
            total += wrench
        torque: np.ndarray = model.jacobian.T.dot(total)
        torque += self._law.nullspace(model, state.q, state.dq, self._posture, spring_share)
        return torque

    def _plan(self, x: np.ndarray, R: np.ndarray, time: float) -> None:
        """Go from ``x (3,)`` [m], ``R (3, 3)`` to the goal, at the setpoint's pace or as allowed."""
        goal_x, goal_R = self._goal
        planned = self._pace * self._way_from(x, R)
        speed = min(self._max_speed, self._impact.speed(self._model, goal_x - x))
        duration = limited_duration(x, R, goal_x, goal_R, planned, speed, self._max_turn_speed)
        self._path.move(x, R, goal_x, goal_R, time, duration)

    def _way_from(self, x: np.ndarray, R: np.ndarray) -> float:
        """How far it is from ``x (3,)``, ``R (3, 3)`` to the goal [m], a turn counted by its arc at `LEVER`."""
        goal_x, goal_R = self._goal
        way, turn = goal_x - x, log3(goal_R.dot(R.T))
        return max(math.sqrt(way.dot(way)), LEVER * math.sqrt(turn.dot(turn)))


class JointTracking(Tracking):
    """Joint impedance.

    Attributes:
        q: the target, joint positions ``(7,)`` [rad].
    """

    def __init__(self, model: ArmModel, gains: JointGains) -> None:
        self._model = model
        self._law = JointImpedance(gains)
        self._clip = np.array(gains.clip)
        self._torque = np.zeros(JOINTS)
        self.hold()

    def hold(self) -> None:
        self.q = self._model.q.copy()
        self._pace = 1.0 / RETURN_SPEED
        self._plan(self.q, self.q, 0.0)
        self.potential, self.share = 0.0, 1.0

    def move(self, q: np.ndarray, time: float, duration: float) -> None:
        """Make ``q (7,)`` [rad] the goal, to be reached ``duration`` [s] after ``time``."""
        way = float(np.abs(q - self.q).max())
        self._pace = duration / way if way > NO_WAY else 1.0 / RETURN_SPEED
        self._plan(self.q, q, time)

    @property
    def target(self) -> tuple[np.ndarray, np.ndarray]:
        pose = self._model.forward_kinematics(self.q)
        return pose.translation, pose.rotation

    def follow(self, time: float, allowance: float, enforce: bool) -> float:
        law, q = self._law, self._model.q
        elapsed = time - self._start
        aim = self._path.at(1.0 if elapsed >= self._duration else elapsed / self._duration)
        self._torque, self.potential = law.spring(q, aim)
        self.share = 1.0
        if self.potential > allowance:
            begin, step = self.q, aim - self.q
            self.share = affordable_fraction(lambda s: law.spring(q, begin + s * step)[1], allowance)
            if enforce and self.share < 1.0:
                aim = begin + self.share * step
                self._plan(aim, self._goal, time)
            self._torque, self.potential = law.spring(q, aim)
        self.q = aim
        return self.potential

    def give_way(self, twist: np.ndarray, time: float, dt: float) -> None:
        q, J = self._model.q, self._model.jacobian
        away = J.T.dot(np.linalg.solve(J.dot(J.T) + PSEUDOINVERSE_DAMPING * np.eye(6), twist))
        begin = q + np.clip(self.q - q, -self._clip, self._clip) + away * dt
        # The part of the way that moves the TCP against the retreat, undone by as much of the retreat.
        against = min(0.0, float(J.dot(self._goal - begin).dot(twist)))
        self._plan(begin, self._goal - away * (against / float(twist.dot(J.dot(away)))), time)

    def torque(self, state: ArmState, spring_share: float, wrench: np.ndarray | None) -> np.ndarray:
        torque: np.ndarray = spring_share * self._torque
        torque += self._law.damping(state.dq)
        if wrench is not None:
            torque += feedforward(self._model, wrench)
        return torque

    def _plan(self, begin: np.ndarray, goal: np.ndarray, time: float) -> None:
        """Go from ``begin (7,)`` to ``goal (7,)`` [rad] at the setpoint's pace."""
        self._path, self._goal = JointSegment(begin, goal), goal
        self._start, self._duration = time, self._pace * float(np.abs(goal - begin).max())


def _without_return(way: np.ndarray, retreat: np.ndarray) -> np.ndarray:
    """``way (3,)`` without the part that leads against ``retreat (3,)``."""
    along = float(way.dot(retreat))
    return way if along >= 0.0 else way - retreat * (along / float(retreat.dot(retreat)))
