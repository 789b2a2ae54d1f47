"""How a camera is doing: rate, age and drops of its pictures, and why they cannot be believed."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np

from robot_rl.contract import View
from robot_rl.perception.watch import PictureWatch

WINDOW = 30  # newest pictures that rate, age and the usual period are told from
FEWEST = 5  # periods before one of them can be called too long
GAP = 1.5  # of the usual period, beyond which pictures are missing
SECOND = 10**9  # [ns]
NONE_YET = "has not sent an image yet"


class CameraReport(NamedTuple):
    """How a camera is doing.

    Attributes:
        width, height: of its newest picture [px]; 0 before the first.
        rate: of the newest `WINDOW` pictures [Hz]; 0 while there are not two.
        mean_rate: of all pictures [Hz]; the same.
        age: of pictures when they arrive [s], the median of the newest `WINDOW`.
        pictures: how many have come.
        dropped: how many are missing, by the gaps between stamps.
        trouble: why its pictures cannot be believed, in words; "" when they can.
    """

    width: int
    height: int
    rate: float
    mean_rate: float
    age: float
    pictures: int
    dropped: int
    trouble: str

    @property
    def line(self) -> str:
        """Without the trouble, in words."""
        if not self.pictures:
            return "no picture"
        size, age = f"{self.width}x{self.height}", f"{1000.0 * self.age:.0f} ms old"
        return f"{size}, {self.rate:.1f} Hz, {age}, {self.dropped} of {self.pictures + self.dropped} dropped"


class CameraMeter:
    """Watches the pictures of one camera.

    Args:
        view, frozen: see `PictureWatch`.
        silence: [s] without a picture after which the camera counts as lost.
    """

    def __init__(self, view: View, frozen: float, silence: float) -> None:
        self._watch, self._silence = PictureWatch(view, frozen), silence
        self._stamps: deque[int] = deque(maxlen=WINDOW)
        self._first = 0  # stamp
        self._ages: deque[float] = deque(maxlen=WINDOW)
        self._arrived = 0.0  # steady time of the newest [s]
        self._size = (0, 0)
        self._pictures = self._dropped = 0
        self._trouble = ""

    def take(self, picture: np.ndarray, stamp_ns: int, now_ns: int, arrived: float) -> None:
        """``picture (H, W, 3)`` uint8 of ``stamp_ns`` came at ``now_ns``, both ROS time; ``arrived``: steady [s]."""
        self._trouble = self._watch.look(picture, stamp_ns)
        self._size = picture.shape[1], picture.shape[0]
        self._pictures += 1
        self._dropped += self._missing(stamp_ns)
        self._first = self._first or stamp_ns
        self._stamps.append(stamp_ns)
        self._ages.append((now_ns - stamp_ns) / SECOND)
        self._arrived = arrived

    def refuse(self, words: str, arrived: float) -> None:
        """Something came that is no picture, and ``words`` say why; ``arrived``: steady [s]."""
        self._trouble, self._arrived = words, arrived

    def report(self, now: float) -> CameraReport:
        """How the camera is doing at ``now`` [s], steady."""
        silent, trouble = now - self._arrived, self._trouble
        if not self._pictures and not trouble:
            trouble = NONE_YET
        elif silent > self._silence:
            trouble = f"lost: it has sent nothing for {silent:.1f} s"
        age = float(np.median(self._ages)) if self._ages else 0.0
        rate, mean_rate = self._rate_from(0, len(self._stamps)), self._rate_from(self._first, self._pictures)
        return CameraReport(*self._size, rate, mean_rate, age, self._pictures, self._dropped, trouble)

    def _rate_from(self, first: int, pictures: int) -> float:
        """Rate [Hz] of so many ``pictures``, the last of them the newest; ``first`` is the stamp of the first, or 0 for
        that of the oldest that is remembered."""
        if pictures < 2:
            return 0.0
        lasted = self._stamps[-1] - (first or self._stamps[0])
        return (pictures - 1) * SECOND / lasted if lasted > 0 else 0.0

    def _missing(self, stamp_ns: int) -> int:
        """Pictures that should have come between the newest one and that of ``stamp_ns``."""
        if len(self._stamps) <= FEWEST:
            return 0
        usual, gap = float(np.median(np.diff(self._stamps))), stamp_ns - self._stamps[-1]
        return round(gap / usual) - 1 if usual > 0.0 and gap > GAP * usual else 0
