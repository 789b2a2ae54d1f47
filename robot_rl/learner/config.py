"""Settings of the learner process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal

from robot_rl.contract.ranges import RangeError, require

AGENTS = ("flash_sac", "rlpd", "hil", "sac", "chunked", "expo", "rlpd_lagrangian")


@dataclass(frozen=True)
class LearnerConfig:
    """What the learner process does around its algorithm.

    Attributes:
        agent: algorithm; see `robot_rl.learner`.
        settings: of the algorithm, by the names of its own config, e.g. ``learner.settings.discount=0.98``. They are
            checked when the learner is made (`robot_rl.learner.factory`).
        utd: critic updates for each online step, all in one learner call, which ends with one update of the policy
            (flash_sac: one for every other critic update); unset: the algorithm's own ``critic_steps``.
        batch_size: transitions (or chunks) that a critic update learns from.
        demo_share: of a minibatch, 0 to 1, that demonstrations make up, or ``proportional``: as they do of all steps;
            unset: the algorithm's own.
        online_stores: of other arms' sessions, to learn from as well, relative to the run's folder or absolute. What
            they hold already earns updates, too.
        online_weights: of the run's own online store and each of ``online_stores``, within what demonstrations leave;
            empty: in proportion to their sizes.
        capacity: online observations kept, of all arms together; unset: 1 000 000, with cameras 200 000.
        demo_capacity: observations of demonstrations kept beside them, a person's corrections included; unset: 100 000,
            with cameras 20 000. The oldest go first, and the learner says so.
        shared: namespace of another arm, e.g. left, or / for none: this one acts by the learner of that one and has
            none of its own. There, ``online_stores`` names this arm's store.
        start_after: online steps before learning starts.
        pretrain: learner calls on demonstrations alone before that; unset: as many as suit the algorithm.
        max_debt: critic updates that may be due when an episode begins; above it, the next one waits for the learner.
        publish_every: learner calls between two publications of the parameters.
        checkpoint_every: learner calls between two checkpoints.
        keep_checkpoints: so many are kept.
        without: fields of the task's state that are hidden from the agent, e.g. force,moment; recording keeps them.
        threads: CPU threads of the learner process; 0: all cores but two.
        gate_window: episodes without intervention over which success is compared before a policy is handed on for
            evaluation (`robot_rl.jobs.promotion`); at least 5, or no drop could be significant.
    """

    agent: str = "flash_sac"
    settings: Mapping[str, Any] = field(default_factory=dict)
    utd: int | None = None
    batch_size: int = 256
    demo_share: float | Literal["proportional"] | None = None
    online_stores: tuple[str, ...] = ()
    online_weights: tuple[float, ...] = ()
    shared: str = ""
    capacity: int | None = None
    demo_capacity: int | None = None
    start_after: int = 100
    pretrain: int | None = None
    max_debt: int = 200
    publish_every: int = 10
    checkpoint_every: int = 500
    keep_checkpoints: int = 2
    without: tuple[str, ...] = ()
    threads: int = 0
    gate_window: int = 20

    def __post_init__(self) -> None:
        require(self, batch_size=(1, inf), start_after=(0, inf), max_debt=(0, inf), threads=(0, inf))
        require(self, publish_every=(1, inf), checkpoint_every=(1, inf), keep_checkpoints=(1, inf))
        require(self, gate_window=(5, inf))
        if self.utd is not None:
            require(self, utd=(1, inf))
        if self.pretrain is not None:
            require(self, pretrain=(0, inf))
        for name in ("capacity", "demo_capacity"):
            if getattr(self, name) is not None:
                require(self, **{name: (2, inf)})
        if isinstance(self.demo_share, float):
            require(self, demo_share=(0.0, 1.0))
        if self.online_weights and len(self.online_weights) != 1 + len(self.online_stores):
            raise RangeError(
                f"online_weights={list(self.online_weights)} must have {1 + len(self.online_stores)} in number: "
                "one for the run's own online store and one for each of online_stores"
            )
        if not all(0.0 < weight < inf for weight in self.online_weights):
            raise RangeError(f"online_weights={list(self.online_weights)} must be positive")
