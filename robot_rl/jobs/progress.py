"""The parts of a job, whoever runs it: its session's settings, its stores, and how far it has come."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from robot_rl.contract import DISCARDED, PREFERENCE, AgentView, ContractError, Ending, Judge, Relabel, View
from robot_rl.contract.settings import ConfigError
from robot_rl.data.schema import StoreSchema
from robot_rl.data.store import EpisodeStore
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.job import EXPERT, job_of
from robot_rl.jobs.run import Run
from robot_rl.learner.domain import TaskDomain
from robot_rl.perception.encoders import Encoder, make_encoder
from robot_rl.rewards.preferred import Preference, PreferenceTerm, PreferredJudge
from robot_rl.session.config import SessionConfig
from robot_rl.session.directive import EpisodeSummary
from robot_rl.session.judge import classifiers_in, make_judge
from robot_rl.session.operator import Span
from robot_rl.session.recovery import REFLEX
from robot_rl.tasks import make_task
from robot_rl.tasks.base import Task

WINDOW = 20  # episodes over which the success rate is shown
PERSON_TIME = 60.0  # [s] a person may take for a demonstration
PAST = 3  # episodes of an earlier start that labels may still be about
SINGULAR = {"aborted": "aborted", "reflexes": "reflex", "successes": "success"}
LINES = 50  # newest lines for the terminal that are kept in the status


def session_config(job: str, config: RunConfig) -> SessionConfig:
    """The session's settings for a job."""
    spec = job_of(job)
    if not spec.person_drives:
        return config.session
    limited = not spec.person_ends and (config.source != EXPERT or spec.marks)
    patience = round(PERSON_TIME * make_task(config.task).rate) if limited else 0
    return dataclasses.replace(
        config.session,
        ask_policy=spec.asks_policy,
        wait_for_person=True,
        marks=spec.marks,
        horizon=config.session.horizon or patience,
    )


def judge_name(job: str, config: RunConfig, task: Task) -> str:
    """Who judges the steps of a job: a person who only drives, or marks success, ends episodes as they like."""
    return "person" if ends_freely(job, config) else config.judge or task.judge


class Judging(NamedTuple):
    """The judge of a job's steps, and what the record of each episode notes about its rewards."""

    judge: Judge
    notes: dict[str, object]


def judging_of(job: str, config: RunConfig, task: Task) -> Judging:
    """Who judges the steps of a job, a person's preference included where one is set.

    Raises `ContractError` for a judge or preference that cannot be used.
    """
    judge = make_judge(judge_name(job, config, task), task)
    if job_of(job).marks or (term := preference_of(config, task)) is None:
        return Judging(judge, {})
    return Judging(PreferredJudge(judge, term), {PREFERENCE: term.preference.digest})


def preference_of(config: RunConfig, task: Task) -> PreferenceTerm | None:
    """The bonus of steps by a person's preference; None where none is set. Raises `PreferenceError`."""
    if not config.preference:
        return None
    horizon = config.session.horizon or task.horizon
    return PreferenceTerm(Preference(Path(config.preference), task), config.preference_weight, horizon)


def ends_freely(job: str, config: RunConfig) -> bool:
    """Whether nobody but the person ends the episodes of a job."""
    spec = job_of(job)
    return spec.marks or (spec.person_ends and config.source != EXPERT)


def asked_classifiers(job: str, config: RunConfig) -> tuple[Path, ...]:
    """Folders of the classifiers that the judge of a job asks; ``config`` is that of its run."""
    return () if ends_freely(job, config) or job_of(job).node != "session" else classifiers_in(config.judge)


def lacking(successes: int, episodes: int, goal: int) -> str:
    """A line that says of which kind the next episode for a reward classifier should be, half of ``goal`` of either."""
    half, failures = goal // 2, episodes - successes
    if successes >= half and failures >= goal - half:
        return ""
    counts = f"{successes} of {half} with success, {failures} of {goal - half} without"
    if failures > successes or failures >= goal - half:
        return f"{counts}; next, succeed, say success as soon as you see it, stay there for 2 s, and say end"
    return f"{counts}; next, a near miss: as close to success as you can without it, and say end"


