"""The arm tilts its hand in several directions, and the force sensor on it is read at rest in each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node

from controllers.lease import Priority
from controllers.model import ArmModel
from controllers.ros import topics
from controllers.ros.converters import fill_pose
from controllers.spatial import Pose
from controllers.state import Mode
from controllers.workspace import Workspace
from hardware.force.arm import ArmWrench
from hardware.force.survey import Survey, tilted
from hardware.interfaces import ForceError, ForceSensor
from robot_rl.contract import Reading
from robot_rl.ros.arm_topics import ArmTopics
from robot_rl.ros.control_request import IDLE, ControlRequest
from robot_rl.ros.motion_end import MotionEnd

PERIOD = 0.1  # [s] of robot time between targets


class SurveyNode(Node):
    """Surveys the sensor's readings around the pose in which the arm stands when it is under control.

    Args:
        make_sensor: the sensor, not connected, given the source of the arm's own estimate; called once.
        mount: rotation ``(3, 3)`` of the sensor in the axes of the TCP.
        model: of the arm.
        room: where the arm may be driven.
        say: called with what has happened, in words.

    Attributes:
        survey: what was measured; None until the arm is under control.
        failure: why it cannot go on.
    """

    def __init__(
        self,
        make_sensor: Callable[[Callable[[], ArmWrench | None]], ForceSensor],
        mount: np.ndarray,
        model: ArmModel,
        room: Workspace,
        say: Callable[[str], None],
    ) -> None:
        super().__init__("survey")
        self.survey: Survey | None = None
        self.failure: ForceError | None = None
        self._mount, self._model, self._room, self._say = mount, model, room, say
        self._reading: Reading | None = None
        self._sent = -np.inf  # robot time [s] of the last target
        self._fault = ""
        self._target = self.create_publisher(PoseStamped, topics.TARGET_POSES[Priority.RESET], 1)
        self._end = MotionEnd(self)
        self._control = ControlRequest(self, self._end)
        self._sensor, self._connected = make_sensor(self._estimate), False
        self._arm = ArmTopics(self, (), {}, self._on_reading)

    @property
    def done(self) -> bool:
        """All was measured, or it cannot go on."""
        return self.failure is not None or (self.survey is not None and self.survey.done)

    def end_motion(self) -> bool:
        """Command nothing any more, end the motion, and say whether it is over; to be called until it is."""
        return self._end.over(self._reading.mode if self._reading is not None else None, self._arm.received)

    def destroy_node(self) -> None:
        self._sensor.disconnect()
        super().destroy_node()

    def _estimate(self) -> ArmWrench | None:
        reading = self._reading
        if reading is None:
            return None
        return ArmWrench(
            reading.stamp_ns, reading.robot_time, reading.pose, reading.wrench, self._arm.received, reading.fault
        )

    def _on_reading(self, reading: Reading) -> None:
        self._reading = reading
        if self._end.begun or self.done:
            return
        try:
            if not self._connected:
                # Before the arm is asked for control: opening a device takes longer than an arm waits for setpoints.
                self._sensor.connect()
                self._connected = True
            elif reading.mode in IDLE:
                self._bring_back(reading)
            else:
                self._measure(reading)
        except ForceError as error:
            self.failure = error

    def _measure(self, reading: Reading) -> None:
        if self.survey is None:
            if not self._room.contains(reading.pose):
                raise ForceError("the hand stands outside the room in which arms are driven; bring it above the table")
            poses = tilted(reading.target, self._model, reading.q)
            self.survey = Survey(poses, self._mount)
            self._say(f"the hand is tilted in {len(poses) - 2} directions where it stands; keep clear of it")
        before = len(self.survey.taken)
        measured = self._sensor.read()
        if measured.saturated:
            raise ForceError(
                f"force sensor {self._sensor.name!r} is saturated by what hangs on it at pose {before + 1}"
            )
        target = self.survey.step(reading.robot_time, reading.pose, reading.twist, measured.wrench)
        if len(self.survey.taken) > before:
            self._say(f"pose {len(self.survey.taken)} of {self.survey.count}")
        if self.survey.done and (counts := self._sensor.counts()):
            self._say(f"meanwhile: {', '.join(f'{count} {kind.value}' for kind, count in counts.items())}")
        if reading.robot_time - self._sent >= PERIOD - 1e-6 or reading.robot_time < self._sent:
            self._sent = reading.robot_time
            self._send(target)

    def _bring_back(self, reading: Reading) -> None:
        """Ask for control, in the midst of it, too, where a motion has ended for want of setpoints.

        Raises `ForceError` when it was a fault or a stop that ended it.
        """
        if reading.fault and reading.fault != self._fault:
            self._fault = reading.fault
            self._say(f"the arm has stopped: {reading.fault}")
        if self.survey is not None:
            if reading.mode is not Mode.IDLE:
                raise ForceError(f"the arm stopped in the midst of it: {reading.fault or reading.mode.name}")
            self.survey.resume(reading.pose)
        self._control.ask(reading.mode)

    def _send(self, target: Pose) -> None:
        message = PoseStamped()
        message.header.stamp = self.get_clock().now().to_msg()
        message.header.frame_id = topics.BASE_FRAME
        fill_pose(target, message.pose)
        self._target.publish(message)
