"""Any arm under CRISP's ros2_control controllers, driven by their topics (github.com/utiasDSL/crisp_controllers).

CRISP computes the torques. This side keeps what it can keep without them: the gate (finite, new, near, inside
the workspace), a reference that moves no faster than the limits, and a watchdog that freezes the target at the measured
pose when setpoints stop coming. CRISP's controllers have none of these: they take any target, from any frame, and keep
the last one when its sender dies.

**There is no passivity tank here.** It could only act on torques that this side commands. So that policies trained with
a tank see what they know, `ArmReading.tank` and ``budget`` are those of a full tank and never move; ``activity`` is 0.
The spring is bounded by CRISP's own ``task.error_clip`` times its stiffness (0.1 m × 600 N/m in its default).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from controllers.config import ControllerConfig
from controllers.gains import ImpedanceGains
from controllers.spatial import Pose
from controllers.state import (
    JOINTS,
    AnySetpoint,
    ArmState,
    Event,
    EventKind,
    Mode,
    WrenchSetpoint,
)
from hardware.crisp.reference import PoseReference
from hardware.device import Device
from hardware.interfaces import ArmConnectionError, ArmFault, ArmReading, GripperReading, HardwareError

PERIOD = 0.01  # [s] between targets sent to CRISP
CONNECT_TIMEOUT = 10.0  # [s] for the first messages
STATE_TIMEOUT = 0.5  # [s] without a state before the arm counts as lost
STOP_TIMEOUT = 3.0  # [s] for the arm to come to rest


@dataclass(frozen=True)
class CrispConfig:
    """Names of CRISP's topics, and how this installation of it reads them.

    Attributes:
        namespace: of CRISP's topics, e.g. ``left``. Not that of this graph, whose topics have the same names.
        joint_names: as in ``joint_states``, base to tip, at most 7. Joints that an arm does not have are reported as 0.
        wrench_topic: geometry_msgs/WrenchStamped with the external wrench on the TCP; "" when there is none.
        local_wrench: ``target_wrench`` is in the axes of the tool: CRISP's parameter ``use_local_jacobian``.
        gripper_command: std_msgs/Float64MultiArray with one position; "" when there is no gripper.
        gripper_state: sensor_msgs/JointState whose first joint is the gripper.
        gripper_closed, gripper_open: positions on these two topics.
    """

    namespace: str = ""
    joint_names: tuple[str, ...] = tuple(f"fr3_joint{i}" for i in range(1, JOINTS + 1))
    wrench_topic: str = ""
    local_wrench: bool = True
    gripper_command: str = ""
    gripper_state: str = "gripper/joint_states"
    gripper_closed: float = 0.0
    gripper_open: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= len(self.joint_names) <= JOINTS:
            raise ValueError(f"crisp.joint_names needs 1 to {JOINTS} names, not {len(self.joint_names)}")
        if self.gripper_closed == self.gripper_open:
            raise ValueError(f"crisp.gripper_closed and gripper_open are both {self.gripper_open}; they must differ")


class CrispState(NamedTuple):
    """The newest messages of each kind, taken together.

    Attributes:
        seq: rises with each new pose.
        stamp: of the joint states [s].
        received: when the oldest of them arrived, on the clock of `CrispTopics` [s].
        q, dq, tau_J: joint positions [rad], velocities [rad/s] and torques [N·m], ``(7,)``.
        pose: of the TCP in CRISP's base frame.
        twist, wrench: of and on the TCP, base axes, ``(6,)`` [m/s, rad/s] and [N, N·m].
    """

    seq: int
    stamp: float
    received: float
    q: np.ndarray
    dq: np.ndarray
    tau_J: np.ndarray
    pose: Pose
    twist: np.ndarray
    wrench: np.ndarray


class CrispTopics(Protocol):
    """The topics themselves; `hardware.crisp.ros.topics.RosCrispTopics` in a graph.

    ``now`` is a steady clock [s], the same that stamps `CrispState.received`.
    """

    def open(self, each: Callable[[float], None]) -> None:
        """Begin to listen, and call ``each(now)`` every `PERIOD`, perhaps from another thread."""

    def close(self) -> None:
        """Safe to call twice."""

    def wait(self) -> None:
        """Let one `PERIOD` pass."""

    def state(self) -> CrispState | None:
        """None until a message of every topic has been received. Raises `ArmFault` when listening has failed."""

    def silent(self, now: float) -> tuple[str, ...]:
        """Full names of the topics without a message for `STATE_TIMEOUT`."""

    def rivals(self) -> tuple[str, ...]:
        """Other nodes that publish targets for this arm."""

    def send_pose(self, pose: Pose) -> None: ...

    def send_wrench(self, wrench: np.ndarray) -> None:
        """``wrench (6,)`` [N, N·m] in the axes that CRISP expects."""

    def send_stiffness(self, stiffness: np.ndarray) -> bool:
        """``stiffness (6,)`` [N/m, N·m/rad], x y z and about x y z; False when nobody listens."""

    def send_gripper(self, position: float) -> None: ...

    def gripper(self) -> float | None:
        """Position of the gripper's joint, or None while unknown."""


