"""The interfaces every driver meets, and the errors it raises.

Constructors only store and validate. ``connect()`` touches the device, ``disconnect()`` releases it and may be called
twice, ``with`` does both. Each interface has one contract test (`tests/contracts/`) that every driver must pass.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from controllers.impedance import ImpedanceGains
from controllers.spatial import Pose
from controllers.state import AnySetpoint, ArmState, Event, Mode


class HardwareError(RuntimeError):
    """A device that cannot do what was asked. The message says what happened, on which device, and what to do next."""


class ArmConnectionError(HardwareError):
    """No arm answers at the address, or it refuses control."""


class ArmFault(HardwareError):
    """The arm or its real-time process stopped by itself."""


class TelemetryError(HardwareError):
    """A record of the arm's last seconds that cannot be written, or read again."""


class CameraError(HardwareError):
    """A camera that is missing, or stopped delivering frames."""


class ForceError(HardwareError):
    """A force–torque sensor that is missing, wrongly set up, in a fault, or silent."""


class TeleopError(HardwareError):
    """A teleoperation device that is missing, may not be opened, or was unplugged."""


@dataclass(frozen=True, eq=False)
class ArmReading:
    """The latest state of the arm, as its driver has it.

    Attributes:
        seq: rises with every new measurement.
        state: joints, torques and wrench at robot time ``state.time``.
        pose: TCP pose in the base frame.
        twist: TCP twist ``(6,)`` [m/s, rad/s], base axes.
        target: the controller's current reference pose, or the measured one when idle.
        mode: what the controller is doing.
        tank: energy left in the passivity tank [J].
        success_rate: share of the last 100 commands the robot received in time, 0–1.
        received: ``time.monotonic()`` [s] when this reading arrived on this side.
        budget: energy left of the episode's budget [J].
        activity: see `controllers.state.Tick`; grows while the passivity filter holds back [s].
        fault: why the mode is FAULT or STOPPED, in words; "" otherwise.
    """

    seq: int
    state: ArmState
    pose: Pose
    twist: np.ndarray
    target: Pose
    mode: Mode
    tank: float
    success_rate: float
    received: float
    budget: float = 0.0
    activity: float = 0.0
    fault: str = ""


@runtime_checkable
class WatchedArm(Protocol):
    """An arm for whoever may start, stop and read it, but not move it."""

    def start(self) -> None:
        """Begin torque control, holding the measured pose. Raises `ArmFault` when the arm needs recovery first."""

    def stop(self) -> None:
        """End the motion with damping; returns when the arm is idle."""

    def request_stop(self, reason: str = "") -> None:
        """Begin what `stop` does. Never waits for the arm; the mode says when it is idle.

        With a ``reason`` it is an incident, which drivers that keep a record of their last seconds write down; they
        raise `TelemetryError` when they cannot, and the arm stops nevertheless.
        """

    def recover(self) -> None:
        """Clear a reflex. Raises `ArmFault` when the arm refuses."""

    def begin_episode(self) -> None:
        """Grant the energy budget of a new episode. Never blocks."""

    def read(self) -> ArmReading:
        """The latest reading. Raises `ArmFault` when the real-time process has died."""

    def events(self) -> tuple[Event, ...]:
        """Events since the last call, oldest first."""


@runtime_checkable
class Arm(WatchedArm, Protocol):
    """A torque-controlled arm with the impedance controller of `controllers.core` running on it.

    In each process one object alone is handed an `Arm` to keep, its gate; all others get a `WatchedArm`.
    """

    def connect(self) -> None:
        """Open the connection; no motion. Raises `ArmConnectionError`."""

    def disconnect(self) -> None:
        """End any motion and release the arm; safe to call twice."""

    def command(self, setpoint: AnySetpoint) -> None:
        """Hand over a setpoint. Never blocks; whether it was accepted comes back in `events`."""

    def change_gains(self, gains: ImpedanceGains) -> None:
        """Go over to other gains, ramped by the controller. Never blocks; errors come back in `events`."""


@dataclass(frozen=True)
class GripperReading:
    """``width``: opening as a share of the full stroke, 0 closed – 1 open. ``grasped``: holds something."""

    width: float
    grasped: bool


class WatchedGripper(Protocol):
    """A gripper for whoever may read it, but not move it."""

    def read(self) -> GripperReading: ...


@runtime_checkable
class Gripper(WatchedGripper, Protocol):
    """A parallel gripper. Commands return at once; the motion goes on by itself."""

    def connect(self) -> None: ...

    def disconnect(self) -> None: ...

    def command(self, width: float) -> None:
        """Go to ``width``, 0 closed – 1 open; closing grasps with the configured force. Errors on values outside."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One colour image: ``image (height, width, 3)`` uint8 RGB, ``stamp`` [s] when it was captured (robot time in the
    simulator, the device's clock mapped to the host otherwise) and ``received`` [s], `time.monotonic()`; ``depth
    (height, width)`` uint16 [mm] of each of its pixels, 0 where it is not known, None where there is none."""

    image: np.ndarray
    stamp: float
    received: float
    depth: np.ndarray | None = None


