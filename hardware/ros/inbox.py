"""Messages together with who sent them.

A lease needs to know its writer. rclpy tells a callback who sent a message, but not with the EventsExecutor, under
which such a callback raises, and the executors with which it works take more than twice the processor time at 250 Hz.
So these subscriptions belong to a node that no executor spins; its owner calls `Inbox.poll`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from rclpy.node import Node

from controllers.lease import Writer

DEPTH = 10  # messages of a topic that may come between two polls
PATIENCE = 0.25  # [s] to find out the name of a sender; discovery may be later than its first message
PARTICIPANT = 12  # bytes of a publisher's id that are those of its process


class Identity(NamedTuple):
    """What tells writers apart: the process, and the node within it."""

    process: bytes
    node: str


class _Letter(NamedTuple):
    message: Any
    gid: bytes
    received: float


class _Inlet:
    """One subscription, and what waits for the name of its sender."""

    def __init__(self, subscription: Any, handle: Callable[[Any, Writer], None]) -> None:
        self.subscription, self.handle = subscription, handle
        self.waiting: deque[_Letter] = deque()

    def take(self, now: float) -> None:
        """Fetch what has arrived."""
        with self.subscription.handle:
            while (taken := self.subscription.handle.take_message(self.subscription.msg_type, False)) is not None:
                message, info = taken
                self.waiting.append(_Letter(message, bytes(info["publisher_gid"]["data"]), now))


class Inbox:
    """Subscriptions beside those of ``node``, in its namespace and context. `close` it before the node."""

    def __init__(self, node: Node) -> None:
        self._node = Node(
            f"{node.get_name()}_commands",
            context=node.context,
            namespace=node.get_namespace(),
            enable_rosout=False,
            start_parameter_services=False,
        )
        self._inlets: list[_Inlet] = []
        self._writers: dict[bytes, Writer] = {}

    def subscribe(self, kind: type, topic: str, handle: Callable[[Any, Writer], None]) -> None:
        """Call ``handle(message, writer)`` from `poll` for each message on ``topic``."""
        subscription = self._node.create_subscription(kind, topic, lambda _: None, DEPTH)
        self._inlets.append(_Inlet(subscription, handle))

    def poll(self, now: float) -> None:
        """Hand over what has come by ``now`` [s, steady], topic by topic in the order of subscription."""
        for inlet in self._inlets:
            inlet.take(now)
            while inlet.waiting:
                letter = inlet.waiting[0]
                writer = self._writer(letter.gid, inlet.subscription.topic_name)
                if writer is None and now - letter.received < PATIENCE:
                    break
                inlet.waiting.popleft()
                inlet.handle(letter.message, writer or _stranger(letter.gid))

    def close(self) -> None:
        self._node.destroy_node()

    def _writer(self, gid: bytes, topic: str) -> Writer | None:
        """Who publishes on ``topic`` as ``gid``; None when nobody has said so yet."""
        if gid not in self._writers:
            for endpoint in self._node.get_publishers_info_by_topic(topic):
                if bytes(endpoint.endpoint_gid) == gid:
                    name = f"{endpoint.node_namespace.rstrip('/')}/{endpoint.node_name}"
                    self._writers[gid] = Writer(Identity(gid[:PARTICIPANT], name), name)
        return self._writers.get(gid)


def _stranger(gid: bytes) -> Writer:
    return Writer(Identity(gid[:PARTICIPANT], gid.hex()), f"a node that has gone (publisher {gid.hex()})")
