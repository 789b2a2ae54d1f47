"""A script that drives like a person: slower, unsteadily, with pauses; from a seed; and it still succeeds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from controllers.state import Mode
from robot_rl.contract import ContractError, Ending, Reading
from robot_rl.tasks import TASKS, make_task
from robot_rl.tasks.base import expert_of
from robot_rl.tasks.experts import person
from robot_rl.tasks.experts.person import Person, make_driver
from tests.robot_rl.driven import driven_episodes

TASK = make_task("peg_insertion")
FULL = 0.1  # [m/s] of an action of 1 along x, y and z


def readings(seconds: float, force: float = 0.0) -> list[Reading]:
    """An arm that stands still above the hole, every control period, pressed by ``force`` [N]."""
    rest, wrench = np.zeros(6), np.array([0.0, 0.0, force, 0.0, 0.0, 0.0])
    pose = TASK.nominal.moved(np.array([0.02, 0.0, 0.03, 0.0, 0.0, 0.0]))
    first = Reading(0, 0.0, np.zeros(7), pose, rest, wrench, pose, 1.0, 1.0, Mode.TRACK)
    return [replace(first, robot_time=now) for now in np.arange(0.0, seconds, TASK.control_period)]


def twists(seed: int, seconds: float = 120.0, force: float = 0.0) -> np.ndarray:
    driver = Person(TASK, seed)
    return np.array([driver(reading).twist for reading in readings(seconds, force)])


def test_the_same_seed_drives_the_same_way() -> None:
    assert np.array_equal(twists(3), twists(3))
    assert not np.array_equal(twists(3), twists(4))


def test_a_person_is_slower_unsteady_and_rests_at_times() -> None:
    made, straight = twists(0), expert_of(TASK)(readings(1.0)[0]).twist
    resting = ~made.any(axis=1)
    assert 0.01 < resting.mean() < 0.25
    towards = np.median(made[~resting] @ straight) / (straight @ straight)
    assert 0.55 < towards < 0.95
    assert made[~resting][:, :3].std(axis=0).min() > 0.03 * FULL


def test_undriven_axes_stay_undriven() -> None:
    assert TASK.action.axes == ("x", "y", "z", "yaw")
    assert not twists(0)[:, 3:5].any()


def test_a_hand_that_touches_something_neither_strays_nor_trembles_as_much() -> None:
    free, pressed = twists(0), twists(0, force=2.0 * person.FREE)
    sideways = 1  # where the script has nowhere to go
    assert 0.0 < pressed[:, sideways].std() < 0.5 * free[:, sideways].std()


def test_a_robot_whose_clock_begins_anew_is_driven_on() -> None:
    driver = Person(TASK, 0)
    for reading in (*readings(30.0), *readings(30.0)):
        assert np.isfinite(driver(reading).twist).all()


def test_an_unknown_style_is_named() -> None:
    with pytest.raises(ContractError, match=r"'perfect'.*script, person"):
        make_driver(TASK, "perfect", 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS.builtin)
def test_a_person_nearly_always_succeeds(name: str) -> None:
    # With 95 % success, fewer than 34 of 40 come with a probability below 2 %.
    task = make_task(name)
    episodes = driven_episodes(task, make_driver(task, "person", 7), 40)
    assert sum(episode.ending is Ending.SUCCESS for episode in episodes) >= 34
