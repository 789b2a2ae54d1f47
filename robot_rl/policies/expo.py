"""EXPO's policy on the fly in numpy: N draws of an imitating flow, an edit of each, the best of the 2N by the critics.

`robot_rl.learner.algorithms.expo` has the formulas and trains the same functions; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from robot_rl.policies.actor import NumpyActor
from robot_rl.policies.critics import Critics
from robot_rl.policies.flow import Flow
from robot_rl.policies.parameters import ParameterError, parts


class ExpoActor:
    """Acts by the given parameters.

    Args:
        params: ``base/…`` of a `Flow`, ``edit/…`` of a `NumpyActor` of features and action, ``critics/…`` of `Critics`.
            Raises `ParameterError` when they do not fit together or are not finite.
        candidates: N.   base_steps: of Euler's method.   edit_scale: β.
        subset: members, drawn for each action, whose minimum chooses; without noise it is the mean of all.
        seed: of the exploration noise.
    """

    def __init__(
        self,
        params: Mapping[str, np.ndarray],
        *,
        candidates: int = 8,
        base_steps: int = 5,
        edit_scale: float = 0.05,
        subset: int = 2,
        seed: int = 0,
    ) -> None:
        self._steps, self._scale, self._subset = base_steps, np.float32(edit_scale), subset
        self._nets = _read(params)
        self._rng = np.random.default_rng(seed)
        # Without noise, a state always gets the same candidates.
        self._fixed = np.random.default_rng(0).standard_normal((candidates, self.action_size), np.float32)
        self._fixed[0] = 0.0

    @property
    def state_size(self) -> int:
        return self._nets.base.feature_size

    @property
    def action_size(self) -> int:
        return self._nets.base.size

    def load(self, params: Mapping[str, np.ndarray]) -> None:
        """Go on with other parameters of the same sizes; the noise continues. Raises `ParameterError`."""
        nets = _read(params)
        sizes = nets.base.feature_size, nets.base.size
        if sizes != (self.state_size, self.action_size):
            raise ParameterError(
                f"parameters for feature and action sizes {sizes}; this policy has {self.state_size, self.action_size}"
            )
        self._nets = nets

    def act(self, features: np.ndarray, deterministic: bool) -> np.ndarray:
        """The best candidate, as a chunk ``(1, a)``, for ``features (f,)``."""
        features = np.asarray(features, np.float32)
        noise = np.zeros((2, *self._fixed.shape), np.float32)
        if deterministic:
            noise[0] = self._fixed
        else:
            self._rng.standard_normal(out=noise, dtype=np.float32)
        candidates = self.propose(features, *noise)
        values = self._nets.critics(features, candidates)
        if deterministic:
            return candidates[values.mean(axis=0).argmax()][None]
        drawn = self._rng.permutation(len(values))[: self._subset]
        return candidates[values[drawn].min(axis=0).argmax()][None]

    def propose(self, features: np.ndarray, base_noise: np.ndarray, edit_noise: np.ndarray) -> np.ndarray:
        """Candidates ``(2N, a)`` from two times noise ``(N, a)``: those of the base, then the same edited."""
        imitated = self._nets.base.sample(features, base_noise, self._steps)
        inputs = np.concatenate((np.broadcast_to(features, (len(imitated), len(features))), imitated), axis=1)
        mean, std = self._nets.edit.distribution(inputs)
        edits = self._scale * np.tanh(mean + std * edit_noise)
        return np.concatenate((imitated, np.clip(imitated + edits, -1.0, 1.0)))


class _Networks(NamedTuple):
    base: Flow
    edit: NumpyActor
    critics: Critics


def _read(params: Mapping[str, np.ndarray]) -> _Networks:
    base, edit, critics = parts(params, ("base", "edit", "critics"), "EXPO's").values()
    nets = _Networks(Flow(base), NumpyActor(edit), Critics(critics))
    features, size = nets.base.feature_size, nets.base.size
    inputs = {"edit": nets.edit.state_size, "critics": nets.critics.input_size}
    if set(inputs.values()) != {features + size} or nets.edit.action_size != size:
        raise ParameterError(
            f"the base policy has {features} features and {size} actions; the others take {inputs} numbers, "
            f"and the edit policy gives {nets.edit.action_size}"
        )
    return nets
