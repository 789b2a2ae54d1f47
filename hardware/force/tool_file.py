"""Files of a tool: the tool itself as YAML, and the readings at rest that it is identified from as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from controllers.spatial import Pose, SpatialError
from hardware.force.tool import StaticPose, Tool, ToolError, ToolEstimate
from hardware.kept_files import numbers, read_keys, read_rows

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
    held = read_keys(path, "tool", KEYS, ToolError)
    if ("centre" in held) == ("first_moment" in held):
        raise ToolError(f"{path}: give centre [m], or first_moment [kg m] of a tool without one")
    frame = held.get("frame")
    if not isinstance(frame, str) or not frame:
        raise ToolError(f"{path}: frame={frame!r} must be the name of the sensor's frame")
    (mass,) = numbers(path, held, "mass", 1, ToolError)
    moment = (
        mass * numbers(path, held, "centre", 3, ToolError)
        if "centre" in held
        else numbers(path, held, "first_moment", 3, ToolError)
    )
    return Tool(frame, float(mass), moment, numbers(path, held, "bias", 6, ToolError))


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
    rows = read_rows(path, COLUMNS, ToolError)
    poses = []
    for number, row in enumerate(rows, start=2):
        try:
            values = np.array([float(value) for value in row])
            if values.shape != (len(COLUMNS),):
                raise ValueError(f"{len(COLUMNS)} numbers, not {len(values)}")
            poses.append(StaticPose(Pose(np.zeros(3), values[:4]).rotation, values[4:]))
        except (ValueError, SpatialError) as error:
            raise ToolError(f"{path}, line {number}: {error}") from None
    return poses


def _list(values: np.ndarray) -> str:
    return f"[{', '.join(map(_number, values))}]"


def _number(value: float) -> str:
    """Without exponents, of which YAML takes some for text."""
    return f"{round(value, 6) + 0.0:.6f}"
