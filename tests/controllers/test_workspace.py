from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import nnls

from controllers.interpolation import PoseSegment
from controllers.limits import LimitError
from controllers.spatial import Pose, exp3, log3
from controllers.workspace import HalfSpace, OrientationCone, Workspace

LOWER, UPPER = np.array([0.3, -0.2, 0.0]), np.array([0.6, 0.2, 0.5])
BOX = Workspace(LOWER, UPPER)
INSIDE = np.array([0.4, 0.05, 0.2])
DOWN = OrientationCone(np.array([0.0, 0.0, 1.0]), np.array([0.0, 0.0, -1.0]), 0.4)


def vectors(bound: float) -> st.SearchStrategy[np.ndarray]:
    return hnp.arrays(np.float64, 3, elements=st.floats(-bound, bound, allow_subnormal=False))


def directions() -> st.SearchStrategy[np.ndarray]:
    return vectors(1.0).filter(lambda v: np.linalg.norm(v) > 1e-3)


@st.composite
def workspaces(draw: st.DrawFn) -> Workspace:
    """A box with up to four half-spaces that leave at least 1 mm around `INSIDE`."""
    normals = draw(st.lists(directions(), max_size=4))
    planes = []
    for normal in normals:
        unit = normal / np.linalg.norm(normal)
        planes.append(HalfSpace(normal, float(unit @ INSIDE) - draw(st.floats(1e-3, 0.3))))
    return Workspace(LOWER, UPPER, tuple(planes))


def at(translation: np.ndarray) -> Pose:
    return Pose.from_rotvec(translation, np.array([0.3, -0.2, 0.1]))


def nearest(workspace: Workspace, x: np.ndarray) -> np.ndarray:
    """The projection by its dual, a non-negative least squares problem over all constraints at once.

    min ½|y − x|² with N y ≥ b is the least-distance problem of Lawson & Hanson, Solving Least Squares Problems, ch. 23.
    """
    normals = np.vstack([np.eye(3), -np.eye(3), *(h.normal for h in workspace.half_spaces)])
    offsets = np.concatenate((workspace.lower, -workspace.upper, [h.offset for h in workspace.half_spaces]))
    stacked = np.vstack((normals.T, offsets - normals @ x))
    residual = stacked @ nnls(stacked, np.array([0.0, 0.0, 0.0, 1.0]))[0] - np.array([0.0, 0.0, 0.0, 1.0])
    return x - residual[:3] / residual[3]


def test_poses_inside_are_returned_as_they_are() -> None:
    inside = Pose(np.array([0.3, 0.2, 0.1]), np.array([1.0, 0.0, 0.0, 0.0]))
    assert BOX.contains(inside)
    assert BOX.clip(inside) is inside


@given(vectors(10.0))
def test_box_clips_to_the_nearest_point_and_keeps_the_orientation(translation: np.ndarray) -> None:
    pose = at(translation)
    clipped = BOX.clip(pose)
    assert BOX.contains(clipped)
    np.testing.assert_array_equal(clipped.quat_xyzw, pose.quat_xyzw)
    np.testing.assert_array_equal(clipped.translation, np.minimum(np.maximum(translation, LOWER), UPPER))


@given(workspaces(), vectors(1e6))
def test_clipping_ends_inside_and_once_is_enough(workspace: Workspace, translation: np.ndarray) -> None:
    clipped = workspace.clip(at(translation))
    assert workspace.contains(clipped)
    assert workspace.clip(clipped) is clipped


@given(workspaces(), vectors(2.0))
def test_half_spaces_clip_to_the_nearest_point(workspace: Workspace, translation: np.ndarray) -> None:
    clipped = workspace.clip(at(translation)).translation
    # The distance to the nearest point of a convex set is insensitive to where planes almost coincide; 1e-7 m is the
    # inset of 1e-9 m seen through planes that meet at the sharpest angle the room of 1 mm allows.
    assert np.linalg.norm(clipped - translation) <= np.linalg.norm(nearest(workspace, translation) - translation) + 1e-7


@given(workspaces(), vectors(1.0), vectors(1.0))
def test_clipping_brings_no_two_translations_further_apart(workspace: Workspace, a: np.ndarray, b: np.ndarray) -> None:
    apart = np.linalg.norm(workspace.clip(at(a)).translation - workspace.clip(at(b)).translation)
    assert apart <= np.linalg.norm(a - b) + 1e-7


