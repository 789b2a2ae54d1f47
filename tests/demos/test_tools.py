"""Replaying, converting and relabelling recorded episodes."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
from gymnasium import spaces

from controllers.core import ControllerConfig
from demos import convert, relabel, replay
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.contract import Ending, Observation, Outcome
from robot_rl.data.columns import columns_to_readings, is_observed
from robot_rl.data.schema import StoreSchema
from robot_rl.data.store import EpisodeStore, StoreReader
from robot_rl.gym.demos import load_demos
from robot_rl.gym.spaces import Actions, EnvDomain, Observations
from robot_rl.policies.wire.columns import Columns
from robot_rl.policies.wire.file import read_file
from robot_rl.policies.wire.observing import Observing
from robot_rl.session.config import SessionConfig
from robot_rl.session.in_process import Rollout
from robot_rl.session.session import Session
from robot_rl.tasks import make_task
from robot_rl.tasks.base import expert_of
from tests.robot_rl.policies.wire.reaching import written
from tests.robot_rl.recording import PIXELS, TASK, steps

REACH = make_task("reach")


@pytest.fixture
def pixels(tmp_path: Path) -> Path:
    with EpisodeStore.create_or_open(tmp_path / "store", PIXELS) as store:
        for seed, ending in enumerate((Outcome.success(), Outcome.timeout())):
            writer = store.begin({"seed": seed})
            for step in steps(6, seed, ending, PIXELS):
                writer.append(step)
            writer.finish()
    return tmp_path / "store"


@pytest.fixture(scope="module")
def reached(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One success of the script, recorded in process."""
    path = tmp_path_factory.mktemp("reached")
    with (
        EpisodeStore.create_or_open(path, StoreSchema.of(REACH)) as store,
        InProcessWorld(REACH.scene(), REACH.bound(ControllerConfig())) as world,
    ):
        world.start()
        session = Session(REACH, SessionConfig(ask_policy=False, wait_for_person=True), store, seed=1)
        rollout = Rollout(session, world, expert_of(REACH))
        while session.episodes < 1:
            rollout.step()
        assert store.episodes()[0].success
    return path


