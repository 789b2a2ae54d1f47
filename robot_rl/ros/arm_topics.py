"""The arm as seen through its topics: messages of one stamp become one `Reading`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray, PoseStamped, TwistStamped, WrenchStamped
from rclpy.node import Node
from sensor_msgs.msg import JointState, Joy

from controllers.ros import topics
from controllers.ros.converters import pose_from, stamp_to_ns, vectors_from
from controllers.state import Mode
from hardware.force.lane import ForceConfig
from hardware.franka.hand import FINGER_STROKE
from hardware.interfaces import TeleopCommand
from hardware.ros.joining import StampJoin
from robot_rl.contract import NO_ENCODING, Encoding, Reading, View
from robot_rl.ros.camera_topics import CameraTopics, Seen
from robot_rl.ros.force_topics import ForceTopics
from robot_rl.ros.signals import Signals
from robot_rl.session.config import SessionConfig

KEPT = 8  # incomplete sets of messages that are remembered
TYPES = {
    topics.JOINT_STATES: JointState,
    topics.CURRENT_POSE: PoseStamped,
    topics.CURRENT_TWIST: TwistStamped,
    topics.EXTERNAL_WRENCH: WrenchStamped,
    topics.REFERENCE_POSE: PoseStamped,
    topics.ARM_STATUS: JointState,
    topics.ARM_FAULT: DiagnosticArray,
    topics.OBJECTS: PoseArray,
}


class ArmTopics:
    """Subscribes to an arm and calls ``on_reading`` with each complete, aligned `Reading`.

    Args:
        node: the node to subscribe with.
        objects: names of the scene's objects, in the order in which they are published; empty when there are none.
        cameras: cameras whose newest image belongs to a reading, and what of it. A camera without a recent image, or
            without its features, makes a fault.
        on_reading: callback.
        image_age: see `SessionConfig`.
        frozen: see `SessionConfig.image_frozen`.
        compressed: pictures come as JPEG, and one that is lost is not sent again: the next one is as good.
        sensor: a force–torque sensor, whose newest wrench belongs to a reading; one that is too old makes a fault.
        encoding: features that belong to an image.
        signals: of judges, without which a reading is a fault.
        signal_age: see `SessionConfig`; default: ``image_age``.
    """

    def __init__(
        self,
        node: Node,
        objects: tuple[str, ...],
        cameras: Mapping[str, View],
        on_reading: Callable[[Reading], None],
        image_age: float = SessionConfig.image_age,
        compressed: bool = False,
        sensor: ForceConfig | None = None,
        encoding: Encoding = NO_ENCODING,
        signals: tuple[str, ...] = (),
        signal_age: float | None = None,
        frozen: float = 0.0,
    ) -> None:
        self._node, self._objects, self._on_reading = node, objects, on_reading
        self._force = ForceTopics(node, sensor) if sensor is not None else None
        self._cameras = [
            CameraTopics(node, name, view, image_age, compressed, encoding, frozen) for name, view in cameras.items()
        ]
        self._wanted = [name for name in TYPES if name != topics.OBJECTS or objects]
        self._signals, self._needed = Signals(node, image_age if signal_age is None else signal_age), signals
        self._join: StampJoin[Any] = StampJoin(self._wanted, KEPT)
        self.received = -np.inf  # monotonic time [s] of the last reading
        self.first = np.inf  # and of the first message, on whatever topic
        self._heard = dict.fromkeys(self._wanted, -np.inf)  # monotonic time [s] of the last message of each topic
        for name in self._wanted:
            node.create_subscription(TYPES[name], name, self._collector(name), KEPT)

    def _collector(self, name: str) -> Callable[[Any], None]:
        def collect(message: Any) -> None:
            self._heard[name] = time.monotonic()
            self.first = min(self.first, self._heard[name])
            stamp = stamp_to_ns(message.header.stamp)
            group = self._join.put(name, stamp, message)
            if group is not None:
                self.received = time.monotonic()
                self._on_reading(self._reading(stamp, group))

        return collect

    def silent(self, since: float) -> str:
        """Which topics have had no message since the monotonic time ``since`` [s], in words."""
        silent = [name for name, heard in self._heard.items() if heard < since]
        if not silent:
            return "messages come on all of its topics, but no set of one stamp"
        others = "" if len(silent) == len(self._heard) else f"; on {len(self._heard) - len(silent)} others it has"
        return f"no message on {', '.join(silent)}{others}"

    def _reading(self, stamp: int, group: dict[str, Any]) -> Reading:
        joints = group[topics.JOINT_STATES]
        status = dict(zip(group[topics.ARM_STATUS].name, group[topics.ARM_STATUS].position, strict=True))
        twist, wrench = group[topics.CURRENT_TWIST].twist, group[topics.EXTERNAL_WRENCH].wrench
        poses = group[topics.OBJECTS].poses if self._objects else []
        pose = pose_from(group[topics.CURRENT_POSE].pose)
        mode = Mode(int(status["mode"]))
        seen = {camera.name: camera.at(stamp) for camera in self._cameras}
        images = {name: one.image for name, one in seen.items() if isinstance(one, Seen)}
        features = {name: one.grid for name, one in seen.items() if isinstance(one, Seen) and one.grid is not None}
        sensed = self._force.at(stamp, pose) if self._force is not None else None
        lost = [one for one in (*seen.values(), sensed) if isinstance(one, str)]
        fault = "; ".join((*lost, *self._signals.lost(stamp, self._needed)))
        if mode in (Mode.FAULT, Mode.STOPPED):  # the robot's own words
            fault = group[topics.ARM_FAULT].status[0].message
        return Reading(
            stamp,
            status["robot_time"],
            np.array(joints.position[:7]),
            pose,
            vectors_from(twist.linear, twist.angular),
            vectors_from(wrench.force, wrench.torque),
            pose_from(group[topics.REFERENCE_POSE].pose),
            joints.position[7] / FINGER_STROKE,
            status["tank"],
            mode,
            images,
            {name: pose_from(pose) for name, pose in zip(self._objects, poses, strict=True)},
            fault,
            status["budget"],
            status["activity"],
            self._signals.at(stamp),
            None if isinstance(sensed, str) else sensed,
            features,
        )


class TeleopTopics:
    """How the person drives, as seen through ``twist_cmd`` and ``joy``; for their words see `OperatorTopics`."""

    def __init__(self, node: Node, timeout: float) -> None:
        self._timeout = timeout
        self._twist, self._twist_at = np.zeros(6), -np.inf
        self._gripper: float | None = None
        node.create_subscription(TwistStamped, topics.TWIST_COMMAND, self._on_twist, 1)
        node.create_subscription(Joy, topics.JOY, self._on_joy, 1)

    def _on_twist(self, message: TwistStamped) -> None:
        self._twist = vectors_from(message.twist.linear, message.twist.angular)
        self._twist_at = time.monotonic()

    def _on_joy(self, message: Joy) -> None:
        pressed = dict(zip(topics.JOY_BUTTONS, message.buttons, strict=False))
        if pressed.get("close"):
            self._gripper = 0.0
        elif pressed.get("open"):
            self._gripper = 1.0

    def command(self, gripper: float) -> TeleopCommand | None:
        """How the person drives now, or None when they do not. ``gripper``: present opening 0–1, kept until the person
        has chosen one."""
        if time.monotonic() - self._twist_at >= self._timeout or not np.isfinite(self._twist).all():
            return None
        return TeleopCommand(self._twist, self._gripper if self._gripper is not None else gripper)

    def forget(self) -> None:
        """At the start of an episode the gripper's wish no longer holds."""
        self._gripper = None
