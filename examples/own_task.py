"""A task of one's own: press a pad with the closed hand, wherever it lies on the table.

    robot-rl task check examples.own_task:Touch
    robot-rl record --fast --task examples.own_task:Touch --run runs/touch demos=10
    robot-rl train --fast --run runs/touch steps=1200
    robot-rl eval --fast --run runs/touch episodes=10

A copy in the working directory goes by its own name, ``--task own_task:Touch``. Without ``--fast`` the same commands
start the simulated robot and the ROS 2 graph. `robot_rl.tasks.base.Task` says all that a task may define.
"""

from __future__ import annotations

import numpy as np

from controllers.spatial import Pose
from controllers.workspace import Workspace
from hardware.interfaces import TeleopCommand
from hardware.scene import SceneSpec
from robot_rl.contract import ActionSpec, Field, Outcome, Reading
from robot_rl.tasks import fields
from robot_rl.tasks.base import READY_Q, TOOL_DOWN, Start, Task
from robot_rl.tasks.experts.motion import drive, saturate

PAD_TOP = 0.08  # [m] above the table
TIP = 0.009  # [m] of finger below the TCP
PAD_HALF = 0.02  # [m]
CENTRE = np.array([0.5, 0.0, 0.18])  # [m] of the starts, base frame
START_HALF = np.array([0.03, 0.03, 0.02])
PAD_SPREAD = 0.06  # [m] by which the pad lies beside the centre at most
PRESSURE = 3.0  # [N] upwards on the hand that count as a touch
STRIDE = 0.01  # [m] a step
PAD = f"""
<body name="pad" mocap="true" pos="0.5 0 {PAD_TOP}">
  <geom type="box" pos="0 0 {-0.5 * PAD_TOP}" size="{PAD_HALF} {PAD_HALF} {0.5 * PAD_TOP}" rgba="0.1 0.6 0.8 1"/>
</body>
"""


class Touch(Task):
    """Success: the pad pushes back with 3 N. Its place is in the state, and so is the force."""

    name: str = "touch"
    instruction: str = "Press the pad."
    action: ActionSpec = ActionSpec(("x", "y", "z"), (STRIDE,) * 3)
    fields: tuple[Field, ...] = (Field("to_pad", 3, 10.0), fields.LINEAR_VELOCITY, fields.FORCE, fields.LINEAR_SPRING)
    horizon: int = 60
    workspace: Workspace = Workspace(np.array([0.40, -0.10, PAD_TOP - 0.01]), np.array([0.60, 0.10, 0.26]))
    retreat_height: float = 0.18
    nominal: Pose = Pose(CENTRE, TOOL_DOWN)

    def scene(self) -> SceneSpec:
        return SceneSpec(worldbody=PAD, objects=("pad",), start_q=READY_Q, start_width=0.0, look_at=(0.5, 0.0, 0.1))

    def sample_start(self, rng: np.random.Generator) -> Start:
        start = CENTRE + rng.uniform(-START_HALF, START_HALF)
        pad = np.array([*(CENTRE[:2] + rng.uniform(-PAD_SPREAD, PAD_SPREAD, 2)), PAD_TOP])
        return Start(Pose(start, TOOL_DOWN), gripper=0.0, objects={"pad": Pose(pad, np.array([0.0, 0.0, 0.0, 1.0]))})

    def state(self, reading: Reading) -> np.ndarray:
        return fields.pack(self.fields, {**fields.arm_values(reading), "to_pad": to_pad(reading)})

    def outcome(self, reading: Reading) -> Outcome:
        above = np.abs(to_pad(reading)[:2]).max() < PAD_HALF
        return Outcome.success() if above and reading.contact[2] > PRESSURE else Outcome.running()

    def expert(self, reading: Reading) -> TeleopCommand:
        """Sideways at height, then down and a little further."""
        way = to_pad(reading)
        if np.linalg.norm(way[:2]) > 0.5 * PAD_HALF:
            way[2] = max(way[2] + 0.03, 0.0)
        else:
            way[2] -= 0.01
        return drive(np.append(saturate(way, STRIDE), np.zeros(3)), self.control_period)


def to_pad(reading: Reading) -> np.ndarray:
    """The way ``(3,)`` [m] from the fingertips to the middle of the pad's top."""
    way: np.ndarray = fields.object_pose(reading, "pad").translation - reading.pose.translation
    way[2] += TIP
    return way
