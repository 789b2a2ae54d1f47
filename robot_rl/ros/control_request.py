"""Asking for control of an arm, by a node that is about to command it."""

from __future__ import annotations

import time

import numpy as np
from rclpy.node import Node
from std_srvs.srv import Trigger

from controllers.ros import topics
from controllers.state import Mode
from robot_rl.ros.motion_end import MotionEnd

ASK_PERIOD = 2.0  # [s] between requests
IDLE = (Mode.IDLE, Mode.FAULT, Mode.STOPPED)  # modes of an arm that is not under control


class ControlRequest:
    """Asks for control, after a fault for recovery first; a stop only a person releases."""

    def __init__(self, node: Node, end: MotionEnd) -> None:
        self._end = end
        self._asked = -np.inf  # steady time [s]
        self._start = node.create_client(Trigger, topics.START)
        self._recover = node.create_client(Trigger, topics.ERROR_RECOVERY)

    def ask(self, mode: Mode) -> bool:
        """Ask, unless that was just done, for an arm in ``mode``, one of `IDLE`; whether it was time to."""
        now = time.monotonic()
        if mode is Mode.STOPPED or now - self._asked < ASK_PERIOD:
            return False
        self._asked = now
        client = self._recover if mode is Mode.FAULT else self._start
        if client.service_is_ready():
            self._end.after(client.call_async(Trigger.Request()))
        return True
