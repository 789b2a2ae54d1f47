"""Features on their way: from a camera's topic by an encoder into readings; late, missing and foreign ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from sensor_msgs.msg import Image

from controllers.core import ControllerConfig
from hardware.ros.arm_node import ArmNode
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.contract import ContractError, Encoding, Reading, View
from robot_rl.ros.arm_topics import ArmTopics
from robot_rl.ros.converters import fill_grid, fill_image, grid_from
from robot_rl.ros.encoder_node import EncoderNode
from robot_rl.tasks.base import scene_of
from robot_rl.tasks.reach import Reach
from tests.robot_rl.colours import Colours, Other

VIEWS = {"front": View(crop=(0.5, 0.0, 0.5, 0.5), size=16)}
ENCODER = Colours()
ENCODING = Encoding(ENCODER.digest, {"front": ENCODER.shape(16)})
AGE = 1.0  # [s] of an image
GRID = np.arange(24, dtype=np.float16).reshape(2, 3, 4)


@pytest.fixture
def readings(ros: Any) -> Iterator[list[Reading]]:
    """Those of a listener, while a camera draws another colour each time."""
    found: list[Reading] = []
    with InProcessWorld(scene_of(Reach()), ControllerConfig()) as world:
        ArmTopics(ros.node("listener"), (), VIEWS, found.append, AGE, encoding=ENCODING)
        ros.add(ArmNode(world, world.gripper))
        camera = ros.node("camera")
        publisher = camera.create_publisher(Image, "front/color/image_raw", 1)
        drawn = 0

        def draw() -> None:
            nonlocal drawn
            world.advance(0.01)
            drawn += 1
            picture = np.random.default_rng(drawn).integers(0, 256, (64, 128, 3), np.uint8)
            publisher.publish(fill_image(picture, camera.get_clock().now().nanoseconds, "front", Image()))

        camera.create_timer(0.005, draw)
        yield found


def fault_of(readings: list[Reading], words: str) -> Callable[[], bool]:
    return lambda: bool(readings) and words in readings[-1].fault


def test_a_reading_has_the_features_of_its_own_image(ros: Any, readings: list[Reading]) -> None:
    ros.add(EncoderNode(ENCODER, VIEWS))
    seen: list[Reading] = []
    ros.spin_until(lambda: readings and readings[-1].features and (seen.append(readings[-1]) or len(seen) > 20))
    for reading in seen:
        assert reading.fault == ""
        np.testing.assert_array_equal(reading.features["front"], ENCODER.encode(reading.images["front"][None])[0])


def test_without_an_encoder_the_reading_is_a_fault(ros: Any, readings: list[Reading]) -> None:
    ros.spin_until(fault_of(readings, "camera front: no features of its images have come yet"))
    assert not readings[-1].images and not readings[-1].features


def test_features_of_another_encoder_are_never_seen(ros: Any, readings: list[Reading]) -> None:
    ros.add(EncoderNode(Other(), VIEWS))
    ros.spin_until(fault_of(readings, "camera front: no features of its images have come yet"))
    ros.spin_times(200)
    assert not any(reading.features for reading in readings)


def test_an_encoder_that_falls_silent_is_a_fault_that_names_it(ros: Any, readings: list[Reading]) -> None:
    encoder = EncoderNode(ENCODER, VIEWS)
    ros.add(encoder)
    ros.spin_until(lambda: readings and readings[-1].features)
    for subscription in list(encoder.subscriptions):
        encoder.destroy_subscription(subscription)
    ros.spin_until(fault_of(readings, "its images are not; the encoder is gone, or too slow"))
    assert readings[-1].fault.startswith("camera front: its last features are 1.")
    assert not readings[-1].images and not readings[-1].features


def test_a_grid_survives_its_message() -> None:
    message = fill_grid(GRID, 5 * 10**9 + 7, "a1", Image())
    assert (message.header.stamp.sec, message.header.stamp.nanosec, message.encoding) == (5, 7, "16FC4")
    np.testing.assert_array_equal(grid_from(message, (2, 3, 4), "a1"), GRID)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"encoding": "rgb8"}, "encoding 'rgb8', not '16FC4'"),
        ({"encoding": "16FC0"}, "encoding '16FC0'"),
        ({"encoding": "16FC8"}, r"\(2, 3, 8\)"),
        ({"data": [0, 1]}, "in 2 bytes"),
        ({"height": 3}, r"\(3, 3, 4\)"),
    ],
)
def test_a_torn_grid_is_refused(change: dict[str, Any], words: str) -> None:
    message = fill_grid(GRID, 0, "a1", Image())
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(ContractError, match=words):
        grid_from(message, (2, 3, 4), "a1")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_grid_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ContractError, match="not finite"):
        grid_from(fill_grid(np.full((2, 3, 4), value, np.float16), 0, "a1", Image()), (2, 3, 4), "a1")
    with pytest.raises(ContractError, match="of encoder 'a1', not 'b2'"):
        grid_from(fill_grid(GRID, 0, "a1", Image()), (2, 3, 4), "b2")
