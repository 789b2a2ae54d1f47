"""A tanh-Gaussian for the arm and a discrete critic for the gripper, in numpy: what `robot_rl.learner.hil` trains."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from robot_rl.policies.actor import NumpyActor
from robot_rl.policies.parameters import ParameterError

LAYER_NORM_EPSILON = 1e-6  # the learner's


class GraspActor:
    """Arm axes by `NumpyActor`; last axis: the option that ``Q(s)`` values most, or a draw that prefers it.

    Args:
        params: ``arm/w0, arm/b0, …`` and, unless all axes are the arm's, ``grasp/w0, grasp/b0, grasp/g0, grasp/c0, …``:
            Dense → LayerNorm (scale g, offset c; left out where the critic has none) → ReLU, …, Dense (n options).
            Raises `ParameterError` when the layers do not fit together or are not finite.
        temperature: T of the draws, ``P(o) ∝ exp(Q(s, o)/T)`` [reward].
        seed: of the exploration noise.
    """

    def __init__(self, params: Mapping[str, np.ndarray], temperature: float = 0.0, seed: int = 0) -> None:
        self._temperature = temperature
        self._arm = NumpyActor(_part(params, "arm/"), seed)
        self._grasp = _grasp_layers(_part(params, "grasp/"), self._arm.state_size)
        self._rng = np.random.default_rng((seed, 1))

    def load(self, params: Mapping[str, np.ndarray]) -> None:
        """Go on with other parameters of the same sizes; the noise continues. Raises `ParameterError`."""
        grasp = _grasp_layers(_part(params, "grasp/"), self._arm.state_size)
        if _options(grasp) != _options(self._grasp):
            raise ParameterError(f"parameters for {_options(grasp)} options; this policy has {_options(self._grasp)}")
        self._arm.load(_part(params, "arm/"))
        self._grasp = grasp

    def values(self, features: np.ndarray) -> np.ndarray:
        """``Q (…, n)`` of the options for ``features (…, f)``."""
        hidden = np.asarray(features, np.float32)
        for layer in self._grasp[:-1]:
            hidden = hidden @ layer["w"] + layer["b"]
            if "g" in layer:
                hidden = hidden - hidden.mean(axis=-1, keepdims=True)
                hidden = hidden / np.sqrt((hidden**2).mean(axis=-1, keepdims=True) + LAYER_NORM_EPSILON)
                hidden = hidden * layer["g"] + layer["c"]
            hidden = np.maximum(hidden, 0.0)
        return hidden @ self._grasp[-1]["w"] + self._grasp[-1]["b"]

    def act(self, features: np.ndarray, deterministic: bool) -> np.ndarray:
        """One action, as a chunk ``(1, a)``."""
        action = self._arm(features, deterministic)
        if not self._grasp:
            return action[None]
        values = self.values(features)
        if self._temperature and not deterministic:  # the largest of Q/T and Gumbel noise is such a draw
            values = values / self._temperature + self._rng.gumbel(size=values.shape)
        axis = 2.0 * int(values.argmax()) / (len(values) - 1) - 1.0
        return np.append(action, np.float32(axis))[None]


def _part(params: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): value for name, value in params.items() if name.startswith(prefix)}


def _options(layers: list[dict[str, np.ndarray]]) -> int:
    return len(layers[-1]["b"]) if layers else 0


def _grasp_layers(params: Mapping[str, np.ndarray], width: int) -> list[dict[str, np.ndarray]]:
    """One mapping ``w, b[, g, c]`` for each layer, checked from inputs of ``width`` on; none without parameters."""
    count = sum(name.startswith("w") for name in params)
    plain = {f"{kind}{i}" for kind in "wb" for i in range(count)}
    normed = plain | {f"{kind}{i}" for kind in "gc" for i in range(count - 1)}
    if set(params) not in (plain, normed):
        raise ParameterError(f"grasp critic parameters are named w0, b0[, g0, c0], w1, …; got {sorted(params)}")
    layers = []
    for i in range(count):
        layer = {name[0]: np.asarray(params[name], np.float32) for name in sorted(params) if name[1:] == str(i)}
        weight = layer["w"]
        if (
            weight.ndim != 2
            or weight.shape[0] != width
            or any(value.shape != weight.shape[1:] for kind, value in layer.items() if kind != "w")
        ):
            shapes = {kind: value.shape for kind, value in layer.items()}
            raise ParameterError(f"grasp layer {i}: shapes {shapes} after width {width}")
        if not all(np.isfinite(value).all() for value in layer.values()):
            raise ParameterError(f"grasp layer {i} is not finite")
        layers.append(layer)
        width = weight.shape[1]
    if count and width < 2:
        raise ParameterError(f"a grasp critic chooses between two options or more, not {width}")
    return layers