class CrispArm(Device):
    """`hardware.interfaces.Arm` of an arm under CRISP's Cartesian impedance controller.

    `start` begins to send targets, `stop` ends it; in between and afterwards CRISP holds its last target with its own
    stiffness, because no topic of CRISP's switches it off. A reflex of the robot is not known here either: it shows as
    states that stop coming, and is put right at the robot. So it aborts an episode, and is not held against a policy.

    Args:
        topics: see `CrispTopics`; not open.
        config: where they are.
        controller: workspace, limits and deadlines; its gains are not used until `change_gains`.
    """

    def __init__(self, topics: CrispTopics, config: CrispConfig, controller: ControllerConfig) -> None:
        self._topics, self._config, self._controller = topics, config, controller
        self._reference = PoseReference(controller)
        self._lock = threading.Lock()
        self._events: list[Event] = []
        self._fault = ""
        self._now = -np.inf  # of the last call of `_each` [s]
        self._origin: float | None = None  # stamp at which robot time is 0 [s]; None: not connected
        self._pushing = False

    def connect(self) -> None:
        """Listen for the arm. Raises `ArmConnectionError` when no state is received; the message names the topics."""
        self.disconnect()
        self._now = -np.inf
        self._topics.open(self._each)
        for _ in range(round(CONNECT_TIMEOUT / PERIOD)):
            state = self._topics.state()
            if state is not None and self._now > -np.inf:
                with self._lock:
                    self._origin, self._fault, self._reference.mode = state.stamp, "", Mode.IDLE
                return
            self._topics.wait()
        silent = self._topics.silent(np.inf)
        self._topics.close()
        raise ArmConnectionError(
            f"no message on {', '.join(silent)} within {CONNECT_TIMEOUT:.0f} s; start the arm's ros2_control with "
            "CRISP's pose_broadcaster, twist_broadcaster and a joint_state_broadcaster (see them with: ros2 control "
            f"list_controllers), check crisp.namespace={self._config.namespace!r} and that ROS_DOMAIN_ID is the same"
        )

    def disconnect(self) -> None:
        """Come to rest and stop listening; safe to call twice."""
        if self._origin is not None:
            with contextlib.suppress(ArmFault):  # whoever disconnects a lost arm knows that it is lost
                self.stop()
            self._origin = None
            self._topics.close()

    def start(self) -> None:
        """Begin to send targets, the measured pose first. Raises `ArmFault`: lost arm, or somebody else commands it."""
        state = self._fresh_state()
        if rivals := self._topics.rivals():
            raise ArmFault(_of_rivals(rivals))
        with self._lock:
            if self._fault:
                raise ArmFault(f"{self._fault}; recover first")
            self._events.extend(self._reference.start(state.pose, self._now))

    def stop(self) -> None:
        """Freeze the target where the arm is; returns when the arm is at rest. Raises `ArmFault` when it is not."""
        self.request_stop()
        for _ in range(round(STOP_TIMEOUT / PERIOD)):
            if self._reference.mode in (Mode.IDLE, Mode.FAULT):
                return
            self._topics.wait()
        raise ArmFault(f"the arm under CRISP did not come to rest within {STOP_TIMEOUT:.0f} s; look what moves it")

    def request_stop(self, reason: str = "") -> None:
        """Freeze the target where the arm is; the mode says when it is at rest."""
        self._require_connection()
        state = self._topics.state()
        with self._lock:
            if self._reference.mode in (Mode.TRACK, Mode.HOLD) and state is not None:
                self._events.extend(self._reference.stop(state.pose, reason or "asked to stop", self._now))

    def recover(self) -> None:
        """See that states come again. A stop of the robot is put right there: CRISP's topics cannot do it.

        Raises `ArmFault` when they do not come, or somebody else publishes targets.
        """
        self._fresh_state()
        if rivals := self._topics.rivals():
            raise ArmFault(_of_rivals(rivals))
        with self._lock:
            if self._fault:
                self._fault, self._reference.mode = "", Mode.IDLE
                self._events.append(Event(self._now, EventKind.RECOVERED, "states come again"))

    def begin_episode(self) -> None:
        """Nothing to grant: the torque, and with it the energy, is CRISP's. Says so in an event."""
        self._require_connection()
        with self._lock:
            self._events.append(Event(self._now, EventKind.BUDGET_GRANTED, "no energy is counted under CRISP"))

    def command(self, setpoint: AnySetpoint) -> None:
        """Hand over a pose or a wrench; joint targets are refused."""
        self._require_connection()
        state = self._topics.state()
        if state is None:
            return
        with self._lock:
            if isinstance(setpoint, WrenchSetpoint):
                self._events.extend(self._reference.push(setpoint, self._now))
            else:
                self._events.extend(self._reference.command(setpoint, state.pose, self._now))

    def change_gains(self, gains: ImpedanceGains) -> None:
        """Ask CRISP for other stiffnesses (``target_stiffness``); damping and clips stay as it was configured.

        CRISP takes them at once, clamped to its ``variable_max_stiffness``.
        """
        self._require_connection()
        along = np.broadcast_to(gains.translational_stiffness, 3)
        stiffness = np.concatenate((along, np.full(3, gains.rotational_stiffness)))
        if self._topics.send_stiffness(stiffness):
            event = Event(self._now, EventKind.GAINS_CHANGED, f"CRISP was asked for {stiffness} N/m, N·m/rad")
        else:
            detail = "stiffness not changed: nobody listens on CRISP's target_stiffness (crisp_controllers ≥ 2 has it)"
            event = Event(self._now, EventKind.SETPOINT_REJECTED, detail)
        with self._lock:
            self._events.append(event)

    def read(self) -> ArmReading:
        """The latest reading; a lost arm reads FAULT with the reason. Raises `ArmFault` when listening has failed."""
        self._require_connection()
        state = self._topics.state()
        if state is None or self._origin is None:
            raise ArmFault("CRISP has not sent a state yet; connect() again")
        with self._lock:
            mode = self._reference.mode
            return ArmReading(
                seq=state.seq,
                state=ArmState(
                    state.stamp - self._origin, state.q, state.dq, state.tau_J, np.zeros(JOINTS), state.wrench
                ),
                pose=state.pose,
                twist=state.twist,
                target=state.pose if mode in (Mode.IDLE, Mode.FAULT) else self._reference.pose,
                mode=mode,
                tank=self._controller.tank.capacity,
                success_rate=1.0,  # CRISP does not say
                received=state.received,
                budget=self._controller.tank.episode_budget,
                fault=self._fault,
            )

    def events(self) -> tuple[Event, ...]:
        """Events since the last call, oldest first; their times are those of this machine's steady clock."""
        with self._lock:
            events, self._events = tuple(self._events), []
        return events

    def _each(self, now: float) -> None:
        """Every `PERIOD`: watch, move the reference on, send it."""
        state = self._topics.state()
        with self._lock:
            self._now = now
            if state is None or self._reference.mode in (Mode.IDLE, Mode.FAULT):
                return
            if fault := self._find_fault(now):
                self._fault, self._reference.mode = fault, Mode.FAULT
                self._events.append(Event(now, EventKind.REFLEX, fault))
                return
            self._events.extend(self._reference.tick(state.pose, state.dq, now))
            self._topics.send_pose(self._reference.pose)
            self._send_wrench(state.pose, now)

    def _find_fault(self, now: float) -> str:
        """Why the arm may not go on, in words; empty when it may."""
        if silent := self._topics.silent(now):
            return (
                f"CRISP lost: nothing on {', '.join(silent)} for {STATE_TIMEOUT} s; look at the robot and ros2_control"
            )
        rivals = self._topics.rivals()
        return _of_rivals(rivals) if rivals else ""

    def _send_wrench(self, pose: Pose, now: float) -> None:
        """The wrench in the axes that CRISP expects; nothing once it has been taken back."""
        wrench = self._reference.wrench_at(now)
        pushing = bool(wrench.any())
        if pushing or self._pushing:
            if self._config.local_wrench:
                wrench = np.concatenate((pose.rotation.T @ wrench[:3], pose.rotation.T @ wrench[3:]))
            self._topics.send_wrench(wrench)
        self._pushing = pushing

    def _fresh_state(self) -> CrispState:
        """The latest state. Raises `ArmFault` unless it is fresh."""
        self._require_connection()
        state = self._topics.state()
        silent = self._topics.silent(self._now)
        if state is None or silent:
            raise ArmFault(
                f"nothing on {', '.join(silent)} for {STATE_TIMEOUT} s; put right what stopped the robot, activate "
                "CRISP's controllers again (ros2 control list_controllers shows them), then recover"
            )
        return state

    def _require_connection(self) -> None:
        if self._origin is None:
            raise ArmFault("the arm under CRISP is not connected; call connect() first")


