"""How bad the network between a simulated robot and its driver shall be: a request to the side channel."""

from __future__ import annotations

from dataclasses import dataclass


class FaultError(ValueError):
    """Network faults that make no sense."""


@dataclass(frozen=True)
class Faults:
    """Faults of the network. The same seed and traffic give the same faults.

    Attributes:
        loss: probability that a datagram is lost, in either direction, 0–1.
        burst: datagrams lost in a row once one is; the share lost stays ``loss``.
        delay: ticks [ms] by which every state is late.
        jitter: up to this many further ticks, drawn anew for every state; states may overtake each other.
        seed: of the generator that draws.
    """

    loss: float = 0.0
    burst: int = 1
    delay: int = 0
    jitter: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.loss <= 1.0:
            raise FaultError(f"loss is a probability from 0 to 1, not {self.loss}")
        if self.burst < 1 or self.delay < 0 or self.jitter < 0:
            given = f"{self.burst}, {self.delay} and {self.jitter}"
            raise FaultError(f"burst must be at least 1, delay and jitter at least 0 ticks, not {given}")
