"""The reward classifier: readings → probability of each stage, the last of them success, by a small head.

For each camera, with x ``(rows, columns, c)`` a frozen encoder's standardised grid and learnt kernels K ``(rows,
columns, c, f)``,

    e[c, f] = Σ_ij x[i, j, c] K[i, j, c, f]      h = ReLU(LayerNorm(Dropout(W e)))      z = wᵀ [h_1 … h_n, state] + b

the spatial learnt embeddings of HIL-SERL (Luo et al. 2024), which keep where things are. The probability is
p = σ(z / T + b′), with T and b′ fitted to episodes that were not learnt from (Platt 1999, Guo et al. 2017).
Of n stages each has a w, b, T and b′ of its own, for P(stage k has been reached); no later one is more probable than
one before it: p_k = min_{j ≤ k} σ(z_j / T_j + b′_j).

`Preparation` is the only way from a reading to the head's inputs, in training and in serving.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_of
from safetensors.torch import save as bytes_of
from torch import nn

from robot_rl.contract import Reading
from robot_rl.contract.files import write_atomically
from robot_rl.perception.encoders import Encoder
from robot_rl.rewards.drift import DriftAlarm
from robot_rl.rewards.saved import WEIGHTS, ClassifierError, Saved, Seen, alarm_of, digest_of, encoder_of, weights_of

EMBEDDINGS, WIDTH, DROPOUT = 8, 256, 0.1  # f; of h; as in HIL-SERL
AT_ONCE = 16  # readings that are encoded together


class Prepared(NamedTuple):
    """Inputs of the head for n readings.

    Attributes:
        grids: camera → ``(n, rows, columns, channels)`` float16.
        state: ``(n, s)`` float32.
    """

    grids: Mapping[str, np.ndarray]
    state: np.ndarray


class Preparation:
    """Readings → inputs of the head.

    Args:
        seen: of a reading.
        encoder: frozen.
    """

    def __init__(self, seen: Seen, encoder: Encoder) -> None:
        self.seen, self.encoder = seen, encoder
        self.shapes = {camera: encoder.shape(view.size) for camera, view in seen.views.items()}

    def __call__(self, readings: Sequence[Reading]) -> Prepared:
        """Raises `ClassifierError` for a reading that has not what is seen."""
        pictures = [self.seen.pictures(reading) for reading in readings]
        grids = {
            camera: np.concatenate(
                [
                    self.encoder.encode(np.stack([one[camera] for one in pictures[first : first + AT_ONCE]]))
                    for first in range(0, len(pictures), AT_ONCE)
                ]
            )
            for camera in self.seen.views
        }
        return Prepared(grids, np.stack([self.seen.numbers(reading) for reading in readings]))


class Head(nn.Module):
    """Inputs → z. The inputs' scale is taken once, by `standardise`, and is one of the weights.

    Args:
        shapes: camera → rows, columns and channels of its grid.
        state: s, numbers beside the pictures.
        stages: n, numbers that it says.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, int, int]], state: int, stages: int = 1) -> None:
        super().__init__()
        self.cameras = tuple(shapes)
        self.kernels, self.dense = nn.ParameterDict(), nn.ModuleDict()
        for camera, shape in shapes.items():
            cells = shape[0] * shape[1]
            self.kernels[camera] = nn.Parameter(torch.randn(*shape, EMBEDDINGS) / cells**0.5)
            self.dense[camera] = nn.Sequential(
                nn.Dropout(DROPOUT), nn.Linear(shape[2] * EMBEDDINGS, WIDTH), nn.LayerNorm(WIDTH), nn.ReLU()
            )
            self.register_buffer(f"mean_{camera}", torch.zeros(shape[2]))
            self.register_buffer(f"scale_{camera}", torch.ones(shape[2]))
        self.register_buffer("mean_state", torch.zeros(state))
        self.register_buffer("scale_state", torch.ones(state))
        self.last = nn.Linear(WIDTH * len(shapes) + state, stages)

    def standardise(self, inputs: Prepared) -> None:
        """Take the scale of ``inputs``: mean 0 and standard deviation 1, by channel and by number."""
        with torch.no_grad():
            for camera in self.cameras:
                cells = torch.from_numpy(inputs.grids[camera]).float().flatten(0, 2)
                self.get_buffer(f"mean_{camera}").copy_(cells.mean(0))
                self.get_buffer(f"scale_{camera}").copy_(1.0 / cells.std(0).clamp(min=1e-3))
            if inputs.state.shape[1]:
                numbers = torch.from_numpy(inputs.state)
                self.mean_state.copy_(numbers.mean(0))
                self.scale_state.copy_(1.0 / numbers.std(0).clamp(min=1e-3))

    def forward(self, grids: Mapping[str, torch.Tensor], state: torch.Tensor) -> torch.Tensor:
        """z ``(N, n)`` of ``grids (N, rows, columns, channels)`` and ``state (N, s)``."""
        parts = []
        for camera in self.cameras:
            grid = (grids[camera].float() - self.get_buffer(f"mean_{camera}")) * self.get_buffer(f"scale_{camera}")
            embedded = torch.einsum("nijc,ijcf->ncf", grid, self.kernels[camera])
            parts.append(self.dense[camera](embedded.flatten(1)))
        parts.append((state - self.mean_state) * self.scale_state)
        z: torch.Tensor = self.last(torch.cat(parts, dim=1))
        return z


