"""The bench on which the gate is tried."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from hardware.sim.world.inprocess import InProcessWorld
from tests.ros.gate.bench import CONFIG, TASK, Bench


@pytest.fixture
def bench(ros: Any) -> Iterator[Bench]:
    with InProcessWorld(TASK.scene(), CONFIG) as world:
        yield Bench(ros, world)
