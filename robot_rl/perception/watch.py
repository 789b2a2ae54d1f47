"""Pictures that cannot be believed: dark, overexposed, frozen, or of another size than before.

A camera that has failed often goes on sending. A sensor is never without noise, so that pictures whose pixels are all
the same as before come from a driver or a network that repeats itself.
"""

from __future__ import annotations

import numpy as np

from robot_rl.contract import View

DARK, BRIGHT = 16, 250  # of 255: of pictures that show nothing, all but `REST` of the pixels are below, or above
REST = 0.02  # share of the pixels


class PictureWatch:
    """Looks at the pictures of one camera.

    Args:
        view: taken of each picture.
        frozen: [s] for which the same pixels may come again and again; 0: for ever, as drawn pictures may.
    """

    def __init__(self, view: View, frozen: float) -> None:
        self._view, self._frozen = view, frozen
        self._shape: tuple[int, ...] | None = None  # of the first picture
        self._last: np.ndarray | None = None
        self._since = 0  # [ns], stamp of the first picture with these pixels

    def look(self, picture: np.ndarray, stamp_ns: int) -> str:
        """Why ``picture (H, W, 3)`` uint8 of ``stamp_ns`` cannot be believed, in words; "" when it can."""
        if self._shape is None:
            self._shape = picture.shape
        height, width = picture.shape[:2]
        if picture.shape != self._shape:
            was = f"{self._shape[1]}x{self._shape[0]}"
            return f"its pictures are of {width}x{height} pixels now, and were of {was}; is another camera plugged in?"
        side = round(min(self._view.crop[2] * width, self._view.crop[3] * height))
        if side < self._view.size:
            return (
                f"its pictures of {width}x{height} pixels have {side} where the task takes {self._view.size}; choose a "
                "larger resolution, a larger crop or a smaller size"
            )
        if self._last is None or not np.array_equal(picture, self._last):
            self._last, self._since = picture, stamp_ns
        lasted = (stamp_ns - self._since) / 1e9
        if self._frozen and lasted >= self._frozen:
            return f"frozen: the same pixels for {lasted:.1f} s"
        brightest, darkest = picture.max(axis=2), picture.min(axis=2)
        if np.mean(brightest >= DARK) < REST:
            return f"dark: {np.mean(brightest < DARK):.0%} of its pixels are below {DARK} of 255; is the lens covered?"
        if np.mean(darkest <= BRIGHT) < REST:
            return f"overexposed: {np.mean(darkest > BRIGHT):.0%} of its pixels are above {BRIGHT} of 255"
        return ""
