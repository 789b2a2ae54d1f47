"""Ensembles of MLPs in numpy, for policies that choose by value. `robot_rl.learner.networks.mlp` trains the same."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from robot_rl.policies.parameters import ParameterError

LAYER_NORM_EPSILON = 1e-6


class Ensemble:
    """E networks side by side: Dense → LayerNorm → ReLU, …, Dense.

    Args:
        params: ``w0 (E, d, h), b0 (E, h), …, b_last (E, outputs)``, and the LayerNorms' scales ``g0 (E, h), …`` and
            offsets ``c0, …`` where there are any. Raises `ParameterError` when they do not fit together or are not
            finite.
        kind: what errors call them.
    """

    def __init__(self, params: Mapping[str, np.ndarray], kind: str) -> None:
        count = sum(name.startswith("w") for name in params)
        dense = {f"{letter}{i}" for letter in "wb" for i in range(count)}
        norms = {f"{letter}{i}" for letter in "gc" for i in range(count - 1)}
        if count == 0 or set(params) not in (dense, dense | norms):
            raise ParameterError(f"{kind} parameters are named w0, b0, … (and g0, c0, …); got {sorted(params)}")
        arrays = {name: np.ascontiguousarray(value, np.float32) for name, value in params.items()}
        members, self.input_size = (*arrays["w0"].shape, -1)[:2]
        self.outputs = self.input_size
        self._layers: list[dict[str, np.ndarray]] = []
        for i in range(count):
            layer = {letter: arrays[f"{letter}{i}"] for letter in "wbgc" if f"{letter}{i}" in arrays}
            weight = layer["w"]
            rows = {letter: array.shape for letter, array in layer.items() if letter != "w"}
            if (
                weight.ndim != 3
                or weight.shape[:2] != (members, self.outputs)
                or set(rows.values()) != {weight.shape[::2]}
            ):
                raise ParameterError(f"{kind} layer {i}: weights {weight.shape} with {rows} after width {self.outputs}")
            if not all(np.isfinite(array).all() for array in layer.values()):
                raise ParameterError(f"{kind} layer {i} is not finite")
            self._layers.append({letter: array if letter == "w" else array[:, None] for letter, array in layer.items()})
            self.outputs = weight.shape[2]

    def outputs_of(self, inputs: np.ndarray) -> np.ndarray:
        """``(E, N, outputs)`` for ``inputs (N, d)``."""
        return self._beyond_first(inputs @ self._layers[0]["w"] + self._layers[0]["b"])

    def _beyond_first(self, hidden: np.ndarray) -> np.ndarray:
        """All that comes after the first product; ``hidden (E, N, h)`` is overwritten."""
        for before, layer in zip(self._layers, self._layers[1:], strict=False):
            if "g" in before:
                hidden -= hidden.mean(axis=-1, keepdims=True)
                square = np.einsum("enh,enh->en", hidden, hidden)[..., None] / hidden.shape[-1]
                hidden = hidden * (before["g"] / np.sqrt(square + LAYER_NORM_EPSILON)) + before["c"]
            hidden = np.maximum(hidden, 0.0) @ layer["w"] + layer["b"]
        return hidden


class Critics(Ensemble):
    """``Q_i(s, a)``: an `Ensemble` with one output, of the features s and then the action a."""

    def __init__(self, params: Mapping[str, np.ndarray]) -> None:
        super().__init__(params, "critic")
        if self.outputs != 1:
            raise ParameterError(f"critics end in {self.outputs} numbers; a value is one")

    def __call__(self, features: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """``Q_i (E, N)`` of ``actions (N, k)`` in the state with ``features (f,)``."""
        split = len(features)
        if split + actions.shape[-1] != self.input_size:
            raise ParameterError(
                f"features {features.shape} and actions {actions.shape} for critics of {self.input_size} inputs"
            )
        first = self._layers[0]
        same = features @ first["w"][:, :split] + first["b"][:, 0]  # for all actions: multiplied once
        return self._beyond_first(actions @ first["w"][:, split:] + same[:, None])[..., 0]