def test_a_corner_of_three_planes_is_found() -> None:
    """x + y ≤ 0.7, x − y ≤ 0.6 and z ≥ 0.1 meet at (0.65, 0.05, 0.1); the box is out of the way."""
    planes = (HalfSpace([-1, -1, 0], -0.7 / 2**0.5), HalfSpace([-1, 1, 0], -0.6 / 2**0.5), HalfSpace([0, 0, 2], 0.1))
    workspace = Workspace(np.zeros(3) - 1.0, np.ones(3), planes)
    clipped = workspace.clip(at(np.array([0.95, 0.06, -0.4])))
    np.testing.assert_allclose(clipped.translation, [0.65, 0.05, 0.1], atol=1e-8)


@pytest.mark.parametrize("room", [1e-3, 1e-6, 3e-9])
def test_what_is_left_of_the_box_may_be_small(room: float) -> None:
    corner = (UPPER - [0.0, UPPER[1] - LOWER[1], 0.0]) + room * np.array([-1.0, 1.0, -1.0])
    normal = np.array([1.0, -1.0, 1.0]) / 3**0.5
    workspace = Workspace(LOWER, UPPER, (HalfSpace(normal, normal @ corner),))
    for x in ([0.0, 0.0, 0.0], [3.0, 0.1, -2.0], [-1e7, 1e7, -1e7]):
        clipped = workspace.clip(at(np.array(x)))
        assert workspace.contains(clipped)
        # the three points where the plane meets the edges are 3 rooms away from the corner of the box
        assert np.abs(clipped.translation - corner).max() <= 3.0 * room


def test_planes_that_almost_coincide_still_end_inside() -> None:
    planes = tuple(HalfSpace([-1.0, slope, 0.0], -0.5) for slope in (0.0, 1e-9, -1e-9, 1e-8, 1e-7))
    workspace = Workspace(LOWER, UPPER, planes)
    for x in ([2.0, 0.0, 0.2], [0.55, 0.19, -3.0], [1e9, -1e9, 1e9]):
        assert workspace.contains(workspace.clip(at(np.array(x))))


@given(vectors(3.0).filter(lambda v: np.linalg.norm(v) < np.pi), directions(), directions(), st.floats(0.01, 3.1))
def test_cone_ends_inside_by_the_smallest_rotation(
    rotvec: np.ndarray, axis_tcp: np.ndarray, axis_base: np.ndarray, angle: float
) -> None:
    cone = OrientationCone(axis_tcp, axis_base, angle)
    workspace = Workspace(LOWER, UPPER, cone=cone)
    pose = Pose.from_rotvec(INSIDE, rotvec)
    clipped = workspace.clip(pose)
    assert workspace.contains(clipped)
    assert workspace.clip(clipped) is clipped
    np.testing.assert_array_equal(clipped.translation, INSIDE)
    # A rotation by less than the excess cannot move the axis by the excess.
    axis = exp3(rotvec) @ axis_tcp / np.linalg.norm(axis_tcp)
    unit = axis_base / np.linalg.norm(axis_base)
    tilt = 2.0 * np.arctan2(np.linalg.norm(axis - unit), np.linalg.norm(axis + unit))
    turned = np.linalg.norm(log3(clipped.rotation @ pose.rotation.T))
    # log3 of a rotation matrix is good to about 1e-8 near 0 and π
    assert turned == pytest.approx(max(0.0, tilt - angle), abs=1e-7)


@pytest.mark.parametrize("axis", [(0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.6, -0.8, 0.0), (0.48, 0.6, 0.64)])
def test_pointing_the_opposite_way_comes_back_to_the_rim(axis: tuple[float, float, float]) -> None:
    cone = OrientationCone(np.array(axis), -np.array(axis), 0.4)
    clipped = Workspace(LOWER, UPPER, cone=cone).clip(Pose(INSIDE, np.array([0.0, 0.0, 0.0, 1.0])))
    assert np.linalg.norm(clipped.rotvec) == pytest.approx(np.pi - 0.4, abs=1e-8)
    assert cone.tilt(clipped.rotation) == pytest.approx(0.4, abs=2e-9)


@given(vectors(1.5), vectors(1e-6))
def test_cone_is_continuous_away_from_the_opposite_direction(rotvec: np.ndarray, change: np.ndarray) -> None:
    """The turn back is about (axis × direction) / sin(tilt), so a change is enlarged by at most π / sin(tilt) + 1."""
    workspace = Workspace(LOWER, UPPER, cone=DOWN)
    downward = exp3(np.array([np.pi, 0.0, 0.0]))
    rotation = exp3(rotvec) @ downward
    near = exp3(change) @ rotation
    one, two = (workspace.clip(Pose.from_rotation(INSIDE, R)) for R in (rotation, near))
    tilt = DOWN.tilt(rotation)
    gain = 1.0 if tilt <= DOWN.angle else np.pi / np.sin(min(tilt, np.pi - 1e-3)) + 1.0
    bound = (gain + 1.0) * np.linalg.norm(change) + 1e-7
    assert np.linalg.norm(log3(one.rotation @ two.rotation.T)) <= bound


