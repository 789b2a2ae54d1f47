"""A picture of the calibration board for the person who moves it: corners that were found, parts that are covered."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from hardware.cameras.calibration import View

GREEN, WHITE, BLACK = (0, 200, 80), (255, 255, 255), (0, 0, 0)  # RGB
FONT, SIZE, LINE = cv2.FONT_HERSHEY_SIMPLEX, 0.45, 18
SHADE = 0.25  # of green over what is covered


def draw_board(picture: np.ndarray, view: View | None, covered: np.ndarray, lines: Sequence[str]) -> np.ndarray:
    """``picture (h, w, 3)`` uint8 RGB with the corners in ``view``, ``covered (n, n)`` bool parts, ``lines`` above."""
    drawn = picture.copy()
    height, width = picture.shape[:2]
    rows, columns = covered.shape
    for row, column in np.argwhere(covered):
        top, bottom = row * height // rows, (row + 1) * height // rows
        left, right = column * width // columns, (column + 1) * width // columns
        part = drawn[top:bottom, left:right]
        part[:] = ((1.0 - SHADE) * part + SHADE * np.array(GREEN)).astype(np.uint8)
    for number in range(1, columns):
        cv2.line(drawn, (number * width // columns, 0), (number * width // columns, height), WHITE, 1)
    for number in range(1, rows):
        cv2.line(drawn, (0, number * height // rows), (width, number * height // rows), WHITE, 1)
    for x, y in view.pixels if view is not None else ():
        cv2.circle(drawn, (round(x), round(y)), max(2, width // 200), GREEN, -1)
    words = [line.replace("°", " deg").encode("ascii", "replace").decode() for line in lines]
    widest = max([width, *(cv2.getTextSize(line, FONT, SIZE, 1)[0][0] + 8 for line in words)])
    head = np.full((LINE * len(words) + 6, widest, 3), 255, np.uint8)
    for number, line in enumerate(words):
        cv2.putText(head, line, (4, 14 + LINE * number), FONT, SIZE, BLACK, 1, cv2.LINE_AA)
    return np.concatenate((head, cv2.copyMakeBorder(drawn, 0, 0, 0, widest - width, cv2.BORDER_CONSTANT, value=WHITE)))
