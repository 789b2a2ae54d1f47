"""Random but reproducible steps to record, of a task that is nothing but its state."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from controllers.spatial import Pose
from controllers.state import Mode
from robot_rl.contract import ActionSpec, AgentView, Field, Outcome, Reading, Source, Step, Timing
from robot_rl.data.episode import Transitions
from robot_rl.data.schema import StoreSchema
from robot_rl.data.store import StoreReader
from robot_rl.learner.domain import TaskDomain


class Felt:
    """The position of the TCP in tenths of a metre, and two components of the wrench."""

    name = "reach"
    fields = (Field("position", 3, 10.0), Field("force", 2, 0.1))
    action = ActionSpec(("x", "y"), (0.01, 0.01))
    control_period = 0.1

    def state(self, reading: Reading) -> np.ndarray:
        return np.concatenate((10.0 * reading.pose.translation, 0.1 * reading.wrench[:2])).astype(np.float32)


TASK = Felt()
OBJECTS = ("peg", "goal", "hole", "cube")  # those of our tasks too, whose names some tests record under
SCHEMA = StoreSchema.of(TASK)
PIXELS = StoreSchema.of(TASK, {"wrist": (4, 6)})
FEATURES = dataclasses.replace(PIXELS, features={"wrist": (2, 3, 4)}, encoder="a1")
DOMAIN = TaskDomain(AgentView(TASK), SCHEMA)


def reader(path: Path, **settings) -> StoreReader:
    """A reader that sees what `Felt` makes of a reading."""
    return StoreReader(path, observe=TASK.state, **settings)


def reading(rng: np.random.Generator, stamp_ns: int = 0, schema: StoreSchema = SCHEMA) -> Reading:
    """Anything that an arm could say."""
    return Reading(
        stamp_ns=stamp_ns,
        robot_time=stamp_ns * 1e-9,
        q=rng.normal(size=7),
        pose=pose(rng),
        twist=rng.normal(size=6),
        wrench=rng.normal(size=6),
        target=pose(rng),
        gripper=float(rng.random()),
        tank=float(rng.random()),
        mode=Mode.TRACK,
        images={name: rng.integers(0, 256, (*size, 3), dtype=np.uint8) for name, size in schema.images.items()},
        objects={name: pose(rng) for name in OBJECTS},
        budget=float(rng.random()),
        activity=float(rng.random()),
        signals={"person": float(rng.random())},
        features={name: rng.normal(size=size).astype(np.float16) for name, size in schema.features.items()},
    )


def pose(rng: np.random.Generator) -> Pose:
    quat = rng.normal(size=4)
    return Pose(rng.normal(size=3), quat / np.linalg.norm(quat))


def readings(count: int, seed: int, schema: StoreSchema = SCHEMA) -> list[Reading]:
    rng = np.random.default_rng(seed)
    return [reading(rng, i * 100_000_000, schema) for i in range(count)]


def steps(count: int, seed: int = 0, ending: Outcome | None = None, schema: StoreSchema = SCHEMA) -> Iterator[Step]:
    """``count`` steps; the last one ends as ``ending`` (a success unless given). A person decides steps 3 to 5."""
    seen = readings(count + 1, seed, schema)
    rng = np.random.default_rng(seed + 1)
    for i in range(count):
        yield Step(
            seen[i],
            rng.uniform(-1, 1, schema.action_size),
            rng.uniform(-1, 1, schema.action_size),
            Source.PERSON if 3 <= i < 6 else Source.POLICY,
            (ending or Outcome.success()) if i == count - 1 else Outcome.running(0.125 * i),
            seen[i + 1],
            pose(rng),
            Timing(decision_ms=1.5, period_ms=100.0, version=7, late=i == 1),
            cost=i / count,
        )


def transitions(count: int, seed: int = 0, episode: int = 0, terminated: bool = True, **columns) -> Transitions:
    """``count`` transitions of one episode, with sizes 5 and 2 as `Felt` has them; ``columns`` in place of its own."""
    rng = np.random.default_rng(seed)
    ends = np.arange(count) == count - 1
    made = {
        "state": rng.normal(size=(count + 1, 5)).astype(np.float32),
        "action": rng.uniform(-1, 1, (count, 2)).astype(np.float32),
        "policy_action": rng.uniform(-1, 1, (count, 2)).astype(np.float32),
        "reward": rng.normal(size=count).astype(np.float32),
        "terminated": ends & terminated,
        "truncated": ends & (not terminated),
        "source": (rng.random(count) < 0.3).astype(np.uint8),
        "version": np.zeros(count, np.int64),
        "cost": rng.random(count).astype(np.float32),
    }
    return Transitions("made up", episode, 0, made | columns)


def with_columns(part: Transitions, **columns: np.ndarray) -> Transitions:
    """``part`` with some columns in place of its own."""
    return dataclasses.replace(part, columns={**part.columns, **columns})


def same(part: Transitions, whole: Transitions) -> bool:
    """Whether ``part`` equals the corresponding span of ``whole``, bit for bit, truncation aside."""
    cut = whole.span(part.start, part.start + len(part))
    names = part.columns.keys() - {"truncated"}
    return names == cut.columns.keys() - {"truncated"} and all(np.array_equal(part[n], cut[n]) for n in names)


def only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path
