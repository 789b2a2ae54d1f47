"""Robomimic's HDF5 files, written here as its documentation lays them out, become demonstrations of an environment."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from gymnasium import spaces

from robot_rl.contract import Source
from robot_rl.data.importing.robomimic import observation_shapes, read_demos
from robot_rl.data.replay import ReplayBuffer
from robot_rl.data.schema import StoreError
from robot_rl.gym.demos import load_demos
from robot_rl.gym.spaces import Actions, EnvDomain, Observations

DONE_AT_END = (0, 0, 1)
ANY = (-np.inf, np.inf)


def write(path: Path, demos: Mapping[str, Sequence[int]], next_obs: bool = False, image: bool = False) -> Path:
    """Name → dones. Observation i of demonstration ``demo_n`` has pos = (100 n + i, 0.5) and object = (−i,), and its
    action is (−1, 2) + i/10."""
    with h5py.File(path, "w") as file:
        for name, dones in demos.items():
            number, count = int(name[5:]), len(dones)
            group = file.create_group(f"data/{name}")
            index = np.arange(count, dtype=np.float64)
            group["actions"] = np.stack((-1.0 + index / 10, 2.0 + index / 10), axis=1)
            group["rewards"], group["dones"] = index, np.array(dones)
            for kind, shift in (("obs", 0), ("next_obs", 1)) if next_obs else (("obs", 0),):
                at = index + shift
                group[f"{kind}/pos"] = np.stack((100 * number + at, np.full(count, 0.5)), axis=1)
                group[f"{kind}/object"] = -at[:, None]
                if image:
                    group[f"{kind}/eye"] = np.broadcast_to(at[:, None, None, None], (count, 4, 6, 3)).astype(np.uint8)
    return path


def load(path: Path, observation: spaces.Space, keys: Sequence[str] = (), action: Any = None) -> list:
    seen, acts = Observations(observation), Actions(action or spaces.Box(-2.0, 4.0, (2,)))
    return load_demos(path, EnvDomain("Any-v0", seen, acts), seen, acts, keys)


def test_demonstrations_come_by_number_up_to_their_first_done_step(tmp_path: Path) -> None:
    demos = {"demo_10": (0, 0, 1, 1, 1), "demo_2": DONE_AT_END, "demo_3": (0, 0, 0), "demo_4": (0,)}
    path = write(tmp_path / "low_dim.hdf5", demos)
    assert observation_shapes(path) == {"object": (1,), "pos": (2,)}
    found = {demo.name: demo for demo in read_demos(path, ("pos",))}
    assert [(name, len(demo.reward), demo.terminated) for name, demo in found.items()] == [
        ("demo_2", 3, True),
        ("demo_3", 2, False),  # what followed its last step is not known
        ("demo_10", 3, True),
    ]
    assert found["demo_10"].observations["pos"][:, 0].tolist() == [1000, 1001, 1002, 1003]
    assert found["demo_2"].observations["pos"][:, 0].tolist() == [200, 201, 202, 202]
    assert found["demo_3"].observations["pos"][:, 0].tolist() == [300, 301, 302]
    assert found["demo_3"].action.tolist() == [[-1.0, 2.0], [-0.9, 2.1]]


def test_the_observation_after_the_last_step_is_taken_where_it_is_stored(tmp_path: Path) -> None:
    path = write(tmp_path / "low_dim.hdf5", {"demo_2": DONE_AT_END, "demo_3": (0, 0, 0)}, next_obs=True)
    done, going = read_demos(path, ("pos",))
    assert done.observations["pos"][:, 0].tolist() == [200, 201, 202, 203]
    assert (going.observations["pos"][:, 0].tolist(), going.terminated) == ([300, 301, 302, 303], False)


def test_one_vector_is_made_of_all_keys_or_of_those_named(tmp_path: Path) -> None:
    path = write(tmp_path / "low_dim.hdf5", {"demo_1": DONE_AT_END, "demo_2": (0, 0, 0)})
    first, second = load(path, spaces.Box(*ANY, (3,)))
    assert first["state"][1].tolist() == [-1.0, 101.0, 0.5]  # object, pos
    assert load(path, spaces.Box(*ANY, (3,)), ("pos", "object"))[0]["state"][1].tolist() == [101.0, 0.5, -1.0]
    assert load(path, spaces.Box(*ANY, (2,)), ("pos",))[0]["state"][1].tolist() == [101.0, 0.5]
    assert first["action"][1] == pytest.approx([(-0.9 - 1.0) / 3.0, (2.1 - 1.0) / 3.0], abs=1e-7)
    assert first["reward"].tolist() == [0.0, 1.0, 2.0] and (first["source"] == Source.PERSON).all()
    assert (first["terminated"].tolist(), first["truncated"].any()) == ([False, False, True], False)
    assert (second["terminated"].any(), second["truncated"].tolist()) == (False, [False, True])
    assert (first.episode, second.episode, first.store) == (0, 1, str(path))


def test_a_dict_takes_its_own_keys_and_images(tmp_path: Path) -> None:
    path = write(tmp_path / "image.hdf5", {"demo_1": DONE_AT_END}, image=True)
    picture = spaces.Box(0, 255, (4, 6, 3), np.uint8)
    space = spaces.Dict({"pos": spaces.Box(*ANY, (2,)), "eye": picture})
    (part,) = load(path, space)
    assert part["state"][2].tolist() == [102.0, 0.5]
    assert part.images["eye"].shape == (4, 4, 6, 3) and part.images["eye"][2].max() == 2
    buffer = ReplayBuffer(10, EnvDomain("Any-v0", Observations(space), Actions(spaces.Box(-2, 4, (2,)))).layout)
    buffer.add(part)
    batch = buffer.sample(np.random.default_rng(0), 50)
    assert set(batch.images["eye"][:, 0, 0, 0].tolist()) == {0, 1, 2}
    assert (batch.mask == (batch.images["eye"][:, 0, 0, 0] < 2)).all()


def test_a_discrete_part_is_the_last_number_of_an_action(tmp_path: Path) -> None:
    path = tmp_path / "mixed.hdf5"
    write(path, {"demo_1": DONE_AT_END})
    with h5py.File(path, "a") as file:
        file["data/demo_1/actions"][:, 1] = (0, 2, 1)
    (part,) = load(
        path,
        spaces.Box(*ANY, (3,)),
        action=spaces.Dict({"grip": spaces.Discrete(3), "move": spaces.Box(-1, 1, (1,))}),
    )
    assert part["action"].round(6).tolist() == [[-1.0, -1.0], [pytest.approx(-0.9), 1.0], [pytest.approx(-0.8), 0.0]]


@pytest.mark.parametrize(
    ("observation", "keys", "words"),
    [
        (spaces.Box(*ANY, (2,)), (), "object, pos make 3 numbers, but the environment's state has 2"),
        (spaces.Box(*ANY, (2,)), ("pos", "hand"), "no observation hand; this file has object (1,), pos (2,)"),
        (spaces.Dict({"pos": spaces.Box(*ANY, (3,))}), (), "the environment observes pos (3)"),
        (spaces.Dict({"hand": spaces.Box(*ANY, (2,))}), (), "the environment observes hand (2)"),
        (spaces.Dict({"pos": spaces.Box(*ANY, (2,))}), ("pos",), "--demo-keys is for an environment with one vector"),
        (spaces.Box(0, 255, (4, 6, 3), np.uint8), (), "image 'image' of shape (4, 6, 3)"),
    ],
)
def test_observations_that_do_not_fit_are_named(
    observation: spaces.Space, keys: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "low_dim.hdf5", {"demo_1": DONE_AT_END})
    with pytest.raises(StoreError, match=re.escape(words)):
        load(path, observation, keys)


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    space = spaces.Box(*ANY, (3,))
    good = write(tmp_path / "good.hdf5", {"demo_1": DONE_AT_END})
    with pytest.raises(StoreError, match=r"demo_1/actions: action 0 has -1 on axis 0, where only \[0, 4\]"):
        load(good, space, action=spaces.Box(0, 4, (2,)))
    with pytest.raises(StoreError, match="this environment's have 3 numbers"):
        load(good, space, action=spaces.Box(-2, 4, (3,)))

    (tmp_path / "text.hdf5").write_text("no HDF5")
    with pytest.raises(StoreError, match=r"text\.hdf5: cannot be read as HDF5"):
        load(tmp_path / "text.hdf5", space)
    with pytest.raises(StoreError, match="no such file or folder"):
        load(tmp_path / "nowhere.hdf5", space)
    (tmp_path / "demos.pkl").touch()
    with pytest.raises(StoreError, match=r"a file ending in \.hdf5 or \.h5"):
        load(tmp_path / "demos.pkl", space)

    with h5py.File(tmp_path / "empty.hdf5", "w") as file:
        file.create_group("data/mask")
    with pytest.raises(StoreError, match="no demonstrations"):
        load(tmp_path / "empty.hdf5", space)
    with pytest.raises(StoreError, match="have no steps"):
        load(write(tmp_path / "short.hdf5", {"demo_0": (0,)}), space)

    for part, words in (
        ("rewards", "/data/demo_1 has no rewards; it has actions, dones, obs"),
        ("obs", "has no obs"),
        ("obs/pos", "object make 1 numbers"),
    ):
        path = write(tmp_path / "part.hdf5", {"demo_1": DONE_AT_END})
        with h5py.File(path, "a") as file:
            del file[f"data/demo_1/{part}"]
        with pytest.raises(StoreError, match=words):
            load(path, space)
    for part, words in (
        ("obs/object", "/data/demo_1/obs/object has 2 rows, and there are 3 actions"),
        ("dones", "/data/demo_1/dones has 2 rows"),
    ):
        path = write(tmp_path / "length.hdf5", {"demo_1": DONE_AT_END})
        with h5py.File(path, "a") as file:
            shorter = file[f"data/demo_1/{part}"][:2]
            del file[f"data/demo_1/{part}"]
            file[f"data/demo_1/{part}"] = shorter
        with pytest.raises(StoreError, match=words):
            load(path, space)
    path = write(tmp_path / "nan.hdf5", {"demo_1": DONE_AT_END})
    with h5py.File(path, "a") as file:
        file["data/demo_1/obs/pos"][1, 0] = np.nan
    with pytest.raises(StoreError, match="/data/demo_1/obs/pos is not finite in row 1"):
        load(path, space)


@pytest.mark.parametrize(
    ("part", "value", "words"),
    [
        ("dones", np.array([0.0, np.nan, 1.0]), "/data/demo_2/dones is not finite in row 1"),
        ("rewards", np.array([0.0, np.inf, 1.0]), "/data/demo_2/rewards is not finite in row 1"),
        ("rewards", np.zeros((3, 2)), "/data/demo_2/rewards has shape (3, 2); it must have one number a step"),
        ("actions", np.array([[0.0, 0.0], [0.0, 9.0], [0.0, 0.0]]), "demo_2/actions: action 1 has 9 on axis 1"),
        ("actions", np.array([b"a", b"b", b"c"]), "/data/demo_2/actions holds"),
        ("obs/pos", np.full((3, 2), np.nan), "/data/demo_2/obs/pos is not finite in row 0"),
        ("obs/pos", np.zeros((3, 5)), "/data/demo_2/next_obs/pos has shape (2,), obs/pos (5,)"),
        ("next_obs/pos", np.zeros((2, 2)), "/data/demo_2/next_obs/pos has 2 rows, and there are 3 actions"),
        ("next_obs/pos", np.zeros((3, 4)), "/data/demo_2/next_obs/pos has shape (4,), obs/pos (2,)"),
    ],
)
def test_every_misfit_is_one_line_with_file_demonstration_and_key(
    part: str, value: np.ndarray, words: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "low_dim.hdf5", {"demo_1": DONE_AT_END, "demo_2": DONE_AT_END}, next_obs=True)
    with h5py.File(path, "a") as file:
        del file[f"data/demo_2/{part}"]
        file[f"data/demo_2/{part}"] = value
    with pytest.raises(StoreError) as refused:
        load(path, spaces.Box(*ANY, (3,)))
    assert str(refused.value).startswith(f"{path}: ") and words in str(refused.value), refused.value


def test_rewards_and_dones_in_a_column_are_the_same(tmp_path: Path) -> None:
    path = write(tmp_path / "low_dim.hdf5", {"demo_1": DONE_AT_END})
    (plain,) = load(path, spaces.Box(*ANY, (3,)))
    with h5py.File(path, "a") as file:
        for part in ("rewards", "dones"):
            column = file[f"data/demo_1/{part}"][:][:, None]
            del file[f"data/demo_1/{part}"]
            file[f"data/demo_1/{part}"] = column
    (column,) = load(path, spaces.Box(*ANY, (3,)))
    assert all(np.array_equal(column[name], plain[name]) for name in plain.columns)
