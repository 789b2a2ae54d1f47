"""Energy over any window, whatever happens: random sequences of everything that could make the arm give energy away.

Every sequence draws a tank, a bound of the impact, a posture, what the policy does (jumps, joint positions, gains times
ten, wrenches, a square wave, anti-damping), and what the world does to it (pushes, a stiff wall, lost states, lost and
late torques). The tank is small, and most sequences begin where it is nearly empty, because only there anything can go
wrong. The plant sums the energy from the torques it really got and the motion it really made, and has a clock of its
own.
"""

from __future__ import annotations

import numpy as np
import pinocchio as pin

from controllers.core import Controller, ControllerConfig
from controllers.friction import FrictionConfig
from controllers.gains import ImpedanceGains
from controllers.impedance import CartesianImpedance
from controllers.joint_impedance import JointGains
from controllers.model import ArmModel
from controllers.passivity import TankConfig
from controllers.spatial import Pose
from controllers.state import JOINTS, ArmState, JointSetpoint, Mode, Setpoint, WrenchSetpoint
from hardware.franka.model import fr3_model

TICK = 1e-3
TICKS = 28, 80  # of most sequences, and of one in four
LIMIT_OF_STALLS = 19  # ticks; with 20 the robot stops
ROUNDING = 1e-9  # [J]
POSTURE = np.array([0.0, -np.pi / 4, 0.0, -3 * np.pi / 4, 0.0, np.pi / 2, np.pi / 4])
DRIVES = np.array([0.195] * 4 + [0.074] * 3)  # of franky-sim's FR3 [kg·m²]
DRAG = np.array([0.05, 0.05, 0.05, 0.05, 0.01, 0.01, 0.01])
TRANSPORTS = ("exact", "exact", "loses", "stalls", "stalls", "late")
POLICIES = ("jumps", "wrenches", "joints", "gains", "wrenches", "square wave", "anti-damping", "everything")
OF_JOINTS = ("joints", "everything")
# Little damping, so that what the springs give stays in the arm; the stiff ones push with 60 N and 7.5 N·m.
SOFT = ImpedanceGains(200.0, 7.5, 5.0, 0.5, 0.1, 0.5, nullspace_damping=0.5)
STIFF = ImpedanceGains(2000.0, 75.0, 15.0, 1.5, 0.03, 0.1, nullspace_damping=0.5)
JOINTS_STIFF = JointGains(damping=(5.0, 5.0, 5.0, 3.0, 1.0, 0.8, 0.6))


class FastPlant:
    """Rigid bodies, one semi-implicit step a millisecond, and a wall that the TCP may run into."""

    def __init__(self, model: ArmModel) -> None:
        self._dynamics = model.pinocchio.copy()
        self._dynamics.armature = DRIVES
        self._dynamics.gravity = pin.Motion.Zero()
        self._data = self._dynamics.createData()
        self._model = model

    def reset(self, q: np.ndarray, dq: np.ndarray, torque: np.ndarray) -> None:
        self.q, self.dq, self.torque = q, dq, torque
        self.delivered = 0.0
        self.time = 0.0
        self.wall: tuple[np.ndarray, float, float] | None = None
        self.viscosity = 0.0
        self.force = np.zeros(6)

    def touch(self) -> np.ndarray:
        """Joint torques of the wall, from the model as it was updated last."""
        self.force = np.zeros(6)
        if self.wall is None:
            return np.zeros(JOINTS)
        normal, offset, stiffness = self.wall
        depth = offset - float(normal @ self._model.translation)
        if depth <= 0.0:
            return np.zeros(JOINTS)
        self.force[:3] = normal * max(0.0, stiffness * depth - 50.0 * float(normal @ self._model.twist[:3]))
        return self._model.jacobian.T.dot(self.force)

    def step(self, torque: np.ndarray, external: np.ndarray) -> None:
        acceleration = pin.aba(
            self._dynamics, self._data, self.q, self.dq, torque + external - self.viscosity * self.dq
        )
        self.dq = self.dq + acceleration * TICK
        step = self.dq * TICK
        self.q = self.q + step
        self.torque = torque
        self.delivered += float(torque.dot(step))
        self.time += TICK

    def is_slow_to_speed_up(self, torque: np.ndarray) -> bool:
        """Whether the joints speed up along ``torque`` by no more, on the average, than the tank has been told."""
        acceleration = pin.aba(self._dynamics, self._data, self.q, self.dq, torque)
        return float(np.maximum(torque * acceleration, 0.0).sum()) <= TankConfig.acceleration * np.abs(torque).sum()


