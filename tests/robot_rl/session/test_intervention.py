from __future__ import annotations

import numpy as np

from hardware.interfaces import TeleopCommand
from robot_rl.contract import ActionSpec, Source, Word
from robot_rl.session.intervention import decide

SPEC = ActionSpec(("x", "z", "gripper"), (0.01, 0.02, 1.0))
POLICY = np.array([0.5, 3.0, -1.0])
TWIST = np.array([0.05, 0.4, -0.1, 0.0, 0.0, 0.2])  # [m/s, rad/s]


def test_the_policy_decides_when_nobody_is_there() -> None:
    action, source = decide(POLICY, None, SPEC, 0.1, 0.75)
    assert source is Source.POLICY
    assert action.dtype == np.float32
    np.testing.assert_array_equal(action, [0.5, 1.0, -1.0])


def test_the_policy_decides_when_the_person_let_go() -> None:
    label = TeleopCommand(TWIST, engaged=False, words=(Word.SUCCESS,))
    assert decide(POLICY, label, SPEC, 0.1, 0.75).source is Source.POLICY


def test_the_persons_twist_becomes_the_displacement_of_one_period() -> None:
    action, source = decide(POLICY, TeleopCommand(TWIST, gripper=0.25), SPEC, 0.1, 0.75)
    assert source is Source.PERSON
    np.testing.assert_allclose(action, [0.5, -0.5, -0.5], atol=1e-6)
    slower = decide(POLICY, TeleopCommand(TWIST, gripper=0.25), SPEC, 0.05, 0.75)
    np.testing.assert_allclose(slower.action, [0.25, -0.25, -0.5], atol=1e-6)


def test_a_hasty_person_is_limited_to_what_an_action_can_say() -> None:
    np.testing.assert_array_equal(
        decide(POLICY, TeleopCommand(10.0 * TWIST, 1.0), SPEC, 0.1, 0.75).action, [1.0, -1.0, 1.0]
    )


def test_engaged_without_motion_holds_still_against_the_policy() -> None:
    action, source = decide(POLICY, TeleopCommand(np.zeros(6), gripper=1.0), SPEC, 0.1, 0.75)
    assert source is Source.PERSON
    np.testing.assert_array_equal(action, [0.0, 0.0, 1.0])


def test_a_person_who_does_not_mention_the_gripper_leaves_it_as_it_was_told() -> None:
    action, _ = decide(POLICY, TeleopCommand(TWIST), SPEC, 0.1, 0.25)
    assert action[-1] == -0.5
