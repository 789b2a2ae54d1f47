"""Who drives this step: the policy, or the person.

A policy's action moves the target relative to the *measured* pose. A person's device says how fast to go, so its twist
moves the *reference* on from where it is: an arm that lags behind, or sticks, still goes as far as the device says. The
reference is at most `LEAD` ahead of the arm before it is moved on, and an action further afterwards.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from controllers.spatial import Pose
from hardware.interfaces import TeleopCommand
from robot_rl.contract import ActionSpec, Reading, Source

WEIGHTS = np.array([1.0, 1.0, 1.0, 0.2, 0.2, 0.2])  # by which turns count as ways [m/m, m/rad]
ASIDE = 0.001  # [m] from its way, at which a reference is not on it
LATE = 0.02  # [s] that a reference may still need to the end of its way
TINY = 1e-12  # [m²]


class Decision(NamedTuple):
    """An action ``(a,)`` float32 in [−1, 1], who decided it, and the displacement ``delta (6,)`` [m, rad] from the
    measured pose that it stands for. Only a person's may be more than the action can say."""

    action: np.ndarray
    source: Source
    delta: np.ndarray


class Led(NamedTuple):
    """The way of the reference in a control period in which a person has led it."""

    begin: Pose
    end: Pose


def reference_of(reading: Reading, led: Led | None, period: float) -> Pose:
    """The pose from which a person leads on, who decides once a ``period`` [s].

    It is the end of the way that they have ``led`` before: the controller arrives there an instant after the next
    reading only, and that instant would be lost in each period. Where nobody has led it, or the controller is held up
    or gives way, so that it is not on that way or later than `LATE`, it is the controller's reference.
    """
    if led is None:
        return reading.target
    way, left = led.end.difference(led.begin) * WEIGHTS, led.end.difference(reading.target) * WEIGHTS
    share = float(way @ left) / max(float(way @ way), TINY)
    on_its_way = share <= min(1.0, LATE / period) and float(np.abs(left - max(share, 0.0) * way).max()) <= ASIDE
    return led.end if on_its_way else reading.target


def decide(
    policy_action: np.ndarray,
    teleop: TeleopCommand | None,
    spec: ActionSpec,
    period: float,
    opening: float,
    lead: np.ndarray,
) -> Decision:
    """The person's action when they are engaged, else the policy's.

    Args:
        policy_action: ``(a,)`` in [−1, 1].
        teleop: the latest fresh command of the person's device, or None.
        spec: axes and scales; the person's twist becomes the displacement it makes in one ``period`` [s].
        period: control period [s].
        opening: 0–1, what the gripper was told last; a person who does not mention the gripper leaves it at that.
        lead: ``(6,)`` [m, rad] that the reference for the person is ahead of the arm.
    """
    if teleop is not None and teleop.engaged:
        wish = opening if teleop.gripper is None else teleop.gripper
        return led_on(lead + teleop.twist * period, spec, wish, Source.PERSON)
    action = np.clip(policy_action, -1.0, 1.0).astype(np.float32)
    return Decision(action, Source.POLICY, spec.delta(action))


def led_on(delta: np.ndarray, spec: ActionSpec, opening: float, source: Source) -> Decision:
    """The decision for a displacement ``delta (6,)`` [m, rad] of the target from the arm, within the reach."""
    reach = spec.reach
    return Decision(spec.from_delta(delta, opening), source, np.clip(delta, -reach, reach))
