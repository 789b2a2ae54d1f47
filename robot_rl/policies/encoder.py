"""The image encoder in numpy: what a policy process sees with, without JAX.

Parameters are those of `robot_rl.learner.networks.encoder`, which trains the same function; a test holds the two
together. Each convolution is one matrix product of its windows with its kernel.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from robot_rl.policies.critics import LAYER_NORM_EPSILON
from robot_rl.policies.parameters import ParameterError

PREFIX = "encoder/"  # before the names of an encoder's parameters, among those that are published


class Convolution(NamedTuple):
    """``kernel`` × ``kernel`` windows, ``stride`` pixels apart, to ``channels`` numbers each."""

    kernel: int
    stride: int
    channels: int


LAYERS = (Convolution(4, 4, 32), Convolution(3, 2, 32))


def padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after an axis, so that ⌈size / stride⌉ windows cover it: the odd one after (XLA's ``SAME``)."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def split(params: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Published parameters → those of the actor, and those of the encoder without their prefix."""
    eyes = {name.removeprefix(PREFIX): value for name, value in params.items() if name.startswith(PREFIX)}
    return {name: value for name, value in params.items() if not name.startswith(PREFIX)}, eyes


class NumpyEncoder:
    """State and images in, features out.

    Args:
        params: ``<camera>/k0 (4, 4, 3, 32), /b0, …, /w, /b, /g, /c`` of each camera.
        images: camera → (height, width) of the images there are; those that the policy was not trained with are left
            alone.

    Raises `ParameterError` when a camera is missing, the parameters are for images of another size, or not finite.
    """

    def __init__(self, params: Mapping[str, np.ndarray], images: Mapping[str, tuple[int, int]]) -> None:
        cameras = sorted({name.rpartition("/")[0] for name in params})
        if missing := [name for name in cameras if name not in images]:
            raise ParameterError(f"the policy needs images of {missing}; this run has cameras={sorted(images)}")
        self._images = {name: images[name] for name in cameras}
        self._eyes = {name: _camera(params, name, *size) for name, size in self._images.items()}

    def __call__(self, state: np.ndarray, images: Mapping[str, np.ndarray]) -> np.ndarray:
        """Features ``(f,)`` float32: ``state (d,)`` and the embeddings of ``images`` (camera → ``(h, w, 3)`` uint8).

        Raises `ParameterError` when an image is missing or of another size.
        """
        for name, (height, width) in self._images.items():
            if name not in images or images[name].shape != (height, width, 3):
                found = images[name].shape if name in images else "none"
                raise ParameterError(f"camera {name}: the policy needs an image {(height, width, 3)}, not {found}")
        parts = [_embed(eye, images[name]) for name, eye in self._eyes.items()]
        return np.concatenate([np.asarray(state, np.float32), *parts])


def _camera(params: Mapping[str, np.ndarray], name: str, height: int, width: int) -> dict[str, np.ndarray]:
    """One camera's parameters, checked."""
    shapes: dict[str, tuple[int, ...]] = {}
    inputs = 3
    for i, (kernel, stride, channels) in enumerate(LAYERS):
        shapes |= {f"k{i}": (kernel, kernel, inputs, channels), f"b{i}": (channels,)}
        inputs, height, width = channels, -(-height // stride), -(-width // stride)
    last = np.shape(params.get(f"{name}/b", ()))
    shapes |= {"w": (height * width * inputs, *last), "b": last, "g": last, "c": last}
    mine = {key.rpartition("/")[2]: value for key, value in params.items() if key.rpartition("/")[0] == name}
    found = {key: np.shape(value) for key, value in mine.items()}
    if len(last) != 1 or found != shapes:
        keys = (key for key in shapes | found if found.get(key) != shapes.get(key))
        wrong = ", ".join(f"{key} is {found.get(key)}, not {shapes.get(key)}" for key in keys)
        raise ParameterError(f"camera {name}: the policy's encoder is not for images of this size: {wrong}")
    arrays = {key: np.ascontiguousarray(value, np.float32) for key, value in mine.items()}
    if wrong := ", ".join(key for key, value in arrays.items() if not np.isfinite(value).all()):
        raise ParameterError(f"camera {name}: {wrong} of the policy's encoder are not finite")
    return arrays


def _embed(eye: Mapping[str, np.ndarray], image: np.ndarray) -> np.ndarray:
    hidden = image.astype(np.float32) / np.float32(255.0) - np.float32(0.5)
    for i, (kernel, stride, channels) in enumerate(LAYERS):
        windows = _windows(hidden, kernel, stride)
        flat = windows.reshape(-1, kernel * kernel * hidden.shape[-1]) @ eye[f"k{i}"].reshape(-1, channels)
        hidden = np.maximum(flat + eye[f"b{i}"], 0.0).reshape(*windows.shape[:2], channels)
    flat = hidden.reshape(-1) @ eye["w"] + eye["b"]
    centred = flat - flat.mean()
    return np.tanh(centred / np.sqrt((centred**2).mean() + np.float32(LAYER_NORM_EPSILON)) * eye["g"] + eye["c"])


def _windows(image: np.ndarray, kernel: int, stride: int) -> np.ndarray:
    """``(rows, columns, kernel, kernel, c)`` of ``image (h, w, c)``."""
    height, width, _ = image.shape
    padded = np.pad(image, (padding(height, kernel, stride), padding(width, kernel, stride), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(0, 1))
    return windows[::stride, ::stride].transpose(0, 1, 3, 4, 2)
