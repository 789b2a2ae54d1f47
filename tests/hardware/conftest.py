"""One simulated robot for all tests of a session that leave it as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hardware.simulated import SimulatedServer, simulated_server


@pytest.fixture(scope="session")
def robot() -> Iterator[SimulatedServer]:
    with simulated_server() as server:
        yield server
