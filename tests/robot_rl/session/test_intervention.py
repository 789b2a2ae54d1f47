from __future__ import annotations

import dataclasses

import numpy as np

from controllers.spatial import Pose
from hardware.interfaces import TeleopCommand
from robot_rl.contract import LEAD, ActionSpec, Reading, Source, Word
from robot_rl.session.intervention import ASIDE, Decision, Led, decide, reference_of
from tests.robot_rl.readings import FAR, PerfectArm

SPEC = ActionSpec(("x", "z", "gripper"), (0.01, 0.02, 1.0))
POLICY = np.array([0.5, 3.0, -1.0])
TWIST = np.array([0.05, 0.4, -0.1, 0.0, 0.0, 0.2])  # [m/s, rad/s]
LEVEL = np.zeros(6)  # the reference is where the arm is


def choose(
    teleop: TeleopCommand | None, period: float = 0.1, opening: float = 0.75, lead: np.ndarray = LEVEL
) -> Decision:
    return decide(POLICY, teleop, SPEC, period, opening, lead)


def test_the_policy_decides_when_nobody_is_there() -> None:
    for lead in (LEVEL, LEAD):  # which is none of its business
        action, source, delta = choose(None, lead=lead)
        assert source is Source.POLICY
        assert action.dtype == np.float32
        np.testing.assert_array_equal(action, [0.5, 1.0, -1.0])
        np.testing.assert_allclose(delta, [0.005, 0.0, 0.02, 0.0, 0.0, 0.0])


def test_the_policy_decides_when_the_person_let_go() -> None:
    label = TeleopCommand(TWIST, engaged=False, words=(Word.SUCCESS,))
    assert choose(label).source is Source.POLICY


def test_the_persons_twist_becomes_the_displacement_of_one_period() -> None:
    action, source, _ = choose(TeleopCommand(TWIST, gripper=0.25))
    assert source is Source.PERSON
    np.testing.assert_allclose(action, [0.5, -0.5, -0.5], atol=1e-6)
    slower = choose(TeleopCommand(TWIST, gripper=0.25), period=0.05)
    np.testing.assert_allclose(slower.action, [0.25, -0.25, -0.5], atol=1e-6)


def test_the_displacement_goes_on_from_the_reference() -> None:
    lead = np.array([0.004, 0.0, 0.01, 0.0, 0.0, 0.0])
    action, _, delta = choose(TeleopCommand(TWIST), lead=lead)
    np.testing.assert_allclose(action[:2], [0.9, 0.0], atol=1e-6)
    np.testing.assert_allclose(delta[[0, 2]], [0.009, 0.0], atol=1e-9)


def test_who_leads_further_than_an_action_says_the_nearest_one_is_said_for() -> None:
    action, _, delta = choose(TeleopCommand(TWIST), lead=np.array([0.01, 0.0, 0.0, 0.0, 0.0, 0.0]))
    assert action[0] == 1.0
    np.testing.assert_allclose(delta[0], 0.015)


def test_a_hasty_person_is_limited_to_an_action_beyond_the_lead() -> None:
    action, _, delta = choose(TeleopCommand(10.0 * TWIST, 1.0))
    np.testing.assert_array_equal(action, [1.0, -1.0, 1.0])
    np.testing.assert_allclose(delta, [0.02, 0.0, -0.03, 0.0, 0.0, 0.0])


def test_engaged_without_motion_holds_the_reference_against_the_policy() -> None:
    action, source, delta = choose(TeleopCommand(np.zeros(6), gripper=1.0), lead=np.array([0.005] + [0.0] * 5))
    assert source is Source.PERSON
    np.testing.assert_allclose(action, [0.5, 0.0, 1.0], atol=1e-6)
    assert delta[0] == 0.005


def test_a_person_who_does_not_mention_the_gripper_leaves_it_as_it_was_told() -> None:
    assert choose(TeleopCommand(TWIST), opening=0.25).action[-1] == -0.5


def reading(target: Pose) -> Reading:
    return dataclasses.replace(PerfectArm(FAR).reading(), target=target)


def test_a_person_leads_on_from_where_they_led_to_if_the_controller_is_on_its_way_there() -> None:
    begin, end = FAR, FAR.moved(np.array([0.01, 0.0, 0.0, 0.0, 0.0, 0.1]))

    def reference(share: float, aside: float = 0.0, period: float = 0.1) -> Pose:
        target = FAR.moved(share * end.difference(begin) + np.array([0.0, aside, 0.0, 0.0, 0.0, 0.0]))
        return reference_of(reading(target), Led(begin, end), period)

    for nearly in (1.0, 0.9, 0.85):
        assert reference(nearly) is end
    for held_up in (0.7, 0.0, -0.5):  # or giving way
        assert reference(held_up) is not end
    assert reference(0.7, period=0.02) is end, "the same time is a larger share"
    assert reference(0.9, 0.5 * ASIDE) is end
    assert reference(0.9, 2.0 * ASIDE) is not end
    target = FAR.moved(np.array([0.0, 0.0, 0.02, 0.0, 0.0, 0.0]))
    assert reference_of(reading(target), None, 0.1) is target


def test_at_rest_the_reference_is_where_it_was_left_unless_the_controller_gave_way() -> None:
    still = Led(FAR, FAR)
    assert reference_of(reading(FAR.moved(np.array([0.0, 0.0, 0.5 * ASIDE, 0.0, 0.0, 0.0]))), still, 0.1) is FAR
    away = FAR.moved(np.array([0.0, 0.0, 3.0 * ASIDE, 0.0, 0.0, 0.0]))
    assert reference_of(reading(away), still, 0.1) is away
