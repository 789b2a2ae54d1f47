"""Messages between a driver and its child process."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from controllers.config import ControllerConfig
from controllers.friction import FrictionConfig
from controllers.gains import GainError, ImpedanceGains
from controllers.passivity import TankConfig
from controllers.workspace import HalfSpace, OrientationCone, Workspace
from hardware.franka.collision import CollisionThresholds
from hardware.franka.gripper import GripperSettings
from hardware.franka.messages import MessagePipe, from_plain, to_plain
from hardware.franka.realtime import RealtimeSettings
from hardware.franka.rt_probe import ProbeSettings
from hardware.franka.telemetry import TELEMETRY

WORKSPACE = Workspace(
    [0.3, -0.3, 0.0],
    [0.7, 0.3, 1.0 / 3.0],
    (HalfSpace([0.0, 1.0, 1.0], -0.2), HalfSpace([1.0, 0.0, 0.0], 0.31)),
    OrientationCone([0.0, 0.0, 1.0], [0.0, 0.1, -1.0], 0.5),
)
CONTROLLER = ControllerConfig(
    gains=ImpedanceGains(translational_stiffness=(600.0, 500.0, 400.0)),
    friction=FrictionConfig(coulomb=(0.1,) * 7),
    tank=TankConfig(episode_budget=math.inf, filter=False),
    max_speed=math.inf,
)


@pytest.fixture
def pipes():
    ends = MessagePipe.pair()
    yield ends
    for end in ends:
        end.close()


@pytest.mark.parametrize(
    "settings",
    [
        RealtimeSettings("127.0.0.1", ControllerConfig()),
        RealtimeSettings(
            "fr3.local", CONTROLLER, CollisionThresholds(torque=(1e6,) * 7), 3, 70, "runs/läuft", rehearse=False
        ),
        ProbeSettings(RealtimeSettings("127.0.0.1", CONTROLLER, cpu=0), 2.0, 0.5),
        GripperSettings("127.0.0.1", 0.05, 20.0),
    ],
)
def test_settings_arrive_as_they_were_sent(pipes: tuple[MessagePipe, MessagePipe], settings: object) -> None:
    one, other = pipes
    one.send_settings(settings)
    assert other.poll()
    assert other.receive_settings(type(settings)) == settings


def test_a_workspace_arrives_with_its_bounds() -> None:
    """To the last bit but one: normals are made unit vectors anew."""
    arrived = from_plain(Workspace, to_plain(WORKSPACE))
    np.testing.assert_array_equal(arrived.lower, WORKSPACE.lower)
    np.testing.assert_array_equal(arrived.upper, WORKSPACE.upper)
    for new, old in zip(arrived.half_spaces, WORKSPACE.half_spaces, strict=True):
        assert new.offset == old.offset
        np.testing.assert_allclose(new.normal, old.normal, rtol=1e-15)
    assert arrived.cone.angle == WORKSPACE.cone.angle
    np.testing.assert_allclose(arrived.cone.axis_base, WORKSPACE.cone.axis_base, rtol=1e-15)


def test_settings_are_checked_where_they_arrive() -> None:
    sent = to_plain(RealtimeSettings("127.0.0.1", CONTROLLER))
    with pytest.raises(TypeError, match="speeed"):
        from_plain(RealtimeSettings, {**sent, "speeed": 1.0})
    for wrong in ({"priority": 80.5}, {"rehearse": 1}, {"address": None}, {"cpu": "0"}, {"collision": [1.0]}):
        with pytest.raises(TypeError):
            from_plain(RealtimeSettings, {**sent, **wrong})
    gains = dataclasses.asdict(ImpedanceGains()) | {"rotational_stiffness": math.nan}
    with pytest.raises(GainError, match="rotational_stiffness"):
        from_plain(ImpedanceGains, gains)


def test_arrays_arrive_with_their_fields_and_objects_do_not(pipes: tuple[MessagePipe, MessagePipe]) -> None:
    one, other = pipes
    ticks = np.zeros(3, dtype=TELEMETRY)
    ticks["time"] = 0.001, 0.002, 0.003
    one.send_arrays({"ticks": ticks, "none": np.zeros(0)})
    arrived = other.receive_arrays()
    assert set(arrived) == {"ticks", "none"}
    np.testing.assert_array_equal(arrived["ticks"], ticks)
    one.send_arrays({"objects": np.array([object])})
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
        other.receive_arrays()


def test_a_pipe_says_when_the_other_end_is_gone(pipes: tuple[MessagePipe, MessagePipe]) -> None:
    one, other = pipes
    assert not other.poll()
    one.send(None)
    one.close()
    assert other.poll()
    assert other.receive() is None
    with pytest.raises(EOFError):
        other.receive()
