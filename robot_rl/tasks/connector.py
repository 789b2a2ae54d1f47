"""Connector: push a plug past the latches of a socket that is not quite where it is said to be.

Two sprung latches reach into the socket. Together they stop more than the arm can push straight down; one after the
other they give way, when the plug is rocked. A person sees where the socket is, displaced by up to 1.5 mm and turned by
up to 3°; no observation says it.
"""

from __future__ import annotations

import numpy as np

from hardware.interfaces import TeleopCommand
from hardware.scene import SceneSpec
from robot_rl.contract import ActionSpec, Reading
from robot_rl.tasks.peg_search import PegSearch

PLUG_SIZE = (0.020, 0.010)  # [m] x, y
SUCCESS_DEPTH = 0.009  # [m] of the plug's end in the socket: past the latches


class Connector(PegSearch):
    """Success: the plug 9 mm deep in the socket, behind its latches. Judged from the TCP."""

    name: str = "connector"
    action: ActionSpec = ActionSpec(("x", "y", "z", "pitch", "yaw"), (0.01, 0.01, 0.01, 0.05, 0.05))
    horizon: int = 150
    clearance: float = 0.0008
    displacement: float = 0.0015
    misalignment: float = float(np.radians(3.0))
    depth: float = SUCCESS_DEPTH
    capture: float = 0.0035

    def scene(self) -> SceneSpec:
        from robot_rl.tasks.scenes.connector import plug_and_socket

        return plug_and_socket(self.clearance)

    def expert(self, reading: Reading) -> TeleopCommand:
        from robot_rl.tasks.experts.connector import align_then_rock

        return align_then_rock(self, reading)
