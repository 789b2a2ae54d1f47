"""A scripted person who watches: when they take over, how long they drive, and when they give back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from controllers.core import ControllerConfig
from controllers.spatial import Pose
from controllers.state import Mode
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.contract import ActionChunk, ContractError, Ending, Observation, Policy, Reading
from robot_rl.session.config import SessionConfig
from robot_rl.session.directive import Phase
from robot_rl.session.in_process import Rollout
from robot_rl.session.session import Session
from robot_rl.tasks import make_task
from robot_rl.tasks.base import TOOL_DOWN
from robot_rl.tasks.experts.supervisor import STYLES, Supervisor, left_of_picking, left_of_search
from robot_rl.tasks.peg_insertion import PEG_BELOW_TCP

TASK = make_task("peg_search")
HOLE = Pose(np.array([0.502, -0.001, 0.06]), np.array([0.0, 0.0, 0.0, 1.0]))


def reading(now: float, height: float = 0.03, force: float = 0.0) -> Reading:
    """The peg upright over the hole, its tip ``height`` [m] above it, pressed by ``force`` [N], at ``now`` [s]."""
    pose = Pose(HOLE.translation + (0.0, 0.0, PEG_BELOW_TCP + height), TOOL_DOWN)
    wrench = np.array([0.0, 0.0, force, 0.0, 0.0, 0.0])
    return Reading(0, now, np.zeros(7), pose, np.zeros(6), wrench, pose, 1.0, 1.0, Mode.TRACK, objects={"hole": HOLE})


def drives(
    person: Supervisor, seconds: float, height: Callable[[float], float] = lambda now: 0.03, begin: float = 0.0
) -> list[float]:
    """Robot times since ``begin`` at which they drive, of so many ``seconds``."""
    times = np.arange(0.0, seconds, TASK.control_period)
    return [float(now) for now in times if person(reading(begin + now, height(now))) is not None]


def test_what_is_left_is_the_way_to_the_hole_and_down_to_where_it_counts() -> None:
    assert left_of_search(TASK, reading(0.0, height=0.03)) == pytest.approx(0.03 + 0.015)
    aside = reading(0.0, height=-0.02)
    moved = replace(aside, pose=Pose(aside.pose.translation + (0.003, 0.004, 0.0), TOOL_DOWN))
    assert left_of_search(TASK, moved) == pytest.approx(0.005)


def test_what_is_left_of_picking_falls_by_lifting_a_cube_that_is_held_alone() -> None:
    task = make_task("pick_cube_images")
    cube = Pose(np.array([0.5, 0.0, 0.06]), np.array([0.0, 0.0, 0.0, 1.0]))
    held = replace(reading(0.0), pose=Pose(cube.translation, TOOL_DOWN), gripper=0.5, objects={"cube": cube})
    assert left_of_picking(task, held) == pytest.approx(0.08 - 0.04)
    assert left_of_picking(task, replace(held, gripper=1.0)) == pytest.approx(0.08)


@pytest.mark.parametrize("style", ["good", "clumsy"])
def test_they_take_over_once_nothing_was_gained_for_as_long_as_their_patience(style: str) -> None:
    first = drives(Supervisor(TASK, style, 0), 6.0)[0]
    assert STYLES[style].patience < first < STYLES[style].patience + 2 * TASK.control_period


def test_a_hasty_one_takes_over_for_nothing_and_a_good_one_never() -> None:
    """A second is a third of what each has to wait for, and brings 3 mm."""

    def sinking(now: float) -> float:
        return 0.2 - 0.003 * np.floor(now)

    assert drives(Supervisor(TASK, "good", 0), 60.0, sinking) == []
    assert drives(Supervisor(TASK, "hasty", 0), 60.0, sinking)


def test_they_take_over_at_once_where_the_arm_presses_harder_than_they_dare() -> None:
    for style, dares in (("good", False), ("hasty", False), ("clumsy", True)):
        assert (Supervisor(TASK, style, 0)(reading(0.0, force=30.0)) is None) == dares


def test_they_give_back_when_they_have_brought_it_on_and_watch_anew() -> None:
    """From the takeover on it sinks by 10 mm a second; 6 mm are enough, after a second at least."""
    person = Supervisor(TASK, "good", 0)
    began = drives(person, 10.0)[0]

    def rescued(now: float) -> float:
        return 0.03 - 0.01 * max(0.0, min(now - began, 2.0))

    times = drives(person, 6.0, rescued, begin=100.0)
    assert times[0] == began
    assert np.diff(times).max() < 1.5 * TASK.control_period and 0.9 < times[-1] - began < 1.2


def test_they_tire_of_what_they_cannot_bring_on() -> None:
    times = np.array(drives(Supervisor(TASK, "hasty", 3), 4.0))
    assert times[0] <= 1.4 and times[-1] < times[0] + STYLES["hasty"].tires + 1.5 * TASK.control_period


def test_a_new_episode_begins_with_all_patience_whatever_was_left_before() -> None:
    person = Supervisor(TASK, "good", 0)
    assert drives(person, 3.0, lambda now: 0.0)
    assert drives(person, 2.4, begin=10.0) == []


def test_the_same_seed_is_the_same_person() -> None:
    def twists(seed: int) -> np.ndarray:
        person = Supervisor(TASK, "clumsy", seed)
        commands = [person(reading(now)) for now in np.arange(0.0, 8.0, TASK.control_period)]
        return np.array([np.zeros(6) if command is None else command.twist for command in commands])

    assert np.array_equal(twists(3), twists(3)) and not np.array_equal(twists(3), twists(4))


def test_a_clumsy_hand_gropes_where_it_touches_something() -> None:
    """Five times the noise of free space; a good one rests on what it touches."""

    def spread(style: str, force: float) -> float:
        person = Supervisor(TASK, style, 0)
        twists = []
        for now in np.arange(0.0, 60.0, TASK.control_period):
            command = person(reading(now, 0.03, force))
            if command is not None and command.twist.any():
                twists.append(command.twist[3:])
        return float(np.std(twists, axis=0).mean())

    assert spread("clumsy", 10.0) > 2.0 * spread("clumsy", 0.0)
    assert spread("good", 10.0) < spread("good", 0.0)


def test_an_unknown_style_and_a_task_that_nobody_can_judge_are_named() -> None:
    with pytest.raises(ContractError, match=r"'perfect'.*good, hasty, clumsy"):
        Supervisor(TASK, "perfect", 0)
    with pytest.raises(ContractError, match=r"'reach'.*peg_search, pick_cube"):
        Supervisor(make_task("reach"), "good", 0)


class Idle(Policy):
    """It does nothing."""

    def act(self, observations: Sequence[Observation]) -> ActionChunk:
        return ActionChunk(observations[-1].stamp_ns, np.zeros((1, TASK.action.size)))


@pytest.mark.slow
@pytest.mark.parametrize(("style", "least"), [("good", 6), ("hasty", 0), ("clumsy", 0)])
def test_a_policy_that_does_nothing_is_rescued_by_a_good_one(style: str, least: int) -> None:
    """Of eight episodes; a hasty and a clumsy one take over as well, with what success is not said."""
    with InProcessWorld(TASK.scene(), TASK.bound(ControllerConfig())) as world:
        world.start()
        session, person = Session(TASK, SessionConfig(), None, 7), Supervisor(TASK, style, 7)
        rollout = Rollout(session, world, lambda seen: person(seen) if session.phase is Phase.RUNNING else None)
        ended, sources = [], set()
        while len(ended) < 8:
            directive = rollout.step(Idle())
            if directive.step is not None:
                sources.add(directive.step.source)
            if directive.ended is not None:
                ended.append(directive.ended.ending is Ending.SUCCESS)
    assert len(sources) == 2 and sum(ended) >= least
