"""Where the target of the TCP may be: a box, half-spaces and a cone of orientations, all in the base frame.

The translations allowed are convex, so there is one nearest point. It is found exactly by adding constraints one by one
(the scheme of Seidel for linear programs, Discrete Comput. Geom. 6, 1991): a constraint that the nearest point so far
violates is active, and the search goes on in its plane, among the constraints before it. At most three can be active at
once. An orientation is brought back by the smallest rotation that puts the TCP's axis on the rim of the cone.

These are bounds on targets, not on the arm. The straight way between two translations inside is inside, too; the
shortest turn between two orientations in the cone may lead out of it (`OrientationCone`). And an arm that gives way to
a push (`controllers.retreat`) may be pushed out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from controllers.limits import LimitError
from controllers.spatial import Pose, exp3

INSET = 1e-9  # targets are clipped this far inside half-spaces [m] and the cone [rad], so that rounding leaves them in
PARALLEL = 1e-12  # below this sine of the angle between them, two planes or axes count as parallel
MIN_CONE = 1e-3  # [rad]


@dataclass(frozen=True, eq=False)
class HalfSpace:
    """Points with ``normal · x ≥ offset``: one side of a plane.

    Attributes:
        normal: into the allowed side ``(3,)``; any length but zero, kept with length 1.
        offset: distance of the plane from the origin along the normal [m].

    Raises:
        LimitError: at construction, naming what is wrong.
    """

    normal: np.ndarray
    offset: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "normal", _unit(self.normal, "the normal of a half-space"))
        if not math.isfinite(self.offset):
            raise LimitError(f"the offset of a half-space must be a finite distance in m, not {self.offset}")

    def __str__(self) -> str:
        x, y, z = self.normal
        return f"({x:.4g}, {y:.4g}, {z:.4g}) · x >= {self.offset:.4g} m"


@dataclass(frozen=True, eq=False)
class OrientationCone:
    """Orientations in which an axis of the TCP stays within an angle of a direction.

    The reference turns from one orientation to another the shortest way, on which the axis may leave the cone. On a
    turn by θ it leaves a narrow one by at most ``angle / cos(θ/4) − angle``: 41 % of the angle at half a turn, 1 % at
    0.5 rad.

    Attributes:
        axis_tcp: the axis, in the TCP frame ``(3,)``; ``(0, 0, 1)`` is where the fingers point.
        axis_base: the direction, in the base frame ``(3,)``; ``(0, 0, -1)`` is down.
        angle: largest angle between the two [rad], from 0.001 to π.

    Raises:
        LimitError: at construction, naming what is wrong.
    """

    axis_tcp: np.ndarray
    axis_base: np.ndarray
    angle: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "axis_tcp", _unit(self.axis_tcp, "axis_tcp of an orientation cone"))
        object.__setattr__(self, "axis_base", _unit(self.axis_base, "axis_base of an orientation cone"))
        if not MIN_CONE <= self.angle <= math.pi:
            raise LimitError(f"the angle of an orientation cone must lie in [{MIN_CONE}, π] rad, not {self.angle}")

    def tilt(self, rotation: np.ndarray) -> float:
        """Angle between the axis and the direction [rad] with the TCP at ``rotation (3, 3)``."""
        return _angle(rotation.dot(self.axis_tcp), self.axis_base)

    def clip(self, rotation: np.ndarray) -> np.ndarray:
        """The orientation in the cone that the smallest rotation leads to from ``rotation (3, 3)``; the same if inside.

        Pointing the opposite way there are many; one of them is chosen, always the same.
        """
        axis = rotation.dot(self.axis_tcp)
        excess = _angle(axis, self.axis_base) - self.angle
        if excess <= 0.0:
            return rotation
        turn = _cross(axis, self.axis_base)
        size = math.sqrt(turn.dot(turn))
        if size < PARALLEL:
            turn = _cross(axis, np.eye(3)[np.argmin(np.abs(axis))])
            size = math.sqrt(turn.dot(turn))
        turned: np.ndarray = exp3(turn * ((excess + INSET) / size)).dot(rotation)
        return turned


@dataclass(frozen=True, eq=False)
class Workspace:
    """Region of the targets of the TCP, in the base frame; what this leaves open is said above.

    Attributes:
        lower, upper: corners of the axis-aligned box ``(3,)`` [m], finite, lower < upper on every axis.
        half_spaces: further bounds on the translation, e.g. a wall that is not parallel to an axis.
        cone: bound on the orientation; None leaves it free.

    Raises:
        LimitError: at construction, naming the bound that is wrong or leaves no room.
    """

    lower: np.ndarray
    upper: np.ndarray
    half_spaces: tuple[HalfSpace, ...] = ()
    cone: OrientationCone | None = None

    def __post_init__(self) -> None:
        lower = np.array(self.lower, dtype=np.float64)
        upper = np.array(self.upper, dtype=np.float64)
        if lower.shape != (3,) or upper.shape != (3,):
            raise LimitError(
                f"a workspace box needs lower and upper of shape (3,), not {lower.shape} and {upper.shape}"
            )
        if not (np.isfinite(lower).all() and np.isfinite(upper).all() and (lower < upper).all()):
            raise LimitError(f"workspace box needs finite lower < upper on each axis, not {lower} and {upper} m")
        lower.flags.writeable = False
        upper.flags.writeable = False
        object.__setattr__(self, "lower", lower)
        object.__setattr__(self, "upper", upper)
        object.__setattr__(self, "half_spaces", tuple(self.half_spaces))
        self._anchor  # noqa: B018  raises when the bounds leave no room

    @cached_property
    def _constraints(self) -> tuple[np.ndarray, np.ndarray]:
        """Box and half-spaces as ``normals (m, 3) · x ≥ offsets (m,)``, the half-spaces with the inset."""
        normals = np.vstack([np.eye(3), -np.eye(3), *(h.normal for h in self.half_spaces)])
        return normals, np.concatenate((self.lower, -self.upper, [h.offset + INSET for h in self.half_spaces]))

    @cached_property
    def _anchor(self) -> np.ndarray:
        """A point ``(3,)`` [m] inside."""
        number = len(self.half_spaces) - 1
        try:
            anchor = self._into_box(_nearest(0.5 * (self.lower + self.upper), *self._constraints))
            if self._reaches(anchor):
                return anchor
        except _NoRoom as error:
            number = error.constraint - 6  # the box has the first six
        raise LimitError(
            f"half-space {number} of the workspace, {self.half_spaces[number]}, leaves no room in the box from "
            f"{self.lower} to {self.upper} m and the half-spaces before it; move or turn it"
        )

    def contains(self, pose: Pose) -> bool:
        """Whether ``pose`` (base frame) satisfies every bound, faces included."""
        if not self._reaches(pose.translation):
            return False
        return self.cone is None or self.cone.tilt(pose.rotation) <= self.cone.angle

    def clip(self, pose: Pose) -> Pose:
        """The pose inside nearest to ``pose`` (base frame); the same object if it is inside.

        Translation and orientation are clipped apart: the translation to the nearest point, the orientation by the
        smallest rotation. A pose within its bounds is not touched.
        """
        translation = self._clip_translation(pose.translation)
        if self.cone is not None:
            rotation = pose.rotation
            turned = self.cone.clip(rotation)
            if turned is not rotation:
                return Pose.from_rotation(translation, turned)
        return pose if translation is pose.translation else Pose(translation, pose.quat_xyzw)

    def _reaches(self, x: np.ndarray) -> bool:
        if not ((x >= self.lower).all() and (x <= self.upper).all()):
            return False
        return all(h.normal.dot(x) >= h.offset for h in self.half_spaces)

    def _clip_translation(self, x: np.ndarray) -> np.ndarray:
        if self._reaches(x):
            return x
        nearest = self._into_box(x)
        if self._reaches(nearest):
            return nearest
        try:
            nearest = self._into_box(_nearest(x, *self._constraints))
        except _NoRoom:  # by rounding: there was room at construction
            return self._anchor
        # From very far away, or between planes that are almost parallel, rounding may exceed the inset: go inward.
        for k in range(30, 0, -1):
            if self._reaches(nearest):
                return nearest
            nearest = nearest + (self._anchor - nearest) * 0.5**k
        return self._anchor

    def _into_box(self, x: np.ndarray) -> np.ndarray:
        inside: np.ndarray = np.minimum(np.maximum(x, self.lower), self.upper)
        return inside


class _NoRoom(Exception):
    """Constraint number ``constraint`` leaves no point."""

    def __init__(self, constraint: int) -> None:
        self.constraint = constraint


def _nearest(x: np.ndarray, normals: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The point nearest to ``x (3,)`` with ``normals (m, 3) · point ≥ offsets (m,)``, for unit normals.

    Raises `_NoRoom` with the first constraint that leaves no point.
    """
    nearest = x
    for i, (normal, offset) in enumerate(zip(normals, offsets, strict=True)):
        if normal.dot(nearest) >= offset:
            continue
        # The nearest point lies in this plane. The demands of the constraints before on points in it:
        along = normals[:i].dot(normal)
        tangents = normals[:i] - np.outer(along, normal)
        demands = offsets[:i] - along * offset
        sizes = np.sqrt(np.einsum("ij,ij->i", tangents, tangents))
        crossing = sizes > PARALLEL
        if (demands[~crossing] > 0.1 * INSET).any():
            raise _NoRoom(i)
        sizes = sizes[crossing]
        try:
            foot = x + (offset - normal.dot(x)) * normal
            nearest = _nearest(foot, tangents[crossing] / sizes[:, None], demands[crossing] / sizes)
        except _NoRoom:
            raise _NoRoom(i) from None
    return nearest


def _unit(vector: np.ndarray, what: str) -> np.ndarray:
    """``vector (3,)`` with length 1, read-only."""
    array = np.array(vector, dtype=np.float64)
    size = float(np.linalg.norm(array)) if array.shape == (3,) else 0.0
    if not (math.isfinite(size) and size > 0.0):
        raise LimitError(f"{what} must be 3 finite numbers that are not all zero, not {vector}")
    array /= size
    array.flags.writeable = False
    return array


def _angle(a: np.ndarray, b: np.ndarray) -> float:
    """Angle between unit vectors ``(3,)`` [rad], accurate at 0 and π, where the cosine is not."""
    cross = _cross(a, b)
    return math.atan2(math.sqrt(cross.dot(cross)), a.dot(b))


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``a × b (3,)``; numpy's own takes ten times as long."""
    ax, ay, az = a.tolist()
    bx, by, bz = b.tolist()
    return np.array((ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx))
