"""A device's own clock, mapped to the host's by the pictures that were the quickest on their way."""

from __future__ import annotations

from collections import deque

WINDOW = 300  # newest pictures; two clocks drift apart by less than 1 ms meanwhile
JUMP = 1.0  # [s] by which a picture cannot be late: the device has set its clock anew


class HostClock:
    """host = device + min (arrival − device), over the newest `WINDOW` pictures.

    A picture is never stamped later than it arrived, and the rhythm of the device is kept.
    """

    def __init__(self) -> None:
        self._delays: deque[float] = deque(maxlen=WINDOW)  # with the difference of the clocks

    def stamp(self, device: float, arrival: float) -> float:
        """The moment of a picture by the host's clock [s]: ``device`` is that by its own, ``arrival`` by the host's."""
        delay = arrival - device
        if self._delays and abs(delay - self._delays[-1]) > JUMP:
            self._delays.clear()
        self._delays.append(delay)
        return device + min(self._delays)
