"""Frozen encoders: camera pictures → grids of features, by networks that others have trained.

``encoder=<name>``, or ``<name>:<local path>`` for one whose weights lie in a file or folder. Features keep where things
are: they are a grid over the picture, never a pool of it. Which weights and layer made them is the encoder's `digest`;
features of two digests are never mixed.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from robot_rl.contract import ContractError, Registry


class EncoderError(ContractError):
    """An encoder that cannot be made: a library or file is missing, or does not fit."""


# Each is called with the local path that its name came with, None without one.
ENCODERS = Registry("encoder", {"efficientnet_lite0": "robot_rl.perception.efficientnet:EfficientNetLite0"})


class Encoder(Protocol):
    """A frozen network. Making one imports no torch: whoever records, acts or learns needs but digest and shape.

    Attributes:
        name: as in the setting ``encoder``.
        digest: of weights, layer and preprocessing, hexadecimal.
    """

    name: str
    digest: str

    def shape(self, size: int) -> tuple[int, int, int]:
        """Rows, columns and channels of the grid for square pictures of ``size`` pixels. Raises `EncoderError`."""

    def load(self) -> None:
        """Get ready to encode, which `encode` does when it is asked first. Raises `EncoderError` for a file that does
        not fit."""

    def encode(self, pictures: np.ndarray) -> np.ndarray:
        """Grids ``(n, rows, columns, channels)`` float16 of ``pictures (n, size, size, 3)`` uint8 RGB."""


def make_encoder(name: str) -> Encoder:
    """The encoder called ``name``, or ``name:path``.

    Raises `ContractError` when there is none, `EncoderError` when a library or file is missing.
    """
    registered, _, path = name.partition(":")
    known = registered in ENCODERS.names()
    make = ENCODERS.load(registered if known else name)
    if known and path and not Path(path).expanduser().exists():
        raise EncoderError(f"encoder={name}: there is nothing at {path}")
    encoder: Encoder = make(Path(path).expanduser() if known and path else None)
    return encoder


def missing(name: str, library: str) -> EncoderError:
    """The error of an encoder whose ``library`` is not installed."""
    return EncoderError(
        f"encoder={name} needs {library}, which is not installed: pip install 'torch' (the build for your machine), "
        "then 'robot_rl[vision]'"
    )


def use_one_thread() -> None:
    """Have torch compute on one thread of this process, once it is loaded; without torch, nothing.

    One picture is too little work to share: on cores that others use too, each of a hundred layers waits for a thread
    that has been put aside. Setting ``OMP_NUM_THREADS`` in the process comes too late.
    """
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(1)


def encode_views(encoder: Encoder, pictures: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Grids ``(rows, columns, channels)`` float16 of ``pictures`` (camera → ``(size, size, 3)`` uint8)."""
    sizes: dict[Any, list[str]] = {}
    for camera, picture in pictures.items():
        sizes.setdefault(picture.shape, []).append(camera)
    found: dict[str, np.ndarray] = {}
    for cameras in sizes.values():
        found |= zip(cameras, encoder.encode(np.stack([pictures[camera] for camera in cameras])), strict=True)
    return found
