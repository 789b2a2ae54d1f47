"""Camera pictures → the size that observations have."""

from __future__ import annotations

import cv2
import numpy as np


def fit(image: np.ndarray, size: int) -> np.ndarray:
    """The middle square of ``image (H, W, 3)`` uint8, scaled to ``(size, size, 3)``."""
    height, width = image.shape[:2]
    if (height, width) == (size, size):
        return image
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return cv2.resize(image[top : top + side, left : left + side], (size, size), interpolation=cv2.INTER_AREA)
