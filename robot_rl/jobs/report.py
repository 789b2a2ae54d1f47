"""The results of a run: summary, learning curve, a short video."""

from __future__ import annotations

import contextlib
import json
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hardware.interfaces import CameraError
from hardware.sim.scene.render import SceneRenderer
from robot_rl.contract import DISCARDED, Ending
from robot_rl.contract.files import write_atomically
from robot_rl.data.columns import columns_to_readings
from robot_rl.data.episode import EpisodeInfo
from robot_rl.data.store import StoreReader
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.job import job_of
from robot_rl.jobs.policies import name_of
from robot_rl.jobs.progress import WINDOW, robot_minutes
from robot_rl.jobs.run import Run
from robot_rl.session.recovery import REFLEX
from robot_rl.tasks import make_task
from robot_rl.tasks.base import scene_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VIDEO_EPISODES = 4
VIDEO_SIZE = (480, 640)
STILL = 1.0  # [s] that the end of an episode is shown
BAR = 28  # [pixels] of the caption


def wilson_interval(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson score interval of a success rate; ``(0, 1)`` without trials. ``z`` 1.96 gives 95 %."""
    if trials == 0:
        return 0.0, 1.0
    rate = successes / trials
    centre = (rate + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials)) / (1 + z * z / trials)
    return max(0.0, centre - half), min(1.0, centre + half)


def kept(store: Path) -> list[EpisodeInfo]:
    """Episodes of a store, but those that a person has discarded."""
    return [episode for episode in StoreReader(store).episodes() if episode.reason != DISCARDED]


def write_report(job: str, run: Run, config: RunConfig, wall_s: float) -> Iterator[str]:
    """Write what ``job`` leaves behind besides its data; yields a line for each file, when it is written."""
    spec = job_of(job)
    if spec.learns:
        yield f"curve: {plot_curve(run, config)}"
    if spec.deterministic:
        yield f"summary: {write_summary(run, config, wall_s)}"
        try:
            yield f"video: {write_video(run, config)}"
        except (CameraError, OSError) as error:
            yield f"no video: {error}"


def write_summary(run: Run, config: RunConfig, wall_s: float) -> Path:
    """Write ``summary.json`` from what is on disk; returns its path."""
    demos = [e for path in config.demo_stores for e in kept(run.root / path)]
    online, evaluation = kept(run.online), kept(run.evaluation)
    learner = run.status_of("learner")
    successes = sum(e.success for e in evaluation)
    steps = sum(e.steps for e in online)
    everything = [*demos, *online, *evaluation]
    summary: dict[str, Any] = {
        "task": config.task,
        "agent": name_of(run, config),
        "arm": run.status_of("job").get("arm", config.arm),
        "seed": config.seed,
        "demos": sum(e.success for e in demos),
        "robot_minutes": round(robot_minutes(steps, make_task(config.task).control_period), 3),
        "env_steps": steps,
        "updates": learner.get("updates", 0),
        "utd": round(learner.get("utd", 0.0), 3),
        "version": learner.get("version"),
        "champion": learner.get("champion"),
        "success_rate": round(successes / len(evaluation), 4) if evaluation else None,
        "success_ci95": [round(x, 4) for x in wilson_interval(successes, len(evaluation))],
        "episodes": len(evaluation),
        "aborted": sum(e.ending is Ending.ABORTED for e in everything),
        "reflexes": sum(REFLEX in e.reason for e in everything),
        "wall_s": round(wall_s, 1),
    }
    path = run.root / "summary.json"
    write_atomically(path, json.dumps(summary, indent=2).encode() + b"\n")
    return path


def plot_curve(run: Run, config: RunConfig) -> Path:
    """Draw success and episode length over robot minutes; returns the picture's path.

    Episodes in which a person drove, and those that a reflex of the arm ended, are marked.
    """
    path = run.root / "curve.png"
    draw_curve(run, config).savefig(path, dpi=120)
    return path


def draw_curve(run: Run, config: RunConfig) -> Figure:
    """The picture of `plot_curve`, its legend below the axes, where it hides nothing."""
    from matplotlib.figure import Figure

    episodes, evaluation = kept(run.online), kept(run.evaluation)
    period = make_task(config.task).control_period
    minutes = np.cumsum([robot_minutes(e.steps, period) for e in episodes])
    figure = Figure(figsize=(7.5, 6.0), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    success = np.array([e.success for e in episodes], dtype=float)
    top.plot(minutes, moving_average(success, WINDOW) * 100, label=f"while learning, mean of {WINDOW} episodes")
    seconds = np.array([e.steps * period for e in episodes])
    for kind, look in KINDS.items():
        chosen = np.array([kind_of(e) == kind for e in episodes], dtype=bool)
        if chosen.any():
            label = f"{kind}: {chosen.sum()} episodes"
            top.scatter(
                minutes[chosen], success[chosen] * 100, s=look.size, c=look.colour, marker=look.mark, label=label
            )
            bottom.scatter(minutes[chosen], seconds[chosen], s=look.size, c=look.colour, marker=look.mark)
    if evaluation:
        rate = sum(e.success for e in evaluation) / len(evaluation)
        label = f"deterministic policy: {rate:.0%} of {len(evaluation)}"
        top.axhline(rate * 100, color="tab:green", linestyle="--", label=label)
    top.set_ylabel("success [%]")
    top.set_ylim(-4, 104)
    top.set_title(f"{config.task}, {name_of(run, config)}, seed {config.seed}")
    bottom.set_ylabel("episode [s]")
    bottom.set_xlabel("robot time of learning [min]")
    for axis in (top, bottom):
        axis.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=2, fontsize="small", frameon=False)
    return figure


class Look(NamedTuple):
    """The marker of an episode in the curve; ``size`` in square points."""

    colour: str
    mark: str
    size: float


KINDS = {
    "policy alone": Look("tab:blue", ".", 12.0),
    "a person took over": Look("tab:orange", "^", 18.0),
    "ended by a reflex": Look("tab:red", "x", 24.0),
}


def kind_of(episode: EpisodeInfo) -> str:
    """The one of `KINDS` that ``episode`` is drawn as."""
    if REFLEX in episode.reason:
        return "ended by a reflex"
    return "a person took over" if episode.interventions else "policy alone"


def moving_average(values: np.ndarray, window: int) -> np.ndarray:
    """Mean of the last ``window`` values at each place (fewer at the start)."""
    sums = np.concatenate(([0.0], np.cumsum(values)))
    last = np.arange(1, len(values) + 1)
    first = np.maximum(last - window, 0)
    return (sums[last] - sums[first]) / (last - first) if len(values) else values


def write_video(run: Run, config: RunConfig) -> Path:
    """Draw the first evaluation episodes from their recorded joint positions; returns the video's path.

    Raises `CameraError` when there is no OpenGL library.
    """
    import imageio_ffmpeg

    reader = StoreReader(run.evaluation, images=False)
    path = run.root / "evaluation.mp4"
    task = make_task(config.task)
    spec = scene_of(task)
    height, width = VIDEO_SIZE
    writer = imageio_ffmpeg.write_frames(str(path), (width, height), fps=task.rate, codec="libx264", quality=7)
    with SceneRenderer(spec, height, width, ("front",)) as renderer, contextlib.closing(writer):
        with warnings.catch_warnings():  # that it forks ffmpeg: the child takes no lock of JAX's before it is ffmpeg
            warnings.filterwarnings("ignore", r"os\.fork\(\)", RuntimeWarning)
            writer.send(None)
        for info in _varied(kept(run.evaluation)):
            episode = reader.load_episode(info.index)
            readings = list(columns_to_readings(episode.columns))
            for number, reading in enumerate(readings):
                picture = renderer.render(reading.q, reading.gripper, reading.objects)["front"]
                over = number == len(readings) - 1
                writer.send(captioned(picture, caption(info, over)))
            for _ in range(round(STILL * task.rate)):  # so that the ending can be read
                writer.send(captioned(picture, caption(info, True)))
    return path


def caption(info: EpisodeInfo, over: bool) -> str:
    """The words in the video: which episode, and once it is over, how it ended."""
    ending = f": {info.ending.value}{f' ({info.reason})' if info.reason else ''}, {info.steps} steps"
    return f"episode {info.index}{ending if over else ''}"


def captioned(picture: np.ndarray, text: str) -> np.ndarray:
    """A copy of ``picture (h, w, 3)`` uint8 with a bar of ``text`` across its top, cut where it is too long."""
    import cv2

    drawn = np.ascontiguousarray(picture).copy()
    drawn[:BAR] = drawn[:BAR] // 4
    plain = text.encode("ascii", "replace").decode()  # all that its font has
    cv2.putText(drawn, plain, (8, BAR - 9), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    return drawn


def _varied(episodes: list[EpisodeInfo]) -> list[EpisodeInfo]:
    """Some episodes to show, a failure among them when there is one."""
    failures = [e for e in episodes if not e.success][:1]
    return [e for e in episodes if e.success][: VIDEO_EPISODES - len(failures)] + failures
