"""A wrench on a mounted sensor, at the TCP."""

import numpy as np
import pytest

from controllers.spatial import Pose, exp3
from hardware.force.lane import ForceConfig, at_tcp


def test_a_push_beside_the_tcp_turns_about_it() -> None:
    """By hand: 10 N along z on a sensor that lies 0.1 m along x of the TCP make −1 N·m about y."""
    mount = ForceConfig(sensor="ati", mount=(0.1, 0.0, 0.0, 0.0, 0.0, 0.0)).pose
    found = at_tcp(np.array([0.0, 0.0, 10.0, 0.0, 0.0, 0.0]), mount, Pose.identity())
    np.testing.assert_allclose(found, [0.0, 0.0, 10.0, 0.0, -1.0, 0.0], atol=1e-12)


def test_a_turned_sensor_on_a_turned_hand_measures_in_the_base() -> None:
    """By hand: the sensor's x is the hand's y (yaw of 90°), which is the base's −y of a hand turned about x by 180°."""
    mount = ForceConfig(sensor="ati", mount=(0.0, 0.0, -0.05, 0.0, 0.0, 90.0)).pose
    tcp = Pose.from_rotation(np.array([0.5, 0.0, 0.3]), exp3(np.array([np.pi, 0.0, 0.0])))
    found = at_tcp(np.array([4.0, 0.0, 0.0, 0.0, 0.0, 0.3]), mount, tcp)
    # In the hand: force (0, 4, 0); moment (0, 0, 0.3) + (0, 0, −0.05) × (0, 4, 0) = (0.2, 0, 0.3).
    np.testing.assert_allclose(found, [0.0, -4.0, 0.0, 0.2, 0.0, -0.3], atol=1e-12)


def test_what_is_done_at_either_place_is_the_same_work() -> None:
    rng = np.random.default_rng(0)
    mount = ForceConfig(sensor="ati", mount=tuple(rng.normal(size=6) * [0.1, 0.1, 0.1, 90, 90, 90])).pose
    tcp = Pose.from_rotation(rng.normal(size=3), exp3(rng.normal(size=3)))
    wrench, twist = rng.normal(size=6), rng.normal(size=6)  # twist of the TCP, axes of the base
    rotation = tcp.rotation @ mount.rotation
    arm = tcp.rotation @ mount.translation
    of_sensor = np.concatenate(
        (rotation.T @ (twist[:3] + np.cross(twist[3:], arm)), rotation.T @ twist[3:])
    )  # in its own axes
    assert at_tcp(wrench, mount, tcp) @ twist == pytest.approx(wrench @ of_sensor)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"sensor": "ati", "mount": (0.0, 0.0, 0.1)}, r"force\.mount=\[0\.0, 0\.0, 0\.1\] needs 6 finite numbers"),
        ({"sensor": "ati", "mount": (float("nan"),) * 6}, r"force\.mount=.* needs 6 finite numbers"),
        ({"sensor": "ati", "timeout": 0.0}, r"force\.timeout=0 must be above 0"),
        ({"tool": "tool.yaml"}, r"are of a sensor: name it, e\.g\. force\.sensor=ati"),
    ],
)
def test_settings_that_do_not_fit_are_refused_by_name(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ForceConfig(**settings)
