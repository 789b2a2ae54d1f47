"""The link between a session and the arm of another computer, over real topics."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseArray, Transform
from sensor_msgs.msg import CompressedImage, JointState, TimeReference
from std_msgs.msg import String
from trajectory_msgs.msg import MultiDOFJointTrajectory, MultiDOFJointTrajectoryPoint

from controllers.core import ControllerConfig
from controllers.ros import topics as arm_topics
from controllers.ros.converters import NS, ns_to_stamp, pose_from
from controllers.spatial import Pose
from hardware.interfaces import Frame
from hardware.ros.arm_node import ArmNode
from hardware.ros.camera_node import CameraNode
from hardware.ros.converters import fill_objects, objects_from
from hardware.ros.served import LATCHED, ONCE, ServedArm
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.contract import ActionChunk, Ending, Observation, Reading, View
from robot_rl.contract.settings import ConfigError
from robot_rl.data.schema import StoreSchema
from robot_rl.data.store import EpisodeStore
from robot_rl.ros import topics
from robot_rl.ros.arm_topics import ArmTopics
from robot_rl.ros.link_node import LinkError, LinkNode
from robot_rl.ros.policy_node import PolicyNode
from robot_rl.ros.session_node import SessionNode
from robot_rl.session.config import SessionConfig
from robot_rl.session.directive import EpisodeSummary
from robot_rl.session.link import LinkConfig
from robot_rl.session.session import Session
from robot_rl.tasks.reach import Reach
from tests.robot_rl.acting import Decides

TASK = Reach()
OBJECTS = TASK.scene().objects
PATIENT = 5.0  # [s] for an answer or the arm, on however busy a machine
TURNS = 200  # callbacks, so that what should not happen has had its chance
BUSY = LinkConfig(offset_limit=1.0, silence=PATIENT)  # on a busy machine an answer may take its time


@pytest.fixture
def world() -> Iterator[InProcessWorld]:
    with InProcessWorld(TASK.scene(), TASK.bound(ControllerConfig())) as world:
        yield world


def still(seen: Observation) -> ActionChunk:
    return ActionChunk(seen.stamp_ns, np.zeros((1, TASK.action.size)))


class Elsewhere:
    """A computer that answers, whose clock is ``ahead`` [s]."""

    def __init__(self, ros: Any, ahead: float = 0.0) -> None:
        self.ahead = ahead
        self._node = ros.node("elsewhere")
        self._served = self._node.create_publisher(String, arm_topics.SERVED_ARM, LATCHED)
        self._served.publish(String(data="an arm"))
        self._answers = self._node.create_publisher(TimeReference, arm_topics.CLOCK_ANSWER, ONCE)
        self._node.create_subscription(TimeReference, arm_topics.CLOCK_QUESTION, self._answer, ONCE)

    def _answer(self, question: TimeReference) -> None:
        answer = TimeReference(time_ref=question.header.stamp, source=question.header.frame_id)
        ns_to_stamp(self._node.get_clock().now().nanoseconds + round(self.ahead * NS), answer.header.stamp)
        self._answers.publish(answer)


class Heard:
    """Everything that is said of the link."""

    def __init__(self, ros: Any) -> None:
        self.states: list[str] = []
        self.diagnostics: list[DiagnosticStatus] = []
        node = ros.node("heard")
        node.create_subscription(DiagnosticStatus, topics.LINK, lambda m: self.states.append(m.message), 10)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.diagnostics += [status for status in message.status if status.name == "/link"]

    @property
    def now(self) -> str | None:
        return self.states[-1] if self.states else None


def test_an_arm_says_what_it_is_and_what_time_it_is(ros: Any, world: InProcessWorld) -> None:
    met: list[str] = []
    heard = Heard(ros)
    arm = ArmNode(world)
    ServedArm(arm, "what it is")
    ros.add(arm)
    ros.add(LinkNode(BUSY, ("10.0.0.2",), met.append))
    ros.spin_until(lambda: heard.now == "")
    assert met == ["what it is"]
    assert heard.states[0] in ("the arm has not answered yet", "the other computer does not answer")
    ros.spin_until(lambda: heard.diagnostics and heard.diagnostics[-1].level == DiagnosticStatus.OK)
    values = {value.key: float(value.value) for value in heard.diagnostics[-1].values}
    assert abs(values["offset [ms]"]) <= values["uncertainty [ms]"] <= values["round_trip [ms]"]
    assert "the arm's clock is" in heard.diagnostics[-1].message


def test_a_clock_that_is_ahead_is_told_and_hinders(ros: Any) -> None:
    heard, there = Heard(ros), Elsewhere(ros, ahead=3.0)
    ros.add(LinkNode(BUSY, (), lambda text: None))
    ros.spin_until(lambda: heard.now is not None and "ms ahead" in heard.now)
    assert float(heard.now.split(" is ")[1].split()[0]) == pytest.approx(3000.0, abs=1000.0)
    there.ahead = 0.0
    ros.spin_until(lambda: heard.now == "")


def test_an_arm_that_does_not_fit_ends_the_job(ros: Any) -> None:
    def refuse(text: str) -> None:
        raise ConfigError(f"{text} does not fit")

    Elsewhere(ros)
    ros.add(LinkNode(BUSY, (), refuse))
    with pytest.raises(ConfigError, match="an arm does not fit"):
        ros.spin_until(lambda: False)


def test_an_arm_that_is_not_there_is_waited_for_no_longer_than_said(ros: Any) -> None:
    ros.add(LinkNode(LinkConfig(patience=0.5), ("10.0.0.2", "pc"), lambda text: None))
    words = r"no arm answers on /served_arm and /clock/answer of 10\.0\.0\.2, pc, within 0\.5 s \(link\.patience\)"
    with pytest.raises(LinkError, match=words):
        ros.spin_until(lambda: False)


def test_objects_of_another_computer_are_put_in_place_by_topic(ros: Any, world: InProcessWorld) -> None:
    arm = ArmNode(world, world.gripper, world, OBJECTS)
    ServedArm(arm, "", world)
    ros.add(arm)
    poses: list[Pose] = []
    node = ros.node()
    node.create_subscription(PoseArray, arm_topics.OBJECTS, lambda m: poses.append(pose_from(m.poses[0])), 10)
    publisher = node.create_publisher(MultiDOFJointTrajectory, arm_topics.PLACE_OBJECTS, 1)
    ros.spin_until(lambda: poses and publisher.get_subscription_count())
    before = poses[-1]
    wanted = before.moved(np.array([0.05, 0.02, -0.03, 0.0, 0.0, 0.3]))
    for name, pose in (("moon", wanted), ("goal", wanted)):
        message = fill_objects({name: pose}, MultiDOFJointTrajectoryPoint, Transform, MultiDOFJointTrajectory())
        publisher.publish(message)
    world_clock = ros.node("world").create_timer(0.005, lambda: world.advance(0.01))
    ros.spin_until(lambda: np.allclose(poses[-1].difference(wanted), 0.0, atol=1e-9))
    world_clock.cancel()
    assert world.objects().keys() == {"goal"}


def test_messages_about_objects_that_make_no_sense_are_refused() -> None:
    pose = Pose(np.array([0.1, 0.2, 0.3]), np.array([0.0, 0.0, 0.0, 1.0]))

    def message() -> MultiDOFJointTrajectory:
        placed = {"a": pose, "b": pose}
        return fill_objects(placed, MultiDOFJointTrajectoryPoint, Transform, MultiDOFJointTrajectory())

    np.testing.assert_allclose(objects_from(message())["b"].difference(pose), 0.0)
    for spoil in (
        lambda m: setattr(m.header, "frame_id", "moon"),
        lambda m: m.points.clear(),
        lambda m: m.points[0].transforms.pop(),
        lambda m: setattr(m.points[0].transforms[0].translation, "x", float("nan")),
    ):
        spoiled = message()
        spoil(spoiled)
        with pytest.raises(ValueError):
            objects_from(spoiled)


def test_no_episode_relies_on_a_link_that_is_bad(ros: Any, world: InProcessWorld, tmp_path: Path) -> None:
    timeouts = dict.fromkeys(("policy_wait", "teleop_timeout", "stall_timeout"), PATIENT)
    config = SessionConfig(**timeouts, horizon=10**6)
    ended: list[EpisodeSummary] = []
    phases: list[str] = []
    state = ""

    def speak() -> None:
        link.publish(DiagnosticStatus(message=state))

    with EpisodeStore.create_or_open(tmp_path, StoreSchema.of(TASK, None, TASK.control_period)) as store:
        session = SessionNode(
            Session(TASK, config, store, seed=1), config, OBJECTS, (), None, ended.append, 0, link=LinkConfig()
        )
        arm = ArmNode(world, world.gripper, world, OBJECTS)
        ServedArm(arm, "", world)
        ros.add(arm)
        ros.add(session)
        ros.add(PolicyNode(TASK, Decides(still), (), None))
        node = ros.node("world")
        node.create_timer(0.005, lambda: world.advance(0.01))
        node.create_subscription(String, topics.SESSION_PHASE, lambda m: phases.append(m.data), LATCHED)
        link = node.create_publisher(DiagnosticStatus, topics.LINK, 1)

        ros.spin_until(lambda: phases and phases[-1] == "ready")
        ros.spin_times(TURNS)
        assert phases[-1] == "ready", "nobody has said how the link is"
        speaker = node.create_timer(0.05, speak)
        ros.spin_until(lambda: phases[-1] == "running")
        state = "the clocks are apart"
        ros.spin_until(lambda: ended)
        assert (ended[0].ending, ended[0].reason) == (Ending.ABORTED, "the link to the arm: the clocks are apart")
        ros.spin_until(lambda: phases[-1] == "ready")
        ros.spin_times(TURNS)
        assert phases[-1] == "ready"
        state = ""
        ros.spin_until(lambda: phases[-1] == "running")
        speaker.cancel()
        assert len(ended) == 1


class Gradient:
    """A camera with one picture, smooth as pictures are."""

    name = "front"

    def __init__(self) -> None:
        y, x = np.mgrid[0:96, 0:128]
        self.image = np.stack((x, 2 * y, 255 - x), axis=-1).astype(np.uint8)
        self._frames = 0

    def connect(self) -> None: ...

    def disconnect(self) -> None: ...

    def read(self) -> Frame:
        self._frames += 1
        return Frame(self.image, 1.0 + 0.01 * self._frames, 0.0)


def test_pictures_cross_compressed(ros: Any, world: InProcessWorld) -> None:
    readings: list[Reading] = []
    camera = Gradient()
    ros.add(CameraNode([camera]))
    ros.add(ArmNode(world, world.gripper))
    node = ros.node("world")
    node.create_timer(0.005, lambda: world.advance(0.01))
    view = View(size=96)
    ArmTopics(node, (), {"front": view}, readings.append, image_age=1e12, compressed=True)
    ros.spin_until(lambda: readings and readings[-1].images)
    seen = readings[-1].images["front"].astype(int)
    assert seen.shape == (96, 96, 3)
    assert np.abs(seen - camera.image[:, 16:112]).mean() < 3.0  # colours in their order, for one
    listening = {info.topic_type for info in node.get_subscriptions_info_by_topic("/front/color/image_raw")}
    assert listening == set(), "nobody has the raw pictures sent"


def test_a_torn_compressed_picture_is_refused(ros: Any, world: InProcessWorld) -> None:
    readings: list[Reading] = []
    ros.add(ArmNode(world, world.gripper))
    node = ros.node("world")
    node.create_timer(0.005, lambda: world.advance(0.01))
    ArmTopics(node, (), {"front": View()}, readings.append, compressed=True)
    publisher = node.create_publisher(CompressedImage, "front/color/image_raw/compressed", 1)

    def torn(message: JointState) -> None:
        for data in (b"", b"\xff\xd8no picture"):
            picture = CompressedImage(header=message.header, format="rgb8; jpeg compressed bgr8", data=data)
            publisher.publish(picture)

    node.create_subscription(JointState, arm_topics.JOINT_STATES, torn, 1)
    ros.spin_until(publisher.get_subscription_count)
    ros.spin_until(lambda: len(readings) > 20)
    assert all(reading.fault == "camera front has not sent an image yet" for reading in readings)
