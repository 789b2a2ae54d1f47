"""The commands: the jobs, the demo that does three of them from nothing, and what is asked about the computer."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

from robot_rl.contract.settings import ConfigError, plain, put_over
from robot_rl.jobs.bringup import check_learner, check_page, has_page, opening, prepare, specs
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.display import Display, now_and_then, page_address
from robot_rl.jobs.explain import explain
from robot_rl.jobs.job import DEMO, EXPERT, JOBS, job_of
from robot_rl.jobs.locks import RunLock, ros_domain
from robot_rl.jobs.logs import tell
from robot_rl.jobs.remote import join_graph
from robot_rl.jobs.report import kept, plot_curve, write_report, write_summary
from robot_rl.jobs.run import Run, settings_kept
from robot_rl.jobs.supervisor import Supervisor
from robot_rl.tasks import make_task
from robot_rl.tasks.base import scene_of

OF_ALGORITHM = "learner.settings."


def describe(config: RunConfig) -> str:
    """All settings as YAML, the algorithm's as a comment. Raises `ConfigError` when one, or the task, does not fit."""
    from robot_rl.learner.factory import make_loop_config

    images = bool(make_task(config.task).views(config.cameras))
    agent, _ = make_loop_config(config.learner, config.seed, images=images)
    of_run: str = yaml.safe_dump(plain(config), sort_keys=False)
    of_agent: str = yaml.safe_dump(plain(agent.config), sort_keys=False)
    comment = (f"learner.settings of {agent.name}, all of them:", *(f"  {line}" for line in of_agent.splitlines()))
    return of_run + "".join(f"# {line}\n" for line in comment)


def explain_key(config: RunConfig, key: str) -> str:
    """One setting in words, or one of the algorithm's own. Raises `ConfigError` when there is none of that name."""
    if not key.startswith(OF_ALGORITHM):
        return explain(config, key)
    from robot_rl.learner.factory import make_loop_config

    images = bool(make_task(config.task).views(config.cameras))
    agent, _ = make_loop_config(config.learner, config.seed, images=images)
    return explain(agent.config, key.removeprefix(OF_ALGORITHM), OF_ALGORITHM)


def simulate(config: RunConfig) -> int:
    """Serve the simulated arm, or several, until Ctrl-C."""
    from hardware.sim.fci.server import arm_addresses, serve

    addresses = ", ".join(arm_addresses(config.robot_ip, config.arms))

    def ready() -> None:
        tell(f"simulated FR3 with task {config.task} at {addresses}; Ctrl-C ends it")

    serve(scene_of(make_task(config.task)).side_by_side(config.arms), config.robot_ip, config.scene_port, ready)
    return 0


def check_realtime(config: RunConfig, move: bool, seconds: float) -> int:
    """Print whether this computer is fit to control the arm; returns the exit status."""
    from hardware.franka.rt_check import CheckSettings, Level, check, histogram

    settings = CheckSettings(config.robot_ip, config.controller, move, seconds)
    report = check(settings, tell)
    marks = {Level.GOOD: "ok", Level.CAVEAT: "caveat", Level.BAD: "BAD"}
    for finding in report.findings:
        tell(f"{marks[finding.level]:>6}  {finding.name}: {finding.found}")
        if finding.advice:
            tell(f"{'':>6}  {'':>{len(finding.name)}}  → {finding.advice}")
    for name in ("period", "compute"):
        tell(f"{name} of {len(report.ticks)} ticks:")
        tell("\n".join(histogram(report.ticks[name])))
    tell(f"verdict: {report.verdict}")
    return 1 if report.level is Level.BAD else 0


def plot_realtime(file: Path, picture: Path | None) -> int:
    """Draw a file of telemetry and print what it says in one line; returns the exit status."""
    from hardware.franka.telemetry import load_telemetry
    from hardware.franka.telemetry_plot import plot_telemetry, summary

    telemetry = load_telemetry(file)
    picture = picture or file.with_suffix(".png")
    plot_telemetry(telemetry, picture, file.name)
    tell(summary(telemetry))
    tell(str(picture))
    return 0


def run_job(job: str, config: RunConfig, root: Path | None, fast: bool) -> None:
    """Do one job from start to end, and say what may come next. Raises the errors of `robot_rl.jobs.errors`."""
    spec = job_of(job)
    with RunLock(job) as lock, settings_kept(root, spec.records):
        run = prepare(job, config, root, fast, lock)
        try:
            do_job(job, run, fast, lock)
        except KeyboardInterrupt:
            if spec.records:
                tell(f"to go on: {_command(job, run, fast)}")
            raise
    if spec.next:
        tell(f"next: {_command(spec.next, run, fast)}")


