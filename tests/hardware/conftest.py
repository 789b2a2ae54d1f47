"""One simulated robot for all tests of a file that leave it as it was; it takes a third of a core while it runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hardware.simulated import SimulatedServer, simulated_server


@pytest.fixture(scope="module")
def robot() -> Iterator[SimulatedServer]:
    with simulated_server() as server:
        yield server
