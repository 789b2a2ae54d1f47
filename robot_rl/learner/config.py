"""Settings of the learner process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le

from robot_rl.contract import Registry
from robot_rl.contract.ranges import LARGEST, Count, Natural, Positive, RangeError, Share, check

# Each is a `robot_rl.learner.agent.Algorithm`.
AGENTS = Registry(
    "agent",
    {
        name: f"robot_rl.learner.algorithms.{module}:AGENT"
        for name, module in {
            "flash_sac": "flash_sac",
            "rlpd": "rlpd",
            "hil": "hil",
            "sac": "sac",
            "chunked": "chunked",
            "expo": "expo",
            "dsrl": "dsrl",
            "gorl": "gorl",
            "rlt": "rlt",
            "pa_rl": "pa_rl",
            "rlpd_lagrangian": "lagrangian",
            "bc": "bc",
        }.items()
    },
)

Interventions = Literal["plain", "cut", "weighted"]

Capacity = Annotated[int, Ge(2), Le(LARGEST)]  # of a buffer [observations]


@dataclass(frozen=True)
class LearnerConfig:
    """Settings of the learner process around its algorithm.

    Attributes:
        agent: algorithm, by its name in `AGENTS`, or ``module:ALGORITHM``.
        settings: of the algorithm, by the names of its own config, e.g. ``learner.settings.discount=0.98``. They are
            checked when the learner is made (`robot_rl.learner.factory`).
        utd: critic updates for each online step, all in one learner call, which ends with one update of the policy
            (flash_sac: one for every other critic update); unset: the algorithm's own ``critic_steps``.
        batch_size: transitions (or chunks) that a critic update learns from.
        demo_share: of a minibatch, 0 to 1, that demonstrations make up, or ``proportional``: as they do of all steps;
            unset: the algorithm's own.
        shaping: w of the potential-based reward for progress by the stages of the run's classifier
            (`robot_rl.rewards.shaping`), which does not change what is optimal; 0: none, success alone counts.
        interventions: how a person's corrections are learnt from. In any case they are demonstrations, too. ``plain``:
            nothing else (HIL-SERL's rule). ``cut``: what the person brings about is not credited to the policy's own
            steps before they took over (`robot_rl.data.replay`). ``weighted``: the policy imitates them the more, the
            surer the person is, state by state (SiLRI, `robot_rl.learner.certainty`).
        online_stores: of other arms' sessions, to learn from as well, relative to the run's folder or absolute.
            Steps that they hold already earn updates, too.
        online_weights: of the run's own online store and each of ``online_stores``, within what demonstrations leave;
            empty: in proportion to their sizes.
        capacity: online observations kept, of all arms together; unset: 1 000 000, with cameras 200 000.
        demo_capacity: observations of demonstrations kept beside them, a person's corrections included; unset: 100 000,
            with cameras 20 000. The oldest go first, and the learner says so.
        shared: namespace of another arm, e.g. left, or / for none: this one acts by the learner of that one and has
            none of its own. There, ``online_stores`` names this arm's store.
        start_after: online steps before learning starts.
        base: file of parameters with a clone to start from, in place of imitating anew, e.g. ``clone.params`` of a run
            (`robot-rl pretrain` makes it); "" for none.
        imitate: steps of imitation at most, before everything else; it ends when demonstrations that are held out are
            imitated no better. 0: none, and the agent begins from nothing.
        pretrain: learner calls on demonstrations alone before that; unset: as many as suit the algorithm.
        max_debt: critic updates that may be due when an episode begins; above it, the next one waits for the learner.
        publish_every: learner calls between two publications of the parameters.
        checkpoint_every: learner calls between two checkpoints.
        keep_checkpoints: so many are kept.
        without: fields of the task's state and cameras that are hidden from the agent, e.g. force,moment; recording
            keeps them.
        threads: CPU threads of the learner process; 0: all cores but two.
        gate_window: episodes without intervention over which success is compared before a policy is handed on for
            evaluation (`robot_rl.jobs.promotion`); at least 5, or no drop could be significant.
    """

    agent: str = "flash_sac"
    settings: Mapping[str, Any] = field(default_factory=dict)
    utd: Count | None = None
    batch_size: Count = 256
    demo_share: Share | Literal["proportional"] | None = None
    shaping: Share = 0.0
    interventions: Interventions = "plain"
    online_stores: tuple[str, ...] = ()
    online_weights: tuple[Positive, ...] = ()
    shared: str = ""
    capacity: Capacity | None = None
    demo_capacity: Capacity | None = None
    start_after: Natural = 100
    base: str = ""
    imitate: Natural = 3000
    pretrain: Natural | None = None
    max_debt: Natural = 200
    publish_every: Count = 10
    checkpoint_every: Count = 500
    keep_checkpoints: Count = 2
    without: tuple[str, ...] = ()
    threads: Natural = 0
    gate_window: Annotated[int, Ge(5), Le(LARGEST)] = 20

    def __post_init__(self) -> None:
        check(self)
        if self.online_weights and len(self.online_weights) != 1 + len(self.online_stores):
            raise RangeError(
                f"online_weights={list(self.online_weights)} must have {1 + len(self.online_stores)} in number: "
                "one for the run's own online store and one for each of online_stores"
            )
