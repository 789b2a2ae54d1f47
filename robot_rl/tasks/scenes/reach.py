"""A goal that floats, for `robot_rl.tasks.reach`."""

from __future__ import annotations

from hardware.scene import SceneSpec

START_Q = (0.0, -0.0418, 0.0, -2.3343, 0.0, 2.2925, 0.785398)  # the TCP in the middle of the starts, straight down


def scene() -> SceneSpec:
    goal = """
    <body name="goal" mocap="true" pos="0.5 0 0.35">
      <geom type="sphere" size="0.01" rgba="0.1 0.8 0.2 0.6" contype="0" conaffinity="0"/>
    </body>
    """
    return SceneSpec(worldbody=goal, objects=("goal",), start_q=START_Q, look_at=(0.45, 0.0, 0.25))