@runtime_checkable
class Camera(Protocol):
    """A colour camera."""

    name: str

    def connect(self) -> None: ...

    def disconnect(self) -> None: ...

    def read(self) -> Frame:
        """The newest frame. Raises `CameraError` when none came within the driver's timeout."""


class ForceEventKind(enum.Enum):
    """Things about a force–torque sensor that somebody outside must hear of."""

    LOST = "lost"  # readings that never arrived
    REPEATED = "repeated"  # one that arrived twice
    REORDERED = "reordered"  # one that arrived after a later one
    RESTARTED = "restarted"  # the device counts anew
    FROZEN = "frozen"  # the device sends, but measures nothing new
    SILENT = "silent"  # the device sends nothing
    FAULT = "fault"  # the device says that it is broken
    SATURATED = "saturated"  # a load at or beyond the range
    DRIFTED = "drifted"  # the sensor shows a load though nothing is touched


class ForceEvent(NamedTuple):
    """Something that happened at ``stamp`` [s], the time of the readings, in words, to so many ``readings``."""

    stamp: float
    kind: ForceEventKind
    detail: str
    readings: int = 1


@dataclass(frozen=True, eq=False)
class ForceReading:
    """One measurement of a force–torque sensor.

    Attributes:
        seq: rises with every new measurement.
        wrench: ``(6,)`` [N, N·m] that acts on the sensor from outside, at the origin and in the axes of ``frame``. What
            hangs on the sensor acts by its weight.
        frame: name of the frame.
        stamp: when it was measured [s]: robot time for the arm's own estimate and in the simulator, the host's clock
            otherwise.
        received: `time.monotonic()` [s].
        saturated: an axis is at or beyond its range: the true load may be any larger one.
        status: state of the device in words; "" when it is well.

    Raises ValueError when the wrench is not six finite numbers.
    """

    seq: int
    wrench: np.ndarray
    frame: str
    stamp: float
    received: float
    saturated: bool = False
    status: str = ""

    def __post_init__(self) -> None:
        wrench = np.array(self.wrench, dtype=np.float64)
        if wrench.shape != (6,) or not np.isfinite(wrench).all():
            raise ValueError(f"a wrench is six finite numbers [N, N·m], not {self.wrench}")
        wrench.flags.writeable = False
        object.__setattr__(self, "wrench", wrench)


@runtime_checkable
class ForceSensor(Protocol):
    """A force–torque sensor. Silence is never a wrench of zeros: it is an error, and an event."""

    name: str
    frame: str

    def connect(self) -> None:
        """Open the device and wait for its first measurement. Raises `ForceError`."""

    def disconnect(self) -> None: ...

    def read(self) -> ForceReading:
        """The newest reading.

        Raises `ForceError` when nothing new was measured within the driver's timeout, or the device is in a fault. A
        sensor that measures again can be read again.
        """

    def events(self) -> tuple[ForceEvent, ...]:
        """Events since the last call, oldest first."""

    def counts(self) -> dict[ForceEventKind, int]:
        """How many readings each kind of event has concerned since `connect`; without those that never happened."""


class Word(enum.Enum):
    """A word that the operator may say, whichever device, program or page says it.

    The first two say what the step in flight came to. ``DISCARD`` throws an episode away as data, ``END`` ends it as a
    time limit does. ``PAUSE`` holds the arm until ``RESUME``. After ``TAKE_OVER`` the person drives, also with their
    hands off the device, until ``RESUME``. ``STOP`` is the emergency stop.
    """

    SUCCESS = "success"
    FAILURE = "failure"
    DISCARD = "discard"
    PAUSE = "pause"
    RESUME = "resume"
    TAKE_OVER = "take_over"
    END = "end"
    STOP = "stop"


@dataclass(frozen=True, eq=False)
class TeleopCommand:
    """The person's command.

    Attributes:
        twist: ``(6,)`` desired TCP twist [m/s, rad/s], base axes.
        gripper: desired opening 0–1, or None to leave it.
        engaged: the person is driving; while False the policy acts.
        words: said since the last command, oldest first; each is handed over once.
    """

    twist: np.ndarray
    gripper: float | None = None
    engaged: bool = True
    words: tuple[Word, ...] = ()


@runtime_checkable
class TeleopDevice(Protocol):
    """A SpaceMouse, gamepad, keyboard or leader arm."""

    def connect(self) -> None: ...

    def disconnect(self) -> None: ...

    def read(self) -> TeleopCommand: ...


@runtime_checkable
class SceneControl(Protocol):
    """Control of the scene, as only a simulator has it: put objects where they shall be, and say where they are.

    On a real arm `hardware.manual_scene.ManualScene` stands in: a person arranges the objects and no pose is known.
    """

    def connect(self) -> None: ...

    def disconnect(self) -> None: ...

    def place(self, objects: dict[str, Pose]) -> None:
        """Put each named object at its pose in the base frame, at rest. Returns when done."""

    def objects(self) -> dict[str, Pose]:
        """Poses of all movable objects in the base frame; empty when unknown."""
