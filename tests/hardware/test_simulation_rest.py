"""A simulation that nobody is connected to rests."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("franky_sim")

from controllers.state import TICK
from hardware.scene import SceneSpec
from hardware.sim.fci import server
from hardware.sim.fci.server import REST, REST_AFTER, SimulatedRobot


class Clock:
    """Time that passes by sleeping only."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_time_nearly_stands_still_until_somebody_connects(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(server, "time", clock)
    ticks: list[float] = []
    comes, goes, ends = 1.0, 2.0, 2.0 + REST_AFTER + 1.0

    class Visited:
        """An arm that somebody is connected to for a while."""

        def before_step(self) -> None: ...

        def after_step(self) -> None: ...

        @property
        def connected(self) -> bool:
            return comes <= clock.now < goes

    arms: Any = [Visited()]
    SimulatedRobot(SceneSpec())._loop(arms, lambda: ticks.append(clock.now), lambda: clock.now >= ends)

    def in_between(begin: float, end: float) -> int:
        return sum(begin <= at < end for at in ticks)

    whole = round((goes + REST_AFTER - 0.1) / TICK)
    assert in_between(0.0, goes + REST_AFTER - 0.1) == pytest.approx(whole, abs=2)
    assert in_between(ends - 0.5, ends) == pytest.approx(0.5 / REST, abs=1)