def test_a_turn_between_orientations_in_the_cone_leaves_it_by_no_more_than_it_says(rng: np.random.Generator) -> None:
    cone = OrientationCone(np.array([0.0, 0.0, 1.0]), np.array([0.0, 0.0, -1.0]), 0.1)
    worst = 0.0
    for _ in range(2000):
        a, b = (cone.clip(exp3(rng.uniform(-2.0, 2.0, 3))) for _ in range(2))
        turn = float(np.linalg.norm(log3(b @ a.T)))
        path = PoseSegment(INSIDE, a, INSIDE, b)
        tilt = max(cone.tilt(path.at(s)[1]) for s in (0.3, 0.5, 0.7))
        assert tilt <= 1.01 * cone.angle / np.cos(0.25 * turn)
        worst = max(worst, tilt)
    assert worst > 1.3 * cone.angle


def test_translation_and_orientation_are_clipped_apart() -> None:
    workspace = Workspace(LOWER, UPPER, (HalfSpace([0, 0, 1], 0.1),), DOWN)
    upright = Pose(np.array([0.4, 0.0, 0.2]), np.array([0.0, 0.0, 0.0, 1.0]))
    low = Pose(np.array([0.4, 0.0, 0.05]), np.array([1.0, 0.0, 0.0, 0.0]))
    assert not workspace.contains(upright)
    assert not workspace.contains(low)
    np.testing.assert_array_equal(workspace.clip(upright).translation, upright.translation)
    np.testing.assert_array_equal(workspace.clip(low).quat_xyzw, low.quat_xyzw)
    np.testing.assert_allclose(workspace.clip(low).translation, [0.4, 0.0, 0.1], atol=2e-9)


@pytest.mark.parametrize(
    ("lower", "upper"),
    [((0, 0, 0), (1, 1, 0)), ((0, 0, 0), (1, 1, np.inf)), ((0, 0), (1, 1)), ((np.nan, 0, 0), (1, 1, 1))],
)
def test_box_must_be_finite_and_not_empty(lower: tuple[float, ...], upper: tuple[float, ...]) -> None:
    with pytest.raises(LimitError, match="workspace box"):
        Workspace(np.array(lower), np.array(upper))


def test_half_space_that_leaves_nothing_is_named() -> None:
    wall = HalfSpace([0.0, 1.0, 0.0], 0.1)
    with pytest.raises(LimitError, match=r"half-space 0 .*\(1, 0, 0\) · x >= 0.7 m"):
        Workspace(LOWER, UPPER, (HalfSpace([1.0, 0.0, 0.0], 0.7), wall))
    with pytest.raises(LimitError, match=r"half-space 1 .*\(0, -1, 0\) · x >= -0.05 m"):
        Workspace(LOWER, UPPER, (wall, HalfSpace([0.0, -1.0, 0.0], -0.05)))
    # three planes of which every two leave room
    prism = [HalfSpace([np.cos(a), np.sin(a), 0.0], np.cos(a) * 0.45 + 0.01) for a in np.arange(3) * 2 * np.pi / 3]
    with pytest.raises(LimitError, match="half-space 2"):
        Workspace(LOWER, UPPER, tuple(prism))


@pytest.mark.parametrize("normal", [(0.0, 0.0, 0.0), (np.nan, 0.0, 1.0), (1.0, 0.0)])
def test_normals_must_have_a_direction(normal: tuple[float, ...]) -> None:
    with pytest.raises(LimitError, match="normal"):
        HalfSpace(np.array(normal), 0.0)


def test_offsets_and_angles_must_make_sense() -> None:
    with pytest.raises(LimitError, match="offset"):
        HalfSpace(np.array([0.0, 0.0, 1.0]), np.inf)
    for angle in (0.0, -0.1, 3.2, np.nan):
        with pytest.raises(LimitError, match="angle"):
            OrientationCone(np.array([0.0, 0.0, 1.0]), np.array([0.0, 0.0, -1.0]), angle)
    with pytest.raises(LimitError, match="axis_base"):
        OrientationCone(np.array([0.0, 0.0, 1.0]), np.zeros(3), 0.4)


def test_workspace_cannot_be_changed() -> None:
    workspace = Workspace(LOWER, UPPER, (HalfSpace([0.0, 0.0, 2.0], 0.1),), DOWN)
    with pytest.raises(ValueError, match="read-only"):
        workspace.lower[0] = -1.0
