"""Who drives this step: the policy, or the person."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hardware.interfaces import TeleopCommand
from robot_rl.contract import ActionSpec, Source


class Decision(NamedTuple):
    """An action ``(a,)`` float32 in [−1, 1] and who decided it."""

    action: np.ndarray
    source: Source


def decide(
    policy_action: np.ndarray, teleop: TeleopCommand | None, spec: ActionSpec, period: float, opening: float
) -> Decision:
    """The person's action when they are engaged, else the policy's.

    Args:
        policy_action: ``(a,)`` in [−1, 1].
        teleop: the latest fresh command of the person's device, or None.
        spec: axes and scales; the person's twist becomes the displacement it makes in one ``period`` [s].
        period: control period [s].
        opening: 0–1, what the gripper was told last; a person who does not mention the gripper leaves it at that.
    """
    if teleop is not None and teleop.engaged:
        wish = opening if teleop.gripper is None else teleop.gripper
        return Decision(spec.from_delta(teleop.twist * period, wish), Source.PERSON)
    return Decision(np.clip(policy_action, -1.0, 1.0).astype(np.float32), Source.POLICY)
