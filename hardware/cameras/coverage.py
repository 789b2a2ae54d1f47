"""Pictures of a calibration board as they are taken: when one is worth keeping, and which are missing.

A picture is kept when the board, and the hand where its pose counts, have been still, and the board is not where it was
in one that is kept. A calibration is sure when the board was seen in all parts of the picture, tilted to all sides,
near and far. Poses of the board are told with a lens that is guessed, which is good enough for that.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from controllers.spatial import Pose
from hardware.cameras.calibration import FEWEST_CORNERS, CalibrationError, View, board_in_camera
from hardware.cameras.intrinsics import Intrinsics

ENOUGH = 12  # pictures
CELLS = 3  # of the picture, each way
TILT = math.radians(15.0)
FARTHER = 1.2  # the farthest board, over the nearest
STILL_PIXELS = 0.5 / 640.0  # root mean square by which corners of a still board move, over the picture's width
STILL_HAND = 5e-4  # [m, rad]
STILL_FOR, STILL_LOOKS = 0.5, 3  # [s], and in so many looks
NEW_PIXELS, NEW_ANGLE = 0.05, math.radians(8.0)  # root mean square over the picture's width, or turned by as much
GUESSED = 0.95  # focal length over the picture's width
PLACES = tuple(f"{row} {column}" for row in ("top", "middle", "bottom") for column in ("left", "centre", "right"))
NEARER = {(0, 1): "right", (0, -1): "left", (1, 1): "bottom", (1, -1): "top"}  # side, by axis and sign of the normal


class Look(NamedTuple):
    """A picture that was looked at: whether it is to be kept, and what the person should do, in words."""

    keep: bool
    words: str


class _Seen(NamedTuple):
    view: View
    pose: Pose  # of the board in the camera's frame

    @property
    def depth(self) -> float:
        """Of the middle of what is seen of the board [m]."""
        return float(self.pose.rotation[2] @ self.view.corners.mean(axis=0) + self.pose.translation[2])


class BoardWatch:
    """Looks at pictures of ``width`` × ``height`` pixels.

    Args:
        with_hand: the pose of the hand counts.
    """

    def __init__(self, width: int, height: int, with_hand: bool) -> None:
        focal = GUESSED * width
        self._lens = Intrinsics(width, height, focal, focal, 0.5 * width, 0.5 * height)
        self._with_hand = with_hand
        self._kept: list[_Seen] = []
        self._still: tuple[View, Pose | None, float, int] | None = None  # the first of a still board, its stamp, looks

    @property
    def kept(self) -> int:
        """How many pictures are kept."""
        return len(self._kept)

    @property
    def covered(self) -> np.ndarray:
        """Parts of the picture where the board was seen ``(CELLS, CELLS)`` bool, from the top left."""
        found = np.zeros((CELLS, CELLS), bool)
        for seen in self._kept:
            found |= self._cells(seen.view)
        return found

    def look(self, view: View | None, hand: Pose | None, stamp: float) -> Look:
        """Look at a picture of ``stamp`` [s] with the board in ``view``, or None, and ``hand`` where that is known."""
        if view is None:
            self._still = None
            return Look(False, f"the board is not in view, or fewer than {FEWEST_CORNERS} of its corners are")
        if self._with_hand and hand is None:
            self._still = None
            return Look(False, "the arm does not say where its hand is")
        if not self._is_still(view, hand, stamp):
            return Look(False, "hold still")
        try:
            seen = _Seen(view, board_in_camera(view, self._lens))
        except CalibrationError as error:
            return Look(False, str(error))
        if not all(self._differs(seen, other) for other in self._kept):
            return Look(False, "there is such a picture: move on")
        self._kept.append(seen)
        return Look(True, f"picture {self.kept} is kept: move on")

    def missing(self) -> list[str]:
        """The pictures that a calibration lacks, in words; empty when it lacks none."""
        words = []
        if self.kept < ENOUGH:
            words.append(f"{ENOUGH - self.kept} more")
        if places := [name for name, seen in zip(PLACES, np.ravel(self.covered), strict=True) if not seen]:
            words.append(f"the board in the picture's {', '.join(places)}")
        normals = np.array([seen.pose.rotation[:2, 2] for seen in self._kept]).reshape(-1, 2)
        sides = [side for (axis, sign), side in NEARER.items() if not (sign * normals[:, axis] >= math.sin(TILT)).any()]
        if sides:
            words.append(f"tilted by 15° or more, its {', its '.join(sides)} side nearer")
        depths = [seen.depth for seen in self._kept]
        if not depths or max(depths) < FARTHER * min(depths):
            words.append("nearer or farther by a fifth")
        return words

    def _is_still(self, view: View, hand: Pose | None, stamp: float) -> bool:
        if self._still is not None:
            first, first_hand, since, looks = self._still
            moved = _moved(view, first)
            still = bool(moved is not None and moved <= STILL_PIXELS * self._lens.width)
            if self._with_hand and hand is not None and first_hand is not None:
                still = still and bool(np.abs(first_hand.difference(hand)).max() <= STILL_HAND)
            if still:
                self._still = first, first_hand, since, looks + 1
                return stamp - since >= STILL_FOR and looks + 1 >= STILL_LOOKS
        self._still = view, hand, stamp, 1
        return False

    def _differs(self, seen: _Seen, other: _Seen) -> bool:
        moved = _moved(seen.view, other.view)
        if moved is None or moved >= NEW_PIXELS * self._lens.width:
            return True
        turned = seen.pose.inverse().compose(other.pose).rotvec
        return float(np.linalg.norm(turned)) >= NEW_ANGLE

    def _cells(self, view: View) -> np.ndarray:
        columns, rows = (
            np.clip((view.pixels[:, axis] * CELLS / size).astype(int), 0, CELLS - 1)
            for axis, size in ((0, self._lens.width), (1, self._lens.height))
        )
        found = np.zeros((CELLS, CELLS), bool)
        found[rows, columns] = True
        return found


def _moved(view: View, other: View) -> float | None:
    """Root mean square distance [px] of the corners that both have; None where these are too few."""
    there = {tuple(corner): pixel for corner, pixel in zip(other.corners.tolist(), other.pixels, strict=True)}
    pairs = [
        pixel - there[tuple(corner)]
        for corner, pixel in zip(view.corners.tolist(), view.pixels, strict=True)
        if tuple(corner) in there
    ]
    if len(pairs) < FEWEST_CORNERS:
        return None
    return float(np.sqrt(np.mean(np.sum(np.square(pairs), axis=1))))
