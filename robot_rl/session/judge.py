"""Who says what a step came to: the task, only a person, a classifier, several of them, or a judge of another package.

A judge is named by one of `JUDGES`, ``module:Class``, ``classifier:<folder>``, ``all_of(…)``, ``any_of(…)`` or
``stages(…)`` with judges between commas. A person's word stands before whatever a judge says.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from robot_rl.contract import ContractError, Ending, Judge, Outcome, Reading, Registry, Verdict
from robot_rl.tasks.base import Task

JUDGES = Registry(
    "judge",
    {
        "task": "robot_rl.session.judge:TaskJudge",
        "person": "robot_rl.session.judge:PersonJudge",
    },
)
CLASSIFIER = "classifier:"
ALL, ANY, STAGES = "all_of", "any_of", "stages"
CLASSIFIER_JUDGE = Registry("judge of classifiers", {"classifier": "robot_rl.rewards.judge:ClassifierJudge"})


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


class Several:
    """Success when all of ``judges`` say so, or ``enough`` with one; a failure or an abort by any of them ends it.

    The reward is the least one of all, or the largest. A doubt of one is one of all where success hangs on it.
    """

    def __init__(self, judges: Sequence[Judge], enough: bool) -> None:
        self._judges, self._enough = judges, enough
        self.time_limit = any(judge.time_limit for judge in judges)

    def begin(self) -> None:
        for judge in self._judges:
            judge.begin()

    def judge(self, reading: Reading) -> Outcome:
        outcomes = [judge.judge(reading) for judge in self._judges]
        succeed = [outcome.ending is Ending.SUCCESS for outcome in outcomes]
        for outcome in outcomes:
            if outcome.done and outcome.ending is not Ending.SUCCESS:
                return outcome
        rewards = [outcome.reward for outcome in outcomes]
        if any(succeed) if self._enough else all(succeed):
            return Outcome.success(max(rewards))
        reward = max(rewards) if self._enough else min(rewards)
        doubts = [outcome.doubt for outcome in outcomes if outcome.doubt]
        matters = bool(doubts) and (self._enough or sum(succeed) + len(doubts) == len(outcomes))
        return Outcome.doubtful(" ".join(doubts), reward) if matters else Outcome.running(reward)

    def later(self) -> tuple[Verdict, ...]:
        return tuple(verdict for judge in self._judges for verdict in judge.later())


class Stages:
    """Stages in their order, each with a judge whose success says that it is reached; the last one's is the success.

    Only the next stage is looked for, and one that was reached stays so. The first step at each of n stages has the
    reward 1/n, so that an episode that succeeds comes to 1, and one that lingers to no more than it has reached. A
    doubt is about the last stage alone, because a person's word ends the episode.
    """

    def __init__(self, judges: Sequence[Judge]) -> None:
        self._judges, self._reached = judges, 0
        self.time_limit = any(judge.time_limit for judge in judges)

    @property
    def progress(self) -> float:
        """Share of the stages that this episode has reached, 0 to 1."""
        return self._reached / len(self._judges)

    def begin(self) -> None:
        self._reached = 0
        for judge in self._judges:
            judge.begin()

    def judge(self, reading: Reading) -> Outcome:
        last = self._reached == len(self._judges) - 1
        outcome = self._judges[self._reached].judge(reading)
        if outcome.ending is Ending.SUCCESS:
            self._reached += not last
            reward = 1.0 / len(self._judges)
            return Outcome.success(reward) if last else Outcome.running(reward)
        if outcome.done:
            return outcome
        return Outcome.doubtful(outcome.doubt) if outcome.doubt and last else Outcome.running()

    def later(self) -> tuple[Verdict, ...]:
        return tuple(verdict for judge in self._judges for verdict in judge.later())


def make_judge(name: str, task: Task) -> Judge:
    """The judge called ``name`` for ``task``; "" is the task's own.

    Raises `ContractError` for a name that is unknown, or a classifier that cannot be used.
    """
    kind, parts = _parsed(name or task.judge)
    judge: Judge
    if parts:
        judges = [make_judge(part, task) for part in parts]
        judge = Stages(judges) if kind == STAGES else Several(judges, enough=kind == ANY)
    elif kind.startswith(CLASSIFIER):
        judge = CLASSIFIER_JUDGE.load("classifier")(Path(kind.removeprefix(CLASSIFIER)))
    else:
        judge = JUDGES.load(kind)(task)
    return judge


def check_judge(name: str) -> None:
    """Raises `ContractError` for a name that is unknown, of a judge or of one of several; loads nothing."""
    kind, parts = _parsed(name)
    for part in parts:
        check_judge(part)
    if not parts and not kind.startswith(CLASSIFIER):
        JUDGES.check(kind)


def classifiers_in(name: str) -> tuple[Path, ...]:
    """Folders of the classifiers that the judge called ``name`` asks, each once."""
    kind, parts = _parsed(name)
    found = [folder for part in parts for folder in classifiers_in(part)]
    if kind.startswith(CLASSIFIER):
        found.append(Path(kind.removeprefix(CLASSIFIER)))
    return tuple(dict.fromkeys(found))


def with_absolute_paths(name: str) -> str:
    """``name`` with the folders of classifiers as seen from the root, so that it means the same elsewhere."""
    kind, parts = _parsed(name)
    if parts:
        return f"{kind}({','.join(map(with_absolute_paths, parts))})"
    if kind.startswith(CLASSIFIER):
        return f"{CLASSIFIER}{Path(kind.removeprefix(CLASSIFIER)).expanduser().absolute()}"
    return kind


def _parsed(name: str) -> tuple[str, tuple[str, ...]]:
    """A judge's kind, and the names of the judges it asks. Raises `ContractError` for what cannot be read."""
    name = name.strip()
    kind, opened, rest = name.partition("(")
    if not opened or kind not in (ALL, ANY, STAGES):
        if name == CLASSIFIER:
            raise ContractError("judge=classifier: names no folder; write judge=classifier:DIR")
        return name, ()
    parts, depth, part = list[str](), 0, ""
    for letter in rest.removesuffix(")"):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and not depth:
            parts.append(part)
            part = ""
        else:
            part += letter
    parts.append(part)
    if not rest.endswith(")") or depth or not all(part.strip() for part in parts):
        raise ContractError(f"judge={name[:200]!r} cannot be read; write e.g. {ALL}(task,classifier:DIR)")
    return kind, tuple(part.strip() for part in parts)
