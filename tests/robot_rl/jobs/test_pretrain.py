"""Imitation as a job: a run's demonstrations become a clone that acts, and that learning starts from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from robot_rl.contract import Observation
from robot_rl.contract.settings import ConfigError
from robot_rl.data.parameters import unpack
from robot_rl.data.store import EpisodeStore
from robot_rl.jobs.cli import main
from robot_rl.jobs.config import RunConfig, load_config
from robot_rl.jobs.imitated import along, draw_actions
from robot_rl.jobs.learning import make_learner
from robot_rl.jobs.progress import schema_of, view_of
from robot_rl.jobs.run import Run
from robot_rl.policies.loading import load_actor
from robot_rl.tasks import make_task
from tests.robot_rl.recording import steps

SETTINGS = ["task=reach", "learner.imitate=50", "learner.agent=rlpd", "learner.settings.hidden=8"]
CONFIG = load_config(None, SETTINGS)


def recorded(root: Path, episodes: int = 4) -> Run:
    run = Run.create(CONFIG, root)
    with EpisodeStore.create_or_open(run.demos, schema_of(make_task("reach"), CONFIG)) as store:
        for seed in range(episodes):
            writer = store.begin()
            for step in steps(10, seed, schema=schema_of(make_task("reach"), CONFIG)):
                writer.append(step)
            writer.finish()
    return run


def learner_of(run: Run, config: RunConfig):
    made = make_learner(run, config)
    made.restore()
    made.poll()
    return made


def test_a_run_that_was_pretrained_has_a_clone_that_acts_and_trains_on_from_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = recorded(tmp_path / "run")
    monkeypatch.setattr("robot_rl.jobs.display.SHOW_PERIOD", 0.0)
    assert main(["pretrain", "--run", str(run.root), *SETTINGS, "learner.imitate=150"]) == 0
    said = capsys.readouterr().out
    assert [line.partition(",")[0] for line in said.splitlines() if line.startswith("pretrain: imitating")] == [
        "pretrain: imitating 50 steps",
        "pretrain: imitating 100 steps",
    ]
    assert "pretrain: learning" not in said
    assert str(run.clone) in said and f"policy={run.clone}" in said
    assert f"picture: {run.imitation_picture}" in said
    assert run.imitation_picture.read_bytes().startswith(b"\x89PNG")
    view = view_of(make_task("reach"), CONFIG)
    policy = load_actor(run.clone.read_bytes(), view, 0, deterministic=True)
    state = np.ones(view.state_size, np.float32)
    actions = policy.act([Observation(1, 1, state)]).actions
    learner = learner_of(run, CONFIG)
    assert learner.has_clone and not learner.imitating and learner.version == 0
    again = load_actor(learner.parameters(), view, 0, deterministic=True).act([Observation(1, 1, state)]).actions
    np.testing.assert_array_equal(again, actions)


class Counter:
    """Acts by chunks of three: the state, then that and 0.1, then 0.2 more."""

    def act(self, state: np.ndarray, images: Mapping[str, np.ndarray], deterministic: bool) -> np.ndarray:
        assert deterministic and images["wrist"].shape == (2, 2, 3)
        return state + np.float32([[0.0], [0.1], [0.2]])


def test_a_clone_is_asked_along_what_was_recorded_as_often_as_it_is_used() -> None:
    states = np.arange(7, dtype=np.float32)[:, None]
    predicted, asked = along(Counter(), states, {"wrist": np.zeros((7, 2, 2, 3), np.uint8)})
    np.testing.assert_allclose(predicted[:, 0], [0.0, 0.1, 0.2, 3.0, 3.1, 3.2, 6.0])
    np.testing.assert_array_equal(asked, [0, 3, 6])
    figure = draw_actions(predicted, predicted, asked, ["z"], 0.1)
    assert figure.axes[0].get_ylabel() == "z" and figure.axes[0].get_xlabel() == "time [s]"


def test_a_new_run_takes_the_demonstrations_of_the_one_beside_it(tmp_path: Path) -> None:
    """Its folder, from which the other is named, is made only once they are found."""
    recorded(tmp_path / "one")
    pupil = Run(tmp_path / "other")
    assert main(["pretrain", "--run", str(pupil.root), "demo_stores=../one/demos", *SETTINGS]) == 0
    assert pupil.clone.exists()


def test_without_an_episode_that_was_held_out_there_is_no_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = recorded(tmp_path / "run", episodes=1)
    assert main(["pretrain", "--run", str(run.root), *SETTINGS]) == 0
    assert "picture" not in capsys.readouterr().out and not run.imitation_picture.exists()


def test_the_clone_of_a_run_is_where_another_one_starts(tmp_path: Path) -> None:
    teacher, pupil = recorded(tmp_path / "one"), recorded(tmp_path / "other")
    assert main(["pretrain", "--run", str(teacher.root), *SETTINGS]) == 0
    based = load_config(None, [*SETTINGS, f"learner.base={teacher.clone}"])
    learner = learner_of(pupil, based)
    assert learner.has_clone and not learner.imitating
    mine, theirs = unpack(learner.parameters()).params, unpack(teacher.clone.read_bytes()).params
    taken = [name for name in theirs if "/clone/" in name]
    assert taken and all((mine[name] == theirs[name]).all() for name in taken)


@pytest.mark.parametrize(
    ("name", "words"), [("missing", "cannot be read"), ("noise", "cannot be started from: these are no parameters")]
)
def test_a_base_that_is_none_is_refused_in_words(tmp_path: Path, name: str, words: str) -> None:
    run = recorded(tmp_path / "run")
    (tmp_path / "noise").write_bytes(b"noise")
    config = load_config(None, [*SETTINGS, f"learner.base={tmp_path / name}"])
    with pytest.raises(ConfigError, match=words):
        make_learner(run, config)


def test_pretraining_without_imitation_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = recorded(tmp_path / "run")
    assert main(["pretrain", "--run", str(run.root), *SETTINGS, "learner.imitate=0"]) == 2
    assert "learner.imitate=0 imitates nothing" in capsys.readouterr().err
