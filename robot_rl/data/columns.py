"""Readings and steps as named columns, and back.

An episode of T steps has T + 1 rows of every *observed* column, which keep its readings whole, and T of all others:

    observed   stamp_ns (int64) [ns]; robot_time [s]; q (7) [rad]; pose, reference (7) [xyz m, quat_xyzw, base frame];
               twist (6) [m/s, rad/s]; wrench (6) [N, N·m]; gripper 0–1; tank, budget [J]; activity [s]; mode (uint8);
               fault (w) uint8, UTF-8 filled up with zeros; objects/<name> (7) like pose, signals/<name>, sensed
               (6) like wrench, all three not a number where the reading had none; image/<camera> (h, w, 3) uint8;
               features/<camera> (rows, columns, channels) float16, of an encoder
    a step     target (7) like pose, as commanded; action, policy_action (a); reward; terminated, truncated (bool);
               source; version; cost; decision_ms, period_ms; late (bool)

An observation is no column: it is derived from a reading when it is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from controllers.spatial import Pose
from controllers.state import Mode
from robot_rl.contract import Reading

NUMBERS: dict[str, tuple[int, ...]] = {  # of a reading that always has them; float64
    "robot_time": (),
    "q": (7,),
    "pose": (7,),
    "twist": (6,),
    "wrench": (6,),
    "reference": (7,),
    "gripper": (),
    "tank": (),
    "budget": (),
    "activity": (),
}
OBJECT, SIGNAL, IMAGE, FEATURE, SENSED = "objects/", "signals/", "image/", "features/", "sensed"
SOMETIMES = (OBJECT, SIGNAL, SENSED)  # in some readings and not in others
MISSING = {OBJECT: (7,), SIGNAL: (), SENSED: (6,)}  # shapes of theirs
OBSERVED = ("stamp_ns", "mode", "fault", *NUMBERS)  # and those with a prefix above
STATE = "state"  # what an agent's view of the task makes of a reading; never recorded
STEP_TYPES: dict[str, type] = {
    "reward": np.float32,
    "terminated": np.bool_,
    "truncated": np.bool_,
    "source": np.uint8,
    "version": np.int64,
    "cost": np.float32,
    "decision_ms": np.float32,
    "period_ms": np.float32,
    "late": np.bool_,
}
COUNTS = "counts"  # bool: the step is not behind an ending that was given to an earlier one later on


def is_observed(name: str) -> bool:
    """Whether a column has a row for every instant, that after the last step included."""
    return name in OBSERVED or name == STATE or name.startswith((*SOMETIMES, IMAGE, FEATURE))


def missing_shape(name: str) -> tuple[int, ...]:
    """The shape of a row of a column that is in some readings and not in others."""
    return next(shape for prefix, shape in MISSING.items() if name.startswith(prefix))


def pose_to_row(pose: Pose) -> np.ndarray:
    """``(7,)`` float64."""
    return np.concatenate((pose.translation, pose.quat_xyzw))


def row_to_pose(row: np.ndarray) -> Pose:
    """The inverse of `pose_to_row`."""
    return Pose(row[:3], row[3:])


def reading_to_row(reading: Reading) -> dict[str, np.ndarray]:
    """Each observed column's row of this instant; no signal or object that the reading has not."""
    row = {
        "stamp_ns": np.array(reading.stamp_ns, np.int64),
        "robot_time": np.array(reading.robot_time, np.float64),
        "q": np.asarray(reading.q, np.float64),
        "pose": pose_to_row(reading.pose),
        "twist": np.asarray(reading.twist, np.float64),
        "wrench": np.asarray(reading.wrench, np.float64),
        "reference": pose_to_row(reading.target),
        "gripper": np.array(reading.gripper, np.float64),
        "tank": np.array(reading.tank, np.float64),
        "budget": np.array(reading.budget, np.float64),
        "activity": np.array(reading.activity, np.float64),
        "mode": np.array(reading.mode, np.uint8),
        "fault": np.frombuffer(reading.fault.encode(), np.uint8),
    }
    if reading.sensed is not None:
        row[SENSED] = np.asarray(reading.sensed, np.float64)
    row |= {f"{OBJECT}{name}": pose_to_row(pose) for name, pose in reading.objects.items()}
    row |= {f"{SIGNAL}{name}": np.array(value, np.float64) for name, value in reading.signals.items()}
    row |= {f"{IMAGE}{name}": image for name, image in reading.images.items()}
    return row | {f"{FEATURE}{name}": grid for name, grid in reading.features.items()}


def columns_to_readings(columns: Mapping[str, np.ndarray]) -> Iterator[Reading]:
    """A reading for every row of the observed columns, in order: the inverse of `reading_to_row`."""
    objects, signals, images, features = (
        [(name.removeprefix(prefix), column) for name, column in columns.items() if name.startswith(prefix)]
        for prefix in (OBJECT, SIGNAL, IMAGE, FEATURE)
    )
    scalars = {name: columns[name].tolist() for name in ("stamp_ns", "mode", *NUMBERS) if columns[name].ndim == 1}
    faults = columns["fault"]
    silent = not faults.any()
    sensed = columns.get(SENSED)
    for i in range(len(faults)):
        yield Reading(
            stamp_ns=scalars["stamp_ns"][i],
            robot_time=scalars["robot_time"][i],
            q=columns["q"][i],
            pose=row_to_pose(columns["pose"][i]),
            twist=columns["twist"][i],
            wrench=columns["wrench"][i],
            target=row_to_pose(columns["reference"][i]),
            gripper=scalars["gripper"][i],
            tank=scalars["tank"][i],
            mode=Mode(scalars["mode"][i]),
            images={name: column[i] for name, column in images},
            objects={name: row_to_pose(column[i]) for name, column in objects if column[i, 0] == column[i, 0]},
            fault="" if silent else faults[i].tobytes().rstrip(b"\0").decode(),
            budget=scalars["budget"][i],
            activity=scalars["activity"][i],
            signals={name: float(column[i]) for name, column in signals if column[i] == column[i]},
            sensed=None if sensed is None or np.isnan(sensed[i, 0]) else sensed[i],
            features={name: column[i] for name, column in features},
        )


def stack_rows(name: str, rows: list[np.ndarray | None]) -> np.ndarray:
    """One observed column of its rows; None: the reading had none."""
    if name == "fault":
        width = max((len(row) for row in rows if row is not None), default=0)
        column = np.zeros((len(rows), max(1, width)), np.uint8)
        for i, row in enumerate(rows):
            column[i, : len(row) if row is not None else 0] = row if row is not None else 0
        return column
    if name.startswith(SOMETIMES):
        missing = np.full(missing_shape(name), np.nan)
        return np.stack([missing if row is None else row for row in rows])
    return np.stack([row for row in rows if row is not None])
