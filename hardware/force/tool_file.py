"""Files of a tool: the tool itself as YAML, and the readings at rest that it is identified from as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from controllers.spatial import Pose, SpatialError
from hardware.force.tool import StaticPose, Tool, ToolError, ToolEstimate
from hardware.registry import meant

# Of a sensor at rest: rotation in the base, and wrench [N, N·m] in its own axes.
COLUMNS = ("qx", "qy", "qz", "qw", "fx", "fy", "fz", "tx", "ty", "tz")
KEYS = ("frame", "mass", "centre", "first_moment", "bias", "residual")


def text_of(estimate: ToolEstimate) -> str:
    """The file's text."""
    tool, (force, torque) = estimate.tool, estimate.residual
    lines = [
        "# A tool on a force–torque sensor, by robot-rl calibrate tool; axes and origin are those of the frame.",
        f"frame: {tool.frame}",
        f"mass: {_number(tool.mass)}  # kg, ± {estimate.mass_std:.2g}",
    ]
    if tool.centre is not None:
        spread = ", ".join(f"{1000 * value:.2g}" for value in estimate.centre_std)
        lines.append(f"centre: {_list(tool.centre)}  # of mass, m; ± {spread} mm")
    else:
        lines.append(f"first_moment: {_list(tool.moment)}  # kg m; too light for a centre of mass")
    lines += [
        f"bias: {_list(tool.bias)}  # N, N m: what the unloaded sensor shows",
        f"residual: [{force:.3g}, {torque:.3g}]  # N, N m: root mean square that the tool does not explain",
    ]
    return "\n".join(lines) + "\n"


def read_tool(path: Path) -> Tool:
    """The tool in a file. Raises `ToolError` that names file, key and what would fit."""
    try:
        held = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ToolError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(held, dict):
        raise ToolError(f"{path} is no tool; it needs the keys {', '.join(KEYS)}")
    for key in held:
        if key not in KEYS:
            raise ToolError(f"{path}: unknown key {key!r}; choose from {', '.join(KEYS)}{meant(str(key), KEYS)}")
    if ("centre" in held) == ("first_moment" in held):
        raise ToolError(f"{path}: give centre [m], or first_moment [kg m] of a tool without one")
    frame = held.get("frame")
    if not isinstance(frame, str) or not frame:
        raise ToolError(f"{path}: frame={frame!r} must be the name of the sensor's frame")
    (mass,) = _numbers(path, held, "mass", 1)
    moment = mass * _numbers(path, held, "centre", 3) if "centre" in held else _numbers(path, held, "first_moment", 3)
    return Tool(frame, float(mass), moment, _numbers(path, held, "bias", 6))


def readings_text(poses: Sequence[StaticPose]) -> str:
    """A CSV file of readings at rest: a line of `COLUMNS`, then one for each."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for pose in poses:
        quat = Pose.from_rotation(np.zeros(3), pose.rotation).quat_xyzw
        writer.writerow([f"{value:.9g}" for value in (*quat, *pose.wrench)])
    return out.getvalue()


def read_readings(path: Path) -> list[StaticPose]:
    """The readings in such a file. Raises `ToolError` that names file and line."""
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ToolError(f"{path} cannot be read: {error}") from error
    if not rows or tuple(name.strip() for name in rows[0]) != COLUMNS:
        raise ToolError(f"{path} must begin with the line {','.join(COLUMNS)}")
    poses = []
    for number, row in enumerate(rows[1:], start=2):
        try:
            values = np.array([float(value) for value in row])
            if values.shape != (len(COLUMNS),):
                raise ValueError(f"{len(COLUMNS)} numbers, not {len(values)}")
            poses.append(StaticPose(Pose(np.zeros(3), values[:4]).rotation, values[4:]))
        except (ValueError, SpatialError) as error:
            raise ToolError(f"{path}, line {number}: {error}") from None
    return poses


def _numbers(path: Path, held: dict[Any, Any], key: str, size: int) -> np.ndarray:
    value = held.get(key)
    try:
        numbers = np.atleast_1d(np.array(value, dtype=np.float64))
    except (TypeError, ValueError):
        numbers = np.array([])
    if numbers.shape != (size,) or not np.isfinite(numbers).all():
        wanted = "a finite number" if size == 1 else f"{size} finite numbers"
        raise ToolError(f"{path}: {key}={value!r} must be {wanted}")
    return numbers


def _list(values: np.ndarray) -> str:
    return f"[{', '.join(map(_number, values))}]"


def _number(value: float) -> str:
    """Without exponents, of which YAML takes some for text."""
    return f"{round(value, 6) + 0.0:.6f}"
