"""Camera pictures → the images that observations have."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from robot_rl.contract import View


def fit(image: np.ndarray, view: View) -> np.ndarray:
    """The part of ``image (H, W, 3)`` uint8 that ``view`` takes, as ``(size, size, 3)``."""
    height, width = image.shape[:2]
    left, top, wide, high = view.crop
    x, y = round(left * width), round(top * height)
    wide, high = max(1, round(wide * width)), max(1, round(high * height))
    side = min(wide, high)
    x, y = x + (wide - side) // 2, y + (high - side) // 2
    part = image[y : y + side, x : x + side]
    if part.shape[:2] == (view.size, view.size):
        return np.ascontiguousarray(part)
    return cv2.resize(part, (view.size, view.size), interpolation=cv2.INTER_AREA)


def picture_size(views: Mapping[str, View]) -> int:
    """Height and width [pixels] of the square pictures to draw, so that no view has to enlarge what it takes."""
    return max((view.picture_size for view in views.values()), default=0)
