"""Observations and actions of Gymnasium spaces, against values worked out by hand."""

from __future__ import annotations

import re

import numpy as np
import pytest
from gymnasium import spaces

from robot_rl.contract import AgentView, Layout
from robot_rl.data.schema import StoreSchema
from robot_rl.gym.envs import IDS
from robot_rl.gym.spaces import Actions, EnvDomain, EnvError, Observations
from robot_rl.tasks import make_task
from tests.robot_rl.colours import Colours

ANY = (-np.inf, np.inf)
PICTURE = spaces.Box(0, 255, (4, 6, 3), np.uint8)


def test_boxes_of_a_dict_follow_each_other_by_name() -> None:
    space = spaces.Dict(
        {
            "wrist": PICTURE,
            "b": spaces.Box(*ANY, (2, 2), np.float64),
            "a": spaces.Dict({"z": spaces.Box(*ANY, (1,)), "c.d": spaces.Box(*ANY, (1,))}),
        }
    )
    seen = Observations(space)
    assert list(seen.sizes.items()) == [("a.c.d", 1), ("a.z", 1), ("b", 4)]
    assert (seen.state_size, seen.images) == (6, {"wrist": (4, 6)})
    picture = np.arange(72, dtype=np.uint8).reshape(4, 6, 3)
    state, images = seen(
        {"b": np.array([[3.0, 4.0], [5.0, 6.0]]), "wrist": picture, "a": {"z": np.array([2.0]), "c.d": np.array([1.0])}}
    )
    assert state.dtype == np.float32 and state.tolist() == [1, 2, 3, 4, 5, 6]
    assert list(images) == ["wrist"] and np.array_equal(images["wrist"], picture)


def test_one_box_is_the_state_and_one_image_is_called_image() -> None:
    state, images = Observations(spaces.Box(*ANY, (2, 1), np.float64))(np.array([[1.0], [2.0]]))
    assert (state.tolist(), state.dtype, images) == ([1.0, 2.0], np.float32, {})
    seen = Observations(PICTURE)
    picture = np.full((4, 6, 3), 7, np.uint8)
    state, images = seen(picture)
    assert (state.shape, seen.state_size, seen.images) == ((0,), 0, {"image": (4, 6)})
    assert np.array_equal(images["image"], picture)


def test_an_encoder_makes_features_of_images() -> None:
    state = spaces.Box(*ANY, (2,))
    seen = Observations(spaces.Dict({"eye": spaces.Box(0, 255, (8, 8, 3), np.uint8), "x": state}), Colours())
    assert (seen.pictures, seen.images, seen.sizes) == ({"eye": (8, 8)}, {"eye": (4, 4, 3)}, {"x": 2})
    picture = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    _, images = seen({"eye": picture, "x": np.zeros(2)})
    assert np.array_equal(images["eye"], Colours().encode(picture[None])[0])
    with pytest.raises(EnvError, match="takes square images, and 'image' has 4×6 pixels"):
        Observations(PICTURE, Colours())
    with pytest.raises(EnvError, match="encodes images, and this environment observes none"):
        Observations(state, Colours())


@pytest.mark.parametrize("white", [1.0, 255.0])
def test_an_image_of_floats_is_an_image(white: float) -> None:
    seen = Observations(spaces.Dict({"eye": spaces.Box(0.0, white, (8, 9, 3)), "x": spaces.Box(0.0, 1.0, (2, 3, 3))}))
    assert (seen.images, seen.sizes) == ({"eye": (8, 9)}, {"x": 18})
    picture = np.linspace(0.0, white, 8 * 9 * 3, dtype=np.float32).reshape(8, 9, 3)
    _, images = seen({"eye": picture, "x": np.zeros((2, 3, 3))})
    assert images["eye"].dtype == np.uint8
    assert np.array_equal(images["eye"], np.rint(picture * (255.0 / white)))


@pytest.mark.parametrize(
    ("observation", "words"),
    [
        ({"x": np.zeros(2)}, "the observation lacks 'in.ner'; it has x"),
        ({"x": np.zeros(2), "in": np.zeros(1)}, "the observation lacks 'ner': it is ndarray"),
        ({"x": np.zeros(3), "in": {"ner": np.zeros(1)}}, "x has shape (3,), where the observation space has (2,)"),
        ({"x": None, "in": {"ner": np.zeros(1)}}, "x is no array of numbers but NoneType"),
        ({"x": [[1], [1, 2]], "in": {"ner": np.zeros(1)}}, "x is no array of numbers but list"),
        (np.zeros(2), "it is ndarray, where the observation space has a dict"),
        (None, "it is NoneType"),
    ],
)
def test_an_observation_that_is_not_of_the_space_is_refused_by_name(observation: object, words: str) -> None:
    space = spaces.Dict({"x": spaces.Box(*ANY, (2,)), "in": spaces.Dict({"ner": spaces.Box(*ANY, (1,))})})
    with pytest.raises(EnvError, match=re.escape(words)):
        Observations(space)(observation)


