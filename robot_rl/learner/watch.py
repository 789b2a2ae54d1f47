"""When to stop a learner: values that are not finite, or beyond what the rewards can add up to.

    |Q| ≤ (R + α a H) / (1 − γ)

R is the largest |reward|, α the temperature, a the action size, and H what a step of one action axis may be worth in
entropy: its σ is at least 1e-5, so −log π is at least −H before the tanh, which takes more from it only where means are
far into saturation. A learner's Q overshoots that without harm; it is taken for exploding `EXCESS` times beyond. R
counts as at least 1, for where no reward was seen yet, and α as at most R: a temperature at which an action's
randomness is worth more than any reward has run away itself, and must not take the bound with it.

A critic whose values have a fixed support cannot leave it; of such, parameters that are not finite are what is seen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

EXCESS = 10.0
ENTROPY = -math.log(1e-5)  # H [nats]
TEMPERATURE = "temperature/alpha"
VALUES = ("q_mean", "target_mean")


def value_limit(largest_reward: float, temperature: float, action_size: int, discount: float) -> float:
    """|Q| from which on a learner is stopped; infinite without discounting."""
    reward = max(1.0, largest_reward)
    step = reward + min(temperature, reward) * action_size * ENTROPY
    return EXCESS * step / (1.0 - discount) if discount < 1.0 else math.inf


def anomaly(info: Mapping[str, float], largest_reward: float, action_size: int, discount: float) -> str:
    """Why the metrics of an update cannot be right, in words; empty when they can."""
    wild = [name for name, value in info.items() if not math.isfinite(value)]
    if wild:
        return f"gave {', '.join(wild)} not finite"
    limit = value_limit(largest_reward, info.get(TEMPERATURE, 0.0), action_size, discount)
    for name, value in info.items():
        if name.rpartition("/")[2] in VALUES and abs(value) > limit:
            return (
                f"gave {name} {value:.3g}: it explodes (the limit is {limit:.3g}), "
                f"far beyond what rewards of up to {largest_reward:.3g} can add up to"
            )
    return ""
