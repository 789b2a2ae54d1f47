"""``robot-rl task``: make a task of one's own, and look at any before an arm moves."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robot_rl.tasks.base import Task
    from robot_rl.tasks.checking import Finding

SETTINGS = Callable[[argparse.ArgumentParser], argparse.ArgumentParser]


def add_task_parser(commands: Any, settings: SETTINGS) -> None:
    """Add the command to ``commands``; ``settings`` gives a parser the options that all jobs have."""
    text = "make a task of your own, or look at one"
    actions = commands.add_parser("task", help=text, description=text).add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    text = "can the arm do the task? And what will the policy see and drive?"
    check = actions.add_parser(
        "check",
        help=text,
        description=f"{text} Looks at box, starts and resets: joint limits, table, speeds, and the scene where there is "
        "one. Exit status: 0 when it can be done, 1 when not, 2 when there is no such task.",
    )
    check.add_argument("name", metavar="TASK", help="a built-in name, module:Class, or a YAML file")


def check_task(name: str) -> int:
    """Print what there is to say about the task ``name``; returns the exit status."""
    import numpy as np

    from hardware.franka.model import fr3_model
    from hardware.sim.contacts import SceneContacts
    from robot_rl.tasks import make_task
    from robot_rl.tasks.base import scene_of
    from robot_rl.tasks.checking import check

    task = make_task(name)
    scene = scene_of(task)
    touched = SceneContacts(scene).touched if task.scene() is not None else None
    findings = check(task, fr3_model(), np.array(scene.start_q), touched)
    sys.stdout.write("\n".join((*describe(task), "", *judged(findings))) + "\n")
    return 1 if any(finding.bad for finding in findings) else 0


def describe(task: Task) -> Iterator[str]:
    """What the policy will drive and see, and how an episode begins and ends, line by line."""
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
        part = (
            "whole picture" if (width, height) == (1.0, 1.0) else f"{width:g} × {height:g} of it at {left:g}, {top:g}"
        )
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
