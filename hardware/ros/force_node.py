"""A force–torque sensor on the topic ``force_sensor/wrench``."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseStamped, WrenchStamped
from rclpy.node import Node

from controllers.ros import topics
from controllers.ros.converters import fill_vectors, pose_from
from controllers.spatial import Pose
from hardware.force import make_force_sensor
from hardware.force.compensated import CompensatedSensor
from hardware.force.lane import FRAME, NAME, ForceConfig
from hardware.force.tool import Tool
from hardware.force.tool_file import read_tool
from hardware.interfaces import ForceError, ForceEventKind, ForceSensor
from hardware.ros.converters import fill_header
from hardware.ros.frames import frame_prefix
from hardware.ros.runtime import Stop, spin

RATE = 200.0  # [Hz]
LOST_AFTER = 10.0  # [s] of silence or of a fault after which nobody waits for the sensor any more
SAID_EVERY = 1.0  # [s] between messages on /diagnostics
HARMLESS = (ForceEventKind.LOST, ForceEventKind.REPEATED, ForceEventKind.REORDERED)


class ForceNode(Node):
    """Publishes the newest wrench of a sensor, while there is one; silence is silence.

    Args:
        config: the sensor and its mounting.
        tool: on it, whose weight and bias are taken off; None: nothing is.

    Raises `ForceError` from `spin` when the sensor has been silent, or in a fault, for `LOST_AFTER`.
    """

    def __init__(self, config: ForceConfig, tool: Tool | None) -> None:
        super().__init__("force_sensor")
        self._mount = config.pose
        self._tcp: Pose | None = None
        frame = tool.frame if tool is not None else FRAME
        sensor = make_force_sensor(config.sensor, NAME, config.device, frame=frame, timeout=config.timeout)
        self._sensor: ForceSensor = sensor if tool is None else CompensatedSensor(sensor, tool, self._rotation)
        self._needs_arm = tool is not None
        self._frame = frame_prefix(self) + frame
        self._good = time.monotonic()
        self._trouble = ""
        self._said = -np.inf
        self._wrench = self.create_publisher(WrenchStamped, topics.SENSED_WRENCH, 1)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 5)
        self.create_subscription(PoseStamped, topics.CURRENT_POSE, self._on_pose, 1)
        self._sensor.connect()
        self.create_timer(1.0 / RATE, self._tick)

    def destroy_node(self) -> None:
        self._sensor.disconnect()
        super().destroy_node()

    def _on_pose(self, message: PoseStamped) -> None:
        self._tcp = pose_from(message.pose)

    def _rotation(self) -> np.ndarray | None:
        return None if self._tcp is None else self._tcp.rotation @ self._mount.rotation

    def _tick(self) -> None:
        if self._needs_arm and self._tcp is None:
            self._good = time.monotonic()  # the arm is waited for, not the sensor
            return
        try:
            reading = self._sensor.read()
        except ForceError as error:
            self._lack(error)
        else:
            if self._trouble:
                self.get_logger().info(f"force sensor {NAME!r} measures again")
            self._good, self._trouble = time.monotonic(), ""
            message = fill_header(reading.stamp, self._frame, WrenchStamped())
            fill_vectors(reading.wrench, message.wrench.force, message.wrench.torque)
            self._wrench.publish(message)
        for event in self._sensor.events():
            log = self.get_logger().info if event.kind in HARMLESS else self.get_logger().warning
            log(event.detail, throttle_duration_sec=SAID_EVERY)
        if time.monotonic() - self._said >= SAID_EVERY:
            self._said = time.monotonic()
            self._tell()

    def _lack(self, error: ForceError) -> None:
        if time.monotonic() - self._good > LOST_AFTER:
            raise error
        if str(error) != self._trouble:
            self._trouble = str(error)
            self.get_logger().error(self._trouble)

    def _tell(self) -> None:
        level = DiagnosticStatus.ERROR if self._trouble else DiagnosticStatus.OK
        counts = [KeyValue(key=kind.value, value=str(count)) for kind, count in self._sensor.counts().items()]
        status = DiagnosticStatus(level=level, name="force_sensor", message=self._trouble or "ok", values=counts)
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)


def run(config: ForceConfig, tool_file: Path | None, stop: Stop) -> None:
    """Publish until ``stop``; rclpy is initialised. Raises `ForceError`, or `ToolError` for a file that is no tool."""
    spin(ForceNode(config, read_tool(tool_file) if tool_file is not None else None), stop)
