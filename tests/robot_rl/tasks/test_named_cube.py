"""Three tasks that only their words tell apart."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from controllers.spatial import Pose
from controllers.state import Mode
from hardware.scene import LOOK, LOOKS, SceneError, SceneSpec, look_of
from robot_rl.contract import ContractError, Ending, Reading
from robot_rl.tasks import make_task
from robot_rl.tasks.base import expert_of
from robot_rl.tasks.named_cube import (
    ASKED,
    COLOURS,
    CUBES,
    DISTINCT,
    HELD_OUT_COLOURS,
    KNOWN,
    LINE,
    PALETTE,
    Asked,
    LiftCube,
    NamedCube,
    PushCube,
    TouchCube,
    asked_of,
    colours_of,
    pose_of_asked,
)
from tests.robot_rl.driven import driven_episodes

TASKS = (TouchCube, PushCube, LiftCube)
DRAWS = 200


def starts(task: NamedCube) -> list[dict[str, Pose]]:
    return [task.sample_start(np.random.default_rng(seed)).objects for seed in range(DRAWS)]


def reading(objects: dict[str, Pose], place: np.ndarray, gripper: float) -> Reading:
    pose, rest = Pose(place, TouchCube.nominal.quat_xyzw), np.zeros(6)
    return Reading(0, 0.0, np.zeros(7), pose, rest, rest, pose, gripper, 1.0, Mode.TRACK, {}, objects)


@pytest.mark.parametrize("kind", TASKS)
def test_a_task_is_made_by_its_name_and_starts_as_the_scene_has_it(kind: type[NamedCube]) -> None:
    task = make_task(kind().name)
    assert type(task) is kind
    for objects in starts(task):
        assert set(objects) == set(task.scene().objects) == set(task.needs)
        places = np.array([objects[name].translation[:2] for name in CUBES])
        apart = [np.abs(a - b).max() for a, b in itertools.combinations(places, 2)]
        assert min(apart) > 0.05 and places[:, 0].max() < LINE - 0.02
        assert task.words(objects) == task.words(dict(objects))
        assert not task.outcome(reading(objects, task.nominal.translation, 1.0)).done


def test_only_the_words_tell_the_tasks_apart() -> None:
    touch, push, lift = (kind() for kind in TASKS)
    assert touch.fields == push.fields == lift.fields and touch.scene() == push.scene() == lift.scene()
    for mine, *others in zip(*(starts(task) for task in (touch, push, lift)), strict=True):
        for other in others:
            assert all(np.array_equal(mine[name].translation, other[name].translation) for name in CUBES)
            assert look_of(mine) == look_of(other)
    said = {word for kind in TASKS for word in kind.phrasings}
    assert len(said) == sum(len(kind.phrasings) for kind in TASKS)
    seen = reading(mine, touch.nominal.translation, 1.0)
    asks = {**mine, ASKED: pose_of_asked(Asked((asked_of(mine).cube + 1) % 3, 0))}
    assert np.array_equal(touch.state(seen), touch.state(reading(asks, touch.nominal.translation, 1.0)))


def test_held_out_words_and_colours_are_never_drawn_for_demonstrations() -> None:
    known, phrased, coloured = LiftCube(), LiftCube(words="held_out"), LiftCube(colours="held_out")
    heard, drawn = set(), set()
    for objects in starts(known):
        heard.add(asked_of(objects).phrasing)
        drawn |= set(colours_of(objects))
        assert colours_of(objects)[asked_of(objects).cube] in known.words(objects)
        assert len(set(colours_of(objects))) == 3
    assert heard == set(range(KNOWN)) and drawn == set(COLOURS)
    assert {asked_of(objects).phrasing for objects in starts(phrased)} == {3, 4, 5}
    named = set()
    for objects in starts(coloured):
        cube, colours = asked_of(objects).cube, colours_of(objects)
        named.add(colours.pop(cube))
        assert set(colours) <= set(COLOURS)
        assert all(np.linalg.norm(np.subtract(PALETTE[colour], PALETTE[max(named)])) > 0.0 for colour in colours)
    assert named == set(HELD_OUT_COLOURS)
    mine = coloured._draw_colours(np.random.default_rng(0), 1)
    assert all(np.linalg.norm(np.subtract(PALETTE[c], PALETTE[mine[1]])) >= DISTINCT for c in (mine[0], mine[2]))


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("deed", ["touched", "pushed", "lifted"])
@pytest.mark.parametrize("cube", [0, 1])
def test_success_is_the_verb_done_to_the_cube_that_is_named(kind: type[NamedCube], deed: str, cube: int) -> None:
    task = kind()
    objects = {**starts(task)[0], ASKED: pose_of_asked(Asked(0, 0))}
    pose = objects[CUBES[cube]]
    place, gripper = pose.translation + (0.0, 0.0, 0.03), 0.0
    if deed == "pushed":
        objects[CUBES[cube]] = Pose(np.array([LINE + 0.001, *pose.translation[1:]]), pose.quat_xyzw)
        place = pose.translation
    if deed == "lifted":
        objects[CUBES[cube]] = Pose(pose.translation + (0.0, 0.0, 0.06), pose.quat_xyzw)
        place, gripper = objects[CUBES[cube]].translation, 0.5
    right = deed == task.verb and cube == 0
    outcome = task.outcome(reading(objects, place, gripper))
    assert outcome.ending is (Ending.SUCCESS if right else Ending.FAILURE)
    assert right or deed in outcome.reason


def test_open_fingers_over_a_cube_do_nothing_to_it() -> None:
    objects = starts(TouchCube())[0]
    place = objects[CUBES[asked_of(objects).cube]].translation + (0.0, 0.0, 0.03)
    assert TouchCube().outcome(reading(objects, place, 1.0)).ending is Ending.RUNNING


def test_a_scene_that_says_nothing_of_words_is_refused() -> None:
    with pytest.raises(ContractError, match="needs the pose of 'asked'"):
        TouchCube().outcome(reading({}, TouchCube.nominal.translation, 1.0))


def test_a_palette_has_no_more_pictures_than_there_are_looks() -> None:
    most = int(LOOKS ** (1 / 3))
    SceneSpec(coloured=CUBES, palette=((0.0, 0.0, 0.0),) * most)
    with pytest.raises(SceneError, match=f"{most + 1} colours of 3 geoms are more than {LOOKS} looks"):
        SceneSpec(coloured=CUBES, palette=((0.0, 0.0, 0.0),) * (most + 1))


@pytest.mark.parametrize("kind", TASKS)
def test_scripts_do_as_the_words_say(kind: type[NamedCube]) -> None:
    task = kind()
    (episode,) = driven_episodes(task, expert_of(task), 1)
    assert episode.ending is Ending.SUCCESS, episode
    assert LOOK in task.scene().objects
