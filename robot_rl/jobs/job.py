"""The jobs, in one table: what is particular to one of them stands here; nowhere else is a job's name compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from hardware.teleop import TELEOP_DEVICES
from robot_rl.contract.settings import ConfigError
from robot_rl.jobs.config import RunConfig

# Who drives beside the devices: the task's script, any publisher of twist_cmd, the person on the page, the person's
# hand on the arm itself.
EXPERT, TOPIC, PAGE, HAND = "expert", "topic", "console", "hand"
SEEDS = 4  # jobs whose episodes have starts of their own, beside `collect`


class Tally(Protocol):
    """The counts of a job so far."""

    @property
    def kept(self) -> int:
        """Episodes that no person has discarded."""

    @property
    def steps(self) -> int: ...

    @property
    def successes(self) -> int: ...


@dataclass(frozen=True)
class JobSpec:
    """A job.

    Attributes:
        help: one line for the command line.
        node: the process at its heart; with "", the arm's topics are served to other programs.
        only_cameras: nothing but cameras runs beside that, and the arm where it takes one to draw them.
        command: it is a command of its own on the command line.
        sources: who may drive, beside the devices.
        person_drives: a person acts, or the task's expert in their stead; an episode waits for the first movement.
        person_ends: an episode goes on until the person ends it, whatever the task says of it.
        marks: a person's success and failure mark steps for a reward classifier, and end no episode.
        asks_policy: a policy acts when no person does.
        deterministic: the policy is one that is given, and acts without exploring.
        learns: a learner is fed by the steps and hands out the parameters that act.
        patience: [s] that the arm, once started, holds for the first setpoint; the controller's, where that is longer.
        has_episodes: the energy tank is refilled for each episode; otherwise its power alone is limited.
        records: store of the run that steps go into; "" for none.
        seed_offset: what sets the starts of its episodes apart from those of other jobs.
        counts: of its `Tally`, what has a goal; "" for a job that lasts as long as somebody likes.
        goal: setting that says how many of these are to be done.
        fast: it can be done in process.
        next: command that usually follows in the same run, "" for none.
    """

    name: str
    help: str
    node: Literal["session", "teach", "survey", "sheet", "shots", ""] = "session"
    only_cameras: bool = False
    command: bool = True
    sources: tuple[str, ...] = (EXPERT, TOPIC, PAGE)
    person_drives: bool = False
    person_ends: bool = False
    marks: bool = False
    asks_policy: bool = False
    deterministic: bool = False
    learns: bool = False
    patience: float = 0.0
    has_episodes: bool = True
    records: Literal["", "demos", "online", "evaluation", "rewards"] = ""
    seed_offset: int = 0
    counts: Literal["", "successes", "steps", "kept"] = ""
    goal: Literal["", "demos", "steps", "episodes"] = ""
    fast: bool = False
    next: str = ""

    def progress(self, tally: Tally, config: RunConfig) -> tuple[int, int] | None:
        """How many are done, and of how many; None for a job without a goal."""
        return (getattr(tally, self.counts), getattr(config, self.goal)) if self.goal else None


JOBS: dict[str, JobSpec] = {
    spec.name: spec
    for spec in (
        JobSpec(
            "record",
            "record demonstrations",
            person_drives=True,
            records="demos",
            seed_offset=1,
            counts="successes",
            goal="demos",
            fast=True,
            next="train",
        ),
        JobSpec(
            "train",
            "learn online, with the person able to take over",
            asks_policy=True,
            learns=True,
            records="online",
            seed_offset=2,
            counts="steps",
            goal="steps",
            fast=True,
            next="eval",
        ),
        JobSpec(
            "eval",
            "evaluate a policy, deterministically",
            asks_policy=True,
            deterministic=True,
            records="evaluation",
            seed_offset=3,
            counts="kept",
            goal="episodes",
            fast=True,
            next="inspect",
        ),
        JobSpec(
            "teleop",
            "drive the arm; nothing is recorded",
            person_drives=True,
            person_ends=True,
            has_episodes=False,
            seed_offset=4,
            next="record",
        ),
        JobSpec(
            "collect",
            "record successes and near misses for a reward classifier, for `robot-rl reward train`",
            command=False,
            person_drives=True,
            marks=True,
            records="rewards",
            seed_offset=1 + SEEDS * 1_000_000,  # beyond all that others have, whose starts stay as they are
            counts="kept",
            goal="episodes",
            fast=True,
            next="reward train",
        ),
        JobSpec(
            "arm",
            "serve the arm's topics to other programs: sessions of other computers (peers=), clients of CRISP",
            node="",
            patience=60.0,  # somebody starts the arm at a terminal, then their program
            has_episodes=False,
        ),
        JobSpec(
            "teach",
            "make a task by driving or guiding the arm",
            node="teach",
            command=False,
            sources=(TOPIC, PAGE, HAND),
            has_episodes=False,
        ),
        JobSpec(
            "survey",
            "read a force sensor at rest, while the arm tilts its hand, for `robot-rl calibrate tool`",
            node="survey",
            command=False,
            sources=(EXPERT,),
            has_episodes=False,
        ),
        JobSpec(
            "cameras",
            "look at the cameras: a live contact sheet, rates, ages, drops, and what cannot be believed",
            node="sheet",
            only_cameras=True,
            command=False,
            sources=(EXPERT, TOPIC, PAGE, HAND),
            has_episodes=False,
        ),
        JobSpec(
            "shots",
            "take pictures of a board, for the lens of a camera, for `robot-rl calibrate camera`",
            node="shots",
            only_cameras=True,
            command=False,
            sources=(EXPERT, TOPIC, PAGE, HAND),
            has_episodes=False,
        ),
    )
}
COMMANDS = tuple(name for name, spec in JOBS.items() if spec.command)
DEMO = ("record", "train", "eval")  # from nothing to a policy that has been evaluated


def job_of(name: str) -> JobSpec:
    """The job called ``name``. Raises `ConfigError` with the choices."""
    if name not in JOBS:
        raise ConfigError(f"unknown job {name!r}; choose from {', '.join(COMMANDS)}")
    return JOBS[name]


def sources(*others: str) -> str:
    """Who may drive, for help and messages: ``others``, `TOPIC`, `PAGE`, and all devices."""
    return TELEOP_DEVICES.listed(*others, TOPIC, PAGE)


def job_seed(job: str, seed: int) -> int:
    """Seed of the episode starts of a job, so that evaluation begins where training never did."""
    return seed * SEEDS + job_of(job).seed_offset
