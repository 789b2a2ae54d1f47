"""A person leads the reference as far as their device says, and takes and hands over the arm without a bump."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import numpy as np
import pytest

from controllers.core import ControllerConfig
from controllers.spatial import Pose
from hardware.interfaces import TeleopCommand
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.contract import LEAD, Reading, Source, Word
from robot_rl.session.config import SessionConfig
from robot_rl.session.directive import Command, Phase
from robot_rl.session.in_process import Rollout
from robot_rl.session.judge import make_judge
from robot_rl.session.session import Session
from robot_rl.tasks.base import expert_of, scene_of
from robot_rl.tasks.peg_insertion import PegInsertion
from robot_rl.tasks.reach import Reach
from tests.robot_rl.readings import PerfectArm
from tests.robot_rl.session_bench import STILL, TASK, UP, Bench

STEP = 0.005  # [m] of `UP` in one control period
STICKS = 0.004  # [m] that the arm stays short of its reference
LONG = SessionConfig(horizon=1000)


@dataclass(eq=False)
class StickyArm(PerfectArm):
    """An arm whose friction keeps it short of its reference.

    Attributes:
        reference: of its controller, which is where it was told to be.
        gives_way: [m] the controller takes its reference back by so much.
    """

    reference: Pose | None = None
    gives_way: np.ndarray = field(default_factory=lambda: np.zeros(3))

    def reading(self) -> Reading:
        return dataclasses.replace(super().reading(), target=self.reference or self.pose)

    def obey(self, command: Command) -> None:
        before = self.pose
        super().obey(command)
        self.reference = Pose(command.target.translation - self.gives_way, command.target.quat_xyzw)
        way = self.reference.translation - before.translation
        length = float(np.linalg.norm(way))
        self.pose = Pose(before.translation + way * max(0.0, 1.0 - STICKS / max(length, STICKS)), before.quat_xyzw)


def drive(reading: Reading) -> TeleopCommand:
    return TeleopCommand(UP)


def rest(reading: Reading) -> TeleopCommand:
    return TeleopCommand(np.zeros(6))


class Driven(Bench):
    """A session of a sticky arm, at the first step of an episode; the policy is asked unless only a person drives."""

    def __init__(self, **settings: bool) -> None:
        super().__init__(dataclasses.replace(LONG, **settings))
        self.arm = StickyArm(TASK.nominal)

    @property
    def height(self) -> float:
        """Of what was commanded last [m]."""
        return float(self.commands[-1].target.translation[2])

    @property
    def reference(self) -> float:
        """Height of the controller's reference at the last reading [m]."""
        return float(self.reading.target.translation[2])


def test_the_reference_goes_as_far_as_the_device_says_and_the_arm_but_for_its_friction() -> None:
    bench = Driven()
    bench.until_running(STILL)
    began = bench.arm.reference.translation[2]
    for count in range(1, 21):
        bench.step(person=drive)
        assert bench.height == pytest.approx(began + count * STEP, abs=1e-9)
    assert bench.arm.pose.translation[2] == pytest.approx(began + 20 * STEP - STICKS, abs=1e-6)
    bench.step(person=rest)
    assert bench.height == pytest.approx(began + 20 * STEP), "at rest it is held where it was led to"
    steps = [step for step in bench.sink[0].steps if step.source is Source.PERSON]
    ahead = [step.target.difference(step.reading.pose)[2] for step in steps]
    np.testing.assert_allclose([step.action[2] for step in steps], np.array(ahead) / 0.01, atol=1e-6)


def test_a_person_takes_over_where_the_controller_has_the_reference() -> None:
    bench = Driven()
    bench.until_running(STILL)
    bench.step(STILL, person=rest)
    assert bench.height == pytest.approx(bench.reference, abs=1e-9)
    bench.step(STILL, person=drive)
    assert bench.height == pytest.approx(bench.reference + STEP, abs=1e-9)


