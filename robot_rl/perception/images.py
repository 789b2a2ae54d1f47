"""Camera pictures → the images that observations have."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from robot_rl.contract import View


def square_of(view: View, width: int, height: int) -> tuple[int, int, int]:
    """Left, top and side [pixels] of the square that ``view`` takes of a picture of ``width`` × ``height`` pixels."""
    left, top, wide, high = view.crop
    x, y = round(left * width), round(top * height)
    wide, high = max(1, round(wide * width)), max(1, round(high * height))
    side = min(wide, high)
    return x + (wide - side) // 2, y + (high - side) // 2, side


def fit(image: np.ndarray, view: View) -> np.ndarray:
    """The part of ``image (H, W, 3)`` uint8 that ``view`` takes, as ``(size, size, 3)``."""
    x, y, side = square_of(view, image.shape[1], image.shape[0])
    part = image[y : y + side, x : x + side]
    if part.shape[:2] == (view.size, view.size):
        return np.ascontiguousarray(part)
    return cv2.resize(part, (view.size, view.size), interpolation=cv2.INTER_AREA)


def picture_size(views: Mapping[str, View]) -> int:
    """Height and width [pixels] of the square pictures to draw, so that no view has to enlarge what it takes."""
    return max((view.picture_size for view in views.values()), default=0)
