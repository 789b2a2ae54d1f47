"""Settings of a session."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from robot_rl.contract.ranges import require


@dataclass(frozen=True)
class SessionConfig:
    """Defaults of a session.

    Attributes:
        ask_policy: a policy acts when the person does not; False when only a person drives.
        wait_for_person: an episode starts when the person first moves (recording demonstrations), not at once.
        person_ends: an episode ends only when the person says so or by a fault, not by the task or the time limit.
        horizon: steps until the time limit; 0 takes the task's.
        policy_timeout: [s] of steady time to wait for the policy's answer before holding still.
        late_limit: so many answers missing in a row end the episode as aborted.
        stall_timeout: [s] without a reading of the arm before the episode is aborted.
        teleop_timeout: [s] after which the person's last command no longer counts.
        image_age: [s] between an image's capture and the arm's measurement before its camera counts as lost.
    """

    ask_policy: bool = True
    wait_for_person: bool = False
    person_ends: bool = False
    horizon: int = 0
    policy_timeout: float = 0.06
    late_limit: int = 10
    stall_timeout: float = 0.5
    teleop_timeout: float = 0.25
    image_age: float = 0.25

    def __post_init__(self) -> None:
        require(self, horizon=(0, inf), late_limit=(1, inf))
        require(self, policy_timeout=(0.001, inf), stall_timeout=(0.001, inf), teleop_timeout=(0.001, inf))
        require(self, image_age=(0.001, inf))
