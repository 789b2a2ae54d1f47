"""franky-sim's FCI server, held to what a real FR3 enforces (`hardware.sim.fci.conformance`), on loopback only.

It overrides franky-sim 1.0.4 where that accepts everything: the start of a motion, the stream of commands, collision
thresholds, error recovery, and what the state says of errors, contacts and the share of commands that came in time.
"""

from __future__ import annotations

import select
import struct
from collections.abc import Callable, Sequence
from typing import Any

import mujoco
import numpy as np
from franky_sim import FrankaRobotServer
from franky_sim.franka_gripper_server import FrankaGripperServer
from franky_sim.franka_robot_protocol import (
    AutomaticErrorRecoveryCommand,
    AutomaticErrorRecoveryStatus,
    MoveCommand,
    MoveCommandControllerMode,
    MoveCommandMotionGeneratorMode,
    MoveStatus,
    RobotCommand,
    SetCollisionBehaviorCommand,
    StateControllerMode,
    StateMotionGeneratorMode,
    StopMoveCommand,
    UDPCommand,
)
from franky_sim.franka_robot_server import ControlMode, ImpedanceControlMode
from franky_sim.franka_robot_state import FrankaRobotState
from franky_sim.franka_server import BaseCommand, FrankaServer, NonBlockingReceiver

from controllers.state import TICK
from hardware.franka.collision import CollisionThresholds
from hardware.sim.channel.faults import Faults
from hardware.sim.fci.conformance import (
    ERRORS,
    CollisionLevels,
    Conformance,
    RobotMode,
    Signal,
    TorqueSignal,
)
from hardware.sim.fci.derived import Derived, pack_state
from hardware.sim.fci.link import FaultyLink, FaultySocket
from hardware.sim.fci.robot import quicken
from hardware.sim.fci.settings import INVALID_ARGUMENT, SetEEToK, SetLoad, SetNEToEE
from hardware.sim.fci.signals import (
    CartesianPoseSignal,
    CartesianVelocitySignal,
    JointPositionSignal,
    JointVelocitySignal,
)
from hardware.sim.fci.stops import set_joint_stops
from hardware.sim.scene.model import robot_prefix
from hardware.sim.scene.wrench import ContactTorques, ContactWrench

NO_ERRORS = (False,) * len(ERRORS)
LONGEST_MESSAGE = 1 << 16  # bytes

MotionGenerator = MoveCommandMotionGeneratorMode
# Where each kind of command is in the driver's datagram, and how many numbers it has.
FIELDS = {
    MotionGenerator.kJointPosition: (8, 7),
    MotionGenerator.kJointVelocity: (64, 7),
    MotionGenerator.kCartesianPosition: (120, 16),
    MotionGenerator.kCartesianVelocity: (248, 6),
    MotionGenerator.kNone: (314, 7),
}
CONTROLLERS = {
    ImpedanceControlMode.JOINT_IMPEDANCE: StateControllerMode.kJointImpedance,
    ImpedanceControlMode.CARTESIAN_IMPEDANCE: StateControllerMode.kCartesianImpedance,
    ImpedanceControlMode.NONE: StateControllerMode.kOther,
}
GENERATORS = {
    ControlMode.POSITION: StateMotionGeneratorMode.kJointPosition,
    ControlMode.VELOCITY: StateMotionGeneratorMode.kJointVelocity,
    ControlMode.CARTESIAN_POSITION: StateMotionGeneratorMode.kCartesianPosition,
    ControlMode.CARTESIAN_VELOCITY: StateMotionGeneratorMode.kCartesianVelocity,
    ControlMode.IDLE: StateMotionGeneratorMode.kIdle,
}
FINISHED_FLAGS = (313, 370)  # end of a motion generator's motion, and of torque control
FOREIGN = (LookupError, ValueError, ArithmeticError, TypeError, struct.error)  # of who does not speak our protocol
ASYNCHRONOUS_FLAG = 56  # in the Move command of libfranka 0.20 and later


