"""A program in the place of a person's device: it drives an arm by topics, point by point, and says words on the way.

    python examples/drive_from_topics.py 0.50,0.00,0.25 mark 0.60,-0.10,0.12 mark
    python examples/drive_from_topics.py --again 0.55,0.05,0.15
    python examples/drive_from_topics.py --again 0.5,0,0.106,0.001 0.5,0,0.08 success 2s end / 0.51,0,0.1 2s end

A point is where the TCP shall go [m, base frame], and how near is near enough [m]. Words are said when it is there:
``mark``, for `robot-rl task teach`, and labels such as ``success``, ``failure`` and ``end``; ``2s`` waits. With
``--again`` it does so in each episode until the arm falls silent, where ``/`` parts the ways of one and of the next.
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
from std_msgs.msg import String
from std_srvs.srv import Trigger

ARRIVED, SPEED, GAIN, SILENCE = 0.008, 0.09, 8.0, 30.0  # [m], [m/s], [1/s], [s]


class Driver(Node):
    """Goes through the words of ``ways``; ``again``: one way in each episode, from the first one after the last."""

    def __init__(self, ways: list[list[str]], again: bool) -> None:
        super().__init__("driver")
        self.ways, self.again, self.episode, self.next, self.phase = ways, again, 0, 0, ""
        self.received, self.said, self.waits, self.ran = time.monotonic(), "", 0.0, False
        labels = {word for way in ways for word in way if word.isalpha() and word != "mark"}
        self.labels = {word: self.create_client(Trigger, f"operator/{word}") for word in labels}
        self.twist = self.create_publisher(TwistStamped, "twist_cmd", 1)
        self.mark = self.create_publisher(String, "teach/mark", 5)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.create_subscription(PoseStamped, "current_pose", self.on_pose, 1)
        self.create_subscription(String, "session_phase", self.on_phase, latched)
        self.create_subscription(String, "teach/next", self.on_next, latched)

    @property
    def words(self) -> list[str]:
        return self.ways[self.episode % len(self.ways)]

    @property
    def done(self) -> bool:
        return not self.again and self.next >= len(self.words)

    def on_phase(self, message: String) -> None:
        self.phase = message.data
        self.ran |= self.phase == "running"
        if self.phase == "reset" and self.again and self.ran:
            self.next, self.waits, self.ran = 0, 0.0, False
            self.episode += 1

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
        elif word.removesuffix("s").isdigit():
            self.waits = self.waits or self.received + float(word.removesuffix("s"))
            if self.received > self.waits:
                self.next, self.waits = self.next + 1, 0.0
        elif word in self.labels:
            self.labels[word].call_async(Trigger.Request())
            self.next += 1
        else:
            p = message.pose.position
            x, y, z, *near = (float(number) for number in word.split(","))
            way = np.array([x - p.x, y - p.y, z - p.z])
            self.drive(message, way * min(GAIN, SPEED / max(float(np.linalg.norm(way)), 1e-6)))
            there = np.linalg.norm(way) < (near[0] if near else ARRIVED)
            if there and not (self.again and self.next + 1 == len(self.words)):
                self.next += 1

    def drive(self, pose: PoseStamped, velocity: np.ndarray) -> None:
        twist = TwistStamped()
        twist.header.frame_id = pose.header.frame_id
        twist.header.stamp = self.get_clock().now().to_msg()
        twist.twist.linear.x, twist.twist.linear.y, twist.twist.linear.z = velocity.tolist()
        self.twist.publish(twist)


def main(words: list[str]) -> None:
    rclpy.init()
    ways = [way.split() for way in " ".join(word for word in words if word != "--again").split(" / ")]
    driver = Driver(ways, "--again" in words)
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        while time.monotonic() - driver.received < SILENCE and not driver.done:
            rclpy.spin_once(driver, timeout_sec=0.1)
    rclpy.try_shutdown()


if __name__ == "__main__":
    main(sys.argv[1:])
