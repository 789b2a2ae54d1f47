"""A session, a perfect arm and whoever decides, for the tests of the session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hardware.interfaces import TeleopCommand
from robot_rl.contract import ActionChunk, Answer, Label, Observation, Outcome, Reading, Relabel, Step, Word
from robot_rl.session.config import SessionConfig
from robot_rl.session.directive import Command, Directive, Phase
from robot_rl.session.session import Session
from robot_rl.tasks.base import Task
from robot_rl.tasks.reach import Reach
from tests.robot_rl.readings import FAR, PerfectArm

TASK = Reach()
SHORT = SessionConfig(horizon=8)
UP = np.array([0.0, 0.0, 0.05, 0.0, 0.0, 0.0])  # [m/s]: half an action
Person = Callable[[Reading], TeleopCommand | None]
Policy = Callable[[Observation], ActionChunk | None]


@dataclass(eq=False)
class Recorded:
    """An episode as the sink got it; both writer and record."""

    index: int
    meta: dict
    steps: list[Step] = field(default_factory=list)
    outcome: Outcome | None = None

    def append(self, step: Step) -> None:
        self.steps.append(step)

    def finish(self, outcome: Outcome) -> None:
        assert self.outcome is None, "an episode ends once"
        self.outcome = outcome


class Sink(list[Recorded]):
    """Keeps episodes in memory, and what was corrected of them."""

    def __init__(self) -> None:
        super().__init__()
        self.relabels: list[Relabel] = []

    def begin(self, meta: dict) -> Recorded:
        self.append(Recorded(len(self), meta))
        return self[-1]

    def relabel(self, relabel: Relabel) -> None:
        recorded = self[relabel.episode]
        assert recorded.outcome is not None or not relabel.outcome.done, "an episode in progress ends by its own steps"
        assert 0 <= relabel.step < len(recorded.steps), "only a recorded step can be corrected"
        self.relabels.append(relabel)


class Bench:
    """A session, an arm that does as told, and somebody who decides."""

    def __init__(self, config: SessionConfig = SHORT, seed: int = 0, task: Task = TASK, **more: Any) -> None:
        self.sink = Sink()
        self.session = Session(task, config, self.sink, seed, **more)
        self.labels = 0
        self.arm = PerfectArm(task.nominal)
        self.commands: list[Command] = []
        self.asked: list[bool] = []
        self.reading = self.arm.reading()

    def step(self, policy: Policy | None = None, person: Person = lambda reading: None) -> Directive:
        """One control period. ``policy`` is asked only when the session wants it."""
        self.reading = self.arm.reading()
        teleop = person(self.reading)
        for word in teleop.words if teleop is not None else ():
            self.say(word, self.reading.stamp_ns)
        directive = self.session.advance(self.reading, teleop)
        command = directive.command
        if directive.place and "goal" in self.arm.objects:
            self.arm.objects = {"goal": FAR}
        if directive.observation is not None:
            self.asked.append(self.session.policy.wants)
            chunk = policy(directive.observation) if policy is not None and self.session.policy.wants else None
            command = self.session.act(chunk, teleop)
        if command is not None:
            self.commands.append(command)
            self.arm.obey(command)
        return directive

    def say(self, word: Word, stamp_ns: int | None = None, about: int = -1) -> Label:
        """The person says ``word``, at ``stamp_ns`` or just after the latest reading, ``about`` an episode."""
        self.labels += 1
        stamp_ns = self.reading.stamp_ns + 1 if stamp_ns is None else stamp_ns
        label = Label(self.labels, word, "person", stamp_ns, episode=about)
        self.session.say(label)
        return label

    def answer(self) -> Answer:
        """The one answer since the last call."""
        (answer,) = self.session.answers()
        return answer

    def until(self, condition: Callable[[Directive], object], policy: Policy | None = None, **kwargs) -> Directive:
        for _ in range(300):
            directive = self.step(policy, **kwargs)
            if condition(directive):
                return directive
        raise AssertionError("what the test waits for does not happen")

    def until_running(self, policy: Policy | None = None, **kwargs) -> Directive:
        return self.until(lambda directive: directive.phase is Phase.RUNNING, policy, **kwargs)

    def until_ended(self, policy: Policy | None = None, **kwargs) -> Directive:
        return self.until(lambda directive: directive.ended, policy, **kwargs)


def constant(*actions: tuple[float, float, float], version: int = 7) -> Policy:
    return lambda observation: ActionChunk(observation.stamp_ns, np.array(actions), version)


STILL = constant((0.0, 0.0, 0.0))
ALONG_X = constant((1.0, 0.0, 0.0))