def logits(head: Head, inputs: Prepared) -> np.ndarray:
    """z ``(N, n)`` float64 of all inputs, without dropout."""
    head.eval()
    with torch.inference_mode():
        grids = {camera: torch.from_numpy(grid) for camera, grid in inputs.grids.items()}
        z: np.ndarray = head(grids, torch.from_numpy(inputs.state)).double().numpy()
    return z


class Classifier:
    """A trained head behind its preparation. `load` reads one.

    Args:
        alarm: says how far a picture is from what was learnt from; None: nothing does.

    Attributes:
        saved: all else that is known of it.
    """

    def __init__(self, saved: Saved, preparation: Preparation, head: Head, alarm: DriftAlarm | None = None) -> None:
        self.saved, self.preparation, self._head, self._alarm = saved, preparation, head, alarm

    def probabilities(self, readings: Sequence[Reading]) -> np.ndarray:
        """p ``(N,)`` of success at each reading, 0 to 1. Raises `ClassifierError` for one without what is seen."""
        return self.of(self.preparation(readings))[:, -1]

    def of(self, inputs: Prepared) -> np.ndarray:
        """p ``(N, n)`` of what `Preparation` has made, for each of the n stages, the last of which is success."""
        stages = self.saved.stages
        temperature, offset = (np.array([getattr(one, name) for one in stages]) for name in ("temperature", "offset"))
        z = logits(self._head, inputs) / temperature + offset
        return np.minimum.accumulate(0.5 * (1.0 + np.tanh(0.5 * z)), axis=1)

    def signals(self, reading: Reading) -> dict[str, float]:
        """Signals for a judge: its probabilities of ``reading``, the stamp of the picture [s], how strange that is."""
        inputs = self.preparation([reading])
        found = dict(zip(self.saved.signals, self.of(inputs)[0].tolist(), strict=True))
        found[self.saved.stamp_signal] = reading.stamp_ns * 1e-9
        if self._alarm is not None:
            found[self.saved.drift_signal] = self._alarm.distance(pooled(inputs)[0]) / self._alarm.threshold
        return found


def pooled(inputs: Prepared) -> np.ndarray:
    """Features ``(n, d)`` of n readings for the drift alarm: the mean of each channel of each camera."""
    return np.concatenate([grid.mean(axis=(1, 2), dtype=np.float64) for grid in inputs.grids.values()], axis=1)


def weights(head: Head) -> bytes:
    """The head's weights as the content of a file."""
    data: bytes = bytes_of({name: value.contiguous() for name, value in head.state_dict().items()})
    return data


def save(folder: Path, saved: Saved, data: bytes) -> None:
    """Write a classifier with weights ``data``; one that is there is replaced."""
    if digest_of(data) != saved.weights:
        raise ClassifierError("weights and description are of two classifiers")
    write_atomically(folder / WEIGHTS, data)
    saved.write(folder)


def load(folder: Path) -> Classifier:
    """The classifier in ``folder``. Raises `ClassifierError` or `EncoderError` when it cannot be used."""
    saved = Saved.read(folder)
    data = weights_of(folder, saved)
    encoder = encoder_of(folder, saved)
    encoder.load()
    preparation = Preparation(saved.seen, encoder)
    head = Head(preparation.shapes, saved.seen.state_size, len(saved.stages))
    try:
        head.load_state_dict(tensors_of(data))
    except (SafetensorError, RuntimeError) as error:
        text = " ".join(str(error).split())[:200]
        raise ClassifierError(f"{folder / WEIGHTS} does not fit what {folder} says it sees: {text}") from error
    return Classifier(saved, preparation, head.eval(), alarm_of(folder, saved))
