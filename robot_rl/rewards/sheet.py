"""The sheet of the worst mistakes: the pictures behind them, with what was said, as one PNG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

COLUMNS, CAPTION, LEAST = 4, 34, 128  # tiles in a row; height of the words; of a picture, at least [pixels]
FONT = cv2.FONT_HERSHEY_SIMPLEX


class Tile(NamedTuple):
    """A mistake to look at.

    Attributes:
        lines: two, of words.
        pictures: one for each camera, ``(h, w, 3)`` uint8 RGB.
    """

    lines: tuple[str, str]
    pictures: Sequence[np.ndarray]


def draw_sheet(tiles: Sequence[Tile]) -> bytes:
    """The content of a PNG file with ``tiles`` in order; with none, words that say so."""
    drawn = [_tile(tile) for tile in tiles] or [_tile(Tile(("no mistakes", ""), [np.full((LEAST, LEAST, 3), 255)]))]
    height, width = max(tile.shape[0] for tile in drawn), max(tile.shape[1] for tile in drawn)
    rows = -(-len(drawn) // COLUMNS)
    sheet = np.full((rows * height, min(len(drawn), COLUMNS) * width, 3), 255, np.uint8)
    for number, tile in enumerate(drawn):
        top, left = number // COLUMNS * height, number % COLUMNS * width
        sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    _, data = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    return data.tobytes()


def _tile(tile: Tile) -> np.ndarray:
    side = max(LEAST, *(picture.shape[0] for picture in tile.pictures))
    pictures = [
        cv2.resize(picture.astype(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST) for picture in tile.pictures
    ]
    picture = np.concatenate(pictures, axis=1)
    words = [cv2.getTextSize(line, FONT, 0.4, 1)[0][0] for line in tile.lines]
    found = np.full((CAPTION + side + 4, max(picture.shape[1], *words) + 8, 3), 255, np.uint8)
    for number, line in enumerate(tile.lines):
        cv2.putText(found, line, (2, 13 + 15 * number), FONT, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    found[CAPTION : CAPTION + side, : picture.shape[1]] = picture
    return found
