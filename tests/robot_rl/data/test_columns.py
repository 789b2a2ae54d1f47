"""Readings as rows of columns, and back: nothing that was measured is lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.spatial import Pose
from controllers.state import Mode
from robot_rl.contract import AgentView, ContractError, Field, Reading
from robot_rl.data.columns import columns_to_readings, reading_to_row, stack_rows
from robot_rl.data.journal import records_to_columns, scan, step_to_frame
from tests.robot_rl.recording import SCHEMA, TASK, Felt, pose, reading, steps

NAMES = st.text("abcé_/ ", min_size=1, max_size=6)
SEEDS = st.integers(0, 2**32 - 1)
NUMBERS = st.floats(-1e6, 1e6)


@st.composite
def readings(draw: st.DrawFn) -> Reading:
    rng = np.random.default_rng(draw(SEEDS))
    return Reading(
        stamp_ns=draw(st.integers(0, 2**62)),
        robot_time=draw(NUMBERS),
        q=rng.normal(size=7),
        pose=pose(rng),
        twist=rng.normal(size=6),
        wrench=rng.normal(size=6),
        target=pose(rng),
        gripper=draw(NUMBERS),
        tank=draw(NUMBERS),
        mode=draw(st.sampled_from(Mode)),
        images={"wrist": rng.integers(0, 256, (2, 3, 3), np.uint8)},
        objects={name: pose(rng) for name in draw(st.sets(NAMES, max_size=3))},
        fault=draw(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)),
        budget=draw(NUMBERS | st.just(float("inf"))),
        activity=draw(NUMBERS),
        signals=draw(st.dictionaries(NAMES, NUMBERS, max_size=3)),
    )


def close(one: Pose, other: Pose) -> bool:
    """Translations alike to the bit, rotations but for the rounding of one normalisation."""
    exact = np.array_equal(one.translation, other.translation)
    return exact and np.allclose(one.quat_xyzw, other.quat_xyzw, rtol=0.0, atol=1e-15)


def alike(one: Reading, other: Reading) -> bool:
    plain = ("stamp_ns", "robot_time", "gripper", "tank", "budget", "activity", "mode", "fault", "signals")
    return (
        all(getattr(one, name) == getattr(other, name) for name in plain)
        and all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("q", "twist", "wrench"))
        and close(one.pose, other.pose)
        and close(one.target, other.target)
        and one.objects.keys() == other.objects.keys()
        and all(close(one.objects[name], other.objects[name]) for name in one.objects)
        and one.images.keys() == other.images.keys()
        and all(np.array_equal(one.images[name], other.images[name]) for name in one.images)
    )


@given(st.lists(readings(), min_size=1, max_size=4))
def test_readings_survive_their_columns_whatever_objects_and_signals_come_and_go(written: list[Reading]) -> None:
    rows = [reading_to_row(one) for one in written]
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: stack_rows(name, [row.get(name) for row in rows]) for name in names}
    assert all(len(column) == len(written) for column in columns.values())
    for one, other in zip(columns_to_readings(columns), written, strict=True):
        assert alike(one, other)


def test_an_object_that_the_scene_loses_is_missing_and_nowhere() -> None:
    written = list(steps(3))
    del written[1].next_reading.objects["peg"]  # which is the reading of the step after it
    frames = [step_to_frame(step, i, SCHEMA, {"meta": {}} if i == 0 else None) for i, step in enumerate(written)]
    columns = records_to_columns(scan(b"".join(frames)).records)
    assert np.isnan(columns["objects/peg"][2]).all() and np.isfinite(columns["objects/peg"][[0, 1, 3]]).all()
    assert ["peg" in one.objects for one in columns_to_readings(columns)] == [True, True, False, True]


def test_a_view_hides_fields_and_nothing_else() -> None:
    seen = reading(np.random.default_rng(0))
    whole, blind = AgentView(TASK), AgentView(TASK, ("force",))
    assert np.array_equal(whole.state(seen), TASK.state(seen)) and whole.layout().state_size == 5
    assert np.array_equal(blind.state(seen), TASK.state(seen)[:3])
    assert (blind.fields, blind.state_size, blind.without) == (TASK.fields[:1], 3, ("force",))
    assert blind.layout({"wrist": (4, 6)}).images == {"wrist": (4, 6)}


def test_what_cannot_be_hidden_is_named() -> None:
    with pytest.raises(ContractError, match=r"task 'reach' has no field 'forse'; choose from position, force; did you"):
        AgentView(TASK, ("forse",))
    with pytest.raises(ContractError, match="nothing is left of the state of task 'reach'"):
        AgentView(TASK, ("force", "position"))

    class Seen(Felt):  # a task that is seen and not felt
        fields: tuple[Field, ...] = ()

    assert AgentView(Seen()).state_size == 0
