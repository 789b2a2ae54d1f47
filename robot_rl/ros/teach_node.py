"""A person drives or guides the arm and shows poses; what they make together is in `robot_rl.tasks.teaching`."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Float64MultiArray, String

from controllers.lease import Priority
from controllers.ros import topics as arm_topics
from controllers.ros.converters import fill_pose
from controllers.spatial import Pose
from controllers.state import Mode
from controllers.workspace import Workspace
from hardware.interfaces import Word
from robot_rl.contract import Answer, Label, Reading, lead_of
from robot_rl.ros import topics
from robot_rl.ros.arm_topics import ArmTopics, TeleopTopics
from robot_rl.ros.control_request import IDLE, ControlRequest
from robot_rl.ros.motion_end import MotionEnd
from robot_rl.ros.operator_topics import OperatorTopics
from robot_rl.session.intervention import Led, reference_of
from robot_rl.tasks.teaching import Lesson, Mark, TeachError

PERIOD = 0.1  # [s] of robot time between targets
SOFT = [0.0] * 6  # stiffness [N/m, N·m/rad] of an arm that is guided by hand; its damping stays
SOFTEN_PERIOD = 2.0  # [s] between words about it
MARK, UNDO = "mark", "undo"  # the words on `topics.TEACH_MARK`, beside the names of marks
NAMES = tuple(mark.value for mark in Mark)

Say = Callable[[Lesson, str], None]


class TeachNode(Node):
    """Follows the person's device, or their hand, and takes the pose when they say so.

    They say so by the word success (failure takes back), whichever device, program or service says it, or by a word on
    ``teach/mark``.

    Args:
        lesson: what is to be shown.
        workspace: where the arm may be driven.
        by_hand: a person guides the arm itself, which gives way.
        say: called with the lesson and what has happened, in words.
        timeout: [s] after which the person's last command no longer counts.

    Attributes:
        lesson: what has been shown.
    """

    def __init__(self, lesson: Lesson, workspace: Workspace, by_hand: bool, say: Say, timeout: float) -> None:
        super().__init__("teach")
        self.lesson = lesson
        self._workspace, self._by_hand, self._say = workspace, by_hand, say
        self._reading: Reading | None = None
        self._due = -1.0
        self._softened = -np.inf  # steady time [s]
        self._fault = ""
        self._led: Led | None = None
        self._target = self.create_publisher(PoseStamped, arm_topics.TARGET_POSES[Priority.PERSON], 1)
        self._gripper = self.create_publisher(Float64MultiArray, arm_topics.GRIPPER_COMMAND, 1)
        self._stiffness = self.create_publisher(Float64MultiArray, arm_topics.TARGET_STIFFNESS, 1)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._next = self.create_publisher(String, topics.TEACH_NEXT, latched)
        self._end = MotionEnd(self)
        self._control = ControlRequest(self, self._end)
        self.create_subscription(String, topics.TEACH_MARK, lambda message: self.hear(message.data), 5)
        self._teleop = TeleopTopics(self, timeout)
        self._operator = OperatorTopics(self, self._on_label)
        self._arm = ArmTopics(self, (), {}, self._on_reading)
        self._tell("")

    @property
    def done(self) -> bool:
        """Everything has been shown."""
        return self.lesson.next is None

    def hear(self, word: str) -> None:
        """Do what ``word`` says: `MARK`, or nothing at all, takes the pose, `UNDO` takes back the last one.

        The name of a `Mark` takes the pose only as that one, so that a program may repeat it until it is received.
        """
        word = word.strip().lower()
        mark = self.lesson.next
        if mark is None or (word in NAMES and word != mark.value):
            return
        if word == UNDO:
            self.lesson = self.lesson.back()
            self._tell("taken back")
        elif word not in ("", MARK, mark.value):
            self._tell(f"{word!r} is no word that is known here; say {MARK} or {UNDO}")
        elif self._reading is None or self._reading.mode is not Mode.TRACK:
            self._tell("the arm is not under control yet; wait until it is")
        else:
            self._take(self._reading)

    def _take(self, reading: Reading) -> None:
        mark = self.lesson.next
        try:
            self.lesson = self.lesson.take(reading.pose, reading.gripper)
        except TeachError as error:
            self._tell(str(error))
            return
        x, y, z = reading.pose.translation
        self._tell(f"{mark.value if mark else ''} at {x:.3f}, {y:.3f}, {z:.3f} m")

    def _tell(self, words: str) -> None:
        mark = self.lesson.next
        self._next.publish(String(data=mark.value if mark is not None else "done"))
        self._say(self.lesson, words)

    def end_motion(self) -> bool:
        """Command nothing any more, end the motion, and say whether it is over; to be called until it is."""
        return self._end.over(self._reading.mode if self._reading is not None else None, self._arm.received)

    def destroy_node(self) -> None:
        self._operator.close()
        super().destroy_node()

    def _on_label(self, label: Label) -> None:
        said = {Word.SUCCESS: MARK, Word.FAILURE: UNDO}.get(label.word)
        if said is not None:
            self.hear(said)
        text = (
            f"taken as {said}"
            if said
            else "a task is being taught; only success (mark) and failure (undo) mean something"
        )
        self._operator.answer(Answer(label, said is not None or label.word is Word.STOP, text))

    def _on_reading(self, reading: Reading) -> None:
        self._reading = reading
        self._operator.poll()
        if self._end.begun:
            return
        ahead = self._due - reading.robot_time  # by more than a period: time began anew, with a new connection
        if 1e-6 < ahead < 2.0 * PERIOD:
            return
        self._due = reading.robot_time + PERIOD
        command = self._teleop.command(reading.gripper)
        if reading.mode in IDLE:
            self._bring_back(reading)
            return
        self._fault = ""
        if self._by_hand:
            self._soften()
            self._send(reading.pose)
        elif command is not None and command.engaged:
            self._lead(reading, command.twist * PERIOD)
            if command.gripper is not None:
                self._gripper.publish(Float64MultiArray(data=[command.gripper]))
        elif self._led is not None:
            self._lead(reading, np.zeros(6))
        else:
            self._send(reading.target)

    def _lead(self, reading: Reading, delta: np.ndarray) -> None:
        """Move the reference on by ``delta (6,)`` [m, rad], from where the person has led it before."""
        reference = reference_of(reading, self._led, PERIOD)
        target = reading.pose.moved(lead_of(reference, reading.pose)).moved(delta)
        self._led = Led(reference, self._workspace.clip(target))
        self._send(self._led.end)

    def _bring_back(self, reading: Reading) -> None:
        """Ask for control, after a fault for recovery first; a stop only a person releases."""
        self._led = None
        if reading.fault and reading.fault != self._fault:
            self._fault = reading.fault
            self._tell(f"the arm has stopped: {reading.fault}")
        if self._control.ask(reading.mode):
            self._softened = -np.inf

    def _soften(self) -> None:
        """Say how stiff the arm shall be, again now and then: whoever starts to listen late shall hear it."""
        now = time.monotonic()
        if now - self._softened > SOFTEN_PERIOD:
            self._softened = now
            self._stiffness.publish(Float64MultiArray(data=SOFT))

    def _send(self, target: Pose) -> None:
        message = PoseStamped()
        message.header.stamp = self.get_clock().now().to_msg()
        message.header.frame_id = arm_topics.BASE_FRAME
        fill_pose(target, message.pose)
        self._target.publish(message)
