"""The tanh-Gaussian actor in numpy: what a policy process runs, without JAX.

``μ, log σ = head(ReLU(… ReLU(s W₀ + b₀) …))``, ``a = tanh(μ + σ ε)``, ε ~ N(0, I). Parameters are a flat mapping
``w0, b0, w1, b1, …``: ``w (in, out)``, ``b (out,)``, the last layer of width 2a. `robot_rl.learner.networks` trains the
same function; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from robot_rl.policies.parameters import ParameterError

LOG_STD_MIN = float(np.log(1e-5))
LOG_STD_MAX = float(np.log(5.0))


class NumpyActor:
    """Acts by the given parameters.

    Args:
        params: as above. Raises `ParameterError` when the layers do not fit together or are not finite.
        seed: of the exploration noise.
    """

    def __init__(self, params: Mapping[str, np.ndarray], seed: int = 0) -> None:
        self._layers = read_layers(params)
        self._rng = np.random.default_rng(seed)

    @property
    def state_size(self) -> int:
        return self._layers[0][0].shape[0]

    @property
    def action_size(self) -> int:
        return self._layers[-1][0].shape[1] // 2

    def load(self, params: Mapping[str, np.ndarray]) -> None:
        """Go on with other parameters of the same sizes; the noise continues. Raises `ParameterError`."""
        layers = read_layers(params)
        sizes = layers[0][0].shape[0], layers[-1][0].shape[1] // 2
        if sizes != (self.state_size, self.action_size):
            raise ParameterError(
                f"parameters for state and action sizes {sizes}; this policy has {self.state_size, self.action_size}"
            )
        self._layers = layers

    def distribution(self, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``μ (…, a)`` and ``σ (…, a)`` before the tanh, for ``state (…, d)``."""
        hidden = np.asarray(state, np.float32)
        if hidden.shape[-1:] != (self.state_size,):
            raise ParameterError(f"state has shape {hidden.shape}; the parameters are for (…, {self.state_size})")
        for weight, bias in self._layers[:-1]:
            hidden = np.maximum(hidden @ weight + bias, 0.0)
        weight, bias = self._layers[-1]
        mean, log_std = np.split(hidden @ weight + bias, 2, axis=-1)
        return mean, np.exp(np.clip(log_std, LOG_STD_MIN, LOG_STD_MAX))

    def __call__(self, state: np.ndarray, deterministic: bool = False) -> np.ndarray:
        """Action ``(…, a)`` float32 in [−1, 1] for ``state (…, d)``: ``tanh μ``, or a draw."""
        mean, std = self.distribution(state)
        if not deterministic:
            mean = mean + std * self._rng.standard_normal(mean.shape, dtype=np.float32)
        return np.tanh(mean)

    def act(self, features: np.ndarray, deterministic: bool) -> np.ndarray:
        """One action, as a chunk ``(1, a)``."""
        return self(features, deterministic)[None]


def read_layers(params: Mapping[str, np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights and biases in order. Raises `ParameterError` when they do not fit together or are not finite."""
    count = len(params) // 2
    if count == 0 or set(params) != {f"{kind}{i}" for kind in "wb" for i in range(count)}:
        raise ParameterError(f"actor parameters are named w0, b0, w1, …; got {sorted(params)}")
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
    if width % 2:
        raise ParameterError(f"the last layer has odd width {width}; it gives a mean and a log std per action axis")
    return layers
