"""Flow policies in numpy: what a policy process runs, without JAX.

`robot_rl.learner.networks.flow` and `robot_rl.learner.algorithms.chunked` train the same functions; tests hold them
together.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from robot_rl.policies.actor import read_layers
from robot_rl.policies.critics import Critics
from robot_rl.policies.parameters import ParameterError, parts


class Flow:
    """``dx/dt = v(s, x, t)`` with v an MLP: carries noise ``(N, k)`` to actions.

    Args:
        params: ``w0, b0, w1, …`` with the rows of ``w0`` for the features (f), the point (k) and the time (1).
            Raises `ParameterError` when the layers do not fit together or are not finite.
    """

    def __init__(self, params: Mapping[str, np.ndarray]) -> None:
        self.layers = read_layers(params, "flow")
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


class FlowActor:
    """Chunks of actions from a flow; with critics, the best of several by the mean of their members.

    Noise belongs to such a policy: it chooses between ways, and it frees an arm that friction holds, where the same
    chunk would push in vain for ever. "Deterministic" chunks are drawn as well, from a stream that is always the same.

    Args:
        params: ``policy/…`` of a `Flow`, and ``critic/…`` of `Critics` where ``samples`` is above 1. Raises
            `ParameterError` when they do not fit together.
        horizon: H, actions in a chunk.   samples: N, chunks to choose from.   steps: of Euler's method.
        seed: of the exploration noise.
    """

    def __init__(
        self, params: Mapping[str, np.ndarray], horizon: int, samples: int = 1, steps: int = 10, seed: int = 0
    ) -> None:
        self._horizon, self._samples, self._steps = horizon, samples, steps
        self._flow, self._critics = self._read(params)
        self._rng = np.random.default_rng(seed)
        self._repeatable = np.random.default_rng(0)

    def load(self, params: Mapping[str, np.ndarray]) -> None:
        """Go on with other parameters of the same sizes; the noise continues. Raises `ParameterError`."""
        flow, critics = self._read(params)
        sizes, mine = (flow.feature_size, flow.size), (self._flow.feature_size, self._flow.size)
        if sizes != mine:
            raise ParameterError(f"parameters for feature and chunk sizes {sizes}; this policy has {mine}")
        self._flow, self._critics = flow, critics

    def act(self, features: np.ndarray, deterministic: bool) -> np.ndarray:
        """A chunk ``(H, a)`` in [−1, 1] for ``features (f,)``."""
        rng = self._repeatable if deterministic else self._rng
        noise = rng.standard_normal((self._samples, self._flow.size), dtype=np.float32)
        return self.choose(np.asarray(features, np.float32), noise).reshape(self._horizon, -1)

    def choose(self, features: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """The chunk ``(k,)`` that the critics like best, of those that ``noise (N, k)`` leads to."""
        chunks = self._flow.sample(features, noise, self._steps)
        if self._critics is None:
            return chunks[0]
        return chunks[self._critics(features, chunks).mean(axis=0).argmax()]

    def _read(self, params: Mapping[str, np.ndarray]) -> tuple[Flow, Critics | None]:
        policy, critic = parts(params, ("policy", "critic"), "flow").values()
        flow = Flow(policy)
        if flow.size % self._horizon:
            raise ParameterError(f"a flow of {flow.size} numbers is no chunk of {self._horizon} actions")
        if (self._samples > 1) != bool(critic):
            raise ParameterError(f"{self._samples} samples and {len(critic)} arrays of critics to choose by")
        critics = Critics(critic) if critic else None
        if critics is not None and critics.input_size != flow.feature_size + flow.size:
            raise ParameterError(
                f"critics of {critics.input_size} inputs cannot judge a flow from {flow.feature_size} features to "
                f"{flow.size} numbers"
            )
        return flow, critics
