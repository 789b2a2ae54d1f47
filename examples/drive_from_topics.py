"""A program in the place of a person's device: it drives an arm by topics, point by point, and says words on the way.

    python examples/drive_from_topics.py 0.50,0.00,0.25 mark 0.60,-0.10,0.12 mark
    python examples/drive_from_topics.py --again 0.55,0.05,0.15

A point is where the TCP shall go [m, base frame]; ``mark``, for `robot-rl task teach`, and ``success``, a label, are
said when it is there. With ``--again`` it does so in each episode, until the arm falls silent.
"""

from __future__ import annotations

import contextlib
import sys
import time

import numpy as np
import rclpy
from geometry_msgs.msg import PoseStamped, TwistStamped
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Joy
from std_msgs.msg import String

ARRIVED, SPEED, GAIN, SILENCE = 0.008, 0.09, 8.0, 30.0  # [m], [m/s], [1/s], [s]


class Driver(Node):
    """Goes through ``words``; ``again``: from the beginning in each episode."""

    def __init__(self, words: list[str], again: bool) -> None:
        super().__init__("driver")
        self.words, self.again, self.next, self.phase = words, again, 0, ""
        self.received, self.said = time.monotonic(), ""
        self.twist = self.create_publisher(TwistStamped, "twist_cmd", 1)
        self.joy = self.create_publisher(Joy, "joy", 5)
        self.mark = self.create_publisher(String, "teach/mark", 5)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.create_subscription(PoseStamped, "current_pose", self.on_pose, 1)
        self.create_subscription(String, "session_phase", self.on_phase, latched)
        self.create_subscription(String, "teach/next", self.on_next, latched)

    def on_phase(self, message: String) -> None:
        if message.data == "reset" and self.again:
            self.next = 0
        self.phase = message.data

    def on_next(self, message: String) -> None:
        """The last mark has been taken: go on."""
        if self.said not in ("", message.data) and self.words[self.next : self.next + 1] == ["mark"]:
            self.next += 1
        self.said = message.data

    def on_pose(self, message: PoseStamped) -> None:
        self.received = time.monotonic()
        if self.next >= len(self.words) or (self.again and self.phase not in ("ready", "running")):
            return
        word = self.words[self.next]
        if word == "mark":
            if self.said:  # by its name, so that it may be said until it is received
                self.mark.publish(String(data=self.said))
        elif word == "success":
            self.joy.publish(Joy(buttons=[0, 0, 1, 0]))
            self.next += 1
        else:
            p = message.pose.position
            way = np.array([float(number) for number in word.split(",")]) - (p.x, p.y, p.z)
            self.drive(message, way * min(GAIN, SPEED / max(float(np.linalg.norm(way)), 1e-6)))
            if np.linalg.norm(way) < ARRIVED and not (self.again and self.next + 1 == len(self.words)):
                self.next += 1

    def drive(self, pose: PoseStamped, velocity: np.ndarray) -> None:
        twist = TwistStamped()
        twist.header.frame_id = pose.header.frame_id
        twist.header.stamp = self.get_clock().now().to_msg()
        twist.twist.linear.x, twist.twist.linear.y, twist.twist.linear.z = velocity.tolist()
        self.twist.publish(twist)


def main(words: list[str]) -> None:
    rclpy.init()
    driver = Driver([word for word in words if word != "--again"], "--again" in words)
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        while time.monotonic() - driver.received < SILENCE and (driver.again or driver.next < len(driver.words)):
            rclpy.spin_once(driver, timeout_sec=0.1)
    rclpy.try_shutdown()


if __name__ == "__main__":
    main(sys.argv[1:])
