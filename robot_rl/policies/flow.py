"""Flow policies in numpy: what a policy process runs, without JAX. `robot_rl.learner.flow` trains the same function."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from robot_rl.policies.parameters import ParameterError


class Flow:
    """``dx/dt = v(s, x, t)`` with v an MLP: carries noise ``(N, k)`` to actions.

    Args:
        params: ``w0, b0, w1, …`` with the rows of ``w0`` for the features (f), the point (k) and the time (1).
            Raises `ParameterError` when the layers do not fit together or are not finite.
    """

    def __init__(self, params: Mapping[str, np.ndarray]) -> None:
        self.layers = mlp_layers(params)
        self.size = self.layers[-1][0].shape[1]  # k
        self.feature_size = self.layers[0][0].shape[0] - self.size - 1
        if self.feature_size < 1:
            raise ParameterError(f"a flow with {self.layers[0][0].shape[0]} inputs cannot move {self.size} numbers")

    def sample(self, features: np.ndarray, noise: np.ndarray, steps: int) -> np.ndarray:
        """Actions ``(N, k)`` in [−1, 1] for one state's ``features (f,)``, by ``steps`` of Euler's method."""
        if features.shape != (self.feature_size,):
            raise ParameterError(f"features have shape {features.shape}; the parameters are for ({self.feature_size},)")
        (first, bias), rest = self.layers[0], self.layers[1:]
        still = features @ first[: self.feature_size] + bias  # the same for all N and every time
        weights, rate = first[self.feature_size : -1], first[-1]
        x = noise
        for i in range(steps):
            hidden = x @ weights + (still + np.float32(i / steps) * rate)
            for weight, offset in rest:
                hidden = np.maximum(hidden, 0.0, out=hidden) @ weight + offset
            x = x + hidden * np.float32(1.0 / steps)
        return np.clip(x, -1.0, 1.0)


def mlp_layers(params: Mapping[str, np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """``[(w (in, out), b (out,)), …]`` float32 of ``w0, b0, w1, …``.

    Raises `ParameterError` when the layers do not fit together or are not finite.
    """
    count = len(params) // 2
    if count == 0 or set(params) != {f"{kind}{i}" for kind in "wb" for i in range(count)}:
        raise ParameterError(f"flow parameters are named w0, b0, w1, …; got {sorted(params)}")
    layers = []
    width = np.shape(params["w0"])[0] if np.ndim(params["w0"]) == 2 else -1
    for i in range(count):
        weight, bias = (np.ascontiguousarray(params[f"{kind}{i}"], np.float32) for kind in "wb")
        if weight.ndim != 2 or weight.shape[0] != width or bias.shape != weight.shape[1:]:
            raise ParameterError(f"layer {i}: weights {weight.shape} and bias {bias.shape} after width {width}")
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            raise ParameterError(f"layer {i} is not finite")
        layers.append((weight, bias))
        width = weight.shape[1]
    return layers