def past_of(store: EpisodeStore | None) -> list[Span]:
    """The latest episodes in ``store``: a label that was said before the session started anew may be about one."""
    if store is None:
        return []
    past = []
    for info in store.episodes()[-PAST:]:
        stamps = store.load_episode(info.index, ("stamp_ns",))["stamp_ns"].tolist()
        past.append(Span(info.index, stamps[-1], stamps[:-1], info.ending, info.reason))
    return past


def robot_minutes(steps: int, period: float) -> float:
    """The time that an arm takes for ``steps`` control periods of ``period`` [s] each [min]."""
    return steps * period / 60.0


def counted(number: int, plural: str) -> str:
    """A number of things in words."""
    one = SINGULAR.get(plural, plural.removesuffix("s"))
    return f"{number} {one if number == 1 else plural}"


class Progress:
    """Counts episodes, those of an earlier, interrupted start of the job included, and decides when it is done."""

    def __init__(self, run: Run, job: str, config: RunConfig, store: EpisodeStore | None) -> None:
        self._run, self._job, self._config = run, job, config
        known = store.episodes() if store is not None else []
        self._marks = job_of(job).marks
        self._success = {episode.index: self._succeeded(episode.ending, episode.total_reward) for episode in known}
        self._discarded = {episode.index for episode in known if episode.reason == DISCARDED}
        self.episodes = len(known)
        self.steps = sum(episode.steps for episode in known)
        self._lines: list[str] = []
        before = run.status_of("session")
        self._told = before.get("told", 0) if before.get("job") == job else 0
        self.aborted = self.reflexes = self.interventions = self.person_steps = 0
        self._last = ""
        self._more: dict[str, float] = {}

    @property
    def successes(self) -> int:
        """Episodes that have succeeded, as labelled by now."""
        return sum(self._success.values())

    @property
    def kept(self) -> int:
        """Episodes that no person has discarded."""
        return self.episodes - len(self._discarded)

    @property
    def done(self) -> bool:
        progress = job_of(self._job).progress(self, self._config)
        return progress is not None and progress[0] >= progress[1]

    @property
    def line(self) -> str:
        """The latest episode and the counts, for a log."""
        parts = [f"episode {self.episodes}: {self._last}", counted(self.successes, "successes"), f"{self.steps} steps"]
        counts = {"aborted": self.aborted, "reflexes": self.reflexes}
        if job_of(self._job).asks_policy:  # in the other jobs the person drives all the time
            counts["interventions"] = self.interventions
        return ", ".join([*parts, *(counted(count, what) for what, count in counts.items() if count)])

    @property
    def result(self) -> str:
        """The job in one line, once it is done."""
        minutes = robot_minutes(self.steps, make_task(self._config.task).control_period)
        counts = counted(self.episodes, "episodes"), counted(self.successes, "successes"), counted(self.steps, "steps")
        return f"{self._job} is done: {', '.join(counts)} ({minutes:.1f} robot-min), run {self._run.root}"

    def add(self, ended: EpisodeSummary, **more: float) -> None:
        """Count an episode; ``more`` belongs into the status as well."""
        self._label(ended.number, self._succeeded(ended.ending, ended.reward), ended.reason)
        self.episodes += 1
        self.steps += ended.steps
        self.aborted += ended.ending is Ending.ABORTED
        self.reflexes += REFLEX in ended.reason
        self.interventions += ended.takeovers
        self.person_steps += ended.interventions
        self._last = f"{ended.ending.value}{f' ({ended.reason})' if ended.reason else ''} in {ended.steps} steps"
        staged = bool(self._config.session.stages)
        if self._marks and not staged and (wish := lacking(self.successes, self.kept, self._config.episodes)):
            self.tell(wish)
        self.say(**more)

    def correct(self, relabel: Relabel) -> None:
        """Count an episode by what it has been relabelled as."""
        if relabel.episode in self._success and relabel.outcome.done:
            success = self._succeeded(relabel.outcome.ending, relabel.outcome.reward)
            self._label(relabel.episode, success, relabel.outcome.reason)
            self.say()

    def _succeeded(self, ending: Ending, reward: float) -> bool:
        """Whether an episode counts as a success; one that a person marks does where they have marked any step."""
        return reward > 0.0 if self._marks else ending is Ending.SUCCESS

    def _label(self, episode: int, success: bool, reason: str) -> None:
        self._success[episode] = success
        self._discarded.discard(episode)
        if reason == DISCARDED:
            self._discarded.add(episode)

    def tell(self, line: str) -> None:
        """Have ``line`` shown at the terminal."""
        self._lines = [*self._lines, line][-LINES:]
        self._told += 1
        self.say()

    def say(self, **more: float) -> None:
        """Write the status file."""
        recent = list(self._success.values())[-WINDOW:]
        rate = float(np.mean(recent)) if recent else 0.0
        self._more |= more
        self._run.say(
            "session",
            {
                "job": self._job,
                "episodes": self.episodes,
                "kept": self.kept,
                "steps": self.steps,
                "successes": self.successes,
                "success_rate": rate,
                "aborted": self.aborted,
                "reflexes": self.reflexes,
                "interventions": self.interventions,
                "person_steps": self.person_steps,
                "last": self._last,
                "done": self.done,
                "lines": self._lines,
                "told": self._told,
                **self._more,
            },
        )


