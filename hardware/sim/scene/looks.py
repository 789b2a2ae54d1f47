"""Looks of a drawn scene: colours that a look number decides, and what a laboratory changes from day to day.

    look n → hue of each coloured geom, or its colour in the scene's palette;  with variation v also
    light × (1 ± v/2), direction ± v/2,  colours of all else ± 0.15 v,  cameras ± 10 mm · v, ± 2° · v,
    gain of each colour channel 1 ± 0.15 v

Tobin et al., "Domain Randomization for Transferring Deep Neural Networks from Simulation to the Real World", IROS 2017,
whose ranges are those of v = 1 or wider. Look n is the same wherever it is drawn.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import mujoco
import numpy as np

LIGHT = 0.5  # share of the light's strength, and of its direction
COLOUR = 0.15  # of 1
CAMERA_PLACE = 0.010  # [m]
CAMERA_TURN = np.radians(2.0)
GAIN = 0.15
SATURATION, BRIGHTNESS = (0.65, 1.0), (0.5, 0.95)  # of coloured geoms


class Looks:
    """Changes a model that is only drawn.

    Args:
        model: of the scene, as it was compiled.
        coloured: names of geoms.
        variation: 0 for colours alone, 1 for all that is above.
        palette: see `SceneSpec`.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        coloured: Sequence[str],
        variation: float,
        palette: Sequence[tuple[float, float, float]] = (),
    ) -> None:
        self._model, self._variation, self._palette = model, variation, palette
        self._coloured = [model.geom(name).id for name in coloured]
        names = ("geom_rgba", "mat_rgba", "light_diffuse", "light_dir", "cam_pos", "cam_quat")
        self._plain = {name: getattr(model, name).copy() for name in names}
        self._now: int | None = None
        self.gain = np.ones(3)

    def put_on(self, look: int) -> None:
        """Give the model look number ``look``; the gains ``(3,)`` of the picture's channels are in ``gain`` then."""
        if look == self._now:
            return
        self._now = look
        model, rng, v = self._model, np.random.default_rng(look), self._variation
        for name, plain in self._plain.items():
            getattr(model, name)[:] = plain
        colours = [
            colorsys.hsv_to_rgb(rng.uniform(), rng.uniform(*SATURATION), rng.uniform(*BRIGHTNESS))
            for _ in self._coloured
        ]
        if base := len(self._palette):
            colours = [self._palette[look // base**digit % base] for digit in range(len(self._coloured))]
        for of_colour in (model.geom_rgba, model.mat_rgba):
            of_colour[:, :3] = np.clip(
                of_colour[:, :3] + v * rng.uniform(-COLOUR, COLOUR, of_colour[:, :3].shape), 0, 1
            )
        for geom, colour in zip(self._coloured, colours, strict=True):
            model.geom_rgba[geom, :3] = colour
        model.light_diffuse[:] *= 1.0 + v * rng.uniform(-LIGHT, LIGHT, (model.nlight, 1))
        model.light_dir[:] += v * rng.uniform(-LIGHT, LIGHT, model.light_dir.shape)
        model.cam_pos[:] += v * rng.uniform(-CAMERA_PLACE, CAMERA_PLACE, model.cam_pos.shape)
        for quaternion in model.cam_quat:
            mujoco.mju_quatIntegrate(quaternion, v * rng.uniform(-CAMERA_TURN, CAMERA_TURN, 3), 1.0)
        self.gain = 1.0 + v * rng.uniform(-GAIN, GAIN, 3)
