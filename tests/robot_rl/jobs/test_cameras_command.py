"""``robot-rl cameras``: who sees which part, the lines for the person, and all that it refuses before it starts."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import pytest

from robot_rl.contract import View
from robot_rl.contract.settings import ConfigError
from robot_rl.jobs.cameras_command import CamerasDisplay, seen_by, summary
from robot_rl.jobs.cli import main
from robot_rl.jobs.config import load_config
from robot_rl.jobs.locks import RunLock
from robot_rl.jobs.run import Run, settings_kept
from robot_rl.perception.meter import NONE_YET, CameraReport
from robot_rl.rewards.saved import Saved, Seen
from robot_rl.tasks import make_task
from tests.robot_rl.rewards.test_judge import JUDGED

WELL = CameraReport(640, 480, 29.9, 28.0, 0.012, 300, 3, "")


def test_policy_encoder_and_classifier_are_named_with_what_they_see(tmp_path: Path) -> None:
    crop = View((0.25, 0.25, 0.5, 0.5), 64)
    replace(JUDGED, seen=Seen({"front": crop})).write(tmp_path / "inserted")
    settings = ["task=reach", "cameras=front,wrist", f"judge=any_of(person,classifier:{tmp_path / 'inserted'})"]
    config = load_config(None, [*settings, "encoder=efficientnet_lite0"])
    assert seen_by(config, make_task("reach")) == {
        "front": {"policy": View(), "encoder efficientnet_lite0": View(), "classifier inserted": crop},
        "wrist": {"policy": View(), "encoder efficientnet_lite0": View()},
    }
    assert Saved.read(tmp_path / "inserted").seen.views == {"front": crop}


def test_trouble_that_lasts_is_a_line_and_so_is_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    display = CamerasDisplay(lambda: now)

    def shown(trouble: str, at: float) -> list[str]:
        nonlocal now
        now = at
        display.update({"front": WELL._replace(trouble=trouble)})
        return capsys.readouterr().out.splitlines()

    well = "camera front: 640x480, 29.9 Hz, 12 ms old, 3 of 303 dropped"
    assert shown("", 0.0) == []
    assert shown("", 2.5) == [well]
    assert shown("lost: it has sent nothing for 0.3 s", 3.0) == []
    assert shown("", 3.2) == [], "it was over at once"
    assert shown("lost: it has sent nothing for 0.3 s", 4.0) == []
    assert shown("lost: it has sent nothing for 2.4 s", 6.1) == ["camera front: lost: it has sent nothing for 2.4 s"]
    assert shown("lost: it has sent nothing for 9.0 s", 9.0) == [], "once"
    assert shown("", 9.1) == []
    assert shown("", 11.2) == [well]


def test_the_summary_has_the_rate_of_all_pictures() -> None:
    lost = CameraReport(0, 0, 0.0, 0.0, 0.0, 0, 0, NONE_YET)
    assert list(summary({"front": WELL, "wrist": lost})) == [
        "camera front: 300 pictures of 640x480, 28.0 Hz, 12 ms old, 3 dropped",
        "camera wrist: no picture, has not sent an image yet",
    ]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--task", "reach"], "task=reach has no cameras of its own; choose cameras=NAME,…"),
        (["--task", "reach", "cameras=left"], "the simulated scene has no camera 'left'; choose from front, wrist"),
        (["--task", "reach", "cameras=front", "--listen", "--run", "none"], "none is not a run"),
        (["cameras=front", "camera_driver=webcam"], "camera_driver='webcam'"),
    ],
)
def test_what_cannot_be_looked_at_is_one_line(
    given: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["cameras", *given]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and words in said
    assert not list(tmp_path.iterdir())


def test_a_classifier_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    config = load_config(None, ["task=reach", "cameras=front", f"judge=classifier:{tmp_path}"])
    with pytest.raises(Exception, match="no reward classifier at") as refused:
        seen_by(config, make_task("reach"))
    assert not isinstance(refused.value, ConfigError)


def test_a_run_that_another_job_has_is_looked_at_by_listening(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run.create(load_config(None, ["task=reach", "cameras=front"]), tmp_path)
    before = run.config_file.read_bytes()
    with RunLock("record") as lock:
        lock.take(run.root)
        assert main(["cameras", "--run", str(run.root), "arm=fr3"]) == 2
    said = capsys.readouterr().err
    assert "is in use: record (process " in said and said.endswith("or look at the cameras of that job: --listen\n")
    assert run.config_file.read_bytes() == before


@pytest.mark.parametrize("ends", [None, KeyboardInterrupt, ConfigError])
def test_who_only_looks_leaves_the_settings_of_a_run(tmp_path: Path, ends: type[BaseException] | None) -> None:
    run = Run.create(load_config(None, ["task=reach", "cameras=front"]), tmp_path)
    before = run.config_file.read_bytes()
    with contextlib.suppress(KeyboardInterrupt, ConfigError), settings_kept(run.root, "", looks=True):
        Run.create(load_config(None, ["task=reach", "cameras=wrist", "arm=fr3"]), run.root)
        assert run.config_file.read_bytes() != before
        if ends is not None:
            raise ends
    assert run.config_file.read_bytes() == before
