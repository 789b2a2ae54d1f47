"""Features in place of images, where steps are read: those that were recorded, or made anew of the recorded images.

Features of one encoder are never mixed with those of another: whoever reads with an encoder gets its features, and
nothing else. What is encoded anew is kept nowhere but with the reader's caller.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from robot_rl.data.columns import FEATURE, IMAGE
from robot_rl.data.schema import StoreSchema

_log = logging.getLogger(__name__)
AT_ONCE = 8  # images that are encoded together; of more, each takes longer on a processor


class Encodes(Protocol):
    """An encoder, as reading needs it; see `robot_rl.perception.encoders`."""

    name: str
    digest: str

    def encode(self, pictures: np.ndarray) -> np.ndarray:
        """Grids ``(n, rows, columns, channels)`` float16 of ``pictures (n, h, w, 3)`` uint8."""


def encode_all(encoder: Encodes, images: np.ndarray) -> np.ndarray:
    """Grids ``(n, rows, columns, channels)`` float16 of ``images (n, h, w, 3)`` uint8, `AT_ONCE` at a time."""
    parts = [encoder.encode(images[first : first + AT_ONCE]) for first in range(0, len(images), AT_ONCE)]
    return np.concatenate(parts)


class FeatureReading:
    """Columns that are read of one store for an agent that sees features of ``encoder``; None: images.

    Args:
        store: path, for messages.
        images: without an encoder, read images.
    """

    def __init__(self, store: Path, encoder: Encodes | None, images: bool) -> None:
        self._store, self._encoder, self._images = store, encoder, images
        self._encoded: set[int] = set()  # episodes

    def left_out(self, schema: StoreSchema) -> tuple[str, ...]:
        """Beginnings of the names of columns that need not be read."""
        if self._encoder is None:
            return (FEATURE,) if self._images else (FEATURE, IMAGE)
        return (IMAGE,) if schema.encoder == self._encoder.digest else (FEATURE,)

    def seen(
        self, schema: StoreSchema, episode: int, episodes: int, columns: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """``columns`` as the agent sees them, of ``episode``, one of so many ``episodes`` of the store."""
        left_out = self.left_out(schema)
        kept = {name: column for name, column in columns.items() if not name.startswith(left_out)}
        if self._encoder is None or schema.encoder == self._encoder.digest:
            return kept
        self._tell(schema, episode, episodes)
        return {
            name.replace(IMAGE, FEATURE, 1) if name.startswith(IMAGE) else name: (
                encode_all(self._encoder, column) if name.startswith(IMAGE) else column
            )
            for name, column in kept.items()
        }

    def _tell(self, schema: StoreSchema, episode: int, episodes: int) -> None:
        """Say how far the encoding is, once for each episode, and first of all why there is any."""
        if episode in self._encoded or self._encoder is None:
            return
        if not self._encoded:
            held = f"features of encoder {schema.encoder}" if schema.encoder else "no features"
            _log.warning(
                "%s has %s: its images are encoded anew by %s, and again at the next start",
                self._store,
                held,
                self._encoder.name,
            )
        self._encoded.add(episode)
        _log.info("%s: encoding episode %d (%d of about %d)", self._store, episode, len(self._encoded), episodes)
