"""Episodes that a classifier has judged, as tests need them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robot_rl.rewards.filtering import Frame
from robot_rl.rewards.judged import JudgedEpisode, judged
from robot_rl.rewards.labels import FAILURE

PERIOD_NS = 100_000_000


def frames(probabilities: Sequence[float], released: Sequence[bool] = ()) -> list[Frame]:
    """Frames at 10 Hz; the hand lets go where ``released`` says so."""
    let_go = [*released, *[False] * (len(probabilities) - len(released))]
    return [Frame(number * PERIOD_NS, p, released=let_go[number]) for number, p in enumerate(probabilities)]


def episode(
    name: str, probabilities: Sequence[float], labels: Sequence[int] = (), start: int = 0, version: int = -1
) -> JudgedEpisode:
    """An episode at 10 Hz: a failure where there are no ``labels``."""
    count = len(probabilities)
    stamps = start + np.arange(count) * PERIOD_NS
    marks = np.array(labels) if len(labels) else np.full(count, FAILURE)
    return judged(name, bool(len(labels)), stamps, np.array(probabilities, float), marks, version=version)
