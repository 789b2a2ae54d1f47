"""``robot-rl task``: make a task of one's own, and look at any before an arm moves."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robot_rl.tasks.base import Task
    from robot_rl.tasks.checking import Finding


TEACH = "teach"  # the job, see `robot_rl.jobs.job`


def add_task_parser(commands: Any) -> None:
    """Add the command to ``commands``, what `argparse.ArgumentParser.add_subparsers` returns."""
    text = "make a task of your own, or look at one"
    actions = commands.add_parser("task", help=text, description=text).add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    text = "make a task's file by driving or guiding the arm"
    teach = actions.add_parser(
        "teach",
        help=text,
        description=f"{text}: show the start, two opposite corners of the box and the goal, each with Enter (backspace "
        "takes back), the device's success button, or the word mark on teach/mark. source=keyboard (default), "
        "spacemouse, gamepad or topic drives; source=hand lets you guide a real arm. Exit status as of task check.",
    )
    teach.add_argument("--out", type=Path, required=True, metavar="FILE", help="the file to write, e.g. my_task.yaml")
    teach.add_argument("--no-goal", action="store_true", help="no pose is the goal: a person judges")
    teach.add_argument("--instruction", default="", metavar="WORDS", help="what is to be done")
    teach.add_argument("--table", type=float, default=0.0, metavar="Z", help="height [m] of the table (default 0)")
    teach.add_argument("--scene", default="", help="around the simulated arm: a scene's name or module:function")
    teach.add_argument("overrides", nargs="*", metavar="key=value", help="settings, e.g. arm=fr3 robot_ip=172.16.0.2")
    text = "can the arm do the task? And what will the policy see and drive?"
    check = actions.add_parser(
        "check",
        help=text,
        description=f"{text} Looks at box, starts and resets: joint limits, table, speeds, and the scene, if any. "
        "Exit status: 0 when it can be done, 1 when not, 2 when there is no such task.",
    )
    check.add_argument("name", metavar="TASK", help="a built-in name, module:Class, or a YAML file")


def teach_task(arguments: argparse.Namespace) -> int:
    """Let a person show a task, write its file and check it; returns the exit status. Raises `ConfigError`."""
    from robot_rl.contract.settings import ConfigError
    from robot_rl.jobs.bringup import node_names, specs
    from robot_rl.jobs.commands import tell
    from robot_rl.jobs.config import load_config
    from robot_rl.jobs.job import HAND
    from robot_rl.jobs.locks import RunLock, ros_domain
    from robot_rl.jobs.run import Run
    from robot_rl.jobs.said import Said
    from robot_rl.jobs.supervisor import Supervisor
    from robot_rl.tasks.teaching import free_task, text_of

    out: Path = arguments.out
    if out.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"--out {out} must end in .yaml, so that task={out}.yaml means a file")
    if out.exists():
        raise ConfigError(f"{out} exists; name another file with --out, or move it away")
    config = load_config(None, ["source=keyboard", *arguments.overrides])
    if config.source == HAND and config.arm != "fr3":
        raise ConfigError(f"source=hand guides a real arm (arm=fr3), not arm={config.arm}; drive it: source=keyboard")
    if config.remote:
        raise ConfigError("arm=remote: a task is taught on the computer of the arm, whose workspace it makes")
    node_names(TEACH, config)
    free = free_task(out.stem, arguments.scene, arguments.table, arguments.instruction)
    with contextlib.ExitStack() as stack:
        lock = stack.enter_context(RunLock(TEACH))
        file = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "teach.yaml"
        file.write_text(text_of(free), encoding="utf-8")
        run = Run.create(dataclasses.replace(config, task=str(file)), take=lock.take)
        _, config = Run.open(run.root)
        run.say("lesson", {"goal": not arguments.no_goal})
        domain = stack.enter_context(ros_domain(config, TEACH))
        tell(f"teach: {out}, run {run.root}")
        tell(f"ROS_DOMAIN_ID={domain.number}, logs in {run.logs}; Enter takes a pose, Ctrl-C gives up")
        held = (*domain.descriptors, *lock.descriptors)
        Supervisor(run, TEACH, specs(TEACH, run, config), domain.number, held).run(Said(run, "teach").update)
    if not run.taught.exists():
        raise ConfigError(f"the lesson ended before everything was shown; logs in {run.logs}")
    out.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(run.taught, out)
    tell(f"written: {out}")
    return check_task(str(out))


def check_task(name: str) -> int:
    """Print what there is to say about the task ``name``; returns the exit status.

    Raises `ContractError` when there is no such task or judge, `ConfigError` when its file does not fit.
    """
    import numpy as np

    from hardware.franka.model import fr3_model
    from hardware.sim.scene.contacts import SceneContacts
    from robot_rl.session.judge import check_judge
    from robot_rl.tasks import make_task
    from robot_rl.tasks.base import scene_of
    from robot_rl.tasks.checking import check

    task = make_task(name)
    check_judge(task.judge)
    scene = scene_of(task)
    touched = SceneContacts(scene).touched if task.scene() is not None else None
    findings = check(task, fr3_model(), np.array(scene.start_q), touched)
    sys.stdout.write("\n".join((*describe(task), "", *judged(findings))) + "\n")
    return 1 if any(finding.bad for finding in findings) else 0


def describe(task: Task) -> Iterator[str]:
    """Actions and state of the policy, and how an episode begins and ends, line by line."""
    yield f"task {task.name}" + (f": {task.instruction}" if task.instruction else "")
    yield ""
    for axis, scale in zip(task.action.axes, task.action.scale, strict=True):
        if axis == "gripper":
            yield _row("drives", axis, "", "opening, closed to open")
        elif axis in "xyz":
            yield _row("drives", axis, f"{scale * 1000:g} mm a step", f"{scale * task.rate:.2g} m/s")
        else:
            yield _row("drives", axis, f"{scale:g} rad a step", f"{scale * task.rate:.2g} rad/s")
    for item in task.fields:
        yield _row("sees", item.name, f"{item.size} value{'s' * (item.size > 1)}", f"× {item.scale:g}")
    for name, view in task.views().items():
        left, top, width, height = view.crop
        whole = (width, height) == (1.0, 1.0)
        part = "the whole picture" if whole else f"{width:g} × {height:g} of it at {left:g}, {top:g}"
        yield _row("sees", f"camera {name}", f"{view.size} × {view.size}", part)
    lower, upper = task.workspace.lower, task.workspace.upper
    sides = " × ".join(f"{side * 100:.0f}" for side in upper - lower)
    yield _row("may go", "box", f"{sides} cm", f"{_numbers(lower)} to {_numbers(upper)} m")
    yield _row("acts", "rate", f"{task.rate:g} Hz", f"{task.horizon} steps, {task.horizon * task.control_period:g} s")
    yield _row("judged by", task.judge, "", f"at {_numbers(task.goal.translation)} m" if task.goal is not None else "")
    if task.reset_words:
        yield _row("at a reset", "the person", "", task.reset_words)


def judged(findings: list[Finding]) -> Iterator[str]:
    """Findings with their advice, and the verdict, line by line."""
    for finding in findings:
        mark = "caveat" if finding.advice else "ok"
        yield f"{'BAD' if finding.bad else mark:>6}  {finding.name}: {finding.found}"
        if finding.advice:
            yield f"{'':>6}  {'':>{len(finding.name)}}  → {finding.advice}"
    bad, caveats = (sum(bool(f.advice) and f.bad is kind for f in findings) for kind in (True, False))
    verdict = f"it cannot be done like this: {bad} to put right" if bad else "the arm can do it"
    yield f"verdict: {verdict}" + (f", {caveats} to look at" if caveats else "")


def _row(what: str, name: str, size: str, more: str) -> str:
    return f"{what:<11}{name:<18}{size:<16}{more}".rstrip()


def _numbers(vector: Any) -> str:
    return ", ".join(f"{value:.3f}" for value in vector)
