"""Contract of a teleoperation device. A driver's test subclasses it and says how a person would act."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager

import numpy as np
import pytest

from hardware.interfaces import TeleopDevice, TeleopError


class TeleopContract(ABC):
    """Subclasses provide a device and the person's hands. Time passes only where ``wait`` says so."""

    @abstractmethod
    def device(self) -> TeleopDevice:
        """A device, not connected, that can be."""

    @abstractmethod
    def absent(self) -> TeleopDevice:
        """A device that is not there."""

    @abstractmethod
    def push_away(self) -> None:
        """The person drives along +x of the base frame."""

    @abstractmethod
    def let_go(self) -> None:
        """The person lets go, and enough time passes for everybody to see it."""

    @abstractmethod
    def close_gripper(self) -> None:
        """The person closes the gripper."""

    @abstractmethod
    def unplug(self) -> None:
        """The device disappears."""

    def connected(self) -> AbstractContextManager[TeleopDevice]:
        return self.device()  # type: ignore[return-value]

    def test_it_is_a_teleop_device(self) -> None:
        assert isinstance(self.device(), TeleopDevice)

    def test_construction_does_not_touch_the_device(self) -> None:
        self.absent()

    def test_an_absent_device_is_named(self) -> None:
        with pytest.raises(TeleopError, match=r"\w"):
            self.absent().connect()

    def test_reading_needs_a_connection(self) -> None:
        with pytest.raises(TeleopError, match="connect"):
            self.device().read()

    def test_untouched_it_is_not_engaged(self) -> None:
        with self.connected() as device:
            command = device.read()
        assert not command.engaged
        assert command.twist.shape == (6,)
        assert not command.twist.any()
        assert command.gripper is None
        assert command.words == ()

    def test_pushing_away_drives_along_x_only(self) -> None:
        with self.connected() as device:
            device.read()
            self.push_away()
            command = device.read()
        assert command.engaged
        assert 0.0 < command.twist[0] < 0.5
        np.testing.assert_allclose(command.twist[1:], 0.0)

    def test_letting_go_stops_at_once(self) -> None:
        with self.connected() as device:
            self.push_away()
            device.read()
            self.let_go()
            command = device.read()
        assert not command.engaged
        assert not command.twist.any()
        assert command.gripper is None

    def test_the_gripper_closes_on_demand_and_engages(self) -> None:
        with self.connected() as device:
            device.read()
            self.close_gripper()
            command = device.read()
        assert command.engaged
        assert command.gripper == 0.0

    def test_a_lost_device_is_an_error_not_a_rest(self) -> None:
        with self.connected() as device:
            self.push_away()
            device.read()
            self.unplug()
            with pytest.raises(TeleopError):
                device.read()

    def test_it_disconnects_twice_and_connects_again(self) -> None:
        device = self.device()
        for _ in range(2):
            device.connect()
            assert not device.read().engaged
            device.disconnect()
            device.disconnect()
        with pytest.raises(TeleopError, match="connect"):
            device.read()
