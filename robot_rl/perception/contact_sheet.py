"""The contact sheet: each camera's picture, and the part of it that each consumer sees, as one PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from robot_rl.contract import View
from robot_rl.perception.images import fit, square_of
from robot_rl.perception.meter import CameraReport

HEIGHT = 240  # of each picture on the sheet
CAPTION, LINE, MARGIN = 36, 15, 4  # [pixels] above each picture, of a line of words in there, around
FONT, SIZE = cv2.FONT_HERSHEY_SIMPLEX, 0.42
BLACK, RED, GREY = (0, 0, 0), (200, 0, 0), 210  # RGB; where there is no picture
COLOURS = ((0, 200, 80), (255, 150, 0), (60, 120, 255), (220, 60, 220))  # RGB, of the parts that are seen


class Row(NamedTuple):
    """A camera on the sheet.

    Attributes:
        camera: its name.
        picture: its newest ``(h, w, 3)`` uint8 RGB; None before the first.
        report: how it is doing.
        seen: consumer → what it sees of the picture.
    """

    camera: str
    picture: np.ndarray | None
    report: CameraReport
    seen: Mapping[str, View]


def draw_contact_sheet(rows: Sequence[Row]) -> np.ndarray:
    """The sheet ``(h, w, 3)`` uint8 RGB, a line of pictures for each of ``rows``, one at least."""
    lines = [_row(row) for row in rows]
    width = max(line.shape[1] for line in lines)
    return np.concatenate([_padded(line, width) for line in lines])


def png_of(sheet: np.ndarray) -> bytes:
    """The content of a PNG file with ``sheet (h, w, 3)`` uint8 RGB."""
    _, data = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    return data.tobytes()


def outlined(picture: np.ndarray, views: Sequence[View]) -> np.ndarray:
    """A copy of ``picture (h, w, 3)`` uint8 RGB with the square that each of ``views`` takes of it drawn in."""
    drawn = picture.copy()
    thick = max(1, round(picture.shape[0] / HEIGHT))
    for number, view in enumerate(views):
        x, y, side = square_of(view, picture.shape[1], picture.shape[0])
        colour = COLOURS[number % len(COLOURS)]
        cv2.rectangle(drawn, (x, y), (x + side - 1, y + side - 1), colour, thick)
    return drawn


def _row(row: Row) -> np.ndarray:
    report = row.report
    head = f"{row.camera}: {report.line}"
    if row.picture is None:
        return _tile(np.full((HEIGHT, HEIGHT, 3), GREY, np.uint8), head, report.trouble)
    by_view: dict[View, list[str]] = {}
    for consumer, view in row.seen.items():
        by_view.setdefault(view, []).append(consumer)
    tiles = [_tile(_scaled(outlined(row.picture, list(by_view))), head, report.trouble)]
    for number, (view, consumers) in enumerate(by_view.items()):
        part = _scaled(fit(row.picture, view))
        part = cv2.copyMakeBorder(part, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=COLOURS[number % len(COLOURS)])
        crop = ", ".join(f"{share:.3g}" for share in view.crop)
        tiles.append(_tile(part, ", ".join(consumers), f"{view.size}x{view.size} of crop {crop}", BLACK))
    height = max(tile.shape[0] for tile in tiles)
    return np.concatenate([_padded(tile, tile.shape[1], height) for tile in tiles], axis=1)


def _scaled(picture: np.ndarray) -> np.ndarray:
    """``picture`` at `HEIGHT`, with its own pixels to be seen where it is smaller."""
    height, width = picture.shape[:2]
    smooth = cv2.INTER_AREA if height > HEIGHT else cv2.INTER_NEAREST
    return cv2.resize(picture, (max(1, round(width * HEIGHT / height)), HEIGHT), interpolation=smooth)


def _tile(picture: np.ndarray, head: str, below: str, colour: tuple[int, int, int] = RED) -> np.ndarray:
    """``picture`` with two lines of words above it, as wide as they need."""
    lines = [(text.encode("ascii", "replace").decode(), of) for text, of in ((head, BLACK), (below, colour))]
    widest = max(cv2.getTextSize(text, FONT, SIZE, 1)[0][0] for text, _ in lines)
    height, width = picture.shape[:2]
    tile = np.full((CAPTION + height + MARGIN, max(width, widest) + 2 * MARGIN, 3), 255, np.uint8)
    for number, (text, of) in enumerate(lines):
        cv2.putText(tile, text, (MARGIN, 14 + LINE * number), FONT, SIZE, of, 1, cv2.LINE_AA)
    tile[CAPTION : CAPTION + height, MARGIN : MARGIN + width] = picture
    return tile


def _padded(image: np.ndarray, width: int, height: int = 0) -> np.ndarray:
    """``image`` with white on its right and below, up to ``width`` × ``height``."""
    more = max(0, height - image.shape[0]), max(0, width - image.shape[1])
    return cv2.copyMakeBorder(image, 0, more[0], 0, more[1], cv2.BORDER_CONSTANT, value=(255, 255, 255))
