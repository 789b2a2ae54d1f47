"""Energy over any window, whatever happens: random sequences of everything that could make the arm give energy away.

Every sequence draws a tank, a posture, what the policy does (jumps, joint positions, gains times ten, wrenches, a
square wave, anti-damping), and what the world does to it (pushes, a stiff wall, lost states, lost torques). The plant
sums the energy from the torques it really got and the motion it really made.
"""

from __future__ import annotations

import multiprocessing
import os

import numpy as np
import pinocchio as pin
import pytest

from controllers.core import Controller, ControllerConfig
from controllers.friction import FrictionConfig
from controllers.gains import ImpedanceGains
from controllers.joint_impedance import JointGains
from controllers.model import ArmModel
from controllers.passivity import EnergyTank, TankConfig
from controllers.spatial import Pose
from controllers.state import JOINTS, ArmState, JointSetpoint, Mode, Setpoint, WrenchSetpoint
from hardware.franka.model import fr3_model

TICK = 1e-3
TICKS = 30, 120  # of most sequences, and of one in four
LIMIT_OF_STALLS = 19  # ticks; with 20 the robot stops
ROUNDING = 1e-9  # [J]
POSTURE = np.array([0.0, -np.pi / 4, 0.0, -3 * np.pi / 4, 0.0, np.pi / 2, np.pi / 4])
DRIVES = np.array([0.195] * 4 + [0.074] * 3)  # of franky-sim's FR3 [kg·m²]
DRAG = np.array([0.05, 0.05, 0.05, 0.05, 0.01, 0.01, 0.01])
POLICIES = ("jumps", "joints", "gains", "wrenches", "square wave", "anti-damping", "everything")
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


def held_energy(tank: TankConfig, torque: np.ndarray, dq: np.ndarray) -> float:
    """What ``torque`` delivers while it is held through a stall and taken away after it [J]."""
    hold = tank.stall + np.abs(torque) / 990.0
    return float(torque.dot(dq * hold) + 0.5 * tank.acceleration * np.abs(torque).dot(hold**2))


