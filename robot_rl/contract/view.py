"""The part of a camera's picture that belongs to an observation, and its size there."""

from __future__ import annotations

import math
from dataclasses import dataclass

from robot_rl.contract.errors import ContractError


@dataclass(frozen=True)
class View:
    """Of a picture the rectangle ``crop``, of that the middle square, scaled to ``size``.

    Attributes:
        crop: left, top, width and height of the rectangle, as shares of the picture's width and height.
        size: height and width of the image in the observation [pixels].

    Raises:
        ContractError: at construction, when the rectangle is empty or reaches beyond the picture, or there is no size.
    """

    crop: tuple[float, ...] = (0.0, 0.0, 1.0, 1.0)
    size: int = 128

    def __post_init__(self) -> None:
        if len(self.crop) != 4 or not all(map(math.isfinite, self.crop)):
            raise ContractError(f"crop={list(self.crop)} needs 4 numbers: left, top, width and height, each 0–1")
        left, top, width, height = self.crop
        if min(left, top) < 0.0 or min(width, height) <= 0.0 or max(left + width, top + height) > 1.0 + 1e-9:
            raise ContractError(
                f"crop={list(self.crop)} is no part of the picture; left, top, width and height are shares of it, so "
                "left + width and top + height are at most 1"
            )
        if not 8 <= self.size <= 1024:
            raise ContractError(f"size={self.size} is out of range; it must be from 8 to 1024 pixels")

    @property
    def picture_size(self) -> int:
        """Height and width [pixels] of a square picture that this view takes ``size`` pixels of."""
        return math.ceil(self.size / min(self.crop[2:]) - 1e-9)