def open_store(run: Run, job: str, config: RunConfig, task: Task, background: bool = False) -> EpisodeStore | None:
    """The store that ``job`` records into, or None; ``background`` as for `EpisodeStore.create_or_open`.

    Raises `StoreError` when it holds something else.
    """
    store = job_of(job).records
    return EpisodeStore.create_or_open(run.root / store, schema_of(task, config), background) if store else None


def schema_of(task: Task, config: RunConfig) -> StoreSchema:
    """Layout of the steps of this run. Raises `ConfigError` for an encoder that cannot be used."""
    views = task.views(config.cameras)
    images = {name: (view.size, view.size) for name, view in views.items()}
    schema = StoreSchema.of(task, images, task.control_period, bool(config.force.sensor))
    encoder = encoder_of(config)
    if encoder is None:
        return schema
    if not views:
        raise ConfigError(
            f"encoder={config.encoder} encodes images, and there are no cameras; name some, e.g. cameras=front"
        )
    features = {name: _grid(encoder, name, view) for name, view in views.items()}
    return dataclasses.replace(schema, features=features, encoder=encoder.digest)


def encoder_of(config: RunConfig) -> Encoder | None:
    """The encoder that is set; None where there is none. Raises `ConfigError` when it cannot be used."""
    return _made(config.encoder) if config.encoder else None


@lru_cache(maxsize=1)
def _made(name: str) -> Encoder:
    try:
        return make_encoder(name)
    except ContractError as error:
        raise ConfigError(str(error)) from error


def _grid(encoder: Encoder, camera: str, view: View) -> tuple[int, int, int]:
    try:
        return encoder.shape(view.size)
    except ContractError as error:
        raise ConfigError(f"camera {camera}: {error}") from error


def view_of(task: Task, config: RunConfig) -> AgentView:
    """The task as this run's agent sees it. Raises `ConfigError` when ``learner.without`` does not fit the task."""
    try:
        return AgentView(task, config.learner.without, task.views(config.cameras))
    except ContractError as error:
        raise ConfigError(f"learner.without={','.join(config.learner.without)}: {error}") from error


def domain_of(task: Task, config: RunConfig) -> TaskDomain:
    """The domain of this run's learner. Raises `ConfigError` as `view_of` does."""
    return TaskDomain(view_of(task, config), schema_of(task, config))
