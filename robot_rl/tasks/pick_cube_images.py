"""Pick a cube of any colour, whose place and colour only the pictures show."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from hardware.scene import FRONT_CAMERA, LOOK, LOOKS, WRIST_CAMERA, SceneSpec, pose_of_look
from robot_rl.contract import Field, Reading, View
from robot_rl.tasks import fields
from robot_rl.tasks.base import Start
from robot_rl.tasks.pick_cube import AREA_CENTRE, PickCube


class PickCubeImages(PickCube):
    """`PickCube` without the cube in the state. Its outcome is the simulator's truth all the same."""

    name: str = "pick_cube_images"
    fields: tuple[Field, ...] = (
        Field("place", 2, 8.0),  # of the TCP, from the middle of the area
        *(field for field in PickCube.fields if field.name not in ("to_cube", "near_cube", "lifted")),
    )
    cameras: Mapping[str, View] = MappingProxyType({FRONT_CAMERA: View(), WRIST_CAMERA: View()})

    def scene(self) -> SceneSpec:
        from robot_rl.tasks.scenes.cube import coloured

        return coloured()

    def sample_start(self, rng: np.random.Generator) -> Start:
        start = super().sample_start(rng)
        look = pose_of_look(int(rng.integers(LOOKS)))
        return dataclasses.replace(start, objects={**start.objects, LOOK: look})

    def state(self, reading: Reading) -> np.ndarray:
        place = reading.pose.translation[:2] - AREA_CENTRE
        values = {**fields.arm_values(reading), "place": place, "height": reading.pose.translation[2]}
        return fields.pack(self.fields, values)