class SceneRobotServer(FrankaRobotServer):
    """franky-sim's robot server with the contacts of the scene, and everything `Conformance` enforces.

    A tick of a motion misses a command when none has come since the tick before, or only such as answer an older state
    than the last command taken did. A late command counts for the tick in which it comes; of several, the one that
    answers the newest state is taken. The first may be `START_TICKS` late, and an asynchronous motion needs no more.

    Attributes:
        conformance: decides; its `missed` counts over all connections.
    """

    def __init__(self, robot: Any, address: str, model: mujoco.MjModel, data: mujoco.MjData, arm: int = 0) -> None:
        """``arm`` is the number of ``robot`` in its scene."""
        thresholds = CollisionThresholds()
        self.conformance = Conformance(
            CollisionLevels(thresholds.torque, thresholds.torque, thresholds.force, thresholds.force)
        )
        self._states = 0  # sent to this driver
        self._address = address
        self._link = FaultyLink(Faults())
        self._wire: FaultySocket | None = None
        self._field = FIELDS[MotionGenerator.kNone]
        self._received: list[bytes] = []
        self._replies: list[Callable[[], None]] = []
        self._answered = 0  # the state that the last command answered; what answers an older one is out of date
        self._last: bytes | None = None  # command of this motion
        self._signal: Signal = TorqueSignal()
        prefix = robot_prefix(arm)
        set_joint_stops(model, self.conformance.limits, prefix)
        self._torques = ContactTorques(model, data, TICK, prefix)
        self._wrench = ContactWrench(model, data, TICK, f"{prefix}hand")
        self._external: tuple[np.ndarray, np.ndarray] = (np.zeros(7), np.zeros(6))
        quicken(robot, data)
        self._derived = Derived(robot)
        super().__init__(robot, [address])
        _commands_of(self).update(
            {
                RobotCommand.kMove: _Move,
                RobotCommand.kStopMove: _StopMove,
                RobotCommand.kSetCollisionBehavior: _SetCollisionBehavior,
                RobotCommand.kAutomaticErrorRecovery: _AutomaticErrorRecovery,
                RobotCommand.kSetEEToK: SetEEToK,
                RobotCommand.kSetNEToEE: SetNEToEE,
                RobotCommand.kSetLoad: SetLoad,
            }
        )

    @property
    def robot_time(self) -> float:
        """Robot time [s] as the connected driver sees it; it starts at 0 with each connection."""
        return self._states * TICK

    def tick(self, step: Callable[[], None]) -> None:
        """One millisecond: commands in, ``step``, state out."""
        try:
            _check_message(self)
            self.process_commands()
        except FOREIGN:
            self.reset_state()
            self._post_process_commands()  # the arm holds: no tick goes by without a torque
        self.advance(step)
        self.send_state()
        for reply in self._replies:
            reply()
        self._replies.clear()

    def advance(self, step: Callable[[], None]) -> None:
        """One ``step`` of the physics, and what the robot feels of it."""
        step()
        self._external = (self._torques.update(), self._wrench.update())
        torque, wrench = self._external
        joints = self.robot.inner_state
        self._stop_on(self.conformance.check(joints.q, joints.dq, torque.tolist(), wrench.tolist()))

    def reply_after_state(self, reply: Callable[[], None]) -> None:
        """Send ``reply`` once the driver has been sent a state that shows what has been done."""
        self._replies.append(reply)

    def set_faults(self, faults: Faults) -> None:
        """Make the network to the driver as bad as this from now on."""
        self._link = FaultyLink(faults)
        if self._wire is not None:
            self._wire.link = self._link

    def user_stop(self, pressed: bool) -> None:
        """Press or release the button that stops the arm."""
        self.conformance.user_stop(pressed)
        if pressed:
            self.abort(MoveStatus.kEmergencyAborted)

    def answer_due(self) -> bool:
        """Whether a command has to come before the next tick, and has not."""
        wire = self._wire
        if wire is None or not wire.sent or self.conformance.mode is not RobotMode.MOVE or self._last is None:
            return False
        return not self.wait_for_answer(0.0)

    def wait_for_answer(self, seconds: float) -> bool:
        """Wait for a datagram of the driver, at most ``seconds``; whether one is there."""
        return self._wire is not None and bool(select.select([self._wire], [], [], seconds)[0])

    def accept(self, command: MoveCommand, asynchronous: bool) -> MoveStatus:
        """Answer to the request for a motion; the motion is about to start when it is kMotionStarted."""
        q = self.robot.inner_state.q
        kind = command.motion_generator_mode
        torque_control = command.controller_mode is MoveCommandControllerMode.kExternalController
        if torque_control:
            kind = MotionGenerator.kNone  # franky-sim takes the torques and no motion generator beside them
        elif kind is MotionGenerator.kNone:
            return MoveStatus.kInvalidArgumentRejected
        signal = self._make_signal(kind, asynchronous)
        if not self.conformance.start_motion(q, signal):
            return MoveStatus.kCommandNotPossibleRejected
        self._signal, self._field = signal, FIELDS[kind]
        self._answered, self._last = self._states, None  # which is the number of the next state
        return MoveStatus.kMotionStarted

    def start_motion(
        self,
        controller_mode: MoveCommandControllerMode,
        motion_generator_mode: MoveCommandMotionGeneratorMode,
        motion_id: int,
    ) -> None:
        """Go on from where the arm was last commanded to, at rest.

        franky-sim would jump to where the arm is, and go on reporting commanded velocities of the motion before.
        """
        super().start_motion(controller_mode, motion_generator_mode, motion_id)
        for component in self.robot._tracked_state_components.values():
            for derivative in component.observers.values():
                derivative.clear()
        if controller_mode is MoveCommandControllerMode.kExternalController:
            self._derived.begin()
        else:
            self._derived.end()
        state = self.robot.state
        numbers = (*state.q_d, *(0.0,) * 7, *state.O_T_EE_d, *(0.0,) * 8)
        super()._handle_udp_command(UDPCommand.STRUCT.pack(1, *numbers, False, False, *(0.0,) * 7, False))

    def abort(self, status: MoveStatus) -> None:
        """End the motion, if there is one; the arm holds its joints by itself, and the driver is told ``status``."""
        motion = self.current_motion_id
        if motion == 0:
            return
        self.conformance.end_motion()
        self.stop_motion(send_preemption_signal=False)
        self.reset_current_motion_id()
        BaseCommand.send_response(self._tcp_socket, RobotCommand.kMove, motion, status)

    @property
    def robot_state(self) -> FrankaRobotState:
        """The state as sent to the driver."""
        conformance = self.conformance
        torque, wrench = self._external
        rotation = self._derived.measured_rotation
        force, moment = wrench[:3] @ rotation, wrench[3:] @ rotation
        controller, generator = _modes_of(self)
        return self._derived.report(
            robot_mode=conformance.mode,
            controller_mode=controller,
            motion_generator_mode=generator,
            control_command_success_rate=conformance.success_rate,
            tau_ext_hat_filtered=torque.tolist(),
            O_F_ext_hat_K=wrench.tolist(),
            K_F_ext_hat_K=(*force.tolist(), *moment.tolist()),
            joint_contact=conformance.joint_contact,
            joint_collision=conformance.joint_collision,
            cartesian_contact=conformance.cartesian_contact,
            cartesian_collision=conformance.cartesian_collision,
            errors=_flags(conformance.errors),
            reflex_reason=_flags(conformance.last_motion_errors),
        )

    def _make_signal(self, kind: MoveCommandMotionGeneratorMode, asynchronous: bool) -> Signal:
        limits = self.conformance.limits
        if kind is MotionGenerator.kJointPosition:
            return JointPositionSignal(limits, self.robot.state.q_d, streamed=not asynchronous)
        if kind is MotionGenerator.kJointVelocity:
            return JointVelocitySignal(limits)
        if kind is MotionGenerator.kCartesianPosition:
            return CartesianPoseSignal(self.robot.state.O_T_EE_d)
        if kind is MotionGenerator.kCartesianVelocity:
            return CartesianVelocitySignal()
        return TorqueSignal(limits)

    def _handle_udp_command(self, command_data: bytes) -> None:
        self._received.append(command_data)

    def _post_process_commands(self) -> None:
        self._take_command()
        super()._post_process_commands()

    def _take_command(self) -> None:
        """The newest of the commands that came in since the last tick, if it may be executed."""
        newest = max(self._received, key=_number, default=None)
        self._received.clear()
        if self.current_motion_id == 0:
            return
        if newest is None or _number(newest) < self._answered:
            errors = self.conformance.command(None)
            self._stop_on(errors)
            if not errors:
                self._go_on()
            return
        if any(newest[flag] for flag in FINISHED_FLAGS):
            self.conformance.end_motion()
            super()._handle_udp_command(newest)
            return
        number, (offset, count) = _number(newest), self._field
        ticks = max(1, number - self._answered) if self._last is not None else 1
        errors = self.conformance.command(struct.unpack_from(f"<{count}d", newest, offset), ticks)
        self._stop_on(errors)
        if not errors:
            self._answered, self._last = number, newest
            super()._handle_udp_command(newest)

    def _go_on(self) -> None:
        """Execute what takes the place of a missing command."""
        if self._last is None:
            return
        values = self._signal.without(self._states - 1 - self._answered)
        if values is not None:
            offset, count = self._field
            command = bytearray(self._last)
            struct.pack_into(f"<{count}d", command, offset, *values)
            super()._handle_udp_command(bytes(command))

    def _stop_on(self, errors: Sequence[str]) -> None:
        if errors:
            self.abort(MoveStatus.kReflexAborted)

    def _setup_udp_connection(self, network_udp_port: int) -> None:
        super()._setup_udp_connection(network_udp_port)
        self._wire = FaultySocket(self._address, self._link)
        _replace_udp_socket(self, self._wire)
        self._states = 0

    def _reset_state(self) -> None:
        """The driver has gone, or a new one comes."""
        self.conformance.lose_connection()
        self._wire = None
        self._received.clear()
        self._replies.clear()
        super()._reset_state()

    def _get_state_bytes(self) -> bytes:
        self._states += 1  # called once for each state that is sent
        return pack_state(self.robot_state)

    def _bind_children(self, hostname: str) -> None:
        if self.robot.has_gripper:
            gripper = _GripperServer(self.robot, hostname)
            gripper.init()
            self._FrankaRobotServer__gripper_server = gripper


