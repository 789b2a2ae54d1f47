"""A person's device on the topics ``twist_cmd``, ``joy`` and ``operator/word``.

A twist is published only while the person drives, and one of zero when they let go: whoever listens takes a twist that
stays away for a person who has let go. Words are events: see `hardware.ros.words`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from geometry_msgs.msg import TwistStamped
from rclpy.node import Node
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import Joy

from controllers.ros import topics
from hardware.interfaces import HardwareError, TeleopDevice
from hardware.ros.converters import fill_teleop
from hardware.ros.runtime import Stop, ros, spin
from hardware.ros.words import WordSender
from hardware.teleop import TELEOP_DEVICES, make_teleop

RATE = 50.0  # [Hz]
SILENCE = 10.0  # [s] without a single command after which the person is told that the device is silent


class TeleopNode(Node):
    """Reads a connected ``device`` at ``rate`` [Hz]. The device's errors leave through `spin`.

    ``words`` says what the device has to say; ``engaged`` is whether the person drives.
    """

    def __init__(self, device: TeleopDevice, rate: float = RATE) -> None:
        super().__init__("teleop")
        self._device = device
        self.engaged = False
        self._active = False
        self._twist = self.create_publisher(TwistStamped, topics.TWIST_COMMAND, 1)
        self._joy = self.create_publisher(Joy, topics.JOY, 1)
        self.words = WordSender(self)
        self.create_timer(1.0 / rate, self._tick)
        self._silence = self.create_timer(SILENCE, self._report_silence)

    def _tick(self) -> None:
        command = self._device.read()
        for word in command.words:
            self.words.say(word)
        twist, joy = TwistStamped(), Joy()
        fill_teleop(command, self.get_clock().now().to_msg(), twist, joy)
        if command.engaged or self.engaged:
            self._twist.publish(twist)
        self._joy.publish(joy)
        self.engaged = command.engaged
        self._active = self._active or command.engaged or bool(command.words)

    def destroy_node(self) -> None:
        self.words.close()
        super().destroy_node()

    def _report_silence(self) -> None:
        self._silence.cancel()
        if not self._active:
            self.get_logger().warning(
                f"{type(self._device).__name__} is open, but nothing has come from it for {SILENCE:g} s. If you have "
                "moved it: wake it up (wireless devices sleep), end other programs that read it, plug it in again"
            )


def run(device: TeleopDevice, stop: Stop, rate: float = RATE) -> None:
    """Publish what ``device`` says until ``stop``. rclpy is initialised; raises the device's errors."""
    device.connect()
    try:
        spin(TeleopNode(device, rate), stop)
    finally:
        device.disconnect()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Publish a teleoperation device on twist_cmd, joy and operator/word.")
    parser.add_argument("--device", required=True, help=TELEOP_DEVICES.listed())
    parser.add_argument("--rate", type=float, default=RATE, help="readings a second")
    given = parser.parse_args(remove_ros_args(sys.argv[1:] if argv is None else argv))
    try:
        device = make_teleop(given.device)
        with ros() as stop:
            run(device, stop, given.rate)
    except HardwareError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
