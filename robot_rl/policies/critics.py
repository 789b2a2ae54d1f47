"""A critic ensemble in numpy, for policies that choose among actions. `robot_rl.learner.networks` trains the same."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from robot_rl.policies.parameters import ParameterError

LAYER_NORM_EPSILON = 1e-6


class Critics:
    """``Q_i(s, a)`` of E members: Dense → LayerNorm → ReLU, …, Dense.

    Args:
        params: ``w0 (E, f + k, h), b0 (E, h), …, b_last (E, 1)``, and the LayerNorms' scales ``g0 (E, h), …`` and
            offsets ``c0, …`` where there are any. Raises `ParameterError` when they do not fit together or are not
            finite.
    """

    def __init__(self, params: Mapping[str, np.ndarray]) -> None:
        count = sum(name.startswith("w") for name in params)
        dense = {f"{kind}{i}" for kind in "wb" for i in range(count)}
        norms = {f"{kind}{i}" for kind in "gc" for i in range(count - 1)}
        if count == 0 or set(params) not in (dense, dense | norms):
            raise ParameterError(f"critic parameters are named w0, b0, … (and g0, c0, …); got {sorted(params)}")
        arrays = {name: np.ascontiguousarray(value, np.float32) for name, value in params.items()}
        members, self.input_size = (*arrays["w0"].shape, -1)[:2]
        width = self.input_size
        self._layers: list[dict[str, np.ndarray]] = []
        for i in range(count):
            layer = {kind: arrays[f"{kind}{i}"] for kind in "wbgc" if f"{kind}{i}" in arrays}
            weight = layer["w"]
            rows = {kind: array.shape for kind, array in layer.items() if kind != "w"}
            if weight.ndim != 3 or weight.shape[:2] != (members, width) or set(rows.values()) != {weight.shape[::2]}:
                raise ParameterError(f"critic layer {i}: weights {weight.shape} with {rows} after width {width}")
            if not all(np.isfinite(array).all() for array in layer.values()):
                raise ParameterError(f"critic layer {i} is not finite")
            self._layers.append({kind: array if kind == "w" else array[:, None] for kind, array in layer.items()})
            width = weight.shape[2]
        if width != 1:
            raise ParameterError(f"critics end in {width} numbers; a value is one")

    def __call__(self, features: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """``Q_i (E, N)`` of ``actions (N, k)`` in the state with ``features (f,)``."""
        split = len(features)
        if split + actions.shape[-1] != self.input_size:
            raise ParameterError(
                f"features {features.shape} and actions {actions.shape} for critics of {self.input_size} inputs"
            )
        first = self._layers[0]
        hidden = actions @ first["w"][:, split:] + (features @ first["w"][:, :split] + first["b"][:, 0])[:, None]
        for before, layer in zip(self._layers, self._layers[1:], strict=False):
            if "g" in before:
                hidden -= hidden.mean(axis=-1, keepdims=True)
                square = np.einsum("enh,enh->en", hidden, hidden)[..., None] / hidden.shape[-1]
                hidden = hidden * (before["g"] / np.sqrt(square + LAYER_NORM_EPSILON)) + before["c"]
            hidden = np.maximum(hidden, 0.0) @ layer["w"] + layer["b"]
        return hidden[..., 0]
