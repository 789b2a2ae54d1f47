"""The simulated arm tilts its hand over ROS, and a sensor on it with a tool that nobody knows is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from controllers.core import ControllerConfig
from controllers.state import Mode
from controllers.workspace import Workspace
from hardware.force.tool import identify
from hardware.franka.model import fr3_model
from hardware.ros.arm_node import ArmNode
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.ros.survey_node import SurveyNode
from robot_rl.tasks.base import scene_of
from robot_rl.tasks.file import FileTask
from robot_rl.tasks.teaching import free_task
from tests.hardware.loaded_wrist import FRAME, MOUNT, TOOL, LoadedWrist

pytestmark = pytest.mark.timeout(600)
FREE = FileTask(free_task("free"))
ADVANCE, EVERY = 0.01, 0.005  # [s] of robot time in each callback, and between callbacks


@pytest.fixture
def world() -> Iterator[InProcessWorld]:
    with InProcessWorld(scene_of(FREE), ControllerConfig(workspace=FREE.workspace)) as world:
        yield world


class Surveying:
    """An arm node around a world, and the node that surveys a wrist of unknown load."""

    def __init__(self, ros: Any, world: InProcessWorld, room: Workspace = FREE.workspace) -> None:
        self.said: list[str] = []
        self.wrists: list[LoadedWrist] = []
        self.node = SurveyNode(self.make, MOUNT, fr3_model(), room, self.said.append)
        ros.add(ArmNode(world, world.gripper, gains=world.config.gains))
        ros.add(self.node)
        ros.node("world").create_timer(EVERY, lambda: world.advance(ADVANCE))

    def make(self, source: Any) -> LoadedWrist:
        self.wrists.append(LoadedWrist(source))
        return self.wrists[0]


def test_the_tool_is_found_and_the_motion_ends(ros: Any, world: InProcessWorld) -> None:
    surveying = Surveying(ros, world)
    node = surveying.node
    ros.spin_until(lambda: node.done)
    assert node.failure is None and node.survey is not None
    found = identify(node.survey.taken, FRAME)
    assert found.tool.mass == pytest.approx(TOOL.mass, rel=0.05)
    assert found.tool.centre is not None and TOOL.centre is not None
    assert np.linalg.norm(found.tool.centre - TOOL.centre) < 0.003
    assert surveying.said[0].startswith("the hand is tilted in 6 directions")
    assert surveying.said[-2:] == ["pose 8 of 8", "meanwhile: 12 lost"]
    ros.spin_until(node.end_motion)
    assert world.read().mode is Mode.IDLE


def test_a_motion_that_ends_for_want_of_setpoints_is_begun_again(ros: Any, world: InProcessWorld) -> None:
    surveying = Surveying(ros, world)
    ros.spin_until(lambda: "pose 3 of 8" in surveying.said)
    world.advance(5.0)
    assert world.read().mode is Mode.IDLE
    ros.spin_until(lambda: surveying.node.done)
    assert surveying.node.failure is None
    survey = surveying.node.survey
    assert survey is not None
    assert identify(survey.taken, FRAME).tool.mass == pytest.approx(TOOL.mass, rel=0.05)


def test_a_sensor_that_falls_silent_ends_it(ros: Any, world: InProcessWorld) -> None:
    surveying = Surveying(ros, world)
    ros.spin_until(lambda: len(surveying.said) > 1)
    surveying.wrists[0].broken = True
    ros.spin_until(lambda: surveying.node.done)
    assert "measured nothing new" in str(surveying.node.failure)


def test_a_saturated_sensor_tells_no_tool(ros: Any, world: InProcessWorld) -> None:
    surveying = Surveying(ros, world)
    ros.spin_until(lambda: surveying.said)
    surveying.wrists[0].saturated = True
    ros.spin_until(lambda: surveying.node.done)
    assert "'wrist' is saturated" in str(surveying.node.failure)


def test_an_arm_that_stops_in_the_midst_of_it_ends_it(ros: Any, world: InProcessWorld) -> None:
    surveying = Surveying(ros, world)
    ros.spin_until(lambda: len(surveying.said) > 1)
    world.user_stop(True)
    ros.spin_until(lambda: surveying.node.done)
    assert "the arm stopped in the midst of it" in str(surveying.node.failure)


def test_a_hand_outside_the_room_is_not_moved(ros: Any, world: InProcessWorld) -> None:
    there = world.read().pose
    surveying = Surveying(ros, world, Workspace(there.translation + 0.1, there.translation + 0.2))
    ros.spin_until(lambda: surveying.node.done)
    assert "outside the room" in str(surveying.node.failure)
    assert np.abs(world.read().pose.difference(there)).max() < 0.02