def test_who_lets_go_leaves_the_arm_where_it_was_led_to_until_a_policy_acts() -> None:
    bench = Driven(ask_policy=False, wait_for_person=True)
    bench.until_running(person=drive)
    for _ in range(5):
        bench.step(person=drive)
    left = bench.height
    for _ in range(3):
        bench.step()
        assert bench.height == pytest.approx(left, abs=1e-9)
    assert bench.session.phase is Phase.RUNNING

    handed = Driven()
    handed.until_running(STILL)
    for _ in range(5):
        handed.step(STILL, person=drive)
    handed.step(STILL)
    assert handed.height == pytest.approx(handed.reading.pose.translation[2]), "a policy begins at what is measured"
    assert abs(handed.height - handed.reference) < LEAD[2], "no further away than the arm lags behind"


def test_a_controller_that_gives_way_is_not_pushed_back_by_what_was_led_before() -> None:
    bench = Driven()
    bench.until_running(STILL)
    for _ in range(5):
        bench.step(person=drive)
    bench.arm.gives_way = np.array([0.0, 0.0, 0.007])
    bench.step(person=rest)
    bench.step(person=rest)
    assert bench.height == pytest.approx(bench.reference, abs=1e-9)


def test_an_arm_that_is_stuck_does_not_wind_up() -> None:
    bench = Driven()
    bench.until_running(STILL)
    stuck = bench.arm.pose
    for _ in range(20):
        bench.step(person=drive)
        bench.arm.pose = stuck
    assert bench.height - stuck.translation[2] == pytest.approx(LEAD[2] + STEP, abs=1e-9)


def test_after_a_pause_it_begins_anew_where_the_arm_was_held() -> None:
    bench = Driven()
    bench.until_running(STILL)
    for _ in range(5):
        bench.step(person=drive)
    bench.say(Word.PAUSE)
    bench.step()
    held = bench.height
    bench.say(Word.RESUME)
    bench.step(person=drive)
    assert bench.height == pytest.approx(held + STEP, abs=1e-9)


@pytest.mark.parametrize("speed", [0.02, 0.05, 0.1])
def test_a_twist_makes_its_way_on_the_simulated_arm(speed: float) -> None:
    """0.05 m/s for 3 s are 150 mm, whatever the friction of the joints; before, 58 mm upwards and 24 mm forwards."""
    task, way = Reach(), 0.15
    session = Session(
        task, SessionConfig(ask_policy=False, wait_for_person=True), None, 1, judge=make_judge("person", task)
    )
    driving = False

    def person(reading: Reading) -> TeleopCommand | None:
        return TeleopCommand(np.array([0.0, 0.0, speed, 0.0, 0.0, 0.0])) if driving else None

    with InProcessWorld(scene_of(task), ControllerConfig(workspace=task.workspace)) as world:
        world.start()
        rollout = Rollout(session, world, person)
        while session.phase is not Phase.READY:
            rollout.step()
        for _ in range(10):  # it comes to rest
            rollout.step()
        before = world.read()
        driving = True
        for _ in range(round(way / speed / task.control_period)):
            rollout.step()
        driving = False
        for _ in range(10):
            rollout.step()
        after = world.read()
    assert after.target.translation[2] - before.target.translation[2] == pytest.approx(way, abs=1e-6)
    assert after.pose.translation[2] - before.pose.translation[2] == pytest.approx(way, abs=0.003)
    np.testing.assert_allclose(after.pose.translation[:2], before.pose.translation[:2], atol=0.003)


def test_an_experts_displacement_is_from_the_measured_pose_whatever_the_reference() -> None:
    """So the script's author need not know who else has led the arm where."""
    task = PegInsertion()
    session = Session(task, SessionConfig(ask_policy=False, wait_for_person=True), None, 3)
    wishes: list[np.ndarray] = []
    expert = expert_of(task)

    def person(reading: Reading) -> TeleopCommand | None:
        wishes.append(task.expert(reading).twist * task.control_period)
        return expert(reading)

    steps = []
    with InProcessWorld(scene_of(task), ControllerConfig(workspace=task.workspace)) as world:
        world.start()
        rollout = Rollout(session, world, person)
        while len(steps) < 15:
            directive = rollout.step()
            if directive.step is not None:
                steps.append(directive.step)
                wished = task.action.from_delta(wishes[-2], steps[-1].reading.gripper)
                # The reference is a tick of 100 short of where it was led to.
                np.testing.assert_allclose(steps[-1].action, wished, atol=0.03)
    assert all(step.source is Source.PERSON for step in steps)
