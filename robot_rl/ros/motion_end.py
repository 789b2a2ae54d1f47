"""The end of a motion, by the node that commanded it: nobody has to find out by a watchdog that it has gone."""

from __future__ import annotations

import math
import time

from rclpy.node import Node
from rclpy.task import Future
from std_srvs.srv import Trigger

from controllers.ros import topics
from controllers.state import Mode

MOVING = (Mode.TRACK, Mode.HOLD, Mode.DAMP)
PATIENCE = 5.0  # [s] for the arm to come to rest


class MotionEnd:
    """Ends the arm's motion, and says when it is over. `over` begins it and is asked again and again."""

    def __init__(self, node: Node) -> None:
        self._client = node.create_client(Trigger, topics.STOP)
        self._started: Future[Trigger.Response] | None = None
        self._asked: Future[Trigger.Response] | None = None
        self._deadline = math.inf
        self._answered = math.inf  # steady time [s] at which the arm had taken in the request

    @property
    def begun(self) -> bool:
        """Nothing may be commanded any more."""
        return self._deadline < math.inf

    def after(self, started: Future[Trigger.Response]) -> None:
        """The arm has been asked to start: a stop that it is asked for before the answer might go before it."""
        self._started = started

    def over(self, mode: Mode | None, heard: float) -> bool:
        """Whether the arm is at rest, or nobody is there whom it would be worth waiting for.

        Args:
            mode: of the arm's latest reading; None: there has been none.
            heard: steady time [s] of that.
        """
        now = time.monotonic()
        if not self.begun:
            self._deadline = now + PATIENCE
        if now > self._deadline or not self._client.service_is_ready():
            return True
        if self._asked is None:
            if self._started is None or self._started.done():
                self._asked = self._client.call_async(Trigger.Request())
            return False
        if not self._asked.done():
            return False
        self._answered = min(self._answered, now)
        return heard > self._answered and mode not in MOVING
