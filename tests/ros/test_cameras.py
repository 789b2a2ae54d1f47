"""Images on their way: from a camera's topic into readings, and with an observation to the policy."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from controllers.core import ControllerConfig
from controllers.ros import topics as arm_topics
from controllers.ros.converters import stamp_to_ns
from hardware.ros.arm_node import ArmNode
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.contract import ActionChunk, Ending, Observation, View
from robot_rl.data.schema import StoreSchema
from robot_rl.data.store import EpisodeStore
from robot_rl.ros import topics
from robot_rl.ros.converters import fill_image, fill_observation, state_names
from robot_rl.ros.encoder_node import EncoderNode
from robot_rl.ros.policy_node import PolicyNode
from robot_rl.ros.session_node import LATCHED, SessionNode
from robot_rl.session.config import SessionConfig
from robot_rl.session.directive import EpisodeSummary
from robot_rl.session.session import Session
from robot_rl.tasks.reach import Reach
from tests.fault_table import FaultTable
from tests.robot_rl.acting import Decides
from tests.robot_rl.colours import Colours

TASK = Reach()
CAMERAS = ("front", "wrist")
SHAPE = (View().size, View().size, 3)
PATIENT = 5.0  # [s] for an answer, on however busy a machine
ENCODER = Colours()
GRIDS = dict.fromkeys(CAMERAS, ENCODER.shape(SHAPE[0]))
LOST = 1.0  # [s] without an image
FROZEN = 2.0  # [s] with the same one
TURNS = 20  # callbacks, so that an answer that should not come has had its chance


class Pictures:
    """Cameras that answer each measurement of the arm with a plain picture of its time, as drawn ones do."""

    def __init__(self, ros: Any) -> None:
        node = ros.node("camera")
        self.silent: set[str] = set()
        self.shown: dict[str, np.ndarray] = {}  # by cameras that show one picture for ever
        self._publishers = {name: node.create_publisher(Image, f"{name}/color/image_raw", 1) for name in CAMERAS}
        node.create_subscription(JointState, arm_topics.JOINT_STATES, self._on_joints, 1)

    def _on_joints(self, message: JointState) -> None:
        stamp = stamp_to_ns(message.header.stamp)
        for name in set(CAMERAS) - self.silent:
            shown = self.shown.get(name, picture(name, stamp))
            self._publishers[name].publish(fill_image(shown, stamp, name, Image()))


def picture(camera: str, stamp: int) -> np.ndarray:
    """One colour all over, of the camera and of the time [ns]; see `camera_of`."""
    return np.broadcast_to(np.uint8([CAMERAS.index(camera), stamp // 10**7 % 256, 100]), SHAPE).copy()


def camera_of(image: np.ndarray) -> str:
    return CAMERAS[int(image[0, 0, 0])]


class Graph:
    """An arm node, its cameras and a session that records, around a world that advances by a timer."""

    def __init__(self, ros: Any, world: InProcessWorld, store: EpisodeStore) -> None:
        encoding = store.schema.encoding
        config = SessionConfig(
            policy_wait=PATIENT,
            teleop_timeout=PATIENT,
            stall_timeout=PATIENT,
            image_age=LOST,
            image_frozen=FROZEN,
            horizon=10**6,
        )
        self.ros, self.store = ros, store
        self.ended: list[EpisodeSummary] = []
        self.phases: list[str] = []
        self.pictures = Pictures(ros)
        session = Session(TASK, config, store, seed=1)
        objects = TASK.scene().objects
        ros.add(ArmNode(world, world.gripper, world, objects))
        ros.add(SessionNode(session, config, objects, CAMERAS, world, self.ended.append, 0, encoding=encoding))
        if encoding.digest:
            ros.add(EncoderNode(ENCODER, TASK.views(CAMERAS)))
        ros.node("world").create_timer(0.005, lambda: world.advance(0.01))
        ros.node().create_subscription(String, topics.SESSION_PHASE, lambda m: self.phases.append(m.data), LATCHED)

    def wait_phase(self, phase: str) -> None:
        self.ros.spin_until(lambda: self.phases and self.phases[-1] == phase)


@pytest.fixture
def graph(ros: Any, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Graph]:
    """``request.param``: more of the store's schema."""
    schema = StoreSchema.of(TASK, dict.fromkeys(CAMERAS, SHAPE[:2]))
    schema = dataclasses.replace(schema, **getattr(request, "param", {}))
    with (
        InProcessWorld(TASK.scene(), ControllerConfig(workspace=TASK.workspace)) as world,
        EpisodeStore.create_or_open(tmp_path / "store", schema) as store,
    ):
        yield Graph(ros, world, store)


