"""The external wrench of a simulated arm: what a real one estimates from its joint torques, taken from the contacts."""

from __future__ import annotations

import math

import mujoco
import numpy as np

from hardware.sim.scene import HAND_BODY, TCP_IN_HAND

TIME_CONSTANT = 0.02  # [s] of the low-pass filter; the arm's own estimate is about that slow


class ContactWrench:
    """Wrench ``(6,)`` [N, N·m] that the scene exerts on the hand and what it holds: at the TCP, in base axes.

    Forces inside the hand (a squeezed object, the fingers) cancel. The value is low-pass filtered:
    ``w ← w + a (w_contact − w)`` with ``a = 1 − exp(−dt / TIME_CONSTANT)``.
    """

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, dt: float) -> None:
        """``dt``: time [s] between calls of `update`. The hand is that of franky-sim's first robot."""
        self._model = model
        self._data = data
        self._gain = 1.0 - math.exp(-dt / TIME_CONSTANT)
        hand = model.body(HAND_BODY).id
        # The hand, the fingers and every body held: whatever hangs below the hand.
        self._bodies = [b for b in range(model.nbody) if _is_below(model, b, hand)]
        self._root = int(model.body_rootid[hand])
        self._position = data.xpos[hand]
        self._rotation = data.xmat[hand]
        self._tcp = np.array(TCP_IN_HAND)
        self._wrench = np.zeros(6)

    def update(self) -> np.ndarray:
        """Take in the contacts of the last step; returns the filtered wrench (a new array)."""
        data = self._data
        contact = np.zeros(6)
        if data.ncon:
            # cfrc_ext holds [moment, force] per body, in base axes, about the centre of mass of the whole arm.
            mujoco.mj_rnePostConstraint(self._model, data)
            spatial = data.cfrc_ext[self._bodies].sum(axis=0)
            tcp = self._position + self._rotation.reshape(3, 3) @ self._tcp
            contact[:3] = spatial[3:]
            contact[3:] = spatial[:3] + np.cross(data.subtree_com[self._root] - tcp, spatial[3:])
        self._wrench = self._wrench + self._gain * (contact - self._wrench)
        return self._wrench

    def reset(self) -> None:
        """Forget the past, as after moving objects by hand."""
        self._wrench = np.zeros(6)


def _is_below(model: mujoco.MjModel, body: int, ancestor: int) -> bool:
    while body > ancestor:
        body = int(model.body_parentid[body])
    return body == ancestor
