"""Camera images → the cells that SmallVLA sees."""

from __future__ import annotations

import numpy as np

from robot_rl.perception.encoders import Encoder

QUARTERS = 2  # to a side of a cell
COLOURS = QUARTERS**2 * 3  # numbers of a cell beside the encoder's features
HALF = 127.5


def cell_shape(encoder: Encoder, size: int) -> tuple[int, int]:
    """Number of cells of a square image of ``size`` pixels, and of each cell's features. Raises `EncoderError`."""
    rows, columns, channels = encoder.shape(size)
    return rows * columns, channels + COLOURS


def cells_of(encoder: Encoder, images: np.ndarray) -> np.ndarray:
    """Cells ``(n, k, f)`` float16 of ``images (n, size, size, 3)`` uint8: the encoder's features, then the mean colours
    of the cell's quarters, from −1 to 1."""
    grids = encoder.encode(images)
    count, rows, columns, _ = grids.shape
    parts = images.reshape(count, rows * QUARTERS, images.shape[1] // rows // QUARTERS, columns * QUARTERS, -1, 3)
    means = parts.mean(axis=(2, 4), dtype=np.float32) / HALF - 1.0
    quarters = means.reshape(count, rows, QUARTERS, columns, QUARTERS, 3).transpose(0, 1, 3, 2, 4, 5)
    colours = quarters.reshape(count, rows, columns, COLOURS).astype(np.float16)
    return np.concatenate((grids, colours), axis=3).reshape(count, rows * columns, -1)