def still(seen: Observation) -> ActionChunk:
    return ActionChunk(seen.stamp_ns, np.zeros((1, TASK.action.size)))


def to_goal(seen: Observation) -> ActionChunk:
    way = seen.state[:3] / TASK.fields[0].scale
    return ActionChunk(seen.stamp_ns, np.clip(way / TASK.action.scale, -1.0, 1.0)[None])


def test_the_policy_sees_the_images_that_are_recorded(graph: Graph) -> None:
    seen: list[Observation] = []

    def policy(observation: Observation) -> ActionChunk:
        seen.append(observation)
        return to_goal(observation)

    graph.ros.add(PolicyNode(TASK, Decides(policy), CAMERAS, None))
    graph.ros.spin_until(lambda: graph.ended)
    assert graph.ended[0].ending is Ending.SUCCESS
    episode = graph.store.load_episode(graph.store.episodes()[0].index)
    assert set(episode.images) == set(CAMERAS)
    for name, images in episode.images.items():
        assert images.shape == (graph.ended[0].steps + 1, *SHAPE)
        assert {camera_of(image) for image in images} == {name}
        assert len({int(image[0, 0, 1]) for image in images}) > len(images) // 2, "they change as time goes on"
        np.testing.assert_array_equal(
            images[:-1], [observation.images[name] for observation in seen[: len(images) - 1]]
        )


@pytest.mark.parametrize("graph", [{"features": GRIDS, "encoder": ENCODER.digest}], indirect=True)
def test_with_an_encoder_the_policy_sees_the_features_that_are_recorded(graph: Graph) -> None:
    seen: list[Observation] = []

    def policy(observation: Observation) -> ActionChunk:
        seen.append(observation)
        return to_goal(observation)

    graph.ros.add(PolicyNode(TASK, Decides(policy), CAMERAS, None, encoding=graph.store.schema.encoding))
    graph.ros.spin_until(lambda: graph.ended)
    assert graph.ended[0].ending is Ending.SUCCESS
    episode = graph.store.load_episode(graph.store.episodes()[0].index)
    for name in CAMERAS:
        grids = episode[f"features/{name}"]
        np.testing.assert_array_equal(grids, ENCODER.encode(episode.images[name]))
        np.testing.assert_array_equal(grids[:-1], [observation.images[name] for observation in seen[: len(grids) - 1]])


@pytest.mark.parametrize("camera", CAMERAS)
def test_a_silent_camera_ends_the_episode_and_the_next_begins_when_it_speaks_again(graph: Graph, camera: str) -> None:
    said: list[DiagnosticStatus] = []
    graph.ros.node("operator").create_subscription(DiagnosticStatus, topics.EPISODES, said.append, 10)
    graph.ros.add(PolicyNode(TASK, Decides(still), CAMERAS, None))
    graph.wait_phase("running")
    graph.pictures.silent = {camera}
    graph.ros.spin_until(lambda: said)
    assert graph.ended[-1].ending is Ending.ABORTED
    assert graph.ended[-1].reason.startswith(f"camera {camera} lost: its last image is ")
    assert said[-1].message == graph.ended[-1].reason
    begun = graph.phases.count("running")
    graph.ros.spin_times(10 * TURNS)
    assert graph.phases.count("running") == begun, "no episode begins without its images"
    graph.pictures.silent = set()
    graph.ros.spin_until(lambda: graph.phases.count("running") > begun)


@pytest.mark.parametrize(
    ("shown", "reason"),
    [
        (np.full(SHAPE, 99, np.uint8), "camera wrist: frozen: the same pixels for "),
        (np.zeros(SHAPE, np.uint8), "camera wrist: dark: 100% of its pixels are below 16 of 255"),
        (np.full(SHAPE, 255, np.uint8), "camera wrist: overexposed: 100% of its pixels are above 250 of 255"),
        (np.full((64, 64, 3), 99, np.uint8), "camera wrist: its pictures are of 64x64 pixels now, and were of 128x128"),
    ],
)
def test_pictures_that_cannot_be_believed_end_the_episode_and_reach_no_policy(
    graph: Graph, shown: np.ndarray, reason: str, fault_table: FaultTable
) -> None:
    graph.ros.add(PolicyNode(TASK, Decides(still), CAMERAS, None))
    graph.wait_phase("running")
    began = time.monotonic()
    graph.pictures.shown = {"wrist": shown}
    graph.ros.spin_until(lambda: graph.ended)
    fault_table.add(
        "a camera sends what cannot be believed",
        f"episode aborted: {graph.ended[-1].reason}",
        1e3 * (time.monotonic() - began),
    )
    assert graph.ended[-1].ending is Ending.ABORTED
    assert graph.ended[-1].reason.startswith(reason)
    begun = graph.phases.count("running")
    graph.ros.spin_times(10 * TURNS)
    assert graph.phases.count("running") == begun
    graph.pictures.shown = {}
    graph.ros.spin_until(lambda: graph.phases.count("running") > begun)


