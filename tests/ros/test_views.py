"""The part of a camera's picture that belongs to a reading, by topic."""

from __future__ import annotations

from typing import Any

import numpy as np
from sensor_msgs.msg import Image

from controllers.core import ControllerConfig
from hardware.ros.arm_node import ArmNode
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.contract import Reading, View
from robot_rl.ros.arm_topics import ArmTopics
from robot_rl.ros.converters import fill_image
from robot_rl.tasks.base import scene_of
from robot_rl.tasks.reach import Reach


def test_images_are_cropped_as_the_task_says(ros: Any) -> None:
    readings: list[Reading] = []
    picture = np.zeros((64, 128, 3), np.uint8)
    picture[:32, 80:112] = 200  # the middle square of the upper right quarter
    with InProcessWorld(scene_of(Reach()), ControllerConfig()) as world:
        views = {"front": View(crop=(0.5, 0.0, 0.5, 0.5), size=16)}
        ArmTopics(ros.node("listener"), (), views, readings.append)
        ros.add(ArmNode(world, world.gripper))
        camera = ros.node("camera")
        publisher = camera.create_publisher(Image, "front/color/image_raw", 1)

        def draw() -> None:
            world.advance(0.01)
            publisher.publish(fill_image(picture, camera.get_clock().now().nanoseconds, "front", Image()))

        camera.create_timer(0.005, draw)
        ros.spin_until(lambda: readings and readings[-1].images)
    np.testing.assert_array_equal(readings[-1].images["front"], np.full((16, 16, 3), 200, np.uint8))