class _GripperServer(FrankaGripperServer):
    """franky-sim's gripper server, on loopback only."""

    def _setup_udp_connection(self, network_udp_port: int) -> None:
        super()._setup_udp_connection(network_udp_port)
        _replace_udp_socket(self, FaultySocket(self._hostname, FaultyLink(Faults())))

    def process_commands(self) -> None:
        """Those of this tick; who does not speak our protocol is cut off, and the robot's own driver is left alone."""
        try:
            _check_message(self)
            super().process_commands()
        except FOREIGN:
            self.reset_state()


class _Move(MoveCommand):
    """Start a motion, in a mode that allows it."""

    asynchronous: bool = False

    @classmethod
    def from_bytes(cls, data: bytes, command_id: int, client_socket: Any) -> _Move:
        command: _Move = super().from_bytes(data, command_id, client_socket)
        command.asynchronous = len(data) > ASYNCHRONOUS_FLAG and data[ASYNCHRONOUS_FLAG] != 0
        return command

    def handle(self, server: SceneRobotServer) -> None:
        status = server.accept(self, self.asynchronous)
        if status is MoveStatus.kMotionStarted:
            super().handle(server)
        else:
            self.reply(status)


class _StopMove(StopMoveCommand):
    """End the motion; fine also when there is none."""

    def handle(self, server: SceneRobotServer) -> None:
        self.reply(0)
        server.abort(MoveStatus.kPreempted)


