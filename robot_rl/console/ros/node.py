"""The page as a node: it listens to a job's topics, and speaks on those of any teleoperation device.

Nobody waits for it. It listens without promise of delivery where a newer message makes up for a lost one, so that a
page that has stopped holds up no publisher; what people do on the page waits in a queue of bounded length.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseArray, PoseStamped, TwistStamped, WrenchStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import JointState, Joy
from std_msgs.msg import Float64, String
from std_srvs.srv import Trigger

from controllers.lease import Priority
from controllers.ros import topics as arm_topics
from controllers.ros.converters import pose_from
from hardware.franka.hand import FINGER_STROKE
from hardware.interfaces import TeleopCommand, Word
from hardware.ros.converters import fill_teleop
from hardware.ros.words import WordSender
from robot_rl.console.board import Board, Line
from robot_rl.console.driving import Hands
from robot_rl.console.history import Row
from robot_rl.contract import View
from robot_rl.ros import topics
from robot_rl.ros.camera_topics import NEWEST
from robot_rl.ros.metered_camera import MeteredCamera

RATE = 50.0  # [Hz] of the person's commands, and of the looks at what they do
REREAD = 1.0  # [s] between two looks at what the job writes down
PENDING = 500  # deeds of people that may wait
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
LEVELS = {DiagnosticStatus.OK: "ok", DiagnosticStatus.WARN: "warn"}  # all others are errors
DRIVERS = {Priority.POLICY: "policy", Priority.PERSON: "person", Priority.RESET: "reset"}


class ConsoleNode(Node):
    """Keeps a `Board` and publishes what a person does.

    Args:
        objects: names of the scene's objects, in the order in which they are published.
        cameras: whose pictures are shown, and what the policy takes of them.
        reread: called each `REREAD` seconds with the board, to look at files.
        compressed: pictures come as JPEG, from another computer.
        frozen, silence: [s], see `MeteredCamera`.
    """

    def __init__(
        self,
        objects: tuple[str, ...],
        cameras: Mapping[str, View],
        reread: Callable[[Board], None],
        compressed: bool = False,
        frozen: float = 0.0,
        silence: float = 1.0,
    ) -> None:
        super().__init__("console")
        self.board = Board()
        self._hands = Hands()
        self._deeds: deque[Callable[[float], None]] = deque(maxlen=PENDING)
        self._refresh: Callable[[Board, bool], None] = lambda board, dragging: None
        self._watched: Callable[[], bool] = lambda: False
        self._reread = reread
        self._objects, self._views = objects, cameras
        self._limits = frozen, silence, compressed
        self._engaged = False
        self._twist = self.create_publisher(TwistStamped, arm_topics.TWIST_COMMAND, 1)
        self._joy = self.create_publisher(Joy, arm_topics.JOY, 1)
        self._words = WordSender(self)
        self._release = self.create_client(Trigger, arm_topics.RELEASE_STOP)
        self._cameras: list[MeteredCamera] = []  # that are listened to
        self._shown: dict[str, np.ndarray] = {}
        self._listen()
        self.create_timer(1.0 / RATE, self._tick)
        self.create_timer(REREAD, self._look)

    def attach(self, refresh: Callable[[Board, bool], None], watched: Callable[[], bool]) -> None:
        """Show what is heard by ``refresh``, which is called `RATE` times a second with the board, and whether somebody
        holds the handle. Pictures are only listened to while the page is ``watched``."""
        self._refresh, self._watched = refresh, watched

    @property
    def dragging(self) -> bool:
        """Whether somebody holds the handle."""
        return self._hands.dragging

    def destroy_node(self) -> None:
        self._words.close()
        super().destroy_node()

    def say_word(self, word: Word, about: int) -> None:
        """Say ``word``, about an episode by its number, or −1. From any thread, as all below."""
        self._deeds.append(lambda now: self._say(word, about))

    def move_handle(self, phase: str, client: int, pose: Any) -> None:
        """The handle is taken (``start``), moved (``update``) or let go (``end``) by ``client``."""
        hands = self._hands
        if phase == "start":
            self._deeds.append(lambda now: hands.grab(client, self.board.pose))
        elif phase == "update":
            self._deeds.append(lambda now: hands.drag(client, pose))
        else:
            self.let_go(client)

    def let_go(self, client: int) -> None:
        """``client`` holds nothing any more."""
        self._deeds.append(lambda now: self._hands.let_go(client))

    def press_key(self, key: str) -> None:
        self._deeds.append(lambda now: self._hands.key(key, now))

    def move_gripper(self, opening: float) -> None:
        self._deeds.append(lambda now: self._hands.grip(opening, now))

    def go_slow(self, on: bool) -> None:
        self._deeds.append(lambda now: setattr(self._hands, "slow", on))

    def release_stop(self) -> None:
        """Release the emergency stop."""
        self._deeds.append(lambda now: self._call_release())

    def _call_release(self) -> None:
        def answered(future: Any) -> None:
            self.board.answers.append(Line("ok", future.result().message))

        self._release.call_async(Trigger.Request()).add_done_callback(answered)

    def _say(self, word: Word, about: int) -> None:
        self._words.say(word, about)

    def _tick(self) -> None:
        now = time.monotonic()
        while self._deeds:
            self._deeds.popleft()(now)
        command = self._hands.command(now, self.board.pose)
        if command.engaged or self._engaged:
            self._publish(command)
        self._engaged = command.engaged
        self.board.waiting = tuple(spoken.word for spoken in self._words.waiting)
        self._show_pictures()
        self._refresh(self.board, self._hands.dragging)

    def _publish(self, command: TeleopCommand) -> None:
        twist, joy = TwistStamped(), Joy()
        fill_teleop(command, self.get_clock().now().to_msg(), twist, joy)
        if command.gripper is not None:
            self._joy.publish(joy)
        self._twist.publish(twist)

    def _look(self) -> None:
        self._reread(self.board)
        if self._watched() and not self._cameras:
            self._cameras = [MeteredCamera(self, name, view, *self._limits) for name, view in self._views.items()]
        elif not self._watched():
            while self._cameras:
                self.destroy_subscription(self._cameras.pop().subscription)
        self.board.cameras = {camera.name: self._line(camera) for camera in self._cameras}

    def _line(self, camera: MeteredCamera) -> Line:
        report = camera.report()
        trouble = f": {report.trouble}" if report.trouble else ""
        return Line("error" if trouble else "ok", f"{camera.name}, {report.line}{trouble}")

    def _show_pictures(self) -> None:
        for camera in self._cameras:
            if camera.picture is not None and camera.picture is not self._shown.get(camera.name):
                self._shown[camera.name] = camera.picture
                self.board.images[camera.name] = camera.outlined()

    def _listen(self) -> None:
        board = self.board

        def put(name: str, value: Callable[[Any], Any]) -> Callable[[Any], None]:
            return lambda message: setattr(board, name, value(message))

        for kind, topic, heard in (
            (JointState, arm_topics.JOINT_STATES, self._on_joints),
            (PoseStamped, arm_topics.CURRENT_POSE, put("pose", lambda m: pose_from(m.pose))),
            (PoseStamped, arm_topics.REFERENCE_POSE, put("reference", lambda m: pose_from(m.pose))),
            (WrenchStamped, arm_topics.EXTERNAL_WRENCH, put("force", _force)),
            (JointState, arm_topics.ARM_STATUS, put("status", _named)),
            (DiagnosticArray, arm_topics.ARM_FAULT, put("fault", lambda m: m.status[0].message)),
            (PoseArray, arm_topics.OBJECTS, self._on_objects),
        ):
            self.create_subscription(kind, topic, heard, NEWEST)
        for priority, topic in arm_topics.TARGET_POSES.items():
            self.create_subscription(PoseStamped, topic, self._on_target(DRIVERS[priority]), NEWEST)
        self.create_subscription(String, topics.SESSION_PHASE, self._on_phase, LATCHED)
        self.create_subscription(String, topics.INSTRUCTION, put("instruction", lambda m: m.data), LATCHED)
        self.create_subscription(String, arm_topics.OPERATOR_REQUEST, put("request", lambda m: m.data), LATCHED)
        self.create_subscription(Float64, topics.REWARD, self._on_reward, 10)
        self.create_subscription(DiagnosticStatus, topics.EPISODES, self._on_episode, 10)
        self.create_subscription(DiagnosticStatus, arm_topics.ARM_EVENTS, self._on_event, 20)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, NEWEST)
        depth = arm_topics.OPERATOR_DEPTH
        self.create_subscription(DiagnosticArray, arm_topics.OPERATOR_ACKNOWLEDGED, self._on_answer, depth)

    def _on_joints(self, message: JointState) -> None:
        self.board.q = np.array(message.position[:7])
        self.board.opening = message.position[7] / FINGER_STROKE
        self.board.arm_at = time.monotonic()

    def _on_objects(self, message: PoseArray) -> None:
        poses = zip(self._objects, message.poses, strict=False)
        self.board.objects = {name: pose_from(pose) for name, pose in poses}

    def _on_target(self, driver: str) -> Callable[[PoseStamped], None]:
        def keep(message: PoseStamped) -> None:
            self.board.target = pose_from(message.pose)
            self.board.driver, self.board.driver_at = driver, time.monotonic()

        return keep

    def _on_phase(self, message: String) -> None:
        self.board.enter(message.data, time.monotonic())

    def _on_reward(self, message: Float64) -> None:
        self.board.reward += message.data

    def _on_episode(self, message: DiagnosticStatus) -> None:
        values = {value.key: value.value for value in message.values}
        number, steps, by_person = (int(values[key]) for key in ("number", "steps", "interventions"))
        self.board.ended.append(Row(number, message.name, message.message, steps, by_person, float(values["reward"])))

    def _on_event(self, message: DiagnosticStatus) -> None:
        text = f"{message.name.replace('_', ' ')}: {message.message}" if message.message else message.name
        self.board.events.append(Line(LEVELS.get(message.level, "error"), text))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            line = Line(LEVELS.get(status.level, "error"), f"{status.name}: {status.message}")
            self.board.diagnose(status.name, line, time.monotonic())

    def _on_answer(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.board.answers.append(Line(LEVELS.get(status.level, "error"), status.message))


def _force(message: WrenchStamped) -> np.ndarray:
    force = message.wrench.force
    values = np.array([force.x, force.y, force.z])
    return values if np.isfinite(values).all() else np.zeros(3)


def _named(message: JointState) -> Mapping[str, float]:
    values = zip(message.name, message.position, strict=False)
    return {name: value for name, value in values if math.isfinite(value)}
