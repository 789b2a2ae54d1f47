"""The emergency stop of an arm, made by people in software. It is no replacement for the robot's own stop button.

Topic ``emergency_stop``: true stops, false says nothing, so that a message by default or a button that comes back
cannot set the arm free. Services ``emergency_stop`` and ``release_stop``: only the latter releases, and it moves
nothing. Who publishes is not watched: a button that has died, or whose network has, is not a stop.
"""

from __future__ import annotations

from collections.abc import Callable

from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from controllers.ros import topics
from controllers.state import EventKind

# Between them they hear every publisher: one that loses messages, one that does not, one that had stopped before.
PROFILES = (
    QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT),
    QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE),
    QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL),
)


class EmergencyStop:
    """Latched: once stopped, it stays so until `release_stop` is called.

    Args:
        node: offers topic and services.
        stop: damps the arm out and lets nothing through; called once for each stop.
        release: lets things through again; the arm stays as it is.
        report: called with what an operator has to hear.
    """

    def __init__(
        self,
        node: Node,
        stop: Callable[[], None],
        release: Callable[[], None],
        report: Callable[[EventKind, str], None],
    ) -> None:
        self._stop, self._release, self._report = stop, release, report
        self.reason = ""  # why the arm is stopped; "" when it is not
        quiet = SubscriptionEventCallbacks(use_default_callbacks=False)  # that two profiles do not match is meant
        for profile in PROFILES:
            node.create_subscription(Bool, topics.EMERGENCY_STOP, self._on_message, profile, event_callbacks=quiet)
        node.create_service(Trigger, topics.EMERGENCY_STOP, self._on_stop)
        node.create_service(Trigger, topics.RELEASE_STOP, self._on_release)

    def _on_message(self, message: Bool) -> None:
        if message.data:
            self._engage("topic")

    def _on_stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._engage("service")
        response.success, response.message = True, self.reason
        return response

    def _engage(self, way: str) -> None:
        if self.reason:
            return
        self.reason = f"emergency stop ({way} {topics.EMERGENCY_STOP}); {topics.RELEASE_STOP} releases it"
        self._stop()  # first: telling may take its time
        self._report(EventKind.STOPPED, self.reason)

    def _on_release(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = True
        response.message = "the emergency stop is released" if self.reason else "there was no emergency stop"
        if self.reason:
            self.reason = ""
            self._release()
            self._report(EventKind.RECOVERED, response.message)
        return response
