"""A job of robot-rl in this process, on tasks that hide parts of the state: what does a policy learn without them?

    python -m benchmarks.experiments.blind force,moment record --fast --task peg_search --run runs/blind demos=20
    python -m benchmarks.experiments.blind force,moment gym --env robot_rl/PegSearch-v0 --demos runs/blind/demos …

The fields are there, and always 0. Demonstrations have to be recorded blind, too; stores do not say that they are.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

from robot_rl.jobs.cli import main as robot_rl
from robot_rl.tasks import TASKS, make_task


def hide(names: Sequence[str]) -> None:
    """Zero the fields called ``names`` of every task that has them. Raises `SystemExit` on a name that no task has."""
    tasks = [type(make_task(name)) for name in TASKS.builtin]
    known = sorted({field.name for task in tasks for field in task.fields})
    for name in names:
        if name not in known:
            sys.exit(f"blind: no task has a field {name!r}; choose from {', '.join(known)}")
    for task in tasks:
        task.fields = tuple(replace(field, scale=0.0) if field.name in names else field for field in task.fields)


def main() -> int:
    if len(sys.argv) < 3:
        sys.exit(f"usage: python -m benchmarks.experiments.blind FIELD[,FIELD …] JOB …\n\n{__doc__}")
    if sys.argv[2] != "gym" and "--fast" not in sys.argv:
        sys.exit("blind: the job must be gym, or have --fast: other jobs are processes of their own, which would see")
    hide(sys.argv[1].split(","))
    return robot_rl(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
