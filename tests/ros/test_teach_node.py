"""A person shows a task with a simulated arm: by their device, by words, or with their hand on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import TwistStamped
from sensor_msgs.msg import Joy
from std_msgs.msg import String

from controllers.core import ControllerConfig
from controllers.ros import topics as arm_topics
from controllers.ros.converters import fill_vectors
from controllers.state import Mode
from controllers.workspace import Workspace
from hardware.ros.arm_node import ArmNode
from hardware.sim.scene.model import HAND_BODY
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.ros import topics
from robot_rl.ros.session_node import LATCHED
from robot_rl.ros.teach_node import TeachNode
from robot_rl.tasks.base import scene_of
from robot_rl.tasks.file import FileTask
from robot_rl.tasks.teaching import Lesson, Mark, free_task

pytestmark = pytest.mark.timeout(600)
FREE = FileTask(free_task("free"))
ADVANCE, EVERY = 0.01, 0.005  # [s] of robot time in each callback, and between callbacks
DRIVE_EVERY = 0.05  # [s]
PATIENT = 0.25  # [s] that a command counts


@pytest.fixture
def world() -> Iterator[InProcessWorld]:
    with InProcessWorld(scene_of(FREE), ControllerConfig(workspace=FREE.workspace)) as world:
        yield world


class Teaching:
    """An arm node around a world, the node that teaches, and a person with a device."""

    def __init__(
        self, ros: Any, world: InProcessWorld, lesson: Lesson, by_hand: bool = False, box: Workspace = FREE.workspace
    ) -> None:
        self.ros, self.world = ros, world
        self.said: list[str] = []
        self.asked: list[str] = []
        self.node = TeachNode(lesson, box, by_hand, lambda _, words: self.said.append(words), PATIENT)
        ros.add(ArmNode(world, world.gripper, gains=world.config.gains))
        ros.add(self.node)
        person = ros.node("person")
        self._twist = person.create_publisher(TwistStamped, arm_topics.TWIST_COMMAND, 1)
        self._joy = person.create_publisher(Joy, arm_topics.JOY, 5)
        self._word = person.create_publisher(String, topics.TEACH_MARK, 5)
        person.create_subscription(String, topics.TEACH_NEXT, lambda m: self.asked.append(m.data), LATCHED)
        self.goal: np.ndarray | None = None
        self.away = np.inf  # [m] from it, along any axis
        person.create_timer(DRIVE_EVERY, self._drive)
        ros.node("world").create_timer(EVERY, lambda: world.advance(ADVANCE))
        ros.spin_until(lambda: world.read().mode is Mode.TRACK and self._word.get_subscription_count())

    def go(self, *xyz: float) -> None:
        """Drive to a point, and let go."""
        self.away, self.goal = np.inf, np.array(xyz)
        self.ros.spin_until(lambda: self.away < 0.012)
        self.goal = None

    def _drive(self) -> None:
        """Towards the goal, while there is one."""
        if self.goal is None:
            return
        way = self.goal - self.world.read().pose.translation
        self.away = float(np.abs(way).max())
        message = TwistStamped()
        fill_vectors(np.append(np.clip(8.0 * way, -0.1, 0.1), np.zeros(3)), message.twist.linear, message.twist.angular)
        self._twist.publish(message)

    def say(self, word: str) -> None:
        before = len(self.said)
        self._word.publish(String(data=word))
        self.ros.spin_until(lambda: len(self.said) > before)

    def press(self, button: str) -> None:
        before = len(self.said)
        self._joy.publish(Joy(buttons=[int(name == button) for name in arm_topics.JOY_BUTTONS]))
        self.ros.spin_until(lambda: len(self.said) > before)


def test_a_task_is_shown_by_driving(ros: Any, world: InProcessWorld) -> None:
    teaching = Teaching(ros, world, Lesson())
    points = [(0.34, 0.0, 0.46), (0.38, -0.04, 0.43), (0.31, 0.03, 0.48), (0.35, 0.02, 0.44)]
    for point in points:
        teaching.go(*point)
        teaching.say("mark")
    assert teaching.node.done
    ros.spin_until(lambda: teaching.asked[-1] == "done")
    assert teaching.asked[-5:] == [*(mark.value for mark in Mark), "done"]
    shown = teaching.node.lesson.shown
    assert np.abs(np.array([s.pose.translation for s in shown]) - points).max() < 0.02
    turned = [np.abs(s.pose.difference(shown[0].pose)[3:]).max() for s in shown]
    assert max(turned) < np.radians(3.0), "what nobody drives does not creep"
    task = FileTask(teaching.node.lesson.task(free_task("own")))
    assert task.action.axes == ("x", "y", "z") and all(task.workspace.contains(s.pose) for s in shown)


def test_the_buttons_of_a_device_mark_and_take_back(ros: Any, world: InProcessWorld) -> None:
    teaching = Teaching(ros, world, Lesson())
    teaching.press("success")
    assert teaching.node.lesson.next is Mark.CORNER
    teaching.press("failure")
    assert teaching.node.lesson.next is Mark.START and teaching.said[-1] == "taken back"


def test_what_cannot_be_meant_is_said_and_nothing_is_taken(ros: Any, world: InProcessWorld) -> None:
    teaching = Teaching(ros, world, Lesson())
    for _ in range(2):
        teaching.say("mark")
    teaching.say("mark")
    assert "corners are only" in teaching.said[-1]
    teaching.say("fly")
    assert "'fly' is no word" in teaching.said[-1]
    for word in ("start", "corner", "goal"):  # none of which is next
        teaching.node.hear(word)
    assert teaching.node.lesson.next is Mark.OPPOSITE
    teaching.say("undo")
    for _ in range(3):
        teaching.node.hear("corner")
    assert teaching.node.lesson.next is Mark.OPPOSITE, "a name may be repeated"


def test_the_arm_is_driven_in_its_room_only(ros: Any, world: InProcessWorld) -> None:
    home = world.read().pose.translation
    box = Workspace(home - 0.02, home + 0.02)
    teaching = Teaching(ros, world, Lesson(), box=box)
    end = world.time + 1.5
    teaching.goal = home + (0.3, 0.0, 0.0)
    ros.spin_until(lambda: world.time > end)
    assert 0.012 < world.read().pose.translation[0] - home[0] < 0.025


def test_a_hand_on_the_arm_moves_it_and_it_stays(ros: Any, world: InProcessWorld) -> None:
    teaching = Teaching(ros, world, Lesson(), by_hand=True)
    model, data = world.physics
    ros.spin_until(lambda: world.time > 1.0)
    begin = world.read().pose.translation
    data.xfrc_applied[model.body(HAND_BODY).id][:3] = (0.0, 12.0, 0.0)
    ros.spin_until(lambda: world.read().pose.translation[1] - begin[1] > 0.05)
    data.xfrc_applied[model.body(HAND_BODY).id][:3] = 0.0
    let_go, end = world.read().pose.translation, world.time + 1.0
    ros.spin_until(lambda: world.time > end)
    assert world.read().pose.translation[1] > let_go[1] - 0.01, "no spring pulls it back"
    teaching.say("")
    assert teaching.node.lesson.next is Mark.CORNER
