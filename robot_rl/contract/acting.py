"""Policies: the protocol, and how one that looks back, plans ahead or reads an instruction is asked."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np

from robot_rl.contract.errors import ContractError
from robot_rl.contract.layout import FrameSize, frame_spec
from robot_rl.contract.steps import MAX_ROWS, ActionChunk, Observation

MAX_HISTORY = 32  # observations that a policy may look back at
POLICY_RATES = (2.0, 100.0)  # [Hz] of the rows of a chunk


@runtime_checkable
class Policy(Protocol):
    """Decides. Pure but for its own noise and memory: no clock; and no I/O, but for one that asks another program.

    A class that derives from this protocol need only define `act`.

    Attributes:
        history: how many observations it looks back at, the newest included.
        horizon: rows of its chunks at most; None: `MAX_ROWS`.
        rate: rows a second [Hz]; None: one a control period of the task.
    """

    history: int = 1
    horizon: int | None = None
    rate: float | None = None

    def begin(self, instruction: str) -> None:
        """A new episode begins, in which ``instruction`` shall be done; "" where the task has no words for it."""
        return

    def act(self, observations: Sequence[Observation]) -> ActionChunk:
        """Actions from the time of the newest observation on, one row after the other.

        ``observations``: the last `history` of this episode, one a control period, the newest last; the episode's first
        one stands in for those before it. Raises `AnswerError` when there is none of use this time.
        """

    def rehearse(self, observations: Sequence[Observation]) -> None:
        """Do once what `act` does, on observations about nothing, whose answer nobody will use."""
        self.act(observations)

    def close(self) -> None:
        """Let go of what it holds open; it is asked no more."""
        return


class Memory:
    """The observations of an episode that a policy looks back at."""

    def __init__(self) -> None:
        self._seen: deque[Observation] = deque(maxlen=MAX_HISTORY)
        self._episode: int | None = None
        self._began: tuple[Policy, str] | None = None

    def see(self, policy: Policy, observation: Observation, episode: int, instruction: str) -> None:
        """Take in the next observation.

        ``policy`` begins with the first one of an ``episode``, when it is new, and when the ``instruction`` is another.
        """
        anew = episode != self._episode or (bool(self._seen) and observation.seq <= self._seen[-1].seq)
        if anew:
            self._seen.clear()
        if anew or self._began is None or policy is not self._began[0] or instruction != self._began[1]:
            policy.begin(instruction)
        self._episode, self._began = episode, (policy, instruction)
        self._seen.append(observation)

    def ask(self, policy: Policy) -> ActionChunk:
        """The answer to the observation seen last. Raises `ContractError` when it is longer than the policy said."""
        observations = list(self._seen)[-policy.history :]
        observations = [observations[0]] * (policy.history - len(observations)) + observations
        chunk = policy.act(observations)
        rows = len(chunk.actions)
        if policy.horizon is not None and rows > policy.horizon:
            raise ContractError(
                f"the policy answers with {rows} actions, and says that its horizon is {policy.horizon}"
            )
        if policy.rate is None or chunk.times is not None:
            return chunk
        return replace(chunk, times=np.arange(rows) / policy.rate)


def check_policy(policy: Policy) -> None:
    """Raises `ContractError` when what ``policy`` says about itself is out of range."""
    name = type(policy).__name__
    if not 1 <= policy.history <= MAX_HISTORY:
        raise ContractError(f"policy {name}: history={policy.history} must be from 1 to {MAX_HISTORY}")
    if policy.horizon is not None and not 1 <= policy.horizon <= MAX_ROWS:
        raise ContractError(f"policy {name}: horizon={policy.horizon} must be from 1 to {MAX_ROWS}, or None")
    lowest, highest = POLICY_RATES
    if policy.rate is not None and not lowest <= policy.rate <= highest:
        raise ContractError(f"policy {name}: rate={policy.rate} must be from {lowest:g} to {highest:g} Hz, or None")


def warm_up(policy: Policy, state_size: int, images: Mapping[str, FrameSize], instruction: str) -> None:
    """Ask ``policy`` once about nothing, so that its first answer in an episode does not wait for compilers.

    Its next noise is another than it would have been. ``images``: camera → size, see `Layout`.
    """
    dark: dict[str, np.ndarray] = {name: np.zeros(*frame_spec(size)) for name, size in images.items()}
    policy.begin(instruction)
    policy.rehearse([Observation(0, 0, np.zeros(state_size, np.float32), dark)] * policy.history)