def held_energy(tank: TankConfig, torque: np.ndarray, dq: np.ndarray) -> float:
    """Energy that the torque after ``torque`` delivers while it is held through a stall and taken away after it [J]."""
    sent = torque + np.copysign(0.99, dq)
    hold = tank.stall + (np.abs(torque) + 0.99) / 990.0
    return float(
        np.maximum(sent * dq * (tank.stall + np.abs(sent) / 1980.0), 0.0).sum()
        + 0.5 * tank.acceleration * (np.abs(torque) + 0.99).dot(hold**2)
    )


class Ledger:
    """Bounds of the tank, checked against the plant: by the tick, and so over any window."""

    def __init__(self, controller: Controller, plant: FastPlant, joints: bool) -> None:
        self._controller, self._plant, self._joints = controller, plant, joints
        self._seen = plant.time
        self._drawn = self._turned = 0.0
        self._storage = controller.tank.account
        self._budget = controller.tank.budget
        # The least over all windows begun so far of: energy delivered up to then, less what was granted, plus what the
        # tank and the potentials held. Nothing delivered since, less the grants since, may exceed it.
        self._ceiling = controller.tank.account
        self._law = CartesianImpedance(controller.gains)
        self._note_target()
        self.overdraft = 0.0

    def turned(self, change: np.ndarray, first: np.ndarray, second: np.ndarray) -> None:
        """A torque changed by ``change`` unseen, between the steps ``first`` and ``second``: what nobody can book."""
        back = np.where(first * second < 0.0, np.minimum(np.abs(first), np.abs(second)), 0.0)
        self._turned += float(np.abs(change).dot(back))

    def episode(self) -> None:
        self._controller.begin_episode()
        self._budget = self._controller.config.tank.episode_budget
        assert self._controller.tank.budget == self._budget

    def check(self, spring: bool) -> None:
        """After a tick; with ``spring``, its potential too is computed once more."""
        tank, plant, config = self._controller.tank, self._plant, self._controller.config.tank
        drawn = self._budget - tank.budget
        assert -ROUNDING <= drawn <= config.budget * (plant.time - self._seen) + ROUNDING
        assert tank.budget >= 0.0
        self._budget, self._seen = tank.budget, plant.time
        self._drawn += drawn
        delivered = plant.delivered - self._drawn - self._turned
        assert delivered <= self._ceiling + ROUNDING
        assert delivered + tank.account <= self._storage + ROUNDING
        assert tank.level <= config.capacity + ROUNDING
        self._ceiling = min(self._ceiling, delivered + config.capacity + tank.account - tank.level)
        self._storage = delivered + tank.account
        self.overdraft = max(self.overdraft, -tank.account)
        if not self._joints:
            if spring:
                self._check_spring()
            self._note_target()

    def _note_target(self) -> None:
        controller = self._controller
        self._before = controller.gains, controller.target_translation, controller.target_rotation

    def _check_spring(self) -> None:
        """Its potential is paid for, and no move of target or gains has stretched it so far that the valve closes."""
        tank = self._controller.tank
        before = self._potential()
        self._note_target()
        potential = self._potential()
        assert tank.level + tank.valve * potential <= tank.account + ROUNDING
        assert tank.valve >= 1.0 - ROUNDING or potential <= before + ROUNDING

    def _potential(self) -> float:
        gains, translation, rotation = self._before
        self._law.set_gains(gains)
        return self._law.spring(self._controller.model, translation, rotation)[1]


