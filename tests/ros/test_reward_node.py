"""A classifier beside the cameras: what it says of new pictures, and that its silence is a fault."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from controllers.core import ControllerConfig
from hardware.ros.arm_node import ArmNode
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.contract import Reading, View
from robot_rl.ros.arm_topics import ArmTopics
from robot_rl.ros.reward_node import RewardNode
from robot_rl.tasks.base import scene_of
from robot_rl.tasks.reach import Reach
from tests.ros.test_cameras import Pictures

SIGNAL, AT = "success-01", "success-01-at"
AGE = 1.0  # [s]


class Bench:
    """An arm with cameras, a classifier, and a listener that needs what it says."""

    def __init__(self, ros: Any) -> None:
        self.ros = ros
        self.judged: list[Reading] = []
        self.readings: list[Reading] = []
        views = {"front": View(size=32), "wrist": View(size=32)}
        ArmTopics(ros.node("listener"), (), {}, self.readings.append, AGE, signals=(SIGNAL,))
        self.node = RewardNode(self._judge, views, AGE)
        self.cameras = Pictures(ros)
        ros.add(self.node)

    def _judge(self, reading: Reading) -> dict[str, float]:
        self.judged.append(reading)
        return {SIGNAL: 0.25, AT: reading.stamp_ns * 1e-9}


@pytest.fixture
def bench(ros: Any) -> Iterator[Bench]:
    with InProcessWorld(scene_of(Reach()), ControllerConfig()) as world:
        found = Bench(ros)
        ros.add(ArmNode(world, world.gripper))
        ros.node("clock").create_timer(0.02, lambda: world.advance(0.02))
        yield found


def test_a_new_picture_is_judged_once_and_the_reading_has_what_was_said(bench: Bench) -> None:
    bench.ros.spin_until(lambda: bench.readings and SIGNAL in bench.readings[-1].signals)
    assert "has not said" in bench.readings[0].fault
    newest = bench.readings[-1]
    assert newest.signals[SIGNAL] == 0.25 and not newest.fault
    told = round(newest.signals[AT] * 1e9)
    assert any(told == pytest.approx(one.stamp_ns, abs=1000) for one in bench.judged), "one more may be judged by now"
    bench.ros.spin_until(lambda: len(bench.judged) > 3)
    pictures = [id(reading.images["front"]) for reading in bench.judged]
    assert len(set(pictures)) == len(pictures), "all of them are kept, so that identities tell them apart"


def test_a_classifier_that_falls_silent_is_a_fault_that_names_it(bench: Bench) -> None:
    bench.ros.spin_until(lambda: bench.readings and not bench.readings[-1].fault)
    bench.ros.end(bench.node)
    bench.ros.spin_until(lambda: bench.readings[-1].fault)
    assert f"the judge is silent: its last {SIGNAL}" in bench.readings[-1].fault
    assert SIGNAL not in bench.readings[-1].signals, "never a zero, or something old"


def test_nothing_is_judged_without_all_cameras(bench: Bench) -> None:
    bench.ros.spin_until(lambda: bench.judged)
    bench.cameras.silent.add("wrist")
    bench.ros.spin_until(lambda: "judge is silent" in bench.readings[-1].fault)