class Rig:
    """One plant and a controller for each of a few configurations, reused from sequence to sequence."""

    def __init__(self) -> None:
        self.model = fr3_model()
        self.plant = FastPlant(self.model)

    def sequence(self, seed: int) -> float:
        """Play one; returns by how much the account came below zero [J]. Raises AssertionError with the seed."""
        rng = np.random.default_rng(seed)
        policy = POLICIES[seed % len(POLICIES)]
        tank = TankConfig(
            capacity=float(rng.uniform(0.25, 2.0)),
            budget=float(rng.choice([0.0, 1.0, 5.0])),
            episode_budget=float(rng.choice([0.05, 0.2, 100.0])),
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
            friction=FrictionConfig(coulomb=(float(rng.choice([0.0, 1.0])),) * JOINTS),
        )
        plant, model = self.plant, self.model
        torque, dq = np.zeros(JOINTS), rng.choice([0.0, 1.0]) * rng.uniform(-1.0, 1.0, JOINTS)
        late = rng.random() < 0.7
        if late:  # the window begins in the middle of a motion that has used up most of the tank
            torque = rng.uniform(-15.0, 15.0, JOINTS) * (1.0, 1.0, 1.0, 1.0, 0.3, 0.3, 0.3)
            dq = np.abs(dq) * np.sign(torque)
            while (tail := held_energy(tank, torque, dq)) > tank.capacity - tank.reserve:
                torque *= 0.8
        plant.reset(POSTURE + rng.uniform(-0.3, 0.3, JOINTS), dq, torque)
        controller = Controller(model, config)
        state = ArmState(0.0, plant.q, plant.dq, plant.torque, plant.torque, np.zeros(6))
        controller.start(state)
        if late:  # what an earlier tick has seen to
            controller.tank.account = min(tank.capacity, tank.reserve + tail + float(rng.uniform(0.0, 0.3)))
        home = model.pose
        if rng.random() < 0.5:
            normal = rng.normal(size=3)
            normal /= np.linalg.norm(normal)
            plant.wall = (normal, float(normal @ home.translation) - 0.002, 10 ** float(rng.uniform(3.0, 4.7)))
        plant.viscosity = float(rng.choice([0.0, 30.0]))
        # What Z stands for: one stall, or a torque in five that does not get through, and no push that would speed a
        # joint up along its torque by much more than 10 rad/s² meanwhile.
        loses, stalls_at = rng.random() < 0.3, -1
        if not loses and rng.random() < 0.5:
            stalls_at = int(rng.integers(TICKS[0]))
        push = float(rng.choice([0.0, 10.0] if loses or stalls_at >= 0 else [0.0, 20.0, 60.0]))
        # Or somebody pulls the arm along, wherever it wants to go: the surest way to get energy out of a torque.
        drags = push * DRAG if rng.random() < 0.5 else None
        return self._play(controller, rng, policy, home, push, drags, loses, stalls_at)

    def _play(
        self,
        controller: Controller,
        rng: np.random.Generator,
        policy: str,
        home: Pose,
        push: float,
        drags: np.ndarray | None,
        loses: bool,
        stalls_at: int,
    ) -> float:
        plant, tank, config = self.plant, controller.tank, controller.config
        seq, drawn, lowest = 0, 0.0, tank.account
        period = int(rng.choice([5, 40]))
        pushed = np.zeros(JOINTS)
        held_until = -1
        # The least over all windows begun so far of: energy delivered up to then, less what was granted, plus what the
        # tank and the potentials held. Nothing delivered since, less the grants since, may exceed it.
        ceiling = tank.account
        for tick in range(TICKS[int(rng.random() < 0.25)]):
            if tick % 25 == 0:
                pushed = push * rng.uniform(-1.0, 1.0, JOINTS) * (1.0, 1.0, 1.0, 1.0, 0.3, 0.3, 0.3)
                if rng.random() < 0.05:
                    controller.begin_episode()
            if tick % period == 0:
                seq += 1
                self._command(controller, rng, policy, home, seq)
            if (np.abs(plant.dq) > self.model.velocity).any():
                break  # the robot stops by itself
            if tick > held_until:
                budget = tank.budget
                state = ArmState(plant.time, plant.q, plant.dq, plant.torque, plant.torque, plant.force)
                result = controller.tick(state)
                assert result.mode in (Mode.TRACK, Mode.HOLD)
                drawn += budget - tank.budget
                assert budget - tank.budget >= -ROUNDING
                assert tank.level <= config.tank.capacity + ROUNDING
                assert plant.delivered - drawn <= ceiling + ROUNDING
                ceiling = min(ceiling, plant.delivered - drawn + config.tank.capacity + tank.account - tank.level)
                lowest = min(lowest, tank.account)
                torque = result.torque
                assert np.abs(torque - plant.torque).max() <= 1.0
                assert (np.abs(torque) <= self.model.effort).all()
                if tick == stalls_at:
                    held_until = tick + int(rng.integers(1, LIMIT_OF_STALLS + 1))
            external = plant.touch()
            external += pushed if drags is None else drags * np.sign(plant.torque)
            if tick <= held_until or (loses and rng.random() < 0.2):
                torque = plant.torque
            plant.step(torque, external)
        return -min(0.0, lowest)

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


@pytest.mark.parametrize("block", range(20))
def test_energy_over_any_window_is_bounded_by_tank_and_budget(block: int) -> None:
    play(range(500 * block, 500 * (block + 1)))


@pytest.mark.slow
@pytest.mark.timeout(6 * 3600)
def test_energy_over_any_window_is_bounded_in_a_million_sequences() -> None:
    """On as many processes as there are cores, forked: the test module cannot be imported by its name."""
    shares = os.cpu_count() or 1
    size = -(-1_000_000 // shares)
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=play, args=(range(10_000 + size * k, 10_000 + size * (k + 1)),)) for k in range(shares)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * shares, "the output above names the sequence"


def test_the_sequences_overdraw_a_tank_that_does_not_act(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the bound above would be kept by arms that never came near it."""
    settle = EnergyTank.settle

    def open_valve(tank: EnergyTank, spring: float, held: float) -> float:
        settle(tank, spring, held)
        return 1.0

    monkeypatch.setattr(EnergyTank, "settle", open_valve)
    monkeypatch.setattr(EnergyTank, "allowance", lambda tank, held: np.inf)
    rig, broken = Rig(), 0
    for seed in range(140):
        try:
            broken += rig.sequence(seed) > 0.0
        except AssertionError:
            broken += 1
    assert broken >= 3
