"""``robot-rl reward``: a classifier of success, from a person's marks to a threshold with a promise; preferences."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from robot_rl.jobs.job import EXPERT, job_of, sources
from robot_rl.jobs.preference_commands import PREFERRING, add_preference_parsers, prefer_or_rank

if TYPE_CHECKING:
    from robot_rl.contract import View
    from robot_rl.jobs.reward_data import Recording
    from robot_rl.rewards.config import RewardConfig
    from robot_rl.rewards.drift import DriftSettings
    from robot_rl.rewards.report import Mistake, Report
    from robot_rl.rewards.saved import Drift, Saved
    from robot_rl.rewards.training import Look

COLLECT = "collect"  # the job, see `robot_rl.jobs.job`
FOLDER = "classifier"  # of the run, where a classifier is by default


def add_reward_parser(commands: Any, common: Callable[[argparse.ArgumentParser], argparse.ArgumentParser]) -> None:
    """Add the command to ``commands``, what `argparse.ArgumentParser.add_subparsers` returns.

    ``common`` adds the arguments that all jobs have.
    """
    text = (
        "a classifier that judges success by cameras: collect, train, eval, relabel, audit; "
        "a person's preferences: prefer, rank"
    )
    actions = commands.add_parser("reward", help=text, description=text).add_subparsers(
        dest="action", required=True, metavar="WHAT"
    )
    job = job_of(COLLECT)
    collect = common(
        actions.add_parser(
            job.name,
            help=job.help,
            description=f"{job.help}. Say success as soon as you see it: it marks the steps from then on, failure "
            "takes that back, end ends the episode. What is not marked is failure. Half of `episodes` should succeed, "
            "the others nearly. With session.stages=lifted,inserted each success marks the next stage. "
            f"source={sources(EXPERT)}",
        )
    )
    collect.add_argument("--fast", action="store_true", help="in process, without ROS, faster than real time")
    collect.set_defaults(job=job.name)
    text = "train a classifier on the marked episodes of a run"
    train = _of_run(actions, "train", text, f"{text}; it goes to DIR/{FOLDER}, and one that is there is set aside.")
    train.set_defaults(work=train_classifier)
    text = "judge a classifier by episodes that it was not learnt from, and choose its threshold"
    evaluate = _of_run(
        actions,
        "eval",
        text,
        f"{text}. Exit status: 0 when the rate of false successes that is wanted can be promised, 1 when the episodes "
        "cannot support it (the threshold is set all the same, and what they do support is said), 2 when nothing can "
        "be said.",
    )
    evaluate.set_defaults(work=evaluate_classifier)
    text = "go through the episodes that a classifier doubts, and correct their labels at the terminal"
    relabel = _of_run(actions, "relabel", text, f"{text}; report.mistakes of them at most, the most doubtful first.")
    relabel.set_defaults(work=relabel_doubtful)
    text = "look at the frame of each success that a classifier has declared"
    look = actions.add_parser("audit", help=text, description=f"{text}: sheets and a list, in DIR/audit.")
    _add_run(look, ("online", "evaluation"))
    look.set_defaults(work=None, overrides=[])
    add_preference_parsers(actions)


def _of_run(actions: Any, name: str, text: str, description: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=text, description=description)
    _add_run(parser, (job_of(COLLECT).records,))
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"folder of the classifier; default DIR/{FOLDER}")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="settings, e.g. cameras=wrist state=wrench wanted.rate=0.05"
    )
    return parser


def _add_run(parser: argparse.ArgumentParser, stores: tuple[str, ...]) -> None:
    parser.add_argument("--run", type=Path, required=True, metavar="DIR", help="folder of the run")
    parser.add_argument(
        "--stores",
        nargs="+",
        default=list(stores),
        metavar="STORE",
        help=f"episode stores, relative to DIR or absolute (default: {' '.join(stores)})",
    )


def reward(arguments: argparse.Namespace) -> int:
    """Do an action but collect; returns the exit status. Raises the errors of `robot_rl.jobs.errors`."""
    if arguments.action in PREFERRING:
        return prefer_or_rank(arguments)
    from robot_rl.contract.settings import ConfigError, nested, put_over
    from robot_rl.jobs.reward_data import recordings
    from robot_rl.jobs.run import Run
    from robot_rl.rewards.config import RewardConfig
    from robot_rl.rewards.saved import Seen
    from robot_rl.tasks import make_task

    run, of_run = Run.open(arguments.run)
    if arguments.work is None:
        from robot_rl.jobs.reward_audit import audit

        return audit(run.root, arguments.stores)
    settings = put_over(RewardConfig(), nested(arguments.overrides))
    task = make_task(of_run.task)
    if settings.filter.recheck:
        raise ConfigError(
            f"filter.recheck={settings.filter.recheck:g} is not to be had with a classifier; leave it out"
        )
    cameras = settings.cameras or tuple(task.views(of_run.cameras))
    views = {name: view for name, view in task.views((*of_run.cameras, *cameras)).items() if name in cameras}
    Seen(views, settings.state)  # raises where it does not fit
    found = recordings([run.root / store for store in arguments.stores], task.name, views, settings.margin)
    out = arguments.out.absolute() if arguments.out is not None else run.root / FOLDER
    period = task.control_period
    status: int = arguments.work(out, task.name, period, views, found, settings)
    return status


def train_classifier(
    out: Path,
    task: str,
    period: float,
    views: dict[str, View],
    found: list[Recording],
    settings: RewardConfig,
) -> int:
    """Train a classifier of ``found`` and write it to ``out``."""
    from robot_rl.contract import Ending
    from robot_rl.contract.files import write_atomically
    from robot_rl.jobs.logs import tell
    from robot_rl.perception.encoders import make_encoder, missing
    from robot_rl.rewards.labels import split_stages
    from robot_rl.rewards.saved import Saved, Seen, Stage, digest_of

    names = found[0].names if found else (Ending.SUCCESS.value,)
    seen, parts = Seen(views, settings.state), split_stages([one.stages for one in found], names, settings.split)
    by_name = {one.labelled.name: one for one in found}
    encoder = make_encoder(settings.encoder)
    if find_spec("torch") is None:
        raise missing(settings.encoder, "torch")
    from robot_rl.rewards.classifier import Preparation, save, weights
    from robot_rl.rewards.training import fit

    if len(names) > 1:
        tell(f"train: stages {', '.join(names)}")
    counts = f"{len(parts.learning)} episodes to learn from, {len(parts.stopping)} to stop by"
    tell(f"train: {counts}, cameras {', '.join(views)}")
    if parts.unused:
        tell(f"train: {len(parts.unused)} more have marks that the margin leaves nothing of; stay there for longer")
    learning = [by_name[one.name].frames for one in parts.learning]
    stopping = [by_name[one.name].frames for one in parts.stopping]
    fitted = fit(Preparation(seen, encoder), learning, stopping, settings.training, lambda line: tell(f"train: {line}"))
    data = weights(fitted.head)
    *earlier, success = (Stage(name, *scale) for name, scale in zip(names, fitted.scales, strict=True))
    saved = Saved(
        task=task,
        period=period,
        encoder=settings.encoder,
        digest=encoder.digest,
        seen=seen,
        weights=digest_of(data),
        temperature=success.temperature,
        offset=success.offset,
        learning=tuple(one.name for one in parts.learning),
        stopping=tuple(one.name for one in parts.stopping),
        filter=settings.filter,
        earlier=tuple(earlier),
        called=success.name,
    )
    if out.exists():
        out.rename(out.with_name(f"{out.name}-until-{time.strftime('%Y%m%d-%H%M%S')}"))
    save(out, saved, data)
    lines = "".join(f"{json.dumps(look._asdict())}\n" for look in fitted.looks)
    write_atomically(out / "training.jsonl", lines.encode())
    write_atomically(out / "training.png", _curve(fitted.looks))
    best = min(fitted.looks, key=lambda look: look.stopping)
    tell(f"train: least held-out loss {best.stopping:.4f} at step {best.step}; curve {out / 'training.png'}")
    tell(f"written: {out}")
    tell("next: robot-rl reward eval, which chooses the threshold by the episodes that are left")
    return 0


def evaluate_classifier(
    out: Path,
    task: str,
    period: float,
    views: dict[str, View],
    found: list[Recording],
    settings: RewardConfig,
) -> int:
    """Judge the classifier at ``out`` by those of ``found`` that it was not learnt from, and set its thresholds."""
    from robot_rl.contract.files import write_atomically
    from robot_rl.jobs.logs import tell
    from robot_rl.rewards import picture
    from robot_rl.rewards.judged import JudgedEpisode, judged
    from robot_rl.rewards.report import reports
    from robot_rl.rewards.saved import ClassifierError
    from robot_rl.rewards.sheet import draw_sheet
    from robot_rl.rewards.telling import in_words, json_lines

    saved = _check_fits(out, task, views)
    from robot_rl.rewards.classifier import load, pooled

    classifier, learnt = load(out), {*saved.learning, *saved.stopping}
    held_out = [one for one in found if one.labelled.name not in learnt]
    tell(f"eval: {len(held_out)} episodes, {len(found) - len(held_out)} others were learnt from")
    if held_out and held_out[0].names != tuple(stage.name for stage in saved.stages):
        raise ClassifierError(
            f"the classifier at {out} tells {', '.join(stage.name for stage in saved.stages)}, and "
            f"{held_out[0].labelled.name} marks {', '.join(held_out[0].names)}; choose other --stores"
        )
    episodes: list[list[JudgedEpisode]] = [[] for _ in saved.stages]
    features = []
    for number, one in enumerate(held_out, 1):
        frames = one.frames()
        stamps = np.array([reading.stamp_ns for reading in frames.readings])
        inputs = classifier.preparation(frames.readings)
        said = classifier.of(inputs)
        features.append(pooled(inputs))
        guarded = np.array([not settings.guards.outside(reading) for reading in frames.readings])
        for stage, labelled in enumerate(one.stages):
            holds = guarded if stage == len(one.stages) - 1 else None  # a guard is of success alone
            episodes[stage].append(
                judged(
                    labelled.name,
                    labelled.success,
                    stamps,
                    said[:, stage],
                    frames.labels[:, stage],
                    holds,
                    version=one.version,
                )
            )
        if number % 5 == 0 or number == len(held_out):
            tell(f"eval: {number} of {len(held_out)} episodes judged")
    results = reports(episodes, settings.filter, settings.wanted, settings.report)
    by_name = {one.labelled.name: one for one in held_out}
    known = [pooled(classifier.preparation(one.frames().readings)) for one in found if one.labelled.name in learnt]
    drift = _drift(out, known, features, settings.drift)
    *before, result = results
    staged = [stage.name for stage in saved.stages] if before else [""]
    lines = [json_lines(one, name) for one, name in zip(results, staged, strict=True)]
    write_atomically(out / "report.jsonl", "".join(reversed(lines)).encode())
    for number, its_report in enumerate(results, 1):
        beside = "" if its_report is result else f"-{number}"
        mistakes = (*its_report.false_positives, *its_report.false_negatives)
        write_atomically(out / f"report{beside}.png", picture.png(its_report))
        tiles = [_tile(by_name[mistake.episode], mistake, views) for mistake in mistakes]
        write_atomically(out / f"mistakes{beside}.png", draw_sheet(tiles))
    dataclasses.replace(
        saved,
        filter=settings.filter,
        guards=settings.guards,
        thresholds=result.thresholds,
        promise=_promise(result),
        versions=result.versions,
        drift=drift,
        earlier=tuple(
            dataclasses.replace(stage, thresholds=one.thresholds, promise=_promise(one))
            for stage, one in zip(saved.earlier, before, strict=True)
        ),
    ).write(out)
    for number, (its_report, name) in enumerate(zip(results, staged, strict=True), 1):
        if name:
            tell(f"stage {number} of {len(results)}: {name}")
        tell("\n".join(in_words(its_report)))
    if guards := str(settings.guards):
        tell(f"guards: {guards}")
    also = "; report-N.png and mistakes-N.png of each stage N before" if before else ""
    tell(f"written: {out / 'report.jsonl'}, report.png, mistakes.png{also}")
    tell(f"use it: judge=classifier:{out}")
    return 0 if result.promise.kept else 1


def relabel_doubtful(
    out: Path,
    task: str,
    period: float,
    views: dict[str, View],
    found: list[Recording],
    settings: RewardConfig,
) -> int:
    """Ask a person about what the classifier at ``out`` doubts."""
    _check_fits(out, task, views)
    from robot_rl.jobs.reward_relabel import relabel_episodes

    return relabel_episodes(out, task, period, views, found, settings)


def _check_fits(out: Path, task: str, views: dict[str, View]) -> Saved:
    """The classifier at ``out``. Raises `ClassifierError` unless it is of this task and these views."""
    from robot_rl.perception.encoders import missing
    from robot_rl.rewards.saved import ClassifierError, Saved

    saved = Saved.read(out)
    if saved.task != task:
        raise ClassifierError(f"the classifier at {out} was made for the task {saved.task!r}, not for {task!r}")
    if misfit := saved.seen.misfit(views):
        raise ClassifierError(f"the classifier at {out}: {misfit}")
    if find_spec("torch") is None:
        raise missing(saved.encoder, "torch")
    return saved


def _drift(out: Path, learnt: list[np.ndarray], held_out: list[np.ndarray], settings: DriftSettings) -> Drift | None:
    """The drift alarm for features ``(T, d)`` of each episode, kept in ``out``; None where they are too few."""
    from robot_rl.contract import ContractError
    from robot_rl.jobs.logs import tell
    from robot_rl.rewards.drift import fit
    from robot_rl.rewards.saved import keep_alarm

    try:
        alarm = fit(learnt, held_out, settings)
    except ContractError as error:
        tell(f"no drift alarm: {error} (drift.rate={settings.rate:g})")
        return None
    tell(f"drift alarm: false in {100.0 * settings.rate:.3g} % of the episodes like those that were held out")
    return keep_alarm(out, alarm)


def _promise(result: Report) -> str:
    """The promise that the episodes support, in one line."""
    kept = result.promise
    return kept.refusal or f"{kept.wanted}, by {kept.failures} held-out failures"


def _tile(recording: Recording, mistake: Mistake, views: dict[str, View]) -> Any:
    """A mistake with its pictures, for the sheet."""
    from robot_rl.rewards.sheet import Tile

    reading = next(one for one in recording.frames().readings if one.stamp_ns == mistake.stamp_ns)
    kind = "success not seen" if mistake.success else "false success"
    lines = f"{kind}, p = {mistake.probability:.3f}", f"{mistake.episode}, frame {mistake.frame}"
    return Tile(lines, [reading.images[camera] for camera in views])


def _curve(looks: tuple[Look, ...]) -> bytes:
    """Losses over the steps, as the content of a PNG file."""
    import io

    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.0, 3.4), layout="constrained")
    axis = figure.subplots()
    steps = [look.step for look in looks]
    axis.semilogy(steps, [look.learning for look in looks], label="learnt from, varied")
    axis.semilogy(steps, [look.stopping for look in looks], label="held out, which stops it")
    axis.set_xlabel("step")
    axis.set_ylabel("log loss")
    axis.grid(alpha=0.3)
    axis.legend(fontsize="small")
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120)
    return file.getvalue()