class _SetCollisionBehavior(SetCollisionBehaviorCommand):
    """Take over the thresholds; the set for constant velocity serves accelerations too."""

    def handle(self, server: SceneRobotServer) -> None:
        try:
            server.conformance.levels = CollisionLevels(
                tuple(self.lower_torque_thresholds_nominal),
                tuple(self.upper_torque_thresholds_nominal),
                tuple(self.lower_force_thresholds_nominal),
                tuple(self.upper_force_thresholds_nominal),
            )
        except ValueError:
            self.reply(INVALID_ARGUMENT)
        else:
            self.reply(0)


class _AutomaticErrorRecovery(AutomaticErrorRecoveryCommand):
    """Recover from a reflex, unless the mode forbids it."""

    def handle(self, server: SceneRobotServer) -> None:
        statuses = AutomaticErrorRecoveryStatus
        status = statuses.kSuccess if server.conformance.recover() else statuses.kCommandNotPossibleRejected
        server.reply_after_state(lambda: self.reply(status))


def _check_message(server: FrankaServer) -> None:
    """Raises ValueError for a message under way of a length that none has: franky-sim would wait for it for ever."""
    receiver = server._FrankaServer__tcp_receiver
    header = receiver._MessageReceiver__current_header if receiver is not None else None
    if header is not None and not 0 <= header.payload_size <= LONGEST_MESSAGE:
        raise ValueError(f"a message of {header.payload_size} bytes")


def _number(command: bytes) -> int:
    """Number of the state that a command answers."""
    number: int = struct.unpack_from("<Q", command)[0]
    return number


def _flags(errors: Sequence[str]) -> tuple[bool, ...]:
    return tuple([error in errors for error in ERRORS]) if errors else NO_ERRORS


def _commands_of(server: FrankaRobotServer) -> dict[Any, type]:
    """franky-sim's handlers of TCP commands; there is no public way to them."""
    handlers: dict[Any, type] = server._FrankaServer__command_class_map
    return handlers


def _modes_of(server: FrankaRobotServer) -> tuple[int, int]:
    """How the arm is controlled, and by which motion generator, as the state says it."""
    mode = server._FrankaRobotServer__control_mode
    if mode is ControlMode.TORQUE:
        return StateControllerMode.kExternalController, StateMotionGeneratorMode.kNone
    return CONTROLLERS[server._FrankaRobotServer__impedance_control_mode], GENERATORS[mode]


def _replace_udp_socket(server: Any, wire: FaultySocket) -> None:
    """franky-sim listens on every network of the machine; this one is bound to the robot's loopback address."""
    server._FrankaServer__udp_socket.close()
    server._FrankaServer__udp_socket = wire
    server._FrankaServer__udp_receiver = NonBlockingReceiver(wire)
