"""The tanh-Gaussian actor in numpy: what a policy process runs, without JAX.

``μ, log σ = head(ReLU(… ReLU(s W₀ + b₀) …))``, ``a = tanh(μ + σ ε)``, ε ~ N(0, I). Parameters are a flat mapping
``w0, b0, w1, b1, …``: ``w (in, out)``, ``b (out,)``, the last layer of width 2a. `robot_rl.learner.networks.mlp`
trains the same function; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from robot_rl.policies.parameters import ParameterError

LOG_STD_MIN = float(np.log(1e-5))
LOG_STD_MAX = float(np.log(5.0))

Layers = list[tuple[np.ndarray, np.ndarray]]  # weights and biases in order


class LayeredGaussian:
    """A Gaussian before a tanh whose parameters are layers, the last one of width 2a: a mean and a log std per axis.

    Args:
        params: ``w0, b0, w1, b1, …``. Raises `ParameterError` when they do not fit together or are not finite.
    """

    def __init__(self, params: Mapping[str, np.ndarray]) -> None:
        self._layers = self._read(params)

    @property
    def state_size(self) -> int:
        return self._layers[0][0].shape[0]

    @property
    def action_size(self) -> int:
        return self._layers[-1][0].shape[1] // 2

    @property
    def sizes(self) -> tuple[int, int]:
        """Of state and action."""
        return self.state_size, self.action_size

    def _read(self, params: Mapping[str, np.ndarray]) -> Layers:
        layers = read_layers(params, "actor")
        width = layers[-1][0].shape[1]
        if width % 2:
            raise ParameterError(f"the last layer has odd width {width}; it gives a mean and a log std per action axis")
        return layers

    def _inputs(self, state: np.ndarray) -> np.ndarray:
        """``state (…, d)`` as float32, checked."""
        state = np.asarray(state, np.float32)
        if state.shape[-1:] != (self.state_size,):
            raise ParameterError(f"state has shape {state.shape}; the parameters are for (…, {self.state_size})")
        return state


class NumpyActor(LayeredGaussian):
    """Acts by the given parameters, see above; ``seed`` is of the exploration noise."""

    def __init__(self, params: Mapping[str, np.ndarray], seed: int = 0) -> None:
        super().__init__(params)
        self._rng = np.random.default_rng(seed)

    def load(self, params: Mapping[str, np.ndarray]) -> None:
        """Go on with other parameters of the same sizes; the noise continues. Raises `ParameterError`."""
        layers = self._read(params)
        sizes = layers[0][0].shape[0], layers[-1][0].shape[1] // 2
        if sizes != self.sizes:
            raise ParameterError(f"parameters for state and action sizes {sizes}; this policy has {self.sizes}")
        self._layers = layers

    def distribution(self, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``μ (…, a)`` and ``σ (…, a)`` before the tanh, for ``state (…, d)``."""
        hidden = self._inputs(state)
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


def read_layers(params: Mapping[str, np.ndarray], kind: str) -> Layers:
    """``w (in, out)``, ``b (out,)`` of each layer, float32, of ``w0, b0, w1, …``.

    Raises `ParameterError`, naming whose they are by ``kind``, when they do not fit together or are not finite.
    """
    count = len(params) // 2
    if count == 0 or set(params) != {f"{letter}{i}" for letter in "wb" for i in range(count)}:
        raise ParameterError(f"{kind} parameters are named w0, b0, w1, …; got {sorted(params)}")
    layers = []
    width = np.shape(params["w0"])[0] if np.ndim(params["w0"]) == 2 else -1
    for i in range(count):
        weight, bias = (np.ascontiguousarray(params[f"{letter}{i}"], np.float32) for letter in "wb")
        if weight.ndim != 2 or weight.shape[0] != width or bias.shape != weight.shape[1:]:
            raise ParameterError(f"layer {i}: weights {weight.shape} and bias {bias.shape} after width {width}")
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            raise ParameterError(f"layer {i} is not finite")
        layers.append((weight, bias))
        width = weight.shape[1]
    return layers
