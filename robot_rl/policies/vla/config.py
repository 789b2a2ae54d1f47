"""Settings of a `SmallVLA` and of its training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Le, Lt

from robot_rl.contract.ranges import (
    Count,
    Discount,
    Natural,
    NonNegative,
    Positive,
    RangeError,
    Rate,
    Share,
    Widths,
    check,
)

Part = Annotated[float, Ge(0), Lt(1)]


@dataclass(frozen=True)
class VlaConfig:
    """Defaults: sized for one processor core and some minutes.

    Attributes:
        encoder: of the images, one of `robot_rl.perception.encoders.ENCODERS`; it is frozen.
        horizon: H, actions of a chunk.
        executed: actions of a chunk that are acted by before the next one; unset: half, rounded up.
        prefix: actions at most that a chunk learns to continue, for ``session.chunks=rtc``; 0: none.
        width: numbers of a token.
        heads: of the attention; they divide ``width``.
        layers: of the transformer over what is seen, read and felt.
        blocks: of the action expert.
        flow_steps: of Euler's method, from noise to a chunk.
        steps: of the optimiser.
        batch: observations of a minibatch.
        draws: noises and times that each of them is learnt with.
        learning_rate: of AdamW, after ``warm_up`` steps; it falls to nothing as a cosine.
        warm_up: steps over which the learning rate rises.
        decay: of the weights, by AdamW.
        unread: chance of each word to be left out of what is read, so that no phrasing is learnt by heart.
        weights: of ``demo_stores``, in their order: how often each is drawn from, relative to the others; empty: alike.
        held_out: share of each store's episodes that is not learnt from, one at least.
        every: steps between two looks at these.
    """

    encoder: str = "efficientnet_lite0"
    horizon: Annotated[int, Ge(1), Le(100)] = 8
    executed: Count | None = None
    prefix: Natural = 0
    width: Count = 64
    heads: Count = 4
    layers: Count = 2
    blocks: Count = 2
    flow_steps: Count = 5
    steps: Count = 1500
    batch: Count = 48
    draws: Count = 2
    learning_rate: Positive = 1e-3
    warm_up: Natural = 100
    decay: NonNegative = 1e-2
    unread: Part = 0.2
    weights: tuple[NonNegative, ...] = ()
    held_out: Share = 0.1
    every: Count = 250

    def __post_init__(self) -> None:
        check(self)
        if self.width % (2 * self.heads):
            raise RangeError(f"width={self.width} must be a multiple of twice heads={self.heads}")
        if self.acted > self.horizon:
            raise RangeError(f"executed={self.executed} must be at most horizon={self.horizon}")
        if self.prefix >= self.horizon:
            raise RangeError(f"prefix={self.prefix} must be less than horizon={self.horizon}")
        if self.weights and not any(self.weights):
            raise RangeError(f"weights={list(self.weights)} must not all be 0")

    @property
    def acted(self) -> int:
        """Actions of a chunk that are acted by."""
        return (self.horizon + 1) // 2 if self.executed is None else self.executed


@dataclass(frozen=True)
class AloeConfig:
    """Settings of the improvement of a `SmallVLA` by what came of its actions (`robot_rl.policies.vla.aloe`).

    Attributes:
        weight: what a window of actions is imitated by: how much better than the policy's own the critics value it
            (``advantage``), or what the rest of its episode returned (``return``, without critics).
        critics: members of the ensemble, whose minimum counts.
        hidden: width of their hidden layers.
        discount: γ, of one step.
        critic_rate: of their optimiser (Adam).
        target_rate: τ: how fast the target critics follow.
        critic_steps: for each step of the arm.
        batch: windows of a minibatch of the critics.
        proposals: chunks of the policy for each observation: in the target one of them, in its value their mean.
        temperature: β: by how many σ of the advantage a window counts e times as much.
        weight_limit: c: no window counts more than e^c times as much as an average one, or less.
        policy_steps: of the action expert, for each step of the arm.
        policy_batch: windows of a minibatch of it.
        learning_rate: of its optimiser (Adam).
        average_rate: how fast the average follows it, which alone acts.
        every: steps of the arm between two rounds.
        refreshed: observations whose proposals are made anew in a round, beside the new ones.
        capacity: observations of online episodes that are kept.
    """

    weight: Literal["advantage", "return"] = "advantage"
    critics: Count = 4
    hidden: Widths = (256, 256)
    discount: Discount = 0.97
    critic_rate: Positive = 3e-4
    target_rate: Rate = 0.005
    critic_steps: Positive = 4.0
    batch: Count = 256
    proposals: Count = 4
    temperature: Positive = 1.0
    weight_limit: NonNegative = 2.0
    policy_steps: NonNegative = 0.25
    policy_batch: Count = 64
    learning_rate: Positive = 3e-4
    average_rate: Rate = 0.02
    every: Count = 100
    refreshed: Natural = 800
    capacity: Count = 20_000

    def __post_init__(self) -> None:
        check(self)
