"""Random but reproducible steps to record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from controllers.spatial import Pose
from robot_rl.contract import ActionSpec, Field, Observation, Outcome, Source, Step, Timing
from robot_rl.data.episode import Transitions
from robot_rl.data.schema import StoreSchema

SCHEMA = StoreSchema(
    "reach", (Field("position", 3, 10.0), Field("force", 2, 0.1)), ActionSpec(("x", "y"), (0.01, 0.01))
)
PIXELS = StoreSchema(SCHEMA.task, SCHEMA.fields, SCHEMA.action, {"wrist": (4, 6)})


def observations(count: int, seed: int, schema: StoreSchema = SCHEMA) -> list[Observation]:
    rng = np.random.default_rng(seed)
    return [
        Observation(
            i * 100_000_000,
            i,
            rng.normal(size=schema.state_size).astype(np.float32),
            {name: rng.integers(0, 256, (*size, 3), dtype=np.uint8) for name, size in schema.images.items()},
        )
        for i in range(count)
    ]


def steps(count: int, seed: int = 0, ending: Outcome | None = None, schema: StoreSchema = SCHEMA) -> Iterator[Step]:
    """``count`` steps; the last one ends as ``ending`` (a success unless given). A person decides steps 3 to 5."""
    seen = observations(count + 1, seed, schema)
    rng = np.random.default_rng(seed + 1)
    for i in range(count):
        yield Step(
            seen[i],
            rng.uniform(-1, 1, schema.action_size),
            rng.uniform(-1, 1, schema.action_size),
            Source.PERSON if 3 <= i < 6 else Source.POLICY,
            (ending or Outcome.success()) if i == count - 1 else Outcome.running(0.125 * i),
            seen[i + 1],
            Timing(decision_ms=1.5, period_ms=100.0, version=7, late=i == 1),
            rng.normal(size=7),
            {"peg": Pose(rng.normal(size=3), np.array([0.0, 0.0, 0.0, 1.0]))},
            cost=i / count,
        )


def transitions(count: int, seed: int = 0, episode: int = 0, terminated: bool = True) -> Transitions:
    """``count`` transitions of one episode, with the state size 5 and action size 2 of `SCHEMA`."""
    rng = np.random.default_rng(seed)
    ends = np.arange(count) == count - 1
    return Transitions(
        "made up",
        episode,
        0,
        rng.normal(size=(count + 1, 5)).astype(np.float32),
        {},
        rng.uniform(-1, 1, (count, 2)).astype(np.float32),
        rng.uniform(-1, 1, (count, 2)).astype(np.float32),
        rng.normal(size=count).astype(np.float32),
        ends & terminated,
        ends & (not terminated),
        (rng.random(count) < 0.3).astype(np.uint8),
        np.zeros(count, np.int64),
        rng.random(count).astype(np.float32),
    )


def same(part: Transitions, whole: Transitions) -> bool:
    """Whether ``part`` equals the corresponding span of ``whole``, bit for bit, truncation aside."""
    cut = whole.span(part.start, part.start + len(part))
    names = ("state", "action", "policy_action", "reward", "terminated", "source", "version", "cost")
    return all(np.array_equal(getattr(part, name), getattr(cut, name)) for name in names) and all(
        np.array_equal(image, cut.images[name]) for name, image in part.images.items()
    )


def only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path
