"""Identification of a tool on simulated wrenches of loads that the identification does not know."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.spatial import exp3
from hardware.force.tool import GRAVITY, StaticPose, Tool, ToolError, identify

DOWN = exp3(np.array([np.pi, 0.0, 0.0]))
TILTS = [(0.0, 0.0), *((0.6 * np.cos(a), 0.6 * np.sin(a)) for a in np.arange(8) * np.pi / 4)]
NOISE = np.array([0.02] * 3 + [0.001] * 3)  # [N, N·m] of a mean at rest


def measured(tool: Tool, rotations: list[np.ndarray], seed: int = 0, noise: np.ndarray = NOISE) -> list[StaticPose]:
    """Poses of a sensor that carries ``tool``, point by point: each gram pulls where it is."""
    rng = np.random.default_rng(seed)
    poses = []
    for rotation in rotations:
        pull = rotation.T @ (tool.mass * GRAVITY)
        lever = tool.moment / tool.mass
        torque = [lever[1] * pull[2] - lever[2] * pull[1], lever[2] * pull[0] - lever[0] * pull[2]]
        torque.append(lever[0] * pull[1] - lever[1] * pull[0])
        poses.append(StaticPose(rotation, np.array([*pull, *torque]) + tool.bias + noise * rng.standard_normal(6)))
    return poses


def turned(tilts: list[tuple[float, float]] = TILTS) -> list[np.ndarray]:
    return [exp3(np.array([x, y, 0.0])) @ DOWN for x, y in tilts]


@given(
    mass=st.floats(0.4, 3.0),
    centre=st.tuples(*[st.floats(-0.08, 0.08)] * 3),
    bias=st.tuples(*[st.floats(-20.0, 20.0)] * 3, *[st.floats(-2.0, 2.0)] * 3),
    mount=st.tuples(*[st.floats(-1.8, 1.8)] * 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_an_unknown_load_is_found_within_5_percent_and_3_mm(
    mass: float,
    centre: tuple[float, ...],
    bias: tuple[float, ...],
    mount: tuple[float, ...],
    seed: int,
) -> None:
    """With 9 poses tilted by 34°, σ of the mass is 0.02 N / (9.81 m/s² · √(8 sin² 34°)) = 1.3 g, and of the centre, for
    the lightest tool and the longest lever, 0.6 mm."""
    true = Tool("wrist", mass, mass * np.array(centre), np.array(bias))
    rotations = [rotation @ exp3(np.array(mount)) for rotation in turned()]
    found = identify(measured(true, rotations, seed), "wrist")
    assert found.tool.centre is not None
    assert found.tool.mass == pytest.approx(mass, rel=0.05)
    assert np.linalg.norm(found.tool.centre - centre) < 0.003
    assert abs(found.tool.mass - mass) < 6.0 * found.mass_std
    assert (np.abs(found.tool.centre - centre) < 6.0 * found.centre_std).all()


def test_standard_deviations_are_those_of_many_identifications() -> None:
    true = Tool("wrist", 0.8, 0.8 * np.array([0.01, -0.02, 0.06]), np.array([3.0, -2.0, 8.0, 0.1, 0.2, -0.1]))
    found = [identify(measured(true, turned(), seed), "wrist") for seed in range(400)]
    masses = [one.tool.mass for one in found]
    centres = np.array([one.tool.centre for one in found])
    assert np.std(masses) == pytest.approx(np.mean([one.mass_std for one in found]), rel=0.15)
    np.testing.assert_allclose(centres.std(axis=0), np.mean([one.centre_std for one in found], axis=0), rtol=0.15)
    assert np.mean([one.residual for one in found], axis=0) == pytest.approx(NOISE[[0, 3]], rel=0.15)


def test_compensation_leaves_what_touches_the_tool() -> None:
    tool = Tool("wrist", 1.2, np.array([0.0, 0.01, 0.07]), np.array([1.0, 2.0, 3.0, 0.1, 0.2, 0.3]))
    touch = np.array([0.0, 5.0, -2.0, 0.3, 0.0, 0.1])
    for pose in measured(tool, turned(), noise=np.zeros(6)):
        np.testing.assert_allclose(tool.compensate(pose.wrench + touch, pose.rotation), touch, atol=1e-12)


def test_a_load_that_is_taken_off_already_may_be_corrected_downwards() -> None:
    """As of an arm that was told of a heavier load in Desk than it carries."""
    excess = Tool("tcp", -0.3, -0.3 * np.array([0.0, 0.0, 0.05]), np.zeros(6))
    poses = measured(excess, turned())
    with pytest.raises(ToolError, match=r"the mass would be -0\.\d+ kg.*sign"):
        identify(poses, "tcp")
    assert identify(poses, "tcp", correction=True).tool.mass == pytest.approx(-0.3, rel=0.1)


def test_no_load_leaves_the_bias_and_no_centre() -> None:
    nothing = Tool("tcp", 1e-12, np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0, 0.0, 0.2]))
    found = identify(measured(nothing, turned()), "tcp", correction=True)
    assert found.tool.centre is None
    assert np.isinf(found.centre_std).all()
    np.testing.assert_allclose(found.tool.bias, nothing.bias, atol=0.5)


def test_a_sensor_that_always_shows_the_same_has_a_bias_and_no_tool() -> None:
    same = np.array([1.0, 0.0, -7.5, 0.0, 0.1, 0.0])
    found = identify([StaticPose(rotation, same) for rotation in turned()], "wrist")
    assert found.tool.centre is None
    np.testing.assert_allclose(found.tool.bias, same, atol=1e-9)


def test_a_pose_that_touched_something_is_the_worst() -> None:
    tool = Tool("wrist", 1.0, np.array([0.0, 0.0, 0.05]), np.zeros(6))
    poses = measured(tool, turned())
    poses[4] = poses[4]._replace(wrench=poses[4].wrench + np.array([0.0, 8.0, 0.0, 0.0, 0.0, 0.0]))
    index, residual = identify(poses, "wrist").worst
    assert index == 4
    assert residual > 2.0


@pytest.mark.parametrize(
    ("tilts", "message"),
    [
        (TILTS[:3], "3 poses are too few; take 4"),
        ([(0.0, 0.0), (0.02, 0.0), (0.0, 0.02), (0.02, 0.02)], r"by 2° against each other.*tilt it by 30° or more"),
        ([(0.0, 0.0), (0.6, 0.0), (-0.6, 0.0), (0.3, 0.0)], "about one axis only.*second horizontal axis"),
    ],
)
def test_poses_that_do_not_excite_are_refused_with_advice(tilts: list[tuple[float, float]], message: str) -> None:
    tool = Tool("wrist", 1.0, np.array([0.0, 0.0, 0.05]), np.zeros(6))
    with pytest.raises(ToolError, match=message):
        identify(measured(tool, turned(tilts)), "wrist")


def test_values_that_can_be_none_are_refused() -> None:
    with pytest.raises(ToolError, match="moment of a tool is 3 finite numbers"):
        Tool("wrist", 1.0, np.array([0.0, np.nan, 0.0]), np.zeros(6))
    with pytest.raises(ToolError, match="mass of a tool"):
        Tool("wrist", float("inf"), np.zeros(3), np.zeros(6))
    with pytest.raises(ToolError, match="orthogonal"):
        identify([StaticPose(2.0 * np.eye(3), np.zeros(6))] * 4, "wrist")
    with pytest.raises(ToolError, match="six finite"):
        identify([StaticPose(np.eye(3), np.full(6, np.nan))] * 4, "wrist")