class Rig:
    """One plant, reused from sequence to sequence."""

    def __init__(self) -> None:
        self.model = fr3_model()
        self.plant = FastPlant(self.model)

    def sequence(self, seed: int) -> float:
        """Play one; returns by how much the account came below zero [J]. Raises AssertionError with the seed."""
        rng = np.random.default_rng(seed)
        policy = POLICIES[seed % len(POLICIES)]
        tank = TankConfig(
            capacity=float(rng.uniform(0.3, 0.5) if rng.random() < 0.8 else rng.uniform(0.5, 2.0)),
            valve_width=float(rng.choice([0.02, 0.05, 0.2])),
            budget=float(rng.choice([0.0, 0.2, 5.0])),
            episode_budget=float(rng.choice([0.005, 0.05, 100.0])),
            outflow=float(rng.choice([50.0, np.inf])),
        )
        fast = float(rng.choice([0.5, np.inf]))
        config = ControllerConfig(
            gains=(SOFT, STIFF, ImpedanceGains())[int(rng.integers(3))],
            joint_gains=JOINTS_STIFF,
            tank=tank,
            ramp_up=0.002,
            gain_ramp=float(rng.choice([0.002, 0.03])),
            max_speed=fast,
            max_turn_speed=5.0 * fast,
            force_limit=float(rng.choice([35.0, np.inf])),
            friction=FrictionConfig(coulomb=(float(rng.choice([0.0, 2.0])),) * JOINTS, cap=2.0),
            impact_energy=float(rng.choice([0.001, 0.03, np.inf])),
        )
        controller = Controller(self.model, config)
        home = self._begin(controller, rng, 0.8 if policy == "wrenches" else 0.4)
        plant, transport = self.plant, TRANSPORTS[int(rng.integers(len(TRANSPORTS)))]
        if rng.random() < 0.3:
            normal = rng.normal(size=3)
            normal /= np.linalg.norm(normal)
            plant.wall = (normal, float(normal @ home.translation) - 0.002, 10 ** float(rng.uniform(3.0, 4.7)))
        plant.viscosity = float(rng.choice([0.0, 30.0]))
        # Z stands for: one stall, or a torque in five that does not get through, and neither a torque nor a push
        # that would speed a joint up along its torque by much more than 10 rad/s² meanwhile.
        push = float(rng.choice([0.0, 20.0, 60.0] if transport == "exact" else [0.0, 10.0]))
        # Or somebody pulls the arm along, wherever it wants to go: the surest way to get energy out of a torque.
        drags = push * DRAG if rng.random() < 0.5 else None
        return self._play(controller, rng, policy, home, push, drags, transport)

    def _begin(self, controller: Controller, rng: np.random.Generator, pushing: float) -> Pose:
        """Start, mostly in the middle of a motion that has used up the tank; returns the pose measured.

        Of these motions, the share ``pushing`` pushes something away.
        """
        plant, model, tank = self.plant, self.model, controller.tank
        q, torque = POSTURE + rng.uniform(-0.3, 0.3, JOINTS), np.zeros(JOINTS)
        dq = rng.choice([0.0, 1.0]) * rng.uniform(-1.0, 1.0, JOINTS)
        if rng.random() < 0.2:
            plant.reset(q, dq, torque)
            controller.start(self._state())
            return model.pose
        began = q
        kind = rng.random()
        model.update(q, dq)
        if kind < pushing:  # pushing something away with the TCP
            force = rng.uniform(0.5, 1.0, 6) * (17.0, 17.0, 17.0, 5.0, 5.0, 5.0) * rng.choice([-1.0, 1.0], 6)
            torque = model.jacobian.T.dot(force)
            dq = rng.uniform(0.5, 2.0) * np.linalg.pinv(model.jacobian).dot(0.03 * force)
        elif kind < pushing + 0.2:  # led away from its posture, and on its way back to it
            along = np.linalg.svd(model.jacobian)[2][-1] * rng.choice([-1.0, 1.0])
            began = q + rng.uniform(0.5, 1.0) * along
            dq = rng.uniform(0.5, 1.5) * along
        else:
            torque = rng.uniform(-15.0, 15.0, JOINTS) * (1.0, 1.0, 1.0, 1.0, 0.3, 0.3, 0.3)
            dq = np.abs(dq) * np.sign(torque)
        config = tank.config
        while (tail := held_energy(config, torque, dq)) > config.capacity - config.reserve:
            torque, dq = 0.8 * torque, 0.9 * dq
        plant.reset(began, np.zeros(JOINTS), torque)
        controller.start(self._state())
        controller.command(Setpoint(model.pose, 0), 0.0)
        plant.reset(q, dq, torque)
        plant.time = 1.01 * controller.config.hold_after  # so that it holds where it has been led
        controller.tick(self._state())
        above = float(rng.choice([0.0, 0.05, 0.3]) * rng.random())
        tank.account = min(config.capacity, config.reserve + tail + above)
        return model.pose

    def _state(self) -> ArmState:
        plant = self.plant
        return ArmState(plant.time, plant.q, plant.dq, plant.torque, plant.torque, plant.force)

    def _play(
        self,
        controller: Controller,
        rng: np.random.Generator,
        policy: str,
        home: Pose,
        push: float,
        drags: np.ndarray | None,
        transport: str,
    ) -> float:
        plant, model = self.plant, self.model
        ledger = Ledger(controller, plant, policy in OF_JOINTS)
        period = int(rng.choice([5, 40]))
        pushed = np.zeros(JOINTS)
        reply = torque_then = plant.torque
        q_then = q_acting = plant.q
        # The worst moment for a stall is when the valve is about to close; or any.
        stalls = 1 if transport == "stalls" else 0
        below, stalls_at = float(rng.choice([0.1, 0.5, 0.9, -1.0])), int(rng.integers(TICKS[0]))
        acts_at = unseen_until = -1
        for tick in range(TICKS[int(rng.random() < 0.25)]):
            if tick % 25 == 0:
                pushed = push * rng.uniform(-1.0, 1.0, JOINTS) * (1.0, 1.0, 1.0, 1.0, 0.3, 0.3, 0.3)
                if rng.random() < 0.05:
                    ledger.episode()
            if tick % period == 0:
                self._command(controller, rng, policy, home, tick + 1)
            if (np.abs(plant.dq) > model.velocity).any():
                break  # the robot stops by itself
            if tick > unseen_until:
                ledger.turned(plant.torque - torque_then, q_acting - q_then, plant.q - q_acting)
                result = controller.tick(self._state())
                assert result.mode in (Mode.TRACK, Mode.HOLD)
                ledger.check(spring=tick > 5 and tick % 5 == 0)
                reply, torque_then = result.torque, plant.torque
                q_then = q_acting = plant.q
                assert np.abs(reply - plant.torque).max() <= 1.0
                assert (np.abs(reply) <= model.effort).all()
                acts_at = unseen_until = tick
                if stalls and (controller.tank.valve < below or tick == stalls_at) and plant.is_slow_to_speed_up(reply):
                    stalls -= 1
                    unseen_until = tick + min(LIMIT_OF_STALLS, int(rng.integers(1, 2 * LIMIT_OF_STALLS)))
                    acts_at = min(
                        unseen_until + 1, tick + int(rng.choice([0, int(rng.integers(30)), LIMIT_OF_STALLS + 1]))
                    )
                elif transport == "late" and rng.random() < 0.5:
                    acts_at = unseen_until = tick + 1
                elif transport == "loses" and rng.random() < 0.2:
                    acts_at = tick + 1
            if tick == acts_at:
                q_acting = plant.q
            external = plant.touch()
            external += pushed if drags is None else drags * np.sign(plant.torque)
            plant.step(reply if tick >= acts_at else plant.torque, external)
        return ledger.overdraft

    def _command(self, controller: Controller, rng: np.random.Generator, policy: str, home: Pose, seq: int) -> None:
        time = self.plant.time
        if policy == "everything":
            policy = POLICIES[int(rng.integers(len(POLICIES) - 1))]
        duration = float(rng.choice([0.0, 0.0, 0.02]))
        if policy in ("jumps", "gains"):
            goal = home.moved(rng.uniform(-0.2, 0.2, 6) * (1.0, 1.0, 1.0, 3.0, 3.0, 3.0))
            controller.command(Setpoint(goal, seq, duration), time)
        if policy == "gains":
            controller.change_gains(STIFF if rng.random() < 0.5 else SOFT, time)
        elif policy == "joints":
            if rng.random() < 0.3:
                controller.command(Setpoint(home, seq, duration), time)
            else:
                q = POSTURE + rng.uniform(-0.5, 0.5, JOINTS)
                controller.command(JointSetpoint(q, seq, duration), time)
        elif policy == "wrenches":
            wrench = rng.uniform(-1.0, 1.0, 6) * (17.0, 17.0, 17.0, 5.0, 5.0, 5.0)
            if rng.random() < 0.7:  # and on it goes
                wrench = 0.5 * (np.abs(wrench) + (17.0, 17.0, 17.0, 5.0, 5.0, 5.0)) * np.sign(self.model.twist)
            controller.command(Setpoint(home, seq, duration), time)
            controller.command(WrenchSetpoint(wrench, seq), time)
        elif policy == "square wave":
            away = 0.05 if round(time / 0.05) % 2 else -0.05
            controller.command(Setpoint(home.moved(np.array([away, 0.0, away, 0.0, 0.0, 0.0])), seq, 0.0), time)
        elif policy == "anti-damping":
            twist = self.model.twist
            goal = self.model.pose.moved(np.concatenate((0.05 * np.sign(twist[:3]), 0.3 * np.sign(twist[3:]))))
            controller.command(Setpoint(goal, seq, 0.0), time)


RIG: list[Rig] = []  # made when first needed, and once in each process


def play(seeds: range) -> None:
    """Every sequence of ``seeds``; a failure names its seed."""
    if not RIG:
        RIG.append(Rig())
    for seed in seeds:
        try:
            overdraft = RIG[0].sequence(seed)
        except AssertionError as error:
            raise AssertionError(f"sequence {seed}") from error
        assert overdraft == 0.0, f"sequence {seed}: the account was overdrawn by {overdraft:.3f} J"
