"""FlashSAC's actor in numpy: residual blocks, and exploration noise that is held for some steps.

``h = s W₀ + b₀``; ``h ← h + ReLU(ReLU(h W₁ + b₁) W₂ + b₂)`` for each block; ``μ, r = h / rms(h) W + b``,
``log σ = −10 + 6 (1 + tanh r)``, ``a = tanh(μ + σ ε)``. One ε ~ N(0, I) serves n steps in a row, P(n) ∝ n⁻²: pushes
that last explore further than ones that cancel. Parameters are ``w0, b0, w1, b1, …``, an even number of layers, the
last one of width 2a; the learner has folded its batch norms into them (`robot_rl.learner.networks.flash.fold`).
There are two such networks: the newest explores, and so shows the learner where it errs; the average of the latest ones
acts where no noise is wanted (`robot_rl.learner.algorithms.flash_sac` says why).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from robot_rl.policies.actor import LayeredGaussian, Layers
from robot_rl.policies.parameters import ParameterError, parts

LOG_STD_MIN, LOG_STD_MAX = -10.0, 2.0
RMS_EPSILON = 1e-6
REPEATS = 16  # longest time that one draw of noise is held [steps]


class FlashNetwork(LayeredGaussian):
    """One of them: blocks of two layers that end as wide as they began, between a first and a last layer."""

    def _read(self, params: Mapping[str, np.ndarray]) -> Layers:
        layers = super()._read(params)
        widths = [weight.shape[1] for weight, _ in layers]
        if len(layers) % 2 or any(width != widths[0] for width in widths[:-1:2]):
            raise ParameterError(f"layers of widths {widths} are no residual blocks between a first and a last layer")
        return layers

    def distribution(self, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``μ (…, a)`` and ``σ (…, a)`` before the tanh, for ``state (…, d)``."""
        (first, offset), *inner, (last, bias) = self._layers
        hidden = self._inputs(state) @ first + offset
        for (w1, b1), (w2, b2) in zip(inner[::2], inner[1::2], strict=True):
            hidden = hidden + np.maximum(np.maximum(hidden @ w1 + b1, 0.0) @ w2 + b2, 0.0)
        hidden = hidden / np.sqrt((hidden**2).mean(axis=-1, keepdims=True) + np.float32(RMS_EPSILON))
        mean, raw = np.split(hidden @ last + bias, 2, axis=-1)
        return mean, np.exp(LOG_STD_MIN + 0.5 * (LOG_STD_MAX - LOG_STD_MIN) * (1.0 + np.tanh(raw)))


class FlashActor:
    """Acts by the given parameters.

    Args:
        params: ``newest/w0, newest/b0, …`` and ``average/w0, …``. Raises `ParameterError` when the layers do not fit
            together or are not finite.
        seed: of the exploration noise.
        repeats: longest time that one draw of noise is held [steps]; 1: a new one at each step.

    Attributes:
        newest, average: the two networks.
    """

    def __init__(self, params: Mapping[str, np.ndarray], seed: int = 0, repeats: int = REPEATS) -> None:
        if repeats < 1:
            raise ParameterError(f"repeats {repeats} is a number of steps: it must be at least 1")
        self.newest, self.average = _read(params)
        self._rng = np.random.default_rng(seed)
        weights = np.arange(1, repeats + 1) ** -2.0
        self._chances = weights / weights.sum()
        self._noise = np.zeros(self.newest.action_size, np.float32)
        self._left = 0  # steps that the noise is still held for

    def load(self, params: Mapping[str, np.ndarray]) -> None:
        """Go on with other parameters of the same sizes; the noise continues. Raises `ParameterError`."""
        newest, average = _read(params)
        if newest.sizes != self.newest.sizes:
            raise ParameterError(
                f"parameters for state and action sizes {newest.sizes}; this policy has {self.newest.sizes}"
            )
        self.newest, self.average = newest, average

    def act(self, features: np.ndarray, deterministic: bool) -> np.ndarray:
        """One action, as a chunk ``(1, a)``: ``tanh μ`` of the average, or the newest with the noise of the moment."""
        if deterministic:
            return np.tanh(self.average.distribution(features)[0])[None]
        mean, std = self.newest.distribution(features)
        if self._left == 0:
            self._noise = self._rng.standard_normal(self.newest.action_size, dtype=np.float32)
            self._left = 1 + int(self._rng.choice(len(self._chances), p=self._chances))
        self._left -= 1
        return np.tanh(mean + std * self._noise)[None]


def _read(params: Mapping[str, np.ndarray]) -> tuple[FlashNetwork, FlashNetwork]:
    newest, average = (FlashNetwork(part) for part in parts(params, ("newest", "average"), "FlashSAC's").values())
    if newest.sizes != average.sizes:
        raise ParameterError(
            f"the newest network has state and action sizes {newest.sizes}, the average {average.sizes}"
        )
    return newest, average
