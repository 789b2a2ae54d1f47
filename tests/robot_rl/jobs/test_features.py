"""Jobs with an encoder: which processes, what is refused in a line, and a slice in process from record to eval."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from robot_rl.contract import View
from robot_rl.contract.settings import ConfigError
from robot_rl.data.parameters import unpack
from robot_rl.data.store import StoreReader
from robot_rl.jobs.bringup import node_names, prepare
from robot_rl.jobs.cli import main
from robot_rl.jobs.config import RunConfig, load_config
from robot_rl.jobs.progress import schema_of
from robot_rl.tasks import make_task
from tests.robot_rl.colours import Colours

COLOURS = f"encoder={Colours.name}"
OTHER = "encoder=tests.robot_rl.colours:Other"
SEEING = ["cameras=front", COLOURS]
LEARNING = [
    *("steps=4", "session.horizon=4", "learner.agent=rlpd", "learner.settings.hidden=8", "learner.utd=1"),
    *("learner.batch_size=4", "learner.start_after=2", "learner.imitate=5"),
]


def test_the_encoder_is_a_process_of_every_job_with_a_session() -> None:
    config = RunConfig(task="reach", cameras=("front",), encoder=Colours.name)
    for job in ("record", "train", "eval", "teleop"):
        assert "encoder" in node_names(job, config)
    assert "encoder" not in node_names("arm", config)
    assert "encoder" not in node_names("record", RunConfig(task="reach", cameras=("front",)))


def test_a_schema_has_the_features_of_each_camera() -> None:
    schema = schema_of(make_task("reach"), load_config(None, ["task=reach", "cameras=front,wrist", COLOURS]))
    assert schema.seen == dict.fromkeys(("front", "wrist"), (4, 4, 3))
    assert schema.encoder == Colours.digest


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ([COLOURS], "there are no cameras; name some, e.g. cameras=front"),
        (
            ["cameras=front", "encoder=efficientnet_lite"],
            "encoder='efficientnet_lite': .*mean 'efficientnet_lite0'",
        ),
        (["cameras=front", "encoder=efficientnet_lite0:/no/weights.pth"], "there is nothing at /no/weights.pth"),
        (["cameras=front", "encoder=tests.robot_rl.colours:Colour"], "has no 'Colour'"),
    ],
)
def test_an_encoder_that_cannot_be_used_is_refused_in_a_line(settings: list[str], words: str, tmp_path: Path) -> None:
    with pytest.raises((ConfigError, ValueError), match=words):
        prepare("record", load_config(None, ["task=reach", *settings]), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_camera_whose_size_does_not_fit_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = make_task("reach")
    monkeypatch.setattr(type(task), "cameras", {"front": View(size=100)})
    with pytest.raises(ConfigError, match=r"camera front: encoder=efficientnet_lite0 takes .* multiple of 32"):
        schema_of(task, load_config(None, ["task=reach", "encoder=efficientnet_lite0"]))


@pytest.mark.timeout(300)
@pytest.mark.slow
def test_from_a_demonstration_to_an_evaluation_in_process(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert main(["record", "--fast", "--task", "reach", "--run", str(run), "demos=2", *SEEING]) == 0
    episode = StoreReader(run / "demos").load_episode(0)
    np.testing.assert_array_equal(episode["features/front"], Colours().encode(episode.images["front"]))

    assert main(["train", "--fast", "--run", str(run), *LEARNING]) == 0
    assert unpack((run / "policy.params").read_bytes()).meta["images"] == {"front": [4, 4, 3]}
    assert main(["eval", "--fast", "--run", str(run), "episodes=1"]) == 0
    capsys.readouterr()

    assert main(["eval", "--fast", "--run", str(run), "episodes=1", OTHER]) == 2
    assert "trained on features of encoder c0, but this run has features of encoder d1" in capsys.readouterr().err
    assert main(["record", "--fast", "--run", str(run), "demos=3", OTHER]) == 2
    assert "holds features of encoder c0 instead of features of encoder d1" in capsys.readouterr().err