def test_a_replay_ends_where_the_recording_did(reached: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reader = StoreReader(reached)
    found = replay.replay(REACH, reader.schema, reader.load_episode(0))
    assert found.position < 0.005 and found.angle < 0.05 and found.objects == {"goal": pytest.approx(0.0, abs=1e-6)}
    assert found.recorded is Ending.SUCCESS
    assert replay.main([str(reached), "0"]) == 0
    assert capsys.readouterr().out.startswith(f"episode 0, {reader.episodes()[0].steps} steps: ends ")


def test_a_replay_of_other_targets_ends_elsewhere(reached: Path) -> None:
    reader = StoreReader(reached)
    episode = reader.load_episode(0)
    episode["target"][:, 2] += 0.03
    assert 0.02 < replay.replay(REACH, reader.schema, episode).position < 0.04


def test_there_is_nothing_to_replay(reached: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert replay.main([str(reached), "9"]) == 2
    assert "has no finished episode 9 (it has 1: 0 to 0)" in capsys.readouterr().err
    assert replay.main([str(tmp_path), "0"]) == 2
    assert "no episode store here" in capsys.readouterr().err


def test_every_recorded_column_survives_the_conversion(pixels: Path, tmp_path: Path) -> None:
    path = tmp_path / "demos.hdf5"
    assert convert.main([str(pixels), str(path)]) == 0
    reader = StoreReader(pixels)
    with h5py.File(path) as file:
        assert StoreSchema.from_json(file["data"].attrs["schema"]) == PIXELS
        for index in range(2):
            group, episode = file[f"data/demo_{index}"], reader.load_episode(index)
            assert json.loads(group.attrs["meta"]) == {"seed": index}
            for name, column in episode.columns.items():
                if is_observed(name):
                    key = convert.key_of(name)
                    kept = np.concatenate((group[f"obs/{key}"][:], group[f"next_obs/{key}"][-1:]))
                else:
                    kept = group[{"action": "actions", "reward": "rewards"}.get(name, f"steps/{name}")][:]
                assert kept.dtype == column.dtype and np.array_equal(kept, column), name


def test_what_was_converted_is_learnt_from_like_the_store(pixels: Path, tmp_path: Path) -> None:
    """By ``robot-rl gym --demos``, of a success with the state and one image."""
    path = tmp_path / "demos.hdf5"
    assert convert.convert(pixels, path, partial(convert.write_whole, observe=TASK.state)) == 2
    space = spaces.Dict({"state": spaces.Box(-np.inf, np.inf, (5,)), "wrist": spaces.Box(0, 255, (4, 6, 3), np.uint8)})
    observations, actions = Observations(space), Actions(spaces.Box(-1.0, 1.0, (2,)))
    found = load_demos(path, EnvDomain("Any-v0", observations, actions), observations, actions)
    stored = StoreReader(pixels, observe=TASK.state).poll().new
    assert len(found) == 2
    for one, other in zip(found, stored, strict=True):
        for name in ("state", "reward", "terminated", "image/wrist"):
            assert np.array_equal(one[name], other[name]), name
        np.testing.assert_allclose(one["action"], other["action"], atol=1e-6)


def test_somebody_elses_policy_learns_from_what_it_will_be_sent_and_what_it_would_answer(
    reached: Path, tmp_path: Path
) -> None:
    names, path = written(tmp_path, "ws://127.0.0.1:1"), tmp_path / "demos.hdf5"
    assert convert.main([str(reached), str(path), "--names", str(names)]) == 0
    file, episode = read_file(names), StoreReader(reached).load_episode(0)
    observing, columns = Observing(file, REACH.fields, {}), Columns(file, REACH.action, 0.1, REACH.fields)
    with h5py.File(path) as found:
        group = found["data/demo_0"]
        assert (group.attrs["rate"], group.attrs["instruction"], group.attrs["ending"]) == (10.0, "", "success")
        assert sorted(group["obs/observation"]) == ["velocity", "way"]
        for number, reading in enumerate(list(columns_to_readings(episode.columns))[:-1]):
            seen = Observation(reading.stamp_ns, number, REACH.state(reading))
            for key, value in observing.sent([seen], "").state.items():
                assert np.array_equal(group[f"obs/{key}"][number], value)
            moves = columns.moves({"actions": group["actions"][number : number + 1]}, seen.state)
            np.testing.assert_allclose(moves.actions[0], episode["action"][number], atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rate": 20}, "rate=20 Hz is not that of the recorded steps"),
        ({"images": {"image": "front"}}, "images.image='front' is no camera of this run"),
        ({"state": {"way": ["to_gaol"]}}, "did you mean 'to_goal'"),
    ],
)
def test_names_that_do_not_fit_the_store_are_refused(
    reached: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, object], words: str
) -> None:
    names, path = written(tmp_path, "ws://127.0.0.1:1", **changes), tmp_path / "demos.hdf5"
    assert convert.main([str(reached), str(path), "--names", str(names)]) == 2
    assert words in capsys.readouterr().err and not path.exists()


def test_what_cannot_be_converted_is_named(pixels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "there.hdf5").touch()
    for arguments, words in (
        ([str(pixels), str(tmp_path / "there.hdf5")], "exists; name another file"),
        ([str(tmp_path / "nowhere"), str(tmp_path / "new.hdf5")], "is not an episode store"),
    ):
        assert convert.main(arguments) == 2
        assert words in capsys.readouterr().err
    assert not (tmp_path / "new.hdf5").exists()


def test_a_step_is_relabelled_from_the_terminal(pixels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert relabel.main([str(pixels), "1", "3", "success"]) == 0
    assert capsys.readouterr().out == "episode 1: success after 4 steps\n"
    assert relabel.main([str(pixels), "0", "5", "failure", "--reward", "-1", "--reason", "it slipped"]) == 0
    first, second = StoreReader(pixels).episodes()
    assert (first.ending, first.reason, first.steps) == (Ending.FAILURE, "it slipped", 6)
    assert (second.ending, second.total_reward) == (Ending.SUCCESS, pytest.approx(1.0 + 0.125 * 3))


def test_a_label_for_nothing_or_beside_a_writer_is_refused(pixels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert relabel.main([str(pixels), "1", "6", "success"]) == 2
    assert "episode 1 has 6 steps, counted from 0: no step 6" in capsys.readouterr().err
    with EpisodeStore.open(pixels):
        assert relabel.main([str(pixels), "1", "3", "success"]) == 2
    assert "is being written by process" in capsys.readouterr().err
