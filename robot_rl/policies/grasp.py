"""A tanh-Gaussian for the arm and a discrete critic for the gripper: `robot_rl.learner.algorithms.hil` in numpy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from robot_rl.policies.actor import NumpyActor
from robot_rl.policies.critics import Ensemble
from robot_rl.policies.parameters import ParameterError, parts

PARTS = ("arm", "grasp")


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
        arm, grasp = parts(params, PARTS, "grasp policy").values()
        self._arm = NumpyActor(arm, seed)
        self._grasp = self._read_grasp(grasp)
        self._rng = np.random.default_rng((seed, 1))

    def load(self, params: Mapping[str, np.ndarray]) -> None:
        """Go on with other parameters of the same sizes; the noise continues. Raises `ParameterError`."""
        arm, options = parts(params, PARTS, "grasp policy").values()
        grasp = self._read_grasp(options)
        new, old = (critic.outputs if critic else 0 for critic in (grasp, self._grasp))
        if new != old:
            raise ParameterError(f"parameters for {new} options; this policy has {old}")
        self._arm.load(arm)
        self._grasp = grasp

    def act(self, features: np.ndarray, deterministic: bool) -> np.ndarray:
        """One action, as a chunk ``(1, a)``."""
        action = self._arm(features, deterministic)
        if self._grasp is None:
            return action[None]
        values = self._grasp.outputs_of(np.asarray(features, np.float32)[None])[0, 0]
        if self._temperature and not deterministic:  # the largest of Q/T and Gumbel noise is such a draw
            values = values / self._temperature + self._rng.gumbel(size=values.shape)
        axis = 2.0 * int(values.argmax()) / (len(values) - 1) - 1.0
        return np.append(action, np.float32(axis))[None]

    def _read_grasp(self, params: Mapping[str, np.ndarray]) -> Ensemble | None:
        """The critic of options, an ensemble of one; None where there is none."""
        if not params:
            return None
        critic = Ensemble({name: np.asarray(value)[None] for name, value in params.items()}, "grasp")
        if critic.input_size != self._arm.state_size:
            raise ParameterError(f"grasp layer 0 takes {critic.input_size} numbers, the arm's {self._arm.state_size}")
        if critic.outputs < 2:
            raise ParameterError(f"a grasp critic chooses between two options or more, not {critic.outputs}")
        return critic