class CrispGripper:
    """`hardware.interfaces.Gripper` on the topics of a ``CrispArm``, which opens and closes them."""

    def __init__(self, topics: CrispTopics, config: CrispConfig) -> None:
        self._topics, self._config = topics, config
        self._wish = 1.0

    def connect(self) -> None:
        """The topics come and go with the arm's."""

    def disconnect(self) -> None:
        """The topics come and go with the arm's."""

    def command(self, width: float) -> None:
        """Go to ``width``, 0 closed – 1 open. Raises `HardwareError` on values outside."""
        if not 0.0 <= width <= 1.0:
            raise HardwareError(f"gripper width {width} is outside 0 (closed) – 1 (open)")
        self._wish = width
        closed, opened = self._config.gripper_closed, self._config.gripper_open
        self._topics.send_gripper(closed + width * (opened - closed))

    def read(self) -> GripperReading:
        """Opening as last received, or as last asked for. Whether something is grasped is not known."""
        position = self._topics.gripper()
        if position is None:
            return GripperReading(self._wish, False)
        closed, opened = self._config.gripper_closed, self._config.gripper_open
        return GripperReading(float(np.clip((position - closed) / (opened - closed), 0.0, 1.0)), False)


def _of_rivals(rivals: tuple[str, ...]) -> str:
    return (
        f"{', '.join(rivals)} also publish{'es' if len(rivals) == 1 else ''} target_pose, and CRISP follows no target "
        f"while two publish; end them"
    )
