"""Practise a tick just before it is due.

Between two ticks the loop sleeps for most of a millisecond, while others use the core: code and data leave the caches,
and the tick that follows takes two to three times as long as it needs. So the same code runs once on the last state,
shortly before the next is expected, and its result is thrown away. That costs one more tick of computing a millisecond,
so that the loop does it only where it has a core that nobody else needs.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

from controllers.core import Controller, ControllerConfig
from controllers.model import ArmModel
from controllers.state import TICK, ArmState, Tick

LEAD = 200e-6  # [s] before a state is expected; twice what a tick takes, so that an early one need not wait
NEVER = 1e9  # [s]


class Rehearsal:
    """Runs a controller like the real one, on the same model, without consequences.

    It leaves ``model`` as it was: at the state that it is given, which has to be the last one.

    Args:
        model: of the real controller.
        config: of the real controller.
        clock: of the arrivals [s].
        sleep: waits for so many seconds.
    """

    def __init__(
        self,
        model: ArmModel,
        config: ControllerConfig,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._controller = Controller(model, dataclasses.replace(config, hold_after=NEVER, damp_after=2.0 * NEVER))
        self._clock, self._sleep = clock, sleep

    def wait(self, arrival: float) -> bool:
        """Sleep until it is time to practise for the state after that of ``arrival``; False when it is too late."""
        delay = arrival + TICK - LEAD - self._clock()
        if delay <= 0.0:
            return False
        self._sleep(delay)
        return True

    def tick(self, state: ArmState) -> Tick:
        """The tick of a controller that has just started at ``state``."""
        self._controller.start(state)
        return self._controller.tick(state)
