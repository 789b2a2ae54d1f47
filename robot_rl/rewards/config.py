"""Settings of a reward classifier: what it sees, how it is trained, and what is asked of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from robot_rl.contract.ranges import Count, Natural, NonNegative, Positive, RangeError, check
from robot_rl.rewards.drift import DriftSettings
from robot_rl.rewards.filtering import FilterSettings
from robot_rl.rewards.guards import Guards
from robot_rl.rewards.labels import Margin, Part, SplitSettings
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


@dataclass(frozen=True)
class RankSettings:
    """Settings of the training of a preference. Raises `RangeError`.

    Attributes:
        width: of both hidden layers.
        members: networks, whose mean counts.
        rate: learning rate of AdamW.
        decay: of the weights.
        steps: of the optimiser, at most.
        every: steps between two looks at the stopping answers.
        patience: looks without a lower loss after which it stops.
        seed: of the weights.
    """

    width: Count = 32
    members: Count = 5
    rate: Positive = 3e-3
    decay: NonNegative = 0.03
    steps: Count = 1500
    every: Count = 10
    patience: Count = 15
    seed: Natural = 0

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class PreferenceConfig:
    """Everything about a person's preferences. Raises `RangeError`.

    Attributes:
        by: who is asked: "" for the person at the terminal, or ``module:function``, which is called with one snippet or
            two (`robot_rl.rewards.answers.Snippet`) and returns the answer.
        ask: ``pairs`` (which of two snippets is the better one) or ``scores`` (how good one is, 1 to 5).
        answers: so many there shall be, those given before included.
        length: steps of a snippet.
        seed: of the snippets that are asked about.
        stopping: share of the episodes that decide when to stop the training, and …
        judging: … of those that tell how well it agrees; nothing is learnt from either.
        fields: of the task's state that the preference looks at, e.g. force; empty: all.
        rank: the training.
    """

    by: str = ""
    ask: Literal["pairs", "scores"] = "pairs"
    answers: Count = 60
    length: Count = 10
    seed: Natural = 0
    stopping: Part = 0.2
    judging: Part = 0.2
    fields: tuple[str, ...] = ()
    rank: RankSettings = field(default_factory=RankSettings)

    def __post_init__(self) -> None:
        check(self)
        if self.stopping + self.judging >= 1.0:
            raise RangeError(f"judging={self.judging} and stopping={self.stopping} must leave a part to learn from")
