"""Contacts that an arm would have with its scene at given joint positions; nothing moves."""

from __future__ import annotations

from collections.abc import Mapping

import mujoco
import numpy as np

from controllers.spatial import Pose
from hardware.scene import MAX_WIDTH, SceneSpec
from hardware.sim.scene.model import HAND_BODY, place_objects, start_simulator

DEPTH = 0.0005  # [m] that two bodies have to overlap before they count as touching


class SceneContacts:
    """The first arm of a scene, posed at will. Raises `SceneError` when the scene cannot be built."""

    def __init__(self, spec: SceneSpec) -> None:
        simulator = start_simulator(spec)
        self._model, self._data = simulator.model, simulator.data
        robot = simulator.robots[0]
        self._arm, self._fingers = np.array(robot._qpos_addrs), np.array(robot._finger_qpos_addrs)
        self._root = self._model.body_rootid[self._model.body(HAND_BODY).id]

    def touched(self, q: np.ndarray, opening: float, objects: Mapping[str, Pose]) -> tuple[str, ...]:
        """Names of what the arm, or what it holds, overlaps at ``q (7,)`` [rad], the gripper 0–1 open.

        ``objects`` are put at their poses in the base frame first. Raises `SceneError` for a name that is no object.
        """
        self._data.qpos[self._arm] = q
        self._data.qpos[self._fingers] = 0.5 * MAX_WIDTH * opening
        place_objects(self._model, self._data, objects)
        mujoco.mj_forward(self._model, self._data)
        found = []
        for contact in self._data.contact:
            bodies = [int(self._model.geom_bodyid[geom]) for geom in contact.geom]
            others = [body for body in bodies if self._model.body_rootid[body] != self._root]
            if len(others) == 1 and contact.dist < -DEPTH:
                found.append(self._model.body(others[0]).name)
        return tuple(dict.fromkeys("the table" if name == "world" else name for name in found))
