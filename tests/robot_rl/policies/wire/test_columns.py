"""Rows of a server's answer as actions of a task: units, places, rates, bounds; and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from controllers.spatial import Pose, rotation_to_rpy
from robot_rl.contract import TCP_POSITION, TCP_ROTATION, ActionChunk, ActionSpec, ContractError, Field
from robot_rl.contract.settings import ConfigError
from robot_rl.policies.wire.columns import Columns
from robot_rl.policies.wire.file import parse
from robot_rl.policies.wire.joints import model

SCALE = 0.01  # [m] of a full action
TURN = 0.05  # [rad]
PERIOD = 0.1
ACTION = ActionSpec(("x", "y", "z"), (SCALE, SCALE, SCALE))
WHOLE = ActionSpec(("x", "y", "z", "roll", "pitch", "yaw", "gripper"), (SCALE,) * 3 + (TURN,) * 3 + (1.0,))
FIELDS = (Field(TCP_POSITION, 3, 2.0), Field(TCP_ROTATION, 3, 0.3))
HERE = Pose.from_rotvec(np.array([0.5, 0.1, 0.2]), np.array([3.0, 0.2, -0.1]))  # pointing down
STATE = np.concatenate((2.0 * HERE.translation, 0.3 * HERE.rotvec)).astype(np.float32)


def deltas(unit: object = "m", **more: Any) -> Columns:
    columns = [{"axis": axis, "means": "delta", "unit": unit} for axis in "xyz"]
    return Columns(parse({"columns": columns, **more}), ACTION, PERIOD, FIELDS)


def places(action: ActionSpec = WHOLE, **more: Any) -> Columns:
    columns = [{"axis": axis, "means": "absolute", "unit": "m"} for axis in "xyz"]
    columns += [{"axis": axis, "means": "absolute", "unit": "rad"} for axis in ("roll", "pitch", "yaw")]
    columns += [{"axis": "gripper", "open": 0.08, "closed": 0.0}]
    return Columns(parse({"columns": columns[: action.size], **more}), action, PERIOD, FIELDS)


@pytest.mark.parametrize(("unit", "number"), [("m", 0.005), ("cm", 0.5), ("mm", 5.0), ("step", 0.5), (0.1, 0.05)])
def test_units_are_converted(unit: object, number: float) -> None:
    actions = deltas(unit).moves({"actions": np.full((4, 3), number, np.float32)}, STATE).actions
    assert actions.shape == (4, 3)
    np.testing.assert_allclose(actions, 0.5, rtol=1e-6)


def test_columns_go_by_their_names_and_keys_wherever_they_stand() -> None:
    columns = [
        {"axis": "z", "means": "delta", "unit": "m", "key": "up"},
        {"ignored": "base"},
        {"axis": "y", "means": "delta", "unit": "m"},
        {"axis": "x", "means": "delta", "unit": "m"},
    ]
    made = Columns(parse({"columns": columns}), ACTION, PERIOD, FIELDS)
    answer = {"actions": np.array([[9.0, 0.002, 0.001]]), "up": np.array([[0.003]])}
    np.testing.assert_allclose(made.moves(answer, STATE).actions, [[0.1, 0.2, 0.3]], rtol=1e-6)


def test_places_are_reached_from_where_the_arm_is() -> None:
    way = np.array([[0.004, 0.0, -0.002], [0.008, 0.001, -0.002]])
    turned = [HERE.moved(np.array([0, 0, 0, 0.0, 0.01 * i, -0.02 * i])) for i in (1, 2)]
    rows = [[*(HERE.translation + w), *rotation_to_rpy(t.rotation), 0.06] for w, t in zip(way, turned, strict=True)]
    moves = places().moves({"actions": np.array(rows)}, STATE)
    actions = moves.actions
    assert moves.places is not None
    np.testing.assert_allclose(moves.places[:, :3], HERE.translation + way, atol=1e-7)
    for place, turn in zip(moves.places, turned, strict=True):
        np.testing.assert_allclose(Pose(place[:3], place[3:]).difference(turn)[3:], 0.0, atol=1e-3)
    np.testing.assert_allclose(actions[:, :3] * SCALE, [way[0], way[1] - way[0]], atol=1e-7)
    np.testing.assert_allclose(actions[:, 3:6] * TURN, [[0, 0.01, -0.02]] * 2, atol=1e-3)
    np.testing.assert_allclose(actions[:, 6], 0.5)


def test_what_is_faster_than_a_full_action_follows_later() -> None:
    steps = np.zeros((4, 3))
    steps[0] = 0.025, -0.025, 0.0
    moves = deltas().moves({"actions": steps}, STATE)
    actions = moves.actions
    assert moves.places is None
    np.testing.assert_allclose(actions[:, 0], [1.0, 1.0, 0.5, 0.0], atol=1e-6)
    np.testing.assert_allclose(actions[:, 1], [-1.0, -1.0, -0.5, 0.0], atol=1e-6)


@pytest.mark.parametrize(("rate", "rows", "wanted"), [(20.0, 8, 4), (5.0, 4, 8), (15.0, 15, 10), (50.0, 1, 1)])
def test_another_rate_makes_the_same_way_in_the_same_time(rate: float, rows: int, wanted: int) -> None:
    steps = np.full((rows, 3), 0.04 / rate)
    actions = deltas(rate=rate).moves({"actions": steps}, STATE).actions
    assert len(actions) == wanted
    np.testing.assert_allclose(actions.sum(axis=0) * SCALE, steps.sum(axis=0), rtol=1e-4)
    if rows > 1:
        np.testing.assert_allclose(actions, 0.4, rtol=1e-5)


def test_only_so_many_rows_act_as_the_file_says() -> None:
    assert len(deltas(rows=3).moves({"actions": np.zeros((50, 3))}, STATE).actions) == 3
    assert len(deltas().moves({"actions": np.zeros((400, 3))}, STATE).actions) == 100


GOOD = np.zeros((4, 3))


def with_value(value: float) -> np.ndarray:
    rows = GOOD.copy()
    rows[2, 1] = value
    return rows


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({}, "the answer has no 'actions', but nothing"),
        ({"action": GOOD, "info": 1}, "has no 'actions', but action, info"),
        ({"actions": GOOD.tolist()}, "must be an array of numbers, not list"),
        ({"actions": "Traceback (most recent call last)"}, "must be an array of numbers, not str"),
        ({"actions": GOOD > 0}, "must be an array of numbers, not an array of bool"),
        ({"actions": GOOD[:, :2]}, r"has shape \(4, 2\); it must be rows of 3: x, y, z"),
        ({"actions": np.zeros((4, 7))}, r"has shape \(4, 7\); it must be rows of 3: x, y, z"),
        ({"actions": GOOD[0]}, r"has shape \(3,\)"),
        ({"actions": GOOD[None]}, r"has shape \(1, 4, 3\)"),
        ({"actions": GOOD[:0]}, r"has shape \(0, 3\)"),
        ({"actions": np.zeros((2001, 3))}, r"has shape \(2001, 3\)"),
        ({"actions": with_value(np.nan)}, "is not finite: y is nan in row 2"),
        ({"actions": with_value(-np.inf)}, "is not finite: y is -inf in row 2"),
        ({"actions": with_value(1e300)}, r"is beyond ±1e\+06: y is 1e\+300 in row 2"),
        ({"actions": with_value(0.031)}, "jumps: y by 0.031 m in control period 2, and jump=3 allows 0.03"),
        ({"actions": np.tile(HERE.translation, (4, 1))}, "jumps: x by 0.5 m in control period 0.*is the column abs"),
    ],
)
def test_what_is_no_answer_is_refused_by_name(answer: dict[str, Any], words: str) -> None:
    with pytest.raises(ContractError, match=words):
        deltas().moves(answer, STATE)


@pytest.mark.parametrize("action", [ACTION, WHOLE])
def test_deltas_that_are_taken_for_places_are_refused(action: ActionSpec) -> None:
    with pytest.raises(ContractError, match=r"jumps: x by -0\.\d+ m in control period 0.*is the column delta"):
        places(action).moves({"actions": np.full((4, action.size), 0.001)}, STATE)


def test_yaw_may_be_absolute_alone_and_takes_the_short_way_round() -> None:
    action = ActionSpec(("yaw",), (TURN,))
    made = Columns(parse({"columns": [{"axis": "yaw", "means": "absolute", "unit": "rad"}]}), action, PERIOD, FIELDS)
    here = Pose.from_rotvec(np.zeros(3), np.array([0.0, 0.0, 3.13]))
    state = np.concatenate((np.zeros(3), 0.3 * here.rotvec)).astype(np.float32)
    actions = made.moves({"actions": np.array([[-3.12], [-3.10]])}, state).actions
    np.testing.assert_allclose(actions[:, 0] * TURN, [2 * np.pi - 6.25, 0.02], atol=1e-5)
    np.testing.assert_allclose(made.moves(made.answer(actions, state), state).actions, actions, atol=1e-5)


def test_a_gripper_far_beyond_its_ends_is_refused() -> None:
    rows = np.tile([*HERE.translation, *rotation_to_rpy(HERE.rotation), 0.09], (3, 1))
    assert places().moves({"actions": rows}, STATE).actions[0, 6] == 1.0
    rows[1, 6] = 1.0
    with pytest.raises(ContractError, match=r"gripper is 1 in row 1, far from closed=0 and open=0\.08"):
        places().moves({"actions": rows}, STATE)


@pytest.mark.parametrize("bounded", [True, False])
@given(
    rows=arrays.arrays(
        st.sampled_from([np.float32, np.float64, np.float16, np.int64, np.uint8]),
        st.tuples(st.integers(0, 4), st.sampled_from([3, 7, 8])),
    )
)
def test_any_rows_are_moves_or_refused(bounded: bool, rows: np.ndarray) -> None:
    for columns, state in ((deltas(), STATE), (places(), STATE), (by_joints("absolute", "rad"), AT_READY)):
        try:
            moves = columns.moves({"actions": rows}, state, bounded)
        except ContractError:
            continue
        ActionChunk(0, moves.actions, places=moves.places)
        assert np.abs(moves.actions).max() <= 1.0


@given(seed=st.integers(0, 10_000), rows=st.integers(1, 20), absolute=st.booleans())
def test_an_answer_of_ours_is_read_as_what_it_was(seed: int, rows: int, absolute: bool) -> None:
    columns = places() if absolute else whole_deltas()
    actions = np.random.default_rng(seed).uniform(-1.0, 1.0, (rows, 7)).astype(np.float32)
    answer = columns.answer(actions, STATE)
    np.testing.assert_allclose(columns.moves(answer, STATE).actions, actions, atol=2e-4)


def whole_deltas() -> Columns:
    columns: list[dict[str, Any]] = [{"axis": axis, "means": "delta", "unit": "cm"} for axis in "xyz"]
    columns += [{"axis": axis, "means": "delta", "unit": "deg", "key": "turn"} for axis in ("roll", "pitch", "yaw")]
    columns += [{"axis": "gripper", "open": -1.0, "closed": 1.0}]
    return Columns(parse({"columns": columns}), WHOLE, PERIOD, FIELDS)


def by_joints(means: str, unit: object, **more: Any) -> Columns:
    columns = [{"axis": f"joint{number}", "means": means, "unit": unit} for number in range(1, 8)]
    columns += [{"axis": "gripper", "open": 0.0, "closed": 1.0}]
    fields = (*FIELDS, Field("joints", 7, 0.5))
    return Columns(parse({"columns": columns, **more}), WHOLE, PERIOD, fields)


READY = np.array([0.1, -0.7, 0.0, -2.3, 0.1, 1.6, 0.8])
AT_READY = np.concatenate((STATE, 0.5 * READY)).astype(np.float32)


@pytest.mark.parametrize(("means", "unit"), [("absolute", "rad"), ("absolute", "deg"), ("delta", 0.2)])
def test_joints_lead_the_tcp_where_they_would_have_it(means: str, unit: object) -> None:
    pytest.importorskip("franky_sim")
    step = np.array([0.004, -0.006, 0.002, 0.005, -0.01, 0.008, 0.01])
    path = READY + step * np.arange(1, 6)[:, None]
    numbers = np.tile(step / 0.2, (5, 1)) if means == "delta" else np.degrees(path) if unit == "deg" else path
    rows = np.column_stack((numbers, [1.0, 1.0, 1.0, 0.0, 0.0]))
    moves = by_joints(means, unit).moves({"actions": rows}, AT_READY)
    actions = moves.actions
    assert (moves.places is None) == (means == "delta")
    pose = model().forward_kinematics(READY)
    for action, q in zip(actions, path, strict=True):
        pose = pose.moved(WHOLE.delta(action))
        np.testing.assert_allclose(pose.difference(model().forward_kinematics(q)), 0.0, atol=2e-5)
    np.testing.assert_allclose(actions[:, 6], [-1, -1, -1, 1, 1])


@pytest.mark.parametrize(("means", "number"), [("delta", READY), ("absolute", np.full(7, 0.01))])
def test_joints_that_jump_are_refused(means: str, number: np.ndarray) -> None:
    pytest.importorskip("franky_sim")
    rows = np.tile([*number, 0.0], (3, 1))
    with pytest.raises(ContractError, match=r"the answer jumps: \w+ by .*are the joints' columns (absolute|delta)"):
        by_joints(means, "rad").moves({"actions": rows}, AT_READY)


def test_joints_are_measured_in_the_state() -> None:
    columns = [{"axis": f"joint{number}", "means": "delta", "unit": "rad"} for number in range(1, 8)]
    with pytest.raises(ConfigError, match="the task's state needs the field joints"):
        Columns(parse({"columns": columns}), ActionSpec(WHOLE.axes[:6], WHOLE.scale[:6]), PERIOD, FIELDS)
