"""Settings of a `SmallVLA` and of its training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Le, Lt

from robot_rl.contract.ranges import Count, Natural, NonNegative, Positive, RangeError, Share, check

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
