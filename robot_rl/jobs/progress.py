"""What a job is made of, whoever runs it: its session's settings, its seed, its stores, and when it is done."""

from __future__ import annotations

import dataclasses
from collections import deque
from pathlib import Path

import numpy as np

from robot_rl.contract import Ending
from robot_rl.data.schema import StoreSchema
from robot_rl.data.store import EpisodeStore
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.run import Run
from robot_rl.session.config import SessionConfig
from robot_rl.session.directive import EpisodeSummary
from robot_rl.session.recovery import REFLEX
from robot_rl.tasks import make_task
from robot_rl.tasks.base import IMAGE_SIZE, Task

WINDOW = 20  # episodes over which the success rate is shown
PERSON_TIME = 60.0  # [s] a person may take for a demonstration
SEEDS = {"record": 1, "train": 2, "eval": 3, "teleop": 4}  # starts of different jobs differ


def session_config(job: str, config: RunConfig) -> SessionConfig:
    """The session's settings for a job."""
    if job in ("record", "teleop"):
        patient = 0 if config.source == "expert" else round(PERSON_TIME * make_task(config.task).rate)
        horizon = config.session.horizon or patient
        free = job == "teleop" and config.source != "expert"
        return dataclasses.replace(
            config.session, ask_policy=False, wait_for_person=True, person_ends=free, horizon=horizon
        )
    return config.session


def job_seed(job: str, seed: int) -> int:
    """Seed of the episode starts of a job, so that evaluation begins where training never did."""
    return seed * len(SEEDS) + SEEDS[job]


class Progress:
    """Counts episodes, those of an earlier, interrupted start of the job included, and decides when it is done."""

    def __init__(self, run: Run, job: str, config: RunConfig, store: EpisodeStore | None) -> None:
        self._run, self._job, self._config = run, job, config
        known = store.episodes() if store is not None else []
        self._recent = deque((episode.success for episode in known), WINDOW)
        self.episodes = len(known)
        self.steps = sum(episode.steps for episode in known)
        self.successes = sum(episode.success for episode in known)
        self.aborted = self.reflexes = self.interventions = 0
        self._last = ""
        self._more: dict[str, float] = {}

    @property
    def done(self) -> bool:
        match self._job:
            case "record":
                return self.successes >= self._config.demos
            case "train":
                return self.steps >= self._config.steps
            case "eval":
                return self.episodes >= self._config.episodes
        return False

    def add(self, ended: EpisodeSummary, **more: float) -> None:
        """Count an episode; ``more`` belongs into the status as well."""
        success = ended.ending is Ending.SUCCESS
        self._recent.append(success)
        self.episodes += 1
        self.steps += ended.steps
        self.successes += success
        self.aborted += ended.ending is Ending.ABORTED
        self.reflexes += REFLEX in ended.reason
        self.interventions += ended.interventions
        self._last = f"{ended.ending.value}{f' ({ended.reason})' if ended.reason else ''} in {ended.steps} steps"
        self.say(**more)

    def say(self, **more: float) -> None:
        """Write the status file."""
        rate = float(np.mean(self._recent)) if self._recent else 0.0
        self._more |= more
        self._run.say(
            "session",
            {
                "job": self._job,
                "episodes": self.episodes,
                "steps": self.steps,
                "successes": self.successes,
                "success_rate": rate,
                "aborted": self.aborted,
                "reflexes": self.reflexes,
                "interventions": self.interventions,
                "last": self._last,
                "done": self.done,
                **self._more,
            },
        )


def open_store(run: Run, job: str, config: RunConfig, task: Task) -> EpisodeStore | None:
    """The store that ``job`` records into; None for teleoperation. Raises `StoreError` when it holds something else."""
    folders: dict[str, Path] = {"record": run.demos, "train": run.online, "eval": run.evaluation}
    if job not in folders:
        return None
    return EpisodeStore.create_or_open(folders[job], schema_of(task, config))


def schema_of(task: Task, config: RunConfig) -> StoreSchema:
    """Layout of the steps of this run."""
    return StoreSchema.of(task, dict.fromkeys(config.cameras, (IMAGE_SIZE, IMAGE_SIZE)), task.control_period)
