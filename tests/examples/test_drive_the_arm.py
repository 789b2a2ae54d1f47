"""The example that drives the arm from Python: in process, and the simulated robot over its own protocol."""

from __future__ import annotations

import re

import pytest

from examples.drive_the_arm import main
from hardware.interfaces import ArmFault
from tests.hardware.conftest import robot  # noqa: F401  (a fixture)
from tests.hardware.simulated import SimulatedServer

pytest.importorskip("franky_sim")

SIDE = 50.0  # [mm]
ACCURACY = 4.0  # [mm] where the joints' friction lets the arm rest


def check_square(said: str) -> None:
    """Raises AssertionError unless four corners were reached, 5 cm apart."""
    corners = [tuple(map(float, found)) for found in re.findall(r"at (\S+), (\S+), (\S+) m", said)]
    off = [float(found) for found in re.findall(r"(\S+) mm off", said)]
    assert len(corners) == len(off) == 4
    assert max(off) < ACCURACY
    (x0, y0, _), _, (x1, y1, _), _ = corners
    assert 1000 * (x0 - x1) == pytest.approx(SIDE, abs=2 * ACCURACY)
    assert 1000 * (y1 - y0) == pytest.approx(SIDE, abs=2 * ACCURACY)


def test_a_square_in_process(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    said = capsys.readouterr().out
    check_square(said)
    assert "finished" in said  # the arm was stopped


def test_a_square_of_the_simulated_robot(robot: SimulatedServer, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    pytest.importorskip("pylibfranka")
    main([robot.address])
    check_square(capsys.readouterr().out)


def test_nobody_at_the_address_is_said_in_a_line() -> None:
    with pytest.raises(SystemExit, match=r"error: .*127\.0\.0\.9"):
        main(["127.0.0.9"])


def test_an_arm_that_stops_by_itself_is_no_square() -> None:
    from controllers.core import ControllerConfig
    from examples.drive_the_arm import square
    from hardware.scene import SceneSpec
    from hardware.sim.world.inprocess import InProcessWorld

    with InProcessWorld(SceneSpec(), ControllerConfig()) as world:
        world.start()
        corners = square(world, world.advance)
        next(corners)
        world.user_stop(True)
        with pytest.raises(ArmFault):
            next(corners)
