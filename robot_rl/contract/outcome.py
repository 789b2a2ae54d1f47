"""Who decided a step and what it came to.

Termination and truncation are different things and cannot be mixed up: an `Outcome` is built only by its named
constructors. A success or failure *terminates* (the future is worth nothing); a time limit, an abort or an interruption
*truncates* (the future is worth what the critic says it is).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Source(enum.IntEnum):
    """Author of an action."""

    POLICY = 0
    PERSON = 1


class Ending(enum.Enum):
    """Ending of an episode, or RUNNING."""

    RUNNING = "running"
    SUCCESS = "success"
    FAILURE = "failure"
    TIMEOUT = "timeout"
    ABORTED = "aborted"


@dataclass(frozen=True)
class Outcome:
    """Reward of a step and whether the episode goes on. Use the named constructors.

    ``reason`` says why it failed or broke off; of a step after which it goes on, what its judge is in doubt about.
    """

    reward: float
    ending: Ending
    reason: str = ""

    @staticmethod
    def running(reward: float = 0.0) -> Outcome:
        return Outcome(reward, Ending.RUNNING)

    @staticmethod
    def doubtful(question: str, reward: float = 0.0) -> Outcome:
        """It goes on, and a person may be asked ``question``, which success, failure or resume answers."""
        return Outcome(reward, Ending.RUNNING, question)

    @staticmethod
    def success(reward: float = 1.0) -> Outcome:
        return Outcome(reward, Ending.SUCCESS)

    @staticmethod
    def failure(reason: str, reward: float = 0.0) -> Outcome:
        return Outcome(reward, Ending.FAILURE, reason)

    @staticmethod
    def timeout(reward: float = 0.0, reason: str = "") -> Outcome:
        return Outcome(reward, Ending.TIMEOUT, reason)

    @staticmethod
    def aborted(reason: str) -> Outcome:
        return Outcome(0.0, Ending.ABORTED, reason)

    @property
    def terminated(self) -> bool:
        """The task itself is over: no value beyond this step."""
        return self.ending in (Ending.SUCCESS, Ending.FAILURE)

    @property
    def truncated(self) -> bool:
        """The episode stopped for a reason outside the task: value is bootstrapped."""
        return self.ending in (Ending.TIMEOUT, Ending.ABORTED)

    @property
    def done(self) -> bool:
        return self.ending is not Ending.RUNNING

    @property
    def doubt(self) -> str:
        """The question for a person; "" without a doubt."""
        return "" if self.done else self.reason
