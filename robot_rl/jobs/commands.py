"""The commands: the jobs, the demo that does three of them from nothing, and what is asked about the computer."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from hardware.interfaces import CameraError
from robot_rl.contract.settings import ConfigError, plain, put_over
from robot_rl.jobs.bringup import check_learner, check_page, has_page, prepare, specs
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.job import DEMO, EXPERT, job_of
from robot_rl.jobs.logs import tell
from robot_rl.jobs.progress import WINDOW, robot_minutes
from robot_rl.jobs.report import plot_curve, write_summary, write_video
from robot_rl.jobs.run import CONSOLE, Run, policy_file
from robot_rl.jobs.supervisor import Supervisor, ros_domain
from robot_rl.tasks import make_task
from robot_rl.tasks.base import scene_of

SHOW_PERIOD = 10.0  # [s] between progress lines when no episode ends


def describe(config: RunConfig) -> str:
    """All settings as YAML, the algorithm's as a comment. Raises `ConfigError` when one, or the task, does not fit."""
    from robot_rl.learner.factory import make_loop_config

    images = bool(make_task(config.task).views(config.cameras))
    agent, _ = make_loop_config(config.learner, config.seed, images=images)
    of_run: str = yaml.safe_dump(plain(config), sort_keys=False)
    of_agent: str = yaml.safe_dump(plain(agent.config), sort_keys=False)
    comment = (f"learner.settings of {agent.name}, all of them:", *(f"  {line}" for line in of_agent.splitlines()))
    return of_run + "".join(f"# {line}\n" for line in comment)


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


def run_job(job: str, config: RunConfig, root: Path | None, fast: bool) -> Run:
    """Do one job from start to end; returns its run. Raises the errors of `robot_rl.jobs.errors`."""
    began = time.monotonic()
    run = prepare(job, config, root, fast)
    _, config = Run.open(run.root)
    spec = job_of(job)
    tell(f"{job}: {config.task}, run {run.root}")
    if spec.deterministic:
        tell(f"policy: {policy_file(run, config)}")
    if fast:
        from robot_rl.jobs.fast import run_fast

        run.say("job", {"arm": "in-process"})
        run_fast(job, run, config, Display(run, job, config).update)
    else:
        domain = ros_domain(config, job)
        run.say("job", {"arm": config.arm, "job": job, "domain": domain})
        tell(f"ROS_DOMAIN_ID={domain}, logs in {run.logs}")
        if not spec.node:
            tell(f"torque control begins with the service /{f'{config.namespace}/start'.lstrip('/')}; Ctrl-C ends it")
        Supervisor(run, job, specs(job, run, config), domain).run(Display(run, job, config).update)
    if spec.learns:
        tell(f"curve: {plot_curve(run, config)}")
    if spec.deterministic:
        tell(f"summary: {write_summary(run, config, time.monotonic() - began)}")
        try:
            tell(f"video: {write_video(run, config)}")
        except (CameraError, OSError) as error:
            tell(f"no video: {error}")
    return run


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

    os.environ["ROS_DOMAIN_ID"] = str(job["domain"])
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    rule = f"__ns:=/{config.namespace.strip('/')}"
    arguments = ["--ros-args", "-r", rule] if config.namespace else []
    return console.main(run, config, job["job"], arguments, lambda: tell(f"{page_address(run)}; Ctrl-C ends it"))


def page_address(run: Run) -> str:
    """Where the run's page is, with the token that it asks for; "" while there is none."""
    page = run.status_of(CONSOLE)
    token = f"?token={run.console_token.read_text(encoding='utf-8')}" if page.get("protected") else ""
    return f"{page['address']}{token}" if page else ""


def run_demo(config: RunConfig, root: Path | None, fast: bool) -> int:
    """Record, train, evaluate, report; the last line printed is the path of ``summary.json``."""
    began = time.monotonic()
    config = dataclasses.replace(config, source=EXPERT)
    if not fast and config.console.show == "auto" and has_page():
        config = dataclasses.replace(config, console=dataclasses.replace(config.console, show="always"))
    check_learner(config, root)
    run = prepare(DEMO[0], config, root, fast)
    for job in DEMO:
        run_job(job, config, run.root, fast)
    plot_curve(run, config)
    path = write_summary(run, config, time.monotonic() - began)
    tell(path.read_text(encoding="utf-8").rstrip())
    tell(str(path))
    return 0


class Display:
    """Progress of a job, in the terminal: a line for each episode of a recording or evaluation, and now and then.

    A message of the session to the person, such as the answer to a label, is a line of its own at once.
    """

    def __init__(self, run: Run, job: str, config: RunConfig) -> None:
        self._run, self._job, self._learner = run, job_of(job), config.learner
        self._period = make_task(config.task).control_period
        self._episodes = -1
        before = run.status_of("session")
        self._told = before.get("told", 0) if before.get("job") == job else 0
        self._shown = time.monotonic()
        self._page = ""

    def update(self) -> None:
        page = page_address(self._run)
        if page != self._page:
            self._page = page
            tell(f"page: {page}")
        session = self._run.status_of("session")
        if session.get("job") != self._job.name:
            return
        self._tell_lines(session)
        now = time.monotonic()
        news = session["episodes"] != self._episodes and not self._job.learns
        if not news and now - self._shown < SHOW_PERIOD:
            return
        self._episodes, self._shown = session["episodes"], now
        tell(self._line(session))

    def _tell_lines(self, session: dict[str, Any]) -> None:
        new = session.get("told", 0) - self._told
        self._told += new
        for line in session["lines"][-new:] if new else ():
            tell(f"{self._job.name}: {line}")

    def _line(self, session: dict[str, Any]) -> str:
        parts = [f"{self._job.name}: episode {session['episodes']}"]
        if session["last"]:
            parts.append(f"last: {session['last']}")
        if self._job.learns:
            first, *more = self._learning()
            parts[1:1] = [
                f"{session['steps']} steps ({robot_minutes(session['steps'], self._period):.1f} robot-min)",
                f"success {session['success_rate']:.0%} of the last {WINDOW}",
                f"{session['interventions']} interventions",
                first,
            ]
            parts += more
        else:
            parts.insert(1, f"{session['successes']} successes")
        if "obs_to_action_ms_p95" in session:
            parts.append(
                f"action after {session['obs_to_action_ms_p50']:.0f} ms (p95 {session['obs_to_action_ms_p95']:.0f})"
            )
        counts = ("aborted", "reflexes", "late actions", "dropped answers")
        parts += [f"{session[what]} {what}" for what in counts if session.get(what)]
        return ", ".join(parts)

    def _learning(self) -> list[str]:
        """The learner's part of a line."""
        if self._learner.shared:
            return [f"by the learner of {self._learner.shared}"]
        learner = self._run.status_of("learner")
        parts = [f"{learner.get('updates', 0)} updates, UTD {learner.get('utd', 0.0):.2f}"]
        if learner.get("debt", 0) > self._learner.max_debt:
            parts.append(f"the next episode waits for the learner, which owes {learner['debt']} updates")
        parts += _champion(learner)
        if learner.get("halted"):
            parts.append(f"learner halted: {learner['halted']}")
        return parts


def _champion(learner: Mapping[str, Any]) -> list[str]:
    """The improvement gate's part of a line, from the learner's status."""
    if learner.get("champion") is None:
        return []
    champion = f"version {learner['champion']} ({learner['champion_success']:.0%})"
    if not learner["held_back"]:
        return [f"champion: {champion}"]
    return [f"success fell to {learner['now_success']:.0%}: champion stays {champion}"]