def pretrain(config: RunConfig, root: Path | None) -> int:
    """Imitate the demonstrations of the run at ``root``, and nothing else. Raises the errors of `robot_rl.jobs.errors`.

    A picture shows what it does in an episode that was held out (`robot_rl.jobs.imitated`). `robot-rl train` in the
    same run goes on from there; in another one, ``learner.base`` names the file.
    """
    from robot_rl.jobs.imitated import picture_imitation
    from robot_rl.jobs.learning import make_learner
    from robot_rl.jobs.training import Trainer

    if not config.learner.imitate:
        raise ConfigError("learner.imitate=0 imitates nothing; leave it out")
    with RunLock("pretrain") as lock:
        run = prepare("train", config, root, lock=lock)
        _, config = Run.open(run.root)
        tell(f"pretrain: {config.task}, run {run.root}")
        loop = make_learner(run, config)
        say = now_and_then(lambda phase: tell(f"pretrain: {phase}"))
        trainer = Trainer(run, config, loop, lambda data: None, lambda phase: say(phase) if loop.imitating else None)
        trainer.start()
        tell("pretrain: compiling, which may take minutes")
        with contextlib.closing(trainer):
            if not trainer.imitate() and not run.clone.exists():
                raise ConfigError(
                    f"there is nothing to imitate in {run.root}; record demonstrations, or leave out base"
                )
        if (picture := picture_imitation(run, config, loop)) is not None:
            tell(f"picture: {picture}")
        tell(str(run.clone))
        tell(f"next: {_command('eval', run, True)} policy={shlex.quote(str(run.clone))}")
    return 0


def do_job(job: str, run: Run, fast: bool, lock: RunLock) -> None:
    """Do one job in a run that is prepared for it. Raises the errors of `robot_rl.jobs.errors`."""
    began = time.monotonic()
    _, config = Run.open(run.root)
    for line in opening(job, run, config):
        tell(line)
    if enough := already_done(job, run, config):
        tell(enough)
    if job_of(job).learns:  # what an earlier one has said stays true but for this
        run.say("learner", run.status_of("learner") | {"phase": "starting"})
    with contextlib.closing(Display(run, job, config)) as display:
        if fast:
            from robot_rl.jobs.fast import run_fast

            run.say("job", {"arm": "in-process"})
            run_fast(job, run, config, display.update)
        else:
            with ros_domain(config, job) as domain:
                run.say("job", {"arm": config.arm, "job": job, "domain": domain.number})
                tell(f"ROS_DOMAIN_ID={domain.number}, logs in {run.logs}")
                held = (*domain.descriptors, *lock.descriptors)
                Supervisor(run, job, specs(job, run, config), domain.number, held).run(display.update)
        display.finish()
    for line in write_report(job, run, config, time.monotonic() - began):
        tell(line)


def already_done(job: str, run: Run, config: RunConfig) -> str:
    """A line that says that an earlier start has done all that is asked for; "" while there is something to do."""
    spec = job_of(job)
    found = kept(run.root / spec.records) if spec.records else []
    successes, steps = sum(episode.success for episode in found), sum(episode.steps for episode in found)
    done = spec.progress(SimpleNamespace(kept=len(found), steps=steps, successes=successes), config)
    if done is None or done[0] < done[1]:
        return ""
    more = f"{spec.goal}={done[0] + done[1]} asks for as many more"
    return f"{job}: {done[0]} of {done[1]} {spec.goal} are there already; {more}"


def _command(name: str, run: Run, fast: bool) -> str:
    """A command on ``run`` as it is typed, in process as the one before where it can be."""
    root = run.root
    with contextlib.suppress(ValueError):
        root = root.relative_to(Path.cwd())
    if name not in JOBS:
        return f"robot-rl {name} {'--run ' if ' ' in name else ''}{shlex.quote(str(root))}"
    spec = job_of(name)
    typed = name if spec.command else f"reward {name}"
    return f"robot-rl {typed} --run {shlex.quote(str(root))}{' --fast' if fast and spec.fast else ''}"


def show_page(root: Path, settings: Mapping[str, Any]) -> int:
    """Serve the page of the job in the run at ``root`` until Ctrl-C; ``settings``: of the page, over the run's.

    Raises `ConfigError` when no job has been started there.
    """
    run, config = Run.open(root)
    job = run.status_of("job")
    if "domain" not in job:
        raise ConfigError(f"no job runs in {root} that has topics; start one, e.g. robot-rl train --run {root}")
    config = put_over(config, {"console": dict(settings)})
    check_page()
    from robot_rl.jobs.processes import console

    arguments = join_graph(config, job["domain"])
    return console.main(run, config, job["job"], arguments, lambda: tell(f"{page_address(run)}; Ctrl-C ends it"))


def run_demo(config: RunConfig, root: Path | None, fast: bool) -> int:
    """Record, train, evaluate, report; the last line printed is the path of ``summary.json``."""
    began = time.monotonic()
    config = dataclasses.replace(config, source=EXPERT)
    if not fast and config.console.show == "auto" and has_page():
        config = dataclasses.replace(config, console=dataclasses.replace(config.console, show="always"))
    check_learner(config, root)
    with RunLock("demo") as lock:
        run = prepare(DEMO[0], config, root, fast, lock)
        for job in DEMO:
            do_job(job, prepare(job, config, run.root, fast, lock), fast, lock)
        plot_curve(run, config)
        path = write_summary(run, config, time.monotonic() - began)
    tell(path.read_text(encoding="utf-8").rstrip())
    tell(str(path))
    return 0
