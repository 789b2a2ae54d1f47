"""Settings of a reward classifier: what it sees, how it is trained, and what is asked of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from robot_rl.contract.ranges import Count, Natural, Positive, check
from robot_rl.rewards.drift import DriftSettings
from robot_rl.rewards.filtering import FilterSettings
from robot_rl.rewards.guards import Guards
from robot_rl.rewards.labels import Margin, SplitSettings
from robot_rl.rewards.promise import Wanted
from robot_rl.rewards.report import ReportSettings


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of a training. Raises `RangeError`.

    Attributes:
        rate: learning rate of Adam.
        steps: of the optimiser, at most.
        half: frames of either kind in a minibatch.
        every: steps between two looks at the stopping episodes.
        patience: looks without a lower loss after which it stops.
        copies: shifted and brightened ones of each frame that is learnt from.
        seed: of weights, minibatches and copies.
    """

    rate: Positive = 3e-4
    steps: Count = 600
    half: Count = 64
    every: Count = 20
    patience: Count = 8
    copies: Natural = 1
    seed: Natural = 0

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class RewardConfig:
    """Everything about a reward classifier.

    Attributes:
        encoder: of `robot_rl.perception.encoders.ENCODERS`, or ``name:path`` for one whose weights lie there.
        cameras: that it sees; empty: all that the run has.
        state: that it sees beside the pictures: ``wrench``, ``pose``.
        margin: time around a mark that is left out.
        split: of the episodes.
        training: of the head.
        filter: of the probabilities over time.
        guards: bounds of what the arm measures, outside which nothing counts as a success.
        drift: of the alarm when pictures are none like those that were learnt from.
        wanted: rate of false successes that is asked for.
        report: on the held-out episodes.
    """

    encoder: str = "efficientnet_lite0"
    cameras: tuple[str, ...] = ()
    state: tuple[str, ...] = ()
    margin: Margin = field(default_factory=Margin)
    split: SplitSettings = field(default_factory=SplitSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    filter: FilterSettings = field(default_factory=FilterSettings)
    guards: Guards = field(default_factory=Guards)
    drift: DriftSettings = field(default_factory=DriftSettings)
    wanted: Wanted = field(default_factory=Wanted)
    report: ReportSettings = field(default_factory=lambda: ReportSettings(least=0.5))

    def __post_init__(self) -> None:
        check(self)
