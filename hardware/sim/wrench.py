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
        # What hangs below the hand: fingers and whatever is held rigidly. MuJoCo numbers bodies depth first.
        end = hand + 1
        while end < model.nbody and model.body_parentid[end] >= hand:
            end += 1
        self._spatial = data.cfrc_ext[hand:end]
        self._centre = data.subtree_com[model.body_rootid[hand]]
        self._position = data.xpos[hand]
        self._rotation = data.xmat[hand].reshape(3, 3)
        self._tcp = np.array(TCP_IN_HAND)
        self._wrench = np.zeros(6)

    def update(self) -> np.ndarray:
        """Take in the contacts of the last step; returns the filtered wrench (a new array)."""
        data = self._data
        contact = np.zeros(6)
        if data.ncon:
            # cfrc_ext holds [moment, force] per body, in base axes, about the centre of mass of the whole arm.
            mujoco.mj_rnePostConstraint(self._model, data)
            spatial = self._spatial.sum(axis=0)
            contact[:3] = spatial[3:]
            fx, fy, fz = spatial[3:].tolist()
            rx, ry, rz = (self._centre - self._position - self._rotation @ self._tcp).tolist()
            contact[3:] = spatial[:3] + (ry * fz - rz * fy, rz * fx - rx * fz, rx * fy - ry * fx)
        self._wrench = self._wrench + self._gain * (contact - self._wrench)
        return self._wrench
