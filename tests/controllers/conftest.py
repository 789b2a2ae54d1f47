"""An FR3 with ideal torque control, integrated by pinocchio: what the controller's tests close the loop with."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pinocchio as pin
import pytest

from controllers.model import ArmModel
from controllers.state import JOINTS, ArmState
from hardware.franka.model import fr3_model
from tests.controllers.loop import Loop

DT = 1e-3
SUBSTEPS = 4
DRIVE_INERTIA = np.array([0.195] * 4 + [0.074] * 3)  # of franky-sim's FR3 [kg·m²]
READY = np.array([0.0, -np.pi / 4, 0.0, -3 * np.pi / 4, 0.0, np.pi / 2, np.pi / 4])


class Plant:
    """Rigid-body dynamics without friction or gravity, which the robot compensates.

    ``delivered`` is the energy the torques have given to the arm [J].
    """

    def __init__(self, q: np.ndarray = READY, dq: np.ndarray | None = None) -> None:
        self.model = fr3_model()
        self._dynamics = self.model.pinocchio.copy()
        self._dynamics.armature = DRIVE_INERTIA
        self._dynamics.gravity = pin.Motion.Zero()
        self._data = self._dynamics.createData()
        self.q = q.copy()
        self.dq = np.zeros(JOINTS) if dq is None else dq.copy()
        self.torque = np.zeros(JOINTS)
        self.time = 0.0
        self.delivered = 0.0

    def state(self) -> ArmState:
        return ArmState(self.time, self.q.copy(), self.dq.copy(), self.torque, self.torque.copy(), np.zeros(6))

    def step(self, torque: np.ndarray, external: np.ndarray | float = 0.0) -> None:
        """One millisecond with ``torque`` and ``external (7,)`` joint torques [N·m] held."""
        before = self.q
        for _ in range(SUBSTEPS):
            acceleration = pin.aba(self._dynamics, self._data, self.q, self.dq, torque + external)
            self.dq = self.dq + acceleration * (DT / SUBSTEPS)
            self.q = self.q + self.dq * (DT / SUBSTEPS)
        self.torque = torque.copy()
        self.delivered += float(torque @ (self.q - before))
        self.time += DT

    def kinetic_energy(self) -> float:
        return float(pin.computeKineticEnergy(self._dynamics, self._data, self.q, self.dq)) + float(
            0.5 * DRIVE_INERTIA @ self.dq**2
        )


@pytest.fixture
def arm() -> ArmModel:
    model = fr3_model()
    model.update(READY, np.zeros(JOINTS))
    return model


@pytest.fixture(scope="session")
def make_plant() -> Callable[..., Plant]:
    return Plant


@pytest.fixture
def loop(make_plant: Callable[..., Plant]) -> Loop:
    return Loop(make_plant())


@pytest.fixture
def ready() -> np.ndarray:
    return READY.copy()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture(scope="session")
def arm_urdf() -> str:
    """The bare FR3: URDF text without a hand."""
    spec = importlib.util.find_spec("franky_sim")
    return (Path(spec.origin).parent / "assets" / "fr3_clean.urdf").read_text(encoding="utf-8")
