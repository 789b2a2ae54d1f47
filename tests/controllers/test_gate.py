from __future__ import annotations

import numpy as np
import pytest

from controllers.config import ControllerConfig
from controllers.gate import Gate, Refused
from controllers.model import ArmModel
from controllers.state import JointSetpoint, Setpoint
from controllers.workspace import Workspace

ABOVE_THE_TABLE = Workspace(np.array([-0.8, -0.8, 0.05]), np.array([0.8, 0.8, 1.0]))
# The TCP is 13 cm above the floor, folded and stretched out; half-way between, it is as far below.
FOLDED = np.array([0.0, 1.4, 0.0, -2.7, 0.0, 1.6, 0.8])
OUT = np.array([0.0, 1.1, 0.0, -0.8, 0.0, 1.6, 0.8])


def height(arm: ArmModel, q: np.ndarray) -> float:
    return float(arm.forward_kinematics(q).translation[2])


def test_a_joint_path_that_leaves_the_workspace_between_its_ends_is_refused(arm: ArmModel) -> None:
    gate = Gate(arm, ControllerConfig(workspace=ABOVE_THE_TABLE))
    assert min(height(arm, FOLDED), height(arm, OUT)) > 0.1
    assert height(arm, 0.5 * (FOLDED + OUT)) < -0.1
    for start, goal in ((FOLDED, OUT), (OUT, FOLDED)):
        with pytest.raises(Refused, match=r"passes .* outside the workspace"):
            gate.joints(JointSetpoint(goal, 0), start)
    up = np.array([0.0, -0.3, 0.0, -2.4, 0.0, 1.6, 0.8])
    for start, goal in ((FOLDED, up), (up, OUT)):
        np.testing.assert_array_equal(gate.joints(JointSetpoint(goal, 0), start).q, goal)


def test_an_arm_outside_the_workspace_may_come_in_and_not_stay_out(arm: ArmModel) -> None:
    gate = Gate(arm, ControllerConfig(workspace=ABOVE_THE_TABLE))
    low = 0.5 * (FOLDED + OUT)
    np.testing.assert_array_equal(gate.joints(JointSetpoint(OUT, 0), low).q, OUT)
    with pytest.raises(Refused, match="put the TCP at"):
        gate.joints(JointSetpoint(low, 0), OUT)
    with pytest.raises(Refused, match="put the TCP at"):
        gate.joints(JointSetpoint(low, 0), low)


@pytest.mark.parametrize(
    ("way", "duration", "words"),
    [
        ((0.1, 0.0, 0.0), 0.1, "asks for 1 m/s; slowed to the speed limit of 0.5 m/s"),
        ((0.0, 0.05025, 0.0), 0.1, "asks for 0.5025 m/s; slowed to the speed limit of 0.5 m/s"),
        ((0.0, 0.05, 0.0), 0.1, ""),
        ((0.0, 0.0, 0.05), 0.0, "asks for 0.05 m at once; slowed to the speed limit of 0.5 m/s"),
        ((0.0, 0.0, 0.0), 0.0, ""),
    ],
)
def test_poses_that_are_slowed_down_say_what_was_asked_for_and_what_is_allowed(
    arm: ArmModel, way: tuple[float, float, float], duration: float, words: str
) -> None:
    gate, here = Gate(arm, ControllerConfig()), arm.pose
    for turn, expected in ((0.0, words), (1.0, "slowed to the speed limit of 2.5 rad/s")):  # the turn takes longest
        goal = here.moved(np.array([*way, 0.0, 0.0, turn]))
        slow = gate.pose(Setpoint(goal, 0, duration), here.translation, here.rotation).slow
        assert slow == expected or (turn and slow.endswith(expected))


def test_joints_that_are_slowed_down_say_whether_it_is_for_the_tcp_or_for_a_joint(
    arm: ArmModel, ready: np.ndarray
) -> None:
    gate = Gate(arm, ControllerConfig())
    last, first = ready + 0.5 * np.eye(7)[6], ready + 0.5 * np.eye(7)[0]
    slow = gate.joints(JointSetpoint(last, 0, 0.1), ready).slow
    assert slow == "asks for 5 rad/s; slowed to the speed limit of 2.5 rad/s"
    # 0.307 m from the first joint's axis, half a radian in 0.1 s
    assert "asks for 1.5" in gate.joints(JointSetpoint(first, 0, 0.1), ready).slow
    assert gate.joints(JointSetpoint(first, 0, 1.0), ready).slow == ""