def test_an_environment_that_writes_over_its_observation_does_not_change_an_earlier_one() -> None:
    for space, value in ((spaces.Box(*ANY, (2,)), np.zeros(2, np.float32)), (PICTURE, np.zeros((4, 6, 3), np.uint8))):
        state, images = Observations(space)(value)
        value += 1
        assert not state.any() and not any(image.any() for image in images.values())
    value = {"eye": np.zeros((4, 6, 3), np.uint8)}
    _, images = Observations(spaces.Dict({"eye": PICTURE}))(value)
    value["eye"] += 1
    assert not images["eye"].any()


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (spaces.Discrete(3), "the observation space is Discrete(3)"),
        (spaces.Dict({"a": spaces.Dict({"b": spaces.Text(3)})}), "observation 'a.b' is Text"),
        (spaces.Dict({"eye": spaces.Box(0, 255, (3, 8, 8), np.uint8)}), "'eye' is uint8 of shape (3, 8, 8)"),
        (spaces.Box(0, 255, (8, 8), np.uint8), "'image' is uint8 of shape (8, 8)"),
        (spaces.Dict({}), "nothing to learn from"),
        (
            spaces.Box(*ANY, (16, 16, 3)),
            "from -inf to inf; an image has shape (height, width, 3) and is",
        ),
        (spaces.Box(0.0, 1.0, (3, 16, 16)), "'image' is float32 of shape (3, 16, 16) from 0 to 1; an image has shape"),
    ],
)
def test_other_observations_are_refused_by_name(space: spaces.Space, words: str) -> None:
    with pytest.raises(EnvError, match=re.escape(words)):
        Observations(space)


def test_a_box_is_brought_from_its_bounds_to_one() -> None:
    low, high = np.array([[-2.0], [0.0], [3.0]], np.float32), np.array([[2.0], [10.0], [3.0]], np.float32)
    actions = Actions(spaces.Box(low, high))
    assert (actions.size, actions.options) == (3, 0)
    numbers = actions.decode(np.array([0.5, -1.0, 0.9], np.float32))
    assert numbers.dtype == np.float32 and numbers.shape == (3, 1) and numbers[:, 0].tolist() == [1.0, 0.0, 3.0]
    assert actions.decode(np.array([-9.0, 1.0, 0.0]))[:, 0].tolist() == [-2.0, 10.0, 3.0]
    rows = np.array([[1.0, 0.0, 3.0], [-2.0, 7.5, 3.0]])
    assert actions.encode(rows).tolist() == [[0.5, -1.0, 0.0], [-1.0, 0.5, 0.0]]


def test_every_decoded_action_is_in_the_space() -> None:
    box = spaces.Box(np.float32([-0.1, 0.3, -1e6]), np.float32([0.7, 0.30001, 1e-3]))
    actions = Actions(box)
    for action in np.random.default_rng(0).uniform(-1.5, 1.5, (200, 3)).astype(np.float32):
        assert actions.decode(action) in box
    for corner in ([1, 1, 1], [-1, -1, -1]):
        assert actions.decode(np.float32(corner)) in box


@pytest.mark.parametrize("kind", ["discrete", "tuple", "turned tuple", "dict"])
def test_a_discrete_part_is_the_last_axis_with_evenly_spaced_values(kind: str) -> None:
    box, choice = spaces.Box(0.0, 4.0, (2,)), spaces.Discrete(5, start=10)
    space = {
        "discrete": choice,
        "tuple": spaces.Tuple((box, choice)),
        "turned tuple": spaces.Tuple((choice, box)),
        "dict": spaces.Dict({"grip": choice, "move": box}),
    }[kind]
    actions = Actions(space)
    front = 0 if kind == "discrete" else 2
    assert (actions.size, actions.options) == (front + 1, 5)
    for last, option in ((-1.0, 10), (-0.5, 11), (0.2, 12), (0.3, 13), (1.0, 14), (3.0, 14), (-3.0, 10)):
        action = actions.decode(np.array([0.0, 0.5][:front] + [last], np.float32))
        assert action in space
        match kind:
            case "discrete":
                assert action == option
            case "tuple":
                assert (action[0].tolist(), action[1]) == ([2.0, 3.0], option)
            case "turned tuple":
                assert (action[1].tolist(), action[0]) == ([2.0, 3.0], option)
            case "dict":
                assert (action["move"].tolist(), action["grip"]) == ([2.0, 3.0], option)
    rows = np.array([[2.0, 3.0][:front] + [number] for number in range(10, 15)])
    assert actions.encode(rows)[:, -1].tolist() == [-1.0, -0.5, 0.0, 0.5, 1.0]
    assert (actions.encode(rows)[:, :front] == [0.0, 0.5][:front]).all()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([[0.0]], "this environment's have 2 numbers"),
        ([[0.0, 0.0], [4.1, 0.0]], "action 1 has 4.1 on axis 0, where only [0, 4]"),
        ([[0.0, 0.5]], "one of Discrete(3)"),
        ([[0.0, 3.0]], "action 0 has 3 on axis 1, where only Discrete(3)"),
        ([[np.nan, 0.0]], "action 0 has nan on axis 0"),
    ],
)
def test_actions_that_the_environment_would_not_take_are_not_encoded(rows: list, words: str) -> None:
    actions = Actions(spaces.Tuple((spaces.Box(0.0, 4.0, (1,)), spaces.Discrete(3))))
    with pytest.raises(ValueError, match=re.escape(words)):
        actions.encode(np.array(rows))


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (spaces.Box(np.float32([-1, -1]), np.float32([1, np.inf])), "axis 1 of the actions goes from -1 to inf"),
        (spaces.Box(0, 5, (2,), np.int64), "must be of floats"),
        (spaces.Discrete(1), "nothing to decide"),
        (spaces.MultiDiscrete((2, 2)), "must be a Box, a Discrete, or a Tuple or Dict of one of each"),
        (spaces.Tuple((spaces.Discrete(2), spaces.Discrete(2))), "must be a Box"),
        (spaces.Tuple((spaces.Box(0, 1), spaces.Discrete(2), spaces.Discrete(2))), "must be a Box"),
    ],
)
def test_other_actions_are_refused(space: spaces.Space, words: str) -> None:
    with pytest.raises(EnvError, match=re.escape(words)):
        Actions(space)


