"""A simulated world, and the session's nodes around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from controllers.core import ControllerConfig
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.session.config import SessionConfig
from tests.ros.session.graph import TASK, Graph


@pytest.fixture
def world() -> Iterator[InProcessWorld]:
    with InProcessWorld(TASK.scene(), TASK.bound(ControllerConfig())) as world:
        yield world


@pytest.fixture
def graph(ros: Any, world: InProcessWorld, tmp_path: Path) -> Iterator[Callable[[SessionConfig], Graph]]:
    made = []

    def make(config: SessionConfig, **more: Any) -> Graph:
        made.append(Graph(ros, world, tmp_path / "store", config, **more))
        return made[-1]

    yield make
    for graph in made:
        graph.store.close()
