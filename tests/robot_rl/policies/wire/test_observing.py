"""Observations by a server's names, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from controllers.spatial import Pose, rotation_to_rpy
from robot_rl.contract import TCP_ROTATION, ContractError, Field, Observation
from robot_rl.contract.settings import ConfigError
from robot_rl.policies.wire.file import parse
from robot_rl.policies.wire.observing import Observing

FIELDS = (Field("force", 3, 0.05), Field(TCP_ROTATION, 3, 0.3), Field("gripper", 1, 1.0))
TURNED = np.array([3.0, 0.2, -0.1])
STATE = np.concatenate((0.05 * np.array([1.0, 2.0, 3.0]), 0.3 * TURNED, [0.25])).astype(np.float32)
IMAGE = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
SEEN = Observation(7, 3, STATE, {"front": IMAGE, "wrist": IMAGE + 1})
FILE = {
    "images": {"image": "wrist"},
    "state": {"gripper_closing": [{"field": "gripper", "scale": -1, "offset": 1}], "wrench": ["force"]},
    "prompt": "prompt",
}


def observing(images: tuple[str, ...] = ("front", "wrist"), **changes: Any) -> Observing:
    return Observing(parse({**FILE, **changes}), FIELDS, dict.fromkeys(images, (8, 8)))


def test_each_part_goes_to_its_key_in_its_unit() -> None:
    sent = observing().sent([SEEN], "press")
    assert np.array_equal(sent.images["image"], IMAGE + 1)
    np.testing.assert_allclose(sent.state["gripper_closing"], [0.75], atol=1e-6)
    np.testing.assert_allclose(sent.state["wrench"], [1.0, 2.0, 3.0], atol=1e-6)
    assert {value.dtype for value in sent.state.values()} == {np.dtype(np.float32)}
    assert sent.prompt == {"prompt": "press"}
    assert observing(prompt="").sent([SEEN], "press").prompt == {}


def test_a_history_is_one_more_axis_the_newest_last() -> None:
    before = Observation(6, 2, 2.0 * STATE, {"front": IMAGE, "wrist": IMAGE + 2})
    sent = observing(history=2).sent([SEEN, before, SEEN], "press")
    np.testing.assert_allclose(sent.state["wrench"], [[2.0, 4.0, 6.0], [1.0, 2.0, 3.0]], atol=1e-6)
    assert np.array_equal(sent.images["image"], [IMAGE + 2, IMAGE + 1])


@pytest.mark.parametrize("form", ["rotvec", "rpy", "quat_xyzw"])
def test_orientations_have_the_form_asked_for_and_come_back(form: str) -> None:
    whole = {"turn": [{"field": TCP_ROTATION, "as": form}, "gripper", "force"]}
    made = observing(("wrist",), state=whole)
    pose = Pose.from_rotvec(np.zeros(3), TURNED)
    wanted = {"rotvec": TURNED, "rpy": rotation_to_rpy(pose.rotation), "quat_xyzw": pose.quat_xyzw}[form]
    sent = made.sent([SEEN], "press")
    np.testing.assert_allclose(sent.state["turn"][: len(wanted)], wanted, atol=1e-5)
    assert made.sizes() == {"turn": len(wanted) + 4}
    made.check_whole()
    back = made.received({**sent.images, **sent.state, **sent.prompt}, 5)
    np.testing.assert_allclose(back.state, STATE, atol=1e-5)
    assert (back.seq, list(back.images)) == (5, ["wrist"])
    assert np.array_equal(back.images["wrist"], IMAGE + 1)
    assert made.instruction(sent.prompt, "") == "press"
    assert made.instruction({}, "default") == "default"


WHOLE = observing(("wrist",), state={"turn": [TCP_ROTATION], "rest": ["gripper", "force"]})
GOOD: dict[str, Any] = {"image": IMAGE, "turn": TURNED, "rest": np.zeros(4), "prompt": "press"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"turn": None}, "turn must be an array of 3 numbers, not NoneType"),
        ({"turn": np.zeros(4)}, r"turn must be an array of 3 numbers, not float64 \(4,\)"),
        ({"turn": np.zeros((1, 3))}, r"not float64 \(1, 3\)"),
        ({"turn": [1, 2, "a"]}, "turn must be 3 numbers|turn must be an array"),
        ({"turn": [1.0, 2.0, float("nan")]}, "turn is not finite"),
        ({"rest": np.array([True] * 4)}, "rest must be an array of 4 numbers, not bool"),
        ({"image": IMAGE.astype(np.float32)}, r"image must be an image uint8 \(8, 8, 3\), not float32"),
        ({"image": IMAGE[:4]}, r"image must be an image uint8 \(8, 8, 3\), not uint8 \(4, 8, 3\)"),
        ({"image": "picture"}, "not str"),
        ({"more": 1}, "the key 'more' is unknown; there are image, prompt, rest, turn"),
    ],
)
def test_what_is_no_observation_is_refused_by_name(changes: dict[str, Any], words: str) -> None:
    WHOLE.received(GOOD, 1)
    with pytest.raises(ContractError, match=words):
        WHOLE.received({**GOOD, **changes}, 1)


@pytest.mark.parametrize("key", ["image", "turn", "rest"])
def test_a_key_that_is_missing_is_named(key: str) -> None:
    with pytest.raises(ContractError, match=f"the key '{key}' is missing"):
        WHOLE.received({name: value for name, value in GOOD.items() if name != key}, 1)


def test_an_instruction_is_text() -> None:
    with pytest.raises(ContractError, match="prompt must be text, not bytes"):
        WHOLE.instruction({"prompt": b"press"}, "")


def test_a_file_that_lacks_what_a_policy_sees_makes_no_server() -> None:
    with pytest.raises(ConfigError, match="the policy needs tcp_rotation, which no key"):
        observing(("wrist",)).check_whole()
    with pytest.raises(ConfigError, match="the policy needs the camera front"):
        observing(state={"all": ["force", TCP_ROTATION, "gripper"]}).check_whole()