SCHEMA = StoreSchema.of(make_task("pick_cube"), {"wrist": (4, 6), "side": (4, 6)})
SIZE = make_task("pick_cube").state_size
STATE = spaces.Box(*ANY, (SIZE,))


def domain(env_id: str, observation: spaces.Space, action: spaces.Space) -> EnvDomain:
    return EnvDomain(env_id, Observations(observation), Actions(action))


def test_a_store_fits_by_its_sizes() -> None:
    fits = domain("Any-v0", spaces.Dict({"s": STATE, "wrist": PICTURE}), spaces.Box(-1, 1, (4,)))
    assert fits.layout == Layout(SIZE, 4, {"wrist": (4, 6)}, 0)
    assert fits.misfit(SCHEMA) == ""
    mixed = spaces.Tuple((spaces.Box(-1, 1, (3,)), spaces.Discrete(2)))
    assert domain("Any-v0", STATE, mixed).misfit(SCHEMA) == ""


@pytest.mark.parametrize(
    ("env_id", "observation", "action", "words"),
    [
        ("Any-v0", spaces.Box(*ANY, (4,)), spaces.Box(-1, 1, (4,)), f"state size {SIZE} instead of 4"),
        ("Any-v0", STATE, spaces.Box(-1, 1, (3,)), "action size 4 instead of 3"),
        ("Any-v0", PICTURE, spaces.Box(-1, 1, (2,)), "images {} instead of {'image': (4, 6)}"),
        (
            "Any-v0",
            STATE,
            spaces.Tuple((spaces.Box(-1, 1, (3,)), spaces.Discrete(3))),
            "values on the last axis 2 instead of 3",
        ),
        ("robot_rl/Reach-v0", STATE, spaces.Box(-1, 1, (2,)), "task 'pick_cube' instead of 'reach'"),
    ],
)
def test_a_store_that_does_not_fit_is_described(
    env_id: str, observation: spaces.Space, action: spaces.Space, words: str
) -> None:
    misfit = domain(env_id, observation, action).misfit(SCHEMA)
    assert misfit.startswith(f"does not fit {env_id}") and words in misfit


@pytest.mark.parametrize(("env_id", "options"), [("robot_rl/PickCube-v0", 2), ("robot_rl/Reach-v0", 0)])
def test_the_gripper_of_our_own_environments_is_open_or_closed(env_id: str, options: int) -> None:
    task = make_task(IDS[env_id])
    state = spaces.Box(-np.inf, np.inf, (task.state_size,), np.float32)
    box = spaces.Box(-1.0, 1.0, (task.action.size,), np.float32)
    domain = EnvDomain(f"robot_rl.gym.envs:{env_id}", Observations(state), Actions(box))
    assert domain.layout == AgentView(task).layout() and domain.layout.options == options
    assert not domain.misfit(StoreSchema.of(task))


def test_a_store_of_a_task_that_nobody_knows_cannot_be_seen() -> None:
    misfit = domain("Any-v0", STATE, spaces.Box(-1, 1, (4,))).misfit(StoreSchema("juggle", SCHEMA.action))
    assert misfit.startswith("does not fit Any-v0: unknown task 'juggle'")


def test_an_environment_without_some_fields_takes_the_same_demonstrations() -> None:
    task = make_task("pick_cube")
    fewer = AgentView(task, ("force",)).state_size
    state, box = spaces.Box(*ANY, (fewer,)), spaces.Box(-1, 1, (4,))
    blind = EnvDomain("robot_rl/PickCube-v0", Observations(state), Actions(box), ("force",))
    assert blind.misfit(StoreSchema.of(task)) == "" and blind.identity["without"] == ["force"]
    assert "state size" in domain("robot_rl/PickCube-v0", state, box).misfit(StoreSchema.of(task))
