"""Who says what a step came to: the task, only a person, or whatever another package adds under `JUDGES`."""

from __future__ import annotations

from robot_rl.contract import Judge, Outcome, Reading, Registry, Verdict
from robot_rl.tasks.base import Task

JUDGES = Registry(
    "judge",
    {
        "task": "robot_rl.session.judge:TaskJudge",
        "person": "robot_rl.session.judge:PersonJudge",
    },
)


class TaskJudge:
    """Asks the task, at once."""

    time_limit = True

    def __init__(self, task: Task) -> None:
        self._task = task

    def begin(self) -> None: ...

    def judge(self, reading: Reading) -> Outcome:
        return self._task.outcome(reading)

    def later(self) -> tuple[Verdict, ...]:
        return ()


class PersonJudge:
    """Leaves it to the person: their label ends the episode, or a fault does, and nothing else."""

    time_limit = False

    def __init__(self, task: Task) -> None: ...

    def begin(self) -> None: ...

    def judge(self, reading: Reading) -> Outcome:
        return Outcome.running()

    def later(self) -> tuple[Verdict, ...]:
        return ()


def make_judge(name: str, task: Task) -> Judge:
    """The judge called ``name``, one of `JUDGES` or ``module:Class``, for ``task``; "" is the task's own.

    Raises `ContractError` for a name that is unknown.
    """
    judge: Judge = JUDGES.load(name or task.judge)(task)
    return judge
