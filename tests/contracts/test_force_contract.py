"""Every driver of a force–torque sensor meets the contract."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controllers.spatial import Pose
from controllers.state import JOINTS, ArmState, Mode
from hardware.force.arm import ArmForceSensor, ArmWrench
from hardware.force.ati import NetFT
from hardware.force.bota import BotaSensor
from hardware.interfaces import ArmReading
from tests.contracts.force_contract import LOAD, PATIENT, ForceContract
from tests.hardware.net_ft_server import ADDRESS, NetFTServer


class TestNetFT(ForceContract):
    NOISE = 1e-5

    @pytest.fixture(autouse=True)
    def serve(self) -> Iterator[None]:
        with NetFTServer() as self.server:
            self.server.counts = [round(value * 1e6) for value in LOAD]
            yield

    def sensor(self, timeout: float = PATIENT) -> NetFT:
        return NetFT(self.NAME, ADDRESS, self.FRAME, timeout, **self.server.ports)

    def absent(self) -> NetFT:
        return NetFT(self.NAME, ADDRESS, self.FRAME, **dict.fromkeys(self.server.ports, 1))

    def measure(self) -> None:
        self.server.answers = True
        self.server.measure(self.server.counts)

    def silence(self) -> None:
        self.server.answers = False


class TestArm(ForceContract):
    """An arm whose hand is turned, so that axes of the base and of the hand are not the same."""

    NOISE = 1e-12
    POSE = Pose.from_rotvec(np.array([0.5, 0.0, 0.3]), np.array([2.0, 0.4, -0.3]))

    @pytest.fixture(autouse=True)
    def run(self) -> None:
        self.ticks = itertools.count(1)
        self.now = 0.0
        self.stalled = False
        self.newest: ArmReading | None = None
        self.measure()

    def source(self) -> ArmWrench | None:
        if self.stalled:
            self.now += 0.1
        return ArmWrench.of(self.newest) if self.newest is not None else None

    def sensor(self, timeout: float = PATIENT) -> ArmForceSensor:
        return ArmForceSensor(self.NAME, self.source, self.FRAME, timeout, lambda: self.now)

    def absent(self) -> ArmForceSensor:
        return ArmForceSensor(self.NAME, lambda: None, self.FRAME)

    def measure(self) -> None:
        self.stalled = False
        tick, turn, zero = next(self.ticks), self.POSE.rotation, np.zeros(JOINTS)
        wrench = np.concatenate((turn @ LOAD[:3], turn @ LOAD[3:]))
        state = ArmState(0.02 * tick, zero, zero, zero, zero, wrench)
        self.newest = ArmReading(tick, state, self.POSE, np.zeros(6), self.POSE, Mode.TRACK, 1.0, 1.0, self.now)

    def silence(self) -> None:
        self.stalled = True

    def pass_time(self, seconds: float) -> None:
        self.now += seconds


class TestBota(ForceContract):
    """The simulated sensor in the vendor's library, which measures `LOAD` with noise, ten times a second."""

    NOISE = 2.0

    @pytest.fixture(autouse=True)
    def simulate(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        vendor = pytest.importorskip("bota_driver")
        self.file = tmp_path / "bota.json"
        settings = {
            "product_name": "BFT-DUMMY-DUMMY-DUMMY",
            "serial_number": "SN000001",
            "communication_interface_name": "Bota_Dummy",
            "communication_interface_params": {},
            "sensor_operation_params": {"app_mode": 0, "app_submode": 0},
            "driver_operation_params": {},
        }
        self.file.write_text(json.dumps({"driver_config": settings}))
        self.silent = False
        test = self

        class Driver(vendor.BotaDriver):  # type: ignore[misc, name-defined]
            """Repeats its last frame, as the vendor's does, for as long as the test wants silence."""

            last: Any = None

            def read_frame(self) -> Any:
                if self.last is None or not test.silent:
                    self.last = super().read_frame()
                return self.last

        monkeypatch.setattr(vendor, "BotaDriver", Driver)

    def sensor(self, timeout: float = PATIENT) -> BotaSensor:
        return BotaSensor(self.NAME, self.file, self.FRAME, timeout)

    def absent(self) -> BotaSensor:
        return BotaSensor(self.NAME, self.file.with_name("none.json"), self.FRAME)

    def measure(self) -> None:
        self.silent = False

    def silence(self) -> None:
        self.silent = True
