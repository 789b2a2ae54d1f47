"""The link to the arm of another computer, as a node: waits for the arm, compares clocks, says how the link is."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from sensor_msgs.msg import TimeReference
from std_msgs.msg import String

from controllers.ros import topics as arm_topics
from controllers.ros.converters import stamp_to_ns
from hardware.interfaces import HardwareError
from hardware.ros.served import LATCHED, ONCE
from robot_rl.ros import topics
from robot_rl.session.link import Exchange, Link, LinkConfig

LOGGER = logging.getLogger(__name__)
PERIOD = 0.2  # [s] between questions
SAY_PERIOD = 60.0  # [s] between lines about a link that is as it should be
WAIT_PERIOD = 5.0  # [s] of waiting before it is said what for
SETTLING = 3.0  # [s] after the first answer, or one after a while, in which nothing is said of what is not known yet


class LinkError(HardwareError):
    """The arm of the other computer is not there."""


class LinkNode(Node):
    """Watches over the link, and speaks of it through `logging`, ``link`` and ``/diagnostics``.

    Args:
        config: see `LinkConfig`.
        peers: the other computers, for messages.
        meet: called with what the arm's computer says that it serves, each time it says so; raises when it does not
            fit.

    `LinkError` leaves through `spin` when the arm stays away for ``config.patience``.
    """

    def __init__(self, config: LinkConfig, peers: tuple[str, ...], meet: Callable[[str], None]) -> None:
        super().__init__("link")
        self._config, self._peers, self._meet = config, peers, meet
        self._link = Link(config)
        self._name = f"{socket.gethostname()}-{os.getpid()}"
        self._met = self._waited = False
        self._since = time.monotonic()  # of the present state: waiting, there, or lost
        self._there = False
        self._hindrance, self._said = "", -SAY_PERIOD
        self._questions = self.create_publisher(TimeReference, arm_topics.CLOCK_QUESTION, ONCE)
        self._state = self.create_publisher(DiagnosticStatus, topics.LINK, 1)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 5)
        self.create_subscription(String, arm_topics.SERVED_ARM, self._on_served, LATCHED)
        self.create_subscription(TimeReference, arm_topics.CLOCK_ANSWER, self._on_answer, ONCE)
        self.create_timer(PERIOD, self._tick)
        self.create_timer(1.0, self._diagnose)

    @property
    def awaited(self) -> str:
        """The topics and computers that are waited for, in words."""
        served = self.resolve_topic_name(arm_topics.SERVED_ARM)
        by = f"of {', '.join(self._peers)}" if self._peers else "on this computer; for another one, name it: peers="
        return f"no arm answers on {served} and {self.resolve_topic_name(arm_topics.CLOCK_ANSWER)} {by}"

    def _on_served(self, message: String) -> None:
        self._meet(message.data)
        self._met = True

    def _on_answer(self, answer: TimeReference) -> None:
        if answer.source == self._name:
            asked, answered = stamp_to_ns(answer.time_ref), stamp_to_ns(answer.header.stamp)
            self._link.hear(Exchange(asked, answered, self.get_clock().now().nanoseconds), time.monotonic())

    def _tick(self) -> None:
        now = time.monotonic()
        question = TimeReference()
        question.header.stamp, question.header.frame_id = self.get_clock().now().to_msg(), self._name
        self._questions.publish(question)
        self._link.ask()
        there = self._met and self._link.silent(now) <= self._config.silence
        if there is not self._there:
            self._turn(there, now)
        if there:
            self._watch(now)
        else:
            self._wait(now)
        hindrance = self._link.hindrance(now) if self._met else "the arm has not answered yet"
        level = DiagnosticStatus.ERROR if hindrance else DiagnosticStatus.OK
        self._state.publish(DiagnosticStatus(level=level, name=self.get_fully_qualified_name(), message=hindrance))

    def _turn(self, there: bool, now: float) -> None:
        """The arm's computer is there now, or it has gone."""
        if there and self._waited:
            LOGGER.info("the arm's computer is there, after %.1f s", now - self._since)
        elif not there:
            LOGGER.warning(
                "the link to the arm is lost; it holds, then damps out, and everything goes on when the link is back"
            )
        self._waited = not there
        self._there, self._since = there, now
        self._link.count_anew()
        self._hindrance, self._said = "", -SAY_PERIOD

    def _watch(self, now: float) -> None:
        """Say how the link is: at first, when that changes, and now and then."""
        if now - self._since < SETTLING:
            return
        hindrance = self._link.hindrance(now)
        if bool(hindrance) is not bool(self._hindrance):
            self._said = -SAY_PERIOD
        self._hindrance = hindrance
        if now - self._said < SAY_PERIOD:
            return
        self._said = now
        if hindrance:
            LOGGER.warning("no episode begins: %s", hindrance)
        else:
            LOGGER.info("%s, %.1f %% of the questions lost", self._link.clocks(), 100.0 * self._link.loss)

    def _wait(self, now: float) -> None:
        waited = now - self._since
        if waited > self._config.patience:
            again = "any more" if self._met else "within"
            raise LinkError(
                f"{self.awaited}, {again} {self._config.patience:g} s (link.patience); there, start robot-rl arm with "
                "peers= naming this computer, in the same ROS_DOMAIN_ID and namespace"
            )
        if waited > WAIT_PERIOD and not self._waited:
            self._waited = True
            LOGGER.info("%s yet", self.awaited)

    def _diagnose(self) -> None:
        clocks, hindrance = self._link.clocks(), self._link.hindrance(time.monotonic())
        level = DiagnosticStatus.ERROR if hindrance else DiagnosticStatus.OK
        words = "; ".join(filter(None, (hindrance, str(clocks) if clocks is not None else "")))
        status = DiagnosticStatus(level=level, name=self.get_fully_qualified_name(), message=words)
        values = clocks._asdict() if clocks is not None else {}
        status.values = [KeyValue(key=f"{name} [ms]", value=f"{value:.2f}") for name, value in values.items()]
        status.values.append(KeyValue(key="lost [%]", value=f"{100.0 * self._link.loss:.1f}"))
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)
