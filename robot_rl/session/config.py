"""Settings of a session."""

from __future__ import annotations

from dataclasses import dataclass

from robot_rl.contract.ranges import Count, Natural, Seconds, check


@dataclass(frozen=True)
class SessionConfig:
    """Defaults of a session.

    Attributes:
        ask_policy: a policy acts when the person does not; False when only a person drives.
        wait_for_person: an episode starts when the person first moves (recording demonstrations), not at once.
        horizon: steps until the time limit; 0 takes the task's, where its judge has one.
        policy_timeout: [s] of steady time to wait for the policy's answer before holding still.
        late_limit: so many answers missing in a row end the episode as aborted.
        stall_timeout: [s] without a reading of the arm before the episode is aborted.
        teleop_timeout: [s] after which the person's last command no longer counts.
    """

    ask_policy: bool = True
    wait_for_person: bool = False
    horizon: Natural = 0
    policy_timeout: Seconds = 0.06
    late_limit: Count = 10
    stall_timeout: Seconds = 0.5
    teleop_timeout: Seconds = 0.25

    def __post_init__(self) -> None:
        check(self)
