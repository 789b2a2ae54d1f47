"""The ROS side of an arm: publishes what the driver reads, offers start, stop and recovery.

Commands come in by `arm_commands`, the emergency stop by `emergency_stop`, the state goes out by `arm_state`.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Sequence

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from std_srvs.srv import Trigger

from controllers.gains import ImpedanceGains
from controllers.ros import topics
from controllers.state import EventKind, Mode
from hardware.franka.description import Joint
from hardware.interfaces import (
    Arm,
    ArmFault,
    ArmReading,
    Gripper,
    HardwareError,
    SceneControl,
    TelemetryError,
    WatchedArm,
    WatchedGripper,
)
from hardware.ros.arm_commands import SETPOINT_DURATION, ArmCommands, Bursts
from hardware.ros.arm_state import ArmStateTopics
from hardware.ros.diagnosis import diagnose
from hardware.ros.emergency_stop import EmergencyStop

LOGGER = logging.getLogger(__name__)
PUBLISH_PERIOD = 0.02  # [s] of robot time between state messages
POLL_PERIOD = 0.004  # [s] between looks at the driver and at the command topics
STOP_PATIENCE = 2.0  # [s] for an arm to be at rest after an emergency stop
AT_REST = (Mode.IDLE, Mode.FAULT, Mode.STOPPED)
ERRORS = (EventKind.REFLEX, EventKind.STOPPED, EventKind.WRITER_REFUSED)
WARNINGS = (
    EventKind.SETPOINT_REJECTED,
    EventKind.SETPOINT_STALE,
    EventKind.DAMPING,
    EventKind.TANK_EMPTY,
    EventKind.OVERDRAFT,
    EventKind.FORCE_LIMIT,
)


class ArmNode(Node):
    """One arm, its gripper and, in the simulator, its scene.

    The drivers are handed to `ArmCommands`, their gate. The node itself keeps what it may start, stop and read.

    Args:
        arm: connected driver.
        gripper: connected driver, or None.
        scene: connected scene control whose object poses are published, or None.
        objects: names of the objects, in the order in which they are published.
        gains: of the driver's controller, which `target_stiffness` changes.
        period: [s] between the targets of a policy or a person.
        joints: of the description that this node publishes; none when somebody else does.
    """

    def __init__(
        self,
        arm: Arm,
        gripper: Gripper | None = None,
        scene: SceneControl | None = None,
        objects: tuple[str, ...] = (),
        gains: ImpedanceGains | None = None,
        period: float = SETPOINT_DURATION,
        joints: Sequence[Joint] = (),
    ) -> None:
        super().__init__("arm")
        self._arm: WatchedArm = arm
        self._gripper: WatchedGripper | None = gripper
        self._scene, self._objects = scene, objects
        self._due = -1.0
        self._stop_asked = 0.0  # steady time [s] of the last request to stop that an emergency made
        self._bursts = Bursts()
        self._state = ArmStateTopics(self, gripper is not None, objects, joints)
        self._events = self.create_publisher(DiagnosticStatus, topics.ARM_EVENTS, 20)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 5)
        self._commands = ArmCommands(self, arm, gripper, gains or ImpedanceGains(), self._report, period)
        self._emergency_stop = EmergencyStop(self, self._stop, self._commands.release, self._report)
        self.create_service(Trigger, topics.START, lambda _, r: self._serve(r, self._released(arm.start)))
        self.create_service(Trigger, topics.STOP, lambda _, r: self._serve(r, arm.request_stop))
        self.create_service(Trigger, topics.ERROR_RECOVERY, lambda _, r: self._serve(r, self._released(arm.recover)))
        self.create_service(Trigger, topics.BEGIN_EPISODE, lambda _, r: self._serve(r, arm.begin_episode))
        self.create_timer(POLL_PERIOD, self._poll)
        self.create_timer(1.0, self._publish_diagnostics)
        self._last: ArmReading | None = None

    def destroy_node(self) -> None:
        self._commands.close()
        super().destroy_node()

    def _stop(self) -> None:
        """Damp out at once; the arm is on its way when this returns, and the state goes on being published."""
        self._commands.stop()
        self._request_stop(self._emergency_stop.reason)

    def _request_stop(self, reason: str) -> None:
        self._stop_asked = time.monotonic()
        try:
            self._arm.request_stop(reason)
        except TelemetryError as error:
            self.get_logger().error(f"the arm was asked to stop, but what led to it is not on file: {error}")
        except HardwareError as error:
            self.get_logger().fatal(f"emergency stop: {error}")

    def _watch_stop(self, mode: Mode) -> None:
        """Tell of an emergency stop after which the arm is still, or again, under control; ask once more."""
        if not self._emergency_stop.reason or mode in AT_REST:
            return
        if time.monotonic() - self._stop_asked > STOP_PATIENCE:
            detail = f"the controller is in {mode.name} {STOP_PATIENCE:g} s after the emergency stop asked it to end"
            self._report(EventKind.STOPPED, f"{detail}; press the robot's own stop button")
            self._request_stop("")

    def _released(self, action: Callable[[], None]) -> Callable[[], None]:
        """``action``, unless a person has stopped the arm."""

        def checked() -> None:
            if self._emergency_stop.reason:
                raise ArmFault(f"the arm is stopped by a person: {self._emergency_stop.reason}")
            action()

        return checked

    def _serve(self, response: Trigger.Response, action: Callable[[], None]) -> Trigger.Response:
        try:
            action()
            response.success = True
        except HardwareError as error:
            response.success, response.message = False, str(error)
            self.get_logger().error(str(error))
        return response

    def _poll(self) -> None:
        self._commands.poll()
        for event in self._arm.events():
            rejected = event.kind is EventKind.SETPOINT_REJECTED  # each setpoint of a stream may be
            if rejected:
                self._commands.complain("rejected", event.detail)
            if not rejected or self._bursts.begins(event.kind.name, time.monotonic()):
                self._publish_event(event.kind, event.detail, event.time)
        reading = self._arm.read()
        self._watch_stop(reading.mode)
        if self._emergency_stop.reason:
            reading = dataclasses.replace(reading, mode=Mode.STOPPED, fault=self._emergency_stop.reason)
        self._commands.watch(reading.mode)
        if self._commands.deserted:
            self._commands.forget()
            LOGGER.info("whoever commanded the arm has gone; its motion is ended")
            self._request_stop("")
        ahead = self._due - reading.state.time  # by more than a period: time began anew, with a new connection
        if 0.0 < ahead < 2.0 * PUBLISH_PERIOD and self._last is not None and reading.mode is self._last.mode:
            return
        self._due = (int(reading.state.time / PUBLISH_PERIOD + 1e-6) + 1) * PUBLISH_PERIOD
        age = time.monotonic() - reading.received
        opening = self._gripper.read().width if self._gripper is not None else 0.0
        objects = self._scene.objects() if self._scene is not None and self._objects else {}
        self._state.publish(reading, opening, objects, self.get_clock().now().nanoseconds - round(age * 1e9))
        self._last = reading

    def _report(self, kind: EventKind, detail: str) -> None:
        """Tell the operator something that this node itself has found."""
        self._publish_event(kind, detail, self._last.state.time if self._last is not None else 0.0)

    def _publish_event(self, kind: EventKind, detail: str, robot_time: float) -> None:
        level = DiagnosticStatus.ERROR if kind in ERRORS else DiagnosticStatus.OK
        level = DiagnosticStatus.WARN if kind in WARNINGS else level
        LOGGER.info("%s: %s", kind.name.lower(), detail)
        values = [KeyValue(key="robot_time", value=f"{robot_time:.3f}")]
        self._events.publish(DiagnosticStatus(level=level, name=kind.name.lower(), message=detail, values=values))

    def _publish_diagnostics(self) -> None:
        publishers = self.count_publishers(topics.TARGET_POSE)
        values: dict[str, object] = {**self._commands.counts}
        values |= {"target_pose publishers": publishers, "holder": self._commands.holder()}
        mode, fault = Mode.IDLE, ""
        if self._last is not None:
            mode, fault = self._last.mode, self._last.fault
            values |= {"mode": mode.name, "fault": fault, "tank [J]": f"{self._last.tank:.2f}"}
            values |= {"success_rate": f"{self._last.success_rate:.2f}"}
        found = diagnose(mode, fault, self._commands.complaints(), publishers)
        status = DiagnosticStatus(level=found.level, name=self.get_fully_qualified_name(), message=found.message)
        status.values = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)
