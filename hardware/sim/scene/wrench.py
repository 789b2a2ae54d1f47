"""External loads of a simulated arm: what a real one estimates from its joint torques, taken from the contacts."""

from __future__ import annotations

import math

import mujoco
import numpy as np

from hardware.sim.scene.model import HAND_BODY, ROBOT, TCP_IN_HAND

TIME_CONSTANT = 0.02  # [s] of the low-pass filters; the arm's own estimates are about that slow


class ContactWrench:
    """Wrench ``(6,)`` [N, N·m] that the scene exerts on the hand and what it holds: at the TCP, in base axes.

    Forces inside the hand (a squeezed object, the fingers) cancel. The value is low-pass filtered:
    ``w ← w + a (w_contact − w)`` with ``a = 1 − exp(−dt / TIME_CONSTANT)``.
    """

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, dt: float, hand: str = HAND_BODY) -> None:
        """``dt``: time [s] between calls of `update`; ``hand``: name of the arm's hand body."""
        self._model = model
        self._data = data
        self._gain = 1.0 - math.exp(-dt / TIME_CONSTANT)
        body = model.body(hand).id
        # All that hangs below the hand: fingers and whatever is held rigidly. MuJoCo numbers bodies depth first.
        end = body + 1
        while end < model.nbody and model.body_parentid[end] >= body:
            end += 1
        self._spatial = data.cfrc_ext[body:end]
        self._centre = data.subtree_com[model.body_rootid[body]]
        self._position = data.xpos[body]
        self._rotation = data.xmat[body].reshape(3, 3)
        self._tcp = np.array(TCP_IN_HAND)
        base = data.xmat[model.body_rootid[body]].reshape(3, 3).copy()
        self._base = None if np.array_equal(base, np.eye(3)) else base  # of the arm, in the world
        self._wrench = np.zeros(6)

    def update(self) -> np.ndarray:
        """Take in the contacts of the last step; returns the filtered wrench (a new array)."""
        data = self._data
        contact = np.zeros(6)
        if data.ncon:
            # cfrc_ext holds [moment, force] per body, in world axes, about the centre of mass of the whole arm.
            mujoco.mj_rnePostConstraint(self._model, data)
            spatial = self._spatial.sum(axis=0)
            contact[:3] = spatial[3:]
            fx, fy, fz = spatial[3:].tolist()
            rx, ry, rz = (self._centre - self._position - self._rotation @ self._tcp).tolist()
            contact[3:] = spatial[:3] + (ry * fz - rz * fy, rz * fx - rx * fz, rx * fy - ry * fx)
            if self._base is not None:
                contact = (contact.reshape(2, 3) @ self._base).ravel()
        self._wrench = self._wrench + self._gain * (contact - self._wrench)
        return self._wrench


class ContactTorques:
    """Torques ``(7,)`` [N·m] that contacts of all links, and the stops of the joints, exert on the joints.

    ``τ = Jᵀ f`` over MuJoCo's constraint forces, those of friction in the joints left out; filtered as `ContactWrench`.
    """

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, dt: float, robot: str = ROBOT) -> None:
        """``dt``: time [s] between calls of `update`; ``robot``: prefix of the arm's names."""
        self._model = model
        self._data = data
        self._gain = 1.0 - math.exp(-dt / TIME_CONSTANT)
        first = int(model.joint(f"{robot}fr3_joint1").dofadr[0])
        self._all = np.zeros(model.nv)
        self._joints = self._all[first : first + 7]
        self._torques = np.zeros(7)

    def update(self) -> np.ndarray:
        """Take in the contacts of the last step; returns the filtered torques (a new array)."""
        data = self._data
        inner = data.ne + data.nf  # rows of equalities (the fingers' coupling) and joint friction come first
        if data.nefc > inner:
            force = data.efc_force.copy()
            force[:inner] = 0.0
            mujoco.mj_mulJacTVec(self._model, data, self._all, force)
            contact = self._joints
        else:
            contact = np.zeros(7)
        self._torques = self._torques + self._gain * (contact - self._torques)
        return self._torques
