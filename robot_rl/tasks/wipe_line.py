"""Wipe along a line: press a round pad, held in the hand, on a flat surface and move along a line of 8 cm.

The outcome names no force: any contact will do, from a touch to all that the arm's spring can push. How hard a person
wants it they say by preferences (`robot_rl.rewards.preferred`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from controllers.spatial import Pose
from controllers.workspace import Workspace
from hardware.interfaces import TeleopCommand
from hardware.scene import SceneSpec
from robot_rl.contract import ActionSpec, Field, Outcome, Reading
from robot_rl.tasks import fields
from robot_rl.tasks.base import TOOL_DOWN, Start, Task

SURFACE = 0.060  # [m] above the floor
PAD_RADIUS = 0.015  # [m]
PAD_BELOW_TCP = 0.030  # [m] from the TCP to the lowest point of the pad
CONTACT_HEIGHT = SURFACE + PAD_BELOW_TCP  # [m] of the TCP when the pad touches
LINE_X = 0.5  # [m]
LINE_Y = (-0.04, 0.04)  # [m] from where to where
LANDING = 0.010  # [m] of the line within which the pad may still come down
IN_CONTACT = 0.0015  # [m] of the pad's lowest point above the surface, below which it counts as in contact
START_CENTRE = np.array([LINE_X, LINE_Y[0] - 0.010, CONTACT_HEIGHT + 0.030])  # [m] of the TCP
START_HALF = np.array([0.015, 0.012, 0.012])  # [m]
GRIPPER = 0.2  # opening about the pad
WISH = "wish"  # the object whose place says how hard the script presses, so that it goes wherever poses go
WISHES = (3.0, 20.0)  # [N], drawn anew for each episode
WISH_STEP = 0.01  # [m] along x for each newton


class WipeLine(Task):
    """Success: the pad at the end of the line, and in contact. A failure: it leaves the surface on the way there."""

    name: str = "wipe_line"
    action: ActionSpec = ActionSpec(("x", "y", "z"), (0.01, 0.01, 0.01))
    fields: tuple[Field, ...] = (
        Field("position", 3, 15.0),  # of the pad's lowest point, from the end of the line
        Field("height", 1, 1.0),  # the same above the surface, magnified near it
        fields.LINEAR_VELOCITY,
        fields.FORCE,
        fields.MOMENT,
        fields.LINEAR_SPRING,
        fields.TANK,
        fields.BUDGET,
    )
    horizon: int = 50
    workspace: Workspace = Workspace(
        np.array([LINE_X - 0.04, LINE_Y[0] - 0.04, CONTACT_HEIGHT - 0.012]),
        np.array([LINE_X + 0.04, LINE_Y[1] + 0.04, CONTACT_HEIGHT + 0.11]),
    )
    impact_energy: float = 0.03
    retreat_height: float = CONTACT_HEIGHT + 0.04
    nominal: Pose = Pose(np.array([LINE_X, 0.0, CONTACT_HEIGHT]), TOOL_DOWN)
    table: float = SURFACE
    instruction: str = "wipe along the line"
    reset_words: str = "Please clear the surface and its line."

    def scene(self) -> SceneSpec:
        from robot_rl.tasks.scenes.wipe import surface_and_pad

        return surface_and_pad()

    def sample_start(self, rng: np.random.Generator) -> Start:
        start = START_CENTRE + rng.uniform(-START_HALF, START_HALF)
        return Start(Pose(start, TOOL_DOWN), GRIPPER, {WISH: pose_of_wish(rng.uniform(*WISHES))})

    def target(self, objects: Mapping[str, Pose]) -> Pose:
        """The TCP where the pad touches the end of the line."""
        return Pose(np.array([LINE_X, LINE_Y[1], CONTACT_HEIGHT]), TOOL_DOWN)

    def state(self, reading: Reading) -> np.ndarray:
        position = pad(reading.pose) - (LINE_X, LINE_Y[1], SURFACE)
        values = {**fields.arm_values(reading), "position": position, "height": np.tanh(position[2] / 0.003)}
        return fields.pack(self.fields, values)

    def outcome(self, reading: Reading) -> Outcome:
        _, y, z = pad(reading.pose)
        if z - SURFACE < IN_CONTACT:
            return Outcome.success() if y > LINE_Y[1] else Outcome.running()
        return Outcome.failure("the pad left the surface") if y > LINE_Y[0] + LANDING else Outcome.running()

    def expert(self, reading: Reading) -> TeleopCommand:
        from robot_rl.tasks.experts.wipe_line import press_and_wipe

        return press_and_wipe(reading, self.control_period)


def pad(tcp: Pose) -> np.ndarray:
    """The lowest point of the pad ``(3,)`` [m], from the pose of an upright TCP."""
    return tcp.translation - (0.0, 0.0, PAD_BELOW_TCP)


def pressing(reading: Reading) -> float:
    """The force with which the pad presses on the surface [N]; below 0 nothing of the kind."""
    return float(reading.contact[2])


def pose_of_wish(force: float) -> Pose:
    """Where the object `WISH` is for a script that shall press with ``force`` [N]."""
    return Pose(np.array([force * WISH_STEP, 0.0, 0.0]), np.array([0.0, 0.0, 0.0, 1.0]))


def wish_of(objects: Mapping[str, Pose]) -> float:
    """The force [N] that the poses of ``objects`` say; the middle of `WISHES` where they say none."""
    pose = objects.get(WISH)
    return 0.5 * sum(WISHES) if pose is None else float(pose.translation[0]) / WISH_STEP
