"""A world that writes down, every millisecond, what the passivity filter is about."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from controllers.core import ControllerConfig
from controllers.state import TICK
from hardware.franka.collision import CollisionThresholds
from hardware.interfaces import ArmReading
from hardware.scene import SceneSpec
from hardware.sim.scene.wrench import ContactWrench
from hardware.sim.world.inprocess import InProcessWorld

FELT = 10  # [ms]
UNFILTERED = 1.0  # [s] since the last update: fifty time constants of the wrench's low-pass filter


@dataclass(frozen=True, eq=False)
class Trace:
    """Record of n consecutive milliseconds; every array is ``(n,)``.

    Attributes:
        time: robot time [s].
        delivered: energy that the torques have given to the arm since the first row's tick [J]: the sum of
            ``τ_{k−1} · (q_k − q_{k−1})``, from the torques and positions themselves and not from the tank's account.
        tank: level of the tank [J].
        activity: for how long the filter has held back since the start [s]; see `controllers.state.Tick`.
        force: size of the contact force on the hand and what it holds [N], not low-pass filtered.
        penetration: depth of the deepest contact [m].
        position: ``(n, 3)`` of the TCP, base frame [m].
    """

    time: np.ndarray
    delivered: np.ndarray
    tank: np.ndarray
    activity: np.ndarray
    force: np.ndarray
    penetration: np.ndarray
    position: np.ndarray

    def __len__(self) -> int:
        return len(self.time)

    @property
    def elapsed(self) -> np.ndarray:
        """Time since before the first row's tick ``(n,)`` [s]."""
        elapsed: np.ndarray = self.time - self.time[0] + TICK
        return elapsed

    @property
    def felt(self) -> np.ndarray:
        """Contact force as a mean over 10 ms ``(n,)`` [N]: an impact's impulse, not its peak, which is the model's."""
        return np.convolve(self.force, np.full(FELT, 1.0 / FELT))[: len(self)]


@dataclass
class _Rows:
    time: list[float] = field(default_factory=list)
    delivered: list[float] = field(default_factory=list)
    tank: list[float] = field(default_factory=list)
    activity: list[float] = field(default_factory=list)
    force: list[float] = field(default_factory=list)
    penetration: list[float] = field(default_factory=list)
    position: list[np.ndarray] = field(default_factory=list)


class RecordedWorld(InProcessWorld):
    """An `InProcessWorld` that records each tick of `advance`; the physics is bit for bit the same.

    Attributes:
        recording: whether it does so now. Recording takes about as long as the physics.
    """

    def __init__(
        self, scene: SceneSpec, controller: ControllerConfig, collision: CollisionThresholds | None = None
    ) -> None:
        super().__init__(scene, controller, collision)
        self._rows = _Rows()
        self.recording = True

    def connect(self) -> None:
        super().connect()
        self._contact_now = ContactWrench(*self.physics, UNFILTERED)
        self._rows = _Rows()

    def advance(self, seconds: float) -> None:
        """As `InProcessWorld.advance`; a row for each millisecond in which the arm does not brake by itself."""
        if not self.recording:
            super().advance(seconds)
            return
        self._before = self.read().state.q
        for _ in range(round(seconds / TICK)):
            super().advance(TICK)
            self._record(self.read())

    def __enter__(self) -> RecordedWorld:
        self.connect()
        return self

    def take(self) -> Trace:
        """The record since the last call."""
        rows, self._rows = self._rows, _Rows()
        columns = {name: np.array(values) for name, values in vars(rows).items()}
        columns["delivered"] = np.cumsum(columns["delivered"])
        return Trace(**columns)

    def _record(self, reading: ArmReading) -> None:
        state, data, rows = reading.state, self.physics[1], self._rows
        delivered = float(state.tau_J_d @ (state.q - self._before))
        self._before = state.q
        if reading.fault:
            return
        rows.time.append(state.time)
        rows.delivered.append(delivered)
        rows.tank.append(reading.tank)
        rows.activity.append(reading.activity)
        rows.force.append(float(np.linalg.norm(self._contact_now.update()[:3])))
        rows.penetration.append(max(0.0, -float(data.contact.dist.min())) if data.ncon else 0.0)
        rows.position.append(reading.pose.translation)
