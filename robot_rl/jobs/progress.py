"""The parts of a job, whoever runs it: its session's settings, its stores, and how far it has come."""

from __future__ import annotations

import dataclasses
from collections import deque

import numpy as np

from robot_rl.contract import Ending
from robot_rl.data.schema import StoreSchema
from robot_rl.data.store import EpisodeStore
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.job import EXPERT, job_of
from robot_rl.jobs.run import Run
from robot_rl.session.config import SessionConfig
from robot_rl.session.directive import EpisodeSummary
from robot_rl.session.recovery import REFLEX
from robot_rl.tasks.base import CONTROL_PERIOD, IMAGE_SIZE, Task

WINDOW = 20  # episodes over which the success rate is shown
PERSON_HORIZON = 600  # control periods a person may take for a demonstration


def session_config(job: str, config: RunConfig) -> SessionConfig:
    """The session's settings for a job."""
    spec = job_of(job)
    if not spec.person_drives:
        return config.session
    scripted = config.source == EXPERT
    return dataclasses.replace(
        config.session,
        ask_policy=spec.asks_policy,
        wait_for_person=True,
        person_ends=spec.person_ends and not scripted,
        horizon=config.session.horizon or (0 if scripted else PERSON_HORIZON),
    )


def robot_minutes(steps: int) -> float:
    """The time that an arm takes for ``steps`` control periods [min]."""
    return steps * CONTROL_PERIOD / 60.0


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
        done = job_of(self._job).done
        return done is not None and done(self, self._config)

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
    """The store that ``job`` records into, or None. Raises `StoreError` when it holds something else."""
    store = job_of(job).records
    return EpisodeStore.create_or_open(run.root / store, schema_of(task, config)) if store else None


def schema_of(task: Task, config: RunConfig) -> StoreSchema:
    """Layout of the steps of this run."""
    return StoreSchema.of(task, dict.fromkeys(config.cameras, (IMAGE_SIZE, IMAGE_SIZE)))
