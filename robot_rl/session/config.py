"""Settings of a session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Le

from robot_rl.contract.outcome import Ending
from robot_rl.contract.ranges import Natural, NonNegative, RangeError, Seconds, check
from robot_rl.contract.steps import MAX_ROWS

Joining = Literal["wait", "splice", "ensemble", "rtc"]
Guidance = Literal["jacobian", "identity"]
Unanswered = Literal["go_on", "failure", "abort"]


@dataclass(frozen=True)
class SessionConfig:
    """Defaults of a session.

    Attributes:
        ask_policy: a policy acts when the person does not; False when only a person drives.
        wait_for_person: an episode starts when the person first moves (recording demonstrations), not at once.
        marks: a person's ``success`` marks the steps from then on with the reward 1, ``failure`` takes that back, and
            neither ends the episode (collecting for a reward classifier).
        stages: names of the task's stages in their order, where they are marked, e.g. ``lifted,inserted``: each
            ``success`` marks the next one, ``failure`` takes the last one back, and the last of all is the success.
            Empty: success alone is marked.
        instruction: words that the policy is told in place of the task's; "" for the task's.
        horizon: steps until the time limit; 0 takes the task's, where its judge has one.
        policy_wait: [s] of robot time that a decision waits for the policy's answer to act on it at once; afterwards
            what was planned before goes on, or the arm holds. At most a control period.
        policy_timeout: [s] of robot time after which an answer is not waited for any more and the policy asked anew.
        ask_ahead: so many control periods, at least, before the end of what is planned the policy is asked again;
            where its answers take longer, so much earlier. Not with ``chunks=wait``.
        chunks: how an answer of several actions joins the one before. ``wait``: the old one acts to its end, then the
            policy is asked, and the new one begins when it is there, while the arm holds; ``splice``, for a policy that
            reckons with its latency: by time, the new one replaces the old from its first action that is due on;
            ``ensemble``: the policy is asked in each control period, or as soon as it has answered, and the mean of all
            answers acts; ``rtc``, real-time chunking: the policy is asked with half a chunk left, and told what goes on
            until its answer can act, for the new chunk to begin with that; an answer that takes longer than was
            foreseen is dropped.
        guidance: how ``rtc`` leads a flow of ours there: ``jacobian``, as published, or ``identity``, which is cheaper.
        ensemble_decay: m of the weights exp(−m i) in that mean, i = 0 the oldest answer; 0 weighs all alike.
        late_limit: [s] of robot time in a row without an action of the policy that end the episode as aborted.
        stall_timeout: [s] without a reading of the arm before the episode is aborted.
        teleop_timeout: [s] after which the person's last command no longer counts.
        image_frozen: [s] for which a camera may send the same pixels before it counts as frozen; 0: for ever. Drawn
            cameras always may.
        image_age: [s] between an image's capture and the arm's measurement before its camera counts as lost.
        doubt_wait: [s] of robot time for which the arm is held and a person waited for, who is asked whether it is done
            where the judge is in doubt (a classifier's score between its two thresholds); 0: nobody is asked.
        doubt_after: [s] that a doubt lasts before the person is asked; at the time limit they are asked at once.
        doubt_unanswered: how an episode goes on that nobody has said anything about: ``go_on`` as if there had been no
            doubt, ``failure``, or ``abort``, which is no evidence of either.
        signal_age: [s] between the image that a signal of a judge is of and the measurement before it counts no more.
    """

    ask_policy: bool = True
    wait_for_person: bool = False
    marks: bool = False
    stages: tuple[str, ...] = ()
    instruction: str = ""
    horizon: Natural = 0
    policy_wait: Seconds = 0.06
    policy_timeout: Seconds = 1.0
    ask_ahead: Annotated[int, Ge(0), Le(MAX_ROWS)] = 0
    chunks: Joining = "wait"
    guidance: Guidance = "jacobian"
    ensemble_decay: NonNegative = 0.01
    late_limit: Seconds = 2.0
    stall_timeout: Seconds = 0.5
    teleop_timeout: Seconds = 0.25
    image_age: Seconds = 0.25
    image_frozen: NonNegative = 1.0
    doubt_wait: NonNegative = 0.0
    doubt_after: NonNegative = 1.0
    doubt_unanswered: Unanswered = "go_on"
    signal_age: Seconds = 0.5

    def __post_init__(self) -> None:
        check(self)
        if self.ask_ahead and self.chunks == "wait":
            raise RangeError(f"ask_ahead={self.ask_ahead} is too early for chunks=wait; say chunks=splice")
        named = ",".join(self.stages)
        if len(self.stages) == 1:
            raise RangeError(f"stages={named} is one stage, which is success: leave it out, or name those before it")
        if len(set(self.stages)) < len(self.stages) or not all(self.stages):
            raise RangeError(f"stages={named} must have a name of its own for each stage, e.g. stages=lifted,inserted")

    @property
    def marked(self) -> tuple[str, ...]:
        """Names of what a person marks, in order; empty where their words end the episode."""
        return (self.stages or (Ending.SUCCESS.value,)) if self.marks else ()

    @property
    def guides(self) -> Guidance | None:
        """How a flow is guided to take up what is planned; None: no policy is told."""
        return self.guidance if self.chunks == "rtc" else None
