"""A picture of imitation: the actions recorded in an episode, and those of the clone for the same observations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.progress import schema_of, view_of
from robot_rl.jobs.run import Run
from robot_rl.learner.loop import LearnerLoop
from robot_rl.policies.base import Actor
from robot_rl.policies.loading import load_actor
from robot_rl.tasks import make_task

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def picture_imitation(run: Run, config: RunConfig, loop: LearnerLoop) -> Path | None:
    """Draw an episode that ``loop`` held out from imitation; the picture's path.

    None when it has held out none: there was one demonstration, or nothing was imitated since it started. The clone is
    the one in the run's folder, as it is used.
    """
    if (rows := loop.held_out_rows) is None:
        return None
    task, buffer = make_task(config.task), loop.sources.demo_buffer
    view, schema = view_of(task, config), schema_of(task, config)
    seen, data = view.images(schema.seen), run.clone.read_bytes()
    policy = load_actor(data, view, config.seed, deterministic=True, images=seen, encoder=schema.encoder)
    images = {name: kept[rows] for name, kept in buffer.images.items()}
    predicted, asked = along(policy.actor, buffer.state[rows], images)
    figure = draw_actions(buffer.action[rows], predicted, asked, view.action.axes, task.control_period)
    figure.suptitle(f"{config.task}, {config.learner.agent}: a demonstration that was held out", fontsize="medium")
    figure.savefig(run.imitation_picture, dpi=120)
    return run.imitation_picture


def along(actor: Actor, states: np.ndarray, images: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The actions ``(T, a)`` of ``actor`` along recorded ``states (T, d)`` and ``images``, and when it was asked.

    It is asked anew, about what was recorded, whenever its chunk is used up.
    """
    found: list[np.ndarray] = []
    asked: list[int] = []
    while len(found) < len(states):
        now = len(found)
        asked.append(now)
        found.extend(actor.act(states[now], {name: pictures[now] for name, pictures in images.items()}, True))
    return np.stack(found[: len(states)]), np.array(asked)


def draw_actions(
    recorded: np.ndarray, predicted: np.ndarray, asked: np.ndarray, axes: Sequence[str], period: float
) -> Figure:
    """A panel for each of ``axes`` over time: ``recorded`` and ``predicted (T, a)``, a dot where a chunk begins.

    ``period``: of the control [s].
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 1.2 + 1.2 * len(axes)), layout="constrained")
    panels = figure.subplots(len(axes), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    time = np.arange(len(recorded)) * period
    for number, (panel, axis) in enumerate(zip(panels, axes, strict=True)):
        panel.step(time, recorded[:, number], where="post", color="tab:gray", label="recorded")
        panel.step(time, predicted[:, number], where="post", color="tab:blue", label="predicted")
        panel.plot(time[asked], predicted[asked, number], ".", color="tab:blue", markersize=3)
        panel.set_ylabel(axis)
        panel.grid(alpha=0.3)
    panels[0].set_ylim(-1.1, 1.1)
    panels[-1].set_xlabel("time [s]")
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize="small", frameon=False
    )
    return figure