def test_every_camera_that_is_lost_is_named(graph: Graph) -> None:
    graph.ros.add(PolicyNode(TASK, Decides(still), CAMERAS, None))
    graph.wait_phase("running")
    graph.pictures.silent = set(CAMERAS)
    graph.ros.spin_until(lambda: graph.ended)
    assert [words[: words.index(" lost")] for words in graph.ended[-1].reason.split("; ")] == [
        "camera front",
        "camera wrist",
    ]


def test_no_episode_begins_before_every_camera_has_sent_an_image(graph: Graph) -> None:
    graph.pictures.silent = {"wrist"}
    graph.ros.add(PolicyNode(TASK, Decides(still), CAMERAS, None))
    graph.ros.spin_times(10 * TURNS)
    assert "running" not in graph.phases
    graph.pictures.silent = set()
    graph.wait_phase("running")


class Asking:
    """A session's end of the topics of a policy, which notes what it is asked."""

    def __init__(self, ros: Any) -> None:
        self.ros = ros
        self.seen: list[Observation] = []
        self.answers: list[int] = []  # their stamps
        node = ros.node("session")
        self._observation = node.create_publisher(JointState, topics.OBSERVATION, 1)
        self._images = {name: node.create_publisher(Image, f"{topics.OBSERVATION_IMAGE}/{name}", 1) for name in CAMERAS}
        node.create_subscription(
            JointTrajectory, topics.ACTION_CHUNK, lambda m: self.answers.append(stamp_to_ns(m.header.stamp)), 5
        )
        ros.add(PolicyNode(TASK, Decides(self._policy), CAMERAS, None))
        publishers = (self._observation, *self._images.values())
        ros.spin_until(lambda: all(publisher.get_subscription_count() for publisher in publishers))

    def _policy(self, observation: Observation) -> ActionChunk:
        self.seen.append(observation)
        return still(observation)

    def observe(self, stamp: int) -> None:
        observation = Observation(stamp, stamp, np.zeros(TASK.state_size, np.float32))
        self._observation.publish(fill_observation(observation, state_names(TASK.fields), JointState(), 0, True))

    def show(self, camera: str, stamp: int) -> None:
        self._images[camera].publish(fill_image(picture(camera, stamp), stamp, camera, Image()))

    def has_answered(self, stamp: int) -> None:
        """Waits for the answer to ``stamp``, given on its own images."""
        self.ros.spin_until(lambda: stamp in self.answers)
        assert self.seen[-1].stamp_ns == stamp
        assert self.seen[-1].images.keys() == set(CAMERAS)
        for name, image in self.seen[-1].images.items():
            np.testing.assert_array_equal(image, picture(name, stamp))

    def has_not_answered(self, stamp: int) -> None:
        self.ros.spin_times(TURNS)
        assert stamp not in self.answers


FIRST, SECOND, THIRD = 10**9, 2 * 10**9, 3 * 10**9  # [ns]


@pytest.mark.parametrize(
    "order", [("observation", *CAMERAS), (*CAMERAS, "observation"), ("wrist", "observation", "front")]
)
def test_the_policy_acts_once_the_observation_and_all_its_images_are_there(ros: Any, order: tuple[str, ...]) -> None:
    asking = Asking(ros)
    for number, what in enumerate(order):
        asking.has_not_answered(FIRST)
        assert asking.seen == [], f"{number} of {len(order)} parts are there"
        asking.observe(FIRST) if what == "observation" else asking.show(what, FIRST)
    asking.has_answered(FIRST)
    assert asking.answers == [FIRST]


def test_the_policy_never_acts_on_an_image_of_another_observation(ros: Any) -> None:
    asking = Asking(ros)
    for camera in CAMERAS:
        asking.show(camera, FIRST)
    asking.observe(FIRST)
    asking.has_answered(FIRST)
    asking.observe(SECOND)  # the wrist's image of it is lost on the way
    asking.show("front", SECOND)
    asking.has_not_answered(SECOND)
    asking.show("wrist", THIRD)  # nor does a later one stand in for it
    asking.has_not_answered(SECOND)
    asking.show("front", THIRD)
    asking.observe(THIRD)
    asking.has_answered(THIRD)
    assert asking.answers == [FIRST, THIRD]
