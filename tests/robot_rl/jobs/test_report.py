from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from robot_rl.contract import DISCARDED, Outcome, Relabel
from robot_rl.data.schema import StoreSchema
from robot_rl.data.store import EpisodeStore, StoreReader
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.report import (
    caption,
    captioned,
    draw_curve,
    moving_average,
    plot_curve,
    wilson_interval,
    write_summary,
)
from robot_rl.jobs.run import Run
from robot_rl.tasks import make_task
from tests.robot_rl.recording import steps

SUMMARY = [
    *("task", "agent", "arm", "seed", "demos", "robot_minutes", "env_steps", "updates", "utd", "version", "champion"),
    *("success_rate", "success_ci95", "episodes", "aborted", "reflexes", "wall_s"),
]
CONFIG = RunConfig(task="reach", seed=3)
SCHEMA = StoreSchema.of(make_task("reach"))


@pytest.mark.parametrize(
    ("successes", "trials", "lower", "upper"),
    [
        (50, 50, 0.92865, 1.0),  # 1 / (1 + z²/n)
        (0, 50, 0.0, 0.07135),
        (45, 50, 0.7864, 0.9565),
        (5, 10, 0.2366, 0.7634),
        (0, 0, 0.0, 1.0),
    ],
)
def test_wilson_interval(successes: int, trials: int, lower: float, upper: float) -> None:
    assert wilson_interval(successes, trials) == pytest.approx((lower, upper), abs=5e-5)


def test_moving_average_is_of_fewer_values_at_the_start() -> None:
    np.testing.assert_allclose(moving_average(np.array([1.0, 0.0, 0.0, 1.0, 1.0]), 3), [1, 1 / 2, 1 / 3, 1 / 3, 2 / 3])
    assert moving_average(np.array([]), 3).size == 0


def record(folder: Path, endings: list[Outcome], length: int = 12) -> None:
    with EpisodeStore.create_or_open(folder, SCHEMA) as store:
        for seed, ending in enumerate(endings):
            writer = store.begin({"seed": seed})
            for step in steps(length, seed, ending, SCHEMA):
                writer.append(step)
            writer.finish(ending)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run.create(CONFIG, tmp_path / "run")
    reflex = Outcome.failure("the robot stopped the motion: cartesian_reflex")
    record(run.demos, [Outcome.success()] * 3 + [Outcome.timeout()])
    record(run.online, [Outcome.timeout(), reflex, Outcome.success(), Outcome.aborted("camera lost")], 60)
    record(run.evaluation, [Outcome.success()] * 4 + [Outcome.timeout()])
    run.say("learner", {"updates": 960, "utd": 4.0, "version": 240, "champion": 230})
    run.say("job", {"arm": "in-process"})
    return run


def test_summary_says_what_is_on_disk(run: Run) -> None:
    path = write_summary(run, CONFIG, wall_s=12.34)
    assert path == run.root / "summary.json"
    summary = json.loads(path.read_text())
    assert list(summary) == SUMMARY
    lower, upper = wilson_interval(4, 5)
    assert summary == {
        "task": "reach",
        "agent": "flash_sac",
        "arm": "in-process",
        "seed": 3,
        "demos": 3,
        "robot_minutes": 0.4,
        "env_steps": 240,
        "updates": 960,
        "utd": 4.0,
        "version": 240,
        "champion": 230,
        "success_rate": 0.8,
        "success_ci95": [pytest.approx(lower, abs=1e-4), pytest.approx(upper, abs=1e-4)],
        "episodes": 5,
        "aborted": 1,
        "reflexes": 1,
        "wall_s": 12.3,
    }


def test_summary_of_a_run_that_has_nothing_yet(tmp_path: Path) -> None:
    summary = json.loads(write_summary(Run.create(CONFIG, tmp_path), CONFIG, 0.0).read_text())
    assert list(summary) == SUMMARY
    assert (summary["success_rate"], summary["success_ci95"]) == (None, [0.0, 1.0])


def test_what_a_person_has_discarded_does_not_count(run: Run) -> None:
    with EpisodeStore.open(run.evaluation) as store:
        store.relabel(Relabel(4, 11, Outcome.aborted(DISCARDED), "person"))
    summary = json.loads(write_summary(run, CONFIG, 0.0).read_text())
    assert (summary["success_rate"], summary["episodes"], summary["aborted"]) == (1.0, 4, 1)


def test_the_curve_is_a_picture(run: Run) -> None:
    assert plot_curve(run, CONFIG).read_bytes().startswith(b"\x89PNG")


def test_the_curve_marks_interventions_and_reflexes_and_its_legend_hides_no_episode(run: Run) -> None:
    figure = draw_curve(run, CONFIG)
    figure.canvas.draw()
    (legend,) = figure.legends
    said = [text.get_text() for text in legend.get_texts()]
    assert said[1:] == ["a person took over: 3 episodes", "ended by a reflex: 1 episodes", said[-1]]
    assert said[-1] == "deterministic policy: 80% of 5"
    for axis in figure.axes:
        assert axis.get_legend() is None
        assert not axis.get_window_extent().overlaps(legend.get_window_extent())


def test_the_video_says_which_episode_it_shows_and_how_it_ended(run: Run) -> None:
    success, *_, failure = StoreReader(run.evaluation).episodes()
    assert caption(success, False) == "episode 0"
    assert caption(success, True) == "episode 0: success, 12 steps"
    assert caption(failure, True) == "episode 4: timeout, 12 steps"
    (reflex,) = [episode for episode in StoreReader(run.online).episodes() if "reflex" in episode.reason]
    assert caption(reflex, True) == f"episode 1: failure ({reflex.reason}), 60 steps"
    picture = np.full((480, 640, 3), 200, np.uint8)
    drawn = captioned(picture, "episode 0: 9 N·m")
    assert (picture == 200).all() and (drawn[28:] == 200).all()
    assert drawn[:28].max() > 200 > 100 > drawn[:28].min(), "white on dark"


def test_the_curve_of_a_run_that_has_nothing_yet(tmp_path: Path) -> None:
    assert plot_curve(Run.create(CONFIG, tmp_path), CONFIG).exists()
