"""The example of an arm: it meets the contract of all arms, and drives the square."""

from __future__ import annotations

import numpy as np
import pytest

from controllers.config import ControllerConfig
from controllers.state import EventKind, Mode
from hardware.interfaces import ArmConnectionError, ArmFault
from tests.contracts.arm_contract import check_arm, follow
from tests.examples.test_drive_the_arm import check_square

pytest.importorskip("franky_sim")

from examples.own_arm import FreeArm, OwnArm, main
from hardware.franka.model import fr3_model


class Mute(FreeArm):
    """It can be opened, and says nothing."""

    def wait(self) -> None:
        pass


class Absent(FreeArm):
    def open(self, each: object) -> None:
        raise OSError("no such device")


def test_it_meets_the_arm_contract() -> None:
    bus = FreeArm(fr3_model())

    def trip() -> None:
        bus.fault = "the brakes fell in"

    check_arm(OwnArm(bus, fr3_model(), ControllerConfig()), bus.advance, trip)


def test_it_drives_the_square(capsys: pytest.CaptureFixture[str]) -> None:
    main()
    check_square(capsys.readouterr().out)


def test_without_setpoints_it_holds_and_damps_out() -> None:
    bus = FreeArm(fr3_model())
    with OwnArm(bus, fr3_model(), ControllerConfig()) as arm:
        arm.start()
        follow(arm, bus.advance, arm.read().pose, first_seq=0, seconds=0.2)
        bus.advance(0.5)
        assert arm.read().mode is Mode.HOLD
        bus.advance(2.0)
        assert arm.read().mode is Mode.IDLE
        kinds = [event.kind for event in arm.events()]
    assert kinds.index(EventKind.SETPOINT_STALE) < kinds.index(EventKind.DAMPING) < kinds.index(EventKind.FINISHED)


def test_a_measurement_that_is_not_finite_ends_the_motion() -> None:
    bus = FreeArm(fr3_model())
    with OwnArm(bus, fr3_model(), ControllerConfig()) as arm:
        arm.start()
        bus._dq[0] = np.nan
        bus.wait()
        assert arm.read().mode is not Mode.HOLD
        assert "not finite" in arm.events()[-1].detail


@pytest.mark.parametrize(("bus", "said"), [(Mute, "said nothing"), (Absent, "cannot be opened.*no such device")])
def test_an_arm_that_is_not_there_is_said(bus: type[FreeArm], said: str) -> None:
    arm = OwnArm(bus(fr3_model()), fr3_model(), ControllerConfig())
    with pytest.raises(ArmConnectionError, match=said):
        arm.connect()
    with pytest.raises(ArmFault, match="connect"):
        arm.read()
