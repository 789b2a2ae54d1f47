"""Messages together with who sent them.

A lease needs to know its writer. rclpy tells a callback who sent a message, but not with the EventsExecutor, under
which such a callback raises, and the executors with which it works take more than twice the processor time at 250 Hz.
So these subscriptions belong to a node that no executor spins; its owner calls `Inbox.poll`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from rclpy.node import Node

from controllers.lease import Writer

DEPTH = 10  # messages of a topic that may come between two polls
PATIENCE = 0.25  # [s] to find out the name of a sender; discovery may be later than its first message
PARTICIPANT = 12  # bytes of a publisher's id that are those of its process
UNKNOWN = "_NODE_NAME_UNKNOWN_"  # the node of a publisher that has been discovered before it
KNOWN = 1000  # publishers remembered; those of years of `ros2 topic pub` need not be

Handle = Callable[[Any, Writer], None]


class Identity(NamedTuple):
    """Identity of a writer: the process, and the node within it, or one publisher of a node without a name."""

    process: bytes
    node: str


class _Letter(NamedTuple):
    message: Any
    gid: bytes  # of the publisher
    arrived: int  # when the middleware received it [ns]
    taken: float  # when `Inbox.poll` did [s, steady]
    topic: str
    handle: Handle


class Inbox:
    """Subscriptions beside those of ``node``, in its namespace and context. `close` it before the node.

    Args:
        node: see above.
        renamed: called with a writer as it was known before, and as it is known now that its name has been discovered.

    Attributes:
        waited: how long the message being handled has waited for the name of its sender [s].
        arrived: when the middleware received it [ns].
    """

    def __init__(self, node: Node, renamed: Callable[[Writer, Writer], None]) -> None:
        name = f"{node.get_name()}_commands"
        self._node = Node(
            name,
            context=node.context,
            namespace=node.get_namespace(),
            cli_args=["--ros-args", "-r", f"__node:={name}"],  # a launch file's name is meant for ``node``
            enable_rosout=False,
            start_parameter_services=False,
        )
        self._renamed = renamed
        self._inlets: list[tuple[Any, Handle]] = []
        self._waiting: list[_Letter] = []
        self._named: dict[bytes, Writer] = {}
        self._strangers: dict[bytes, Writer] = {}
        self.waited = 0.0
        self.arrived = 0

    def subscribe(self, kind: type, topic: str, handle: Handle, depth: int = DEPTH) -> None:
        """Call ``handle(message, writer)`` from `poll` for each message on ``topic``; ``depth`` of them may wait."""
        self._inlets.append((self._node.create_subscription(kind, topic, lambda _: None, depth), handle))

    def poll(self, now: float) -> None:
        """Hand over what has come by ``now`` [s, steady], in the order of arrival.

        Only who has no name yet waits for it, at most `PATIENCE`, and makes nobody else wait.
        """
        arrived = [letter for subscription, handle in self._inlets for letter in _take(subscription, handle, now)]
        letters = self._waiting + sorted(arrived, key=lambda letter: letter.arrived)
        self._waiting = []
        for letter in letters:
            self.waited, self.arrived = now - letter.taken, letter.arrived
            writer = self._writer(letter)
            if writer is None:
                self._waiting.append(letter)
            else:
                letter.handle(letter.message, writer)

    def close(self) -> None:
        self._node.destroy_node()

    def _writer(self, letter: _Letter) -> Writer | None:
        """Who has sent ``letter``; None while their name may still come."""
        gid = letter.gid
        if gid in self._named:
            return self._named[gid]
        writer, stranger = self._look_up(gid, letter.topic), self._strangers.get(gid)
        if writer is not None:
            if stranger is not None:
                self._renamed(self._strangers.pop(gid), writer)
            _remember(self._named, gid, writer)
            return writer
        if stranger is None and self.waited >= PATIENCE:
            stranger = Writer(Identity(gid[:PARTICIPANT], gid.hex()), f"a node without a name (publisher {gid.hex()})")
            _remember(self._strangers, gid, stranger)
        return stranger

    def _look_up(self, gid: bytes, topic: str) -> Writer | None:
        for endpoint in self._node.get_publishers_info_by_topic(topic):
            if bytes(endpoint.endpoint_gid) == gid and endpoint.node_name != UNKNOWN:
                name = f"{endpoint.node_namespace.rstrip('/')}/{endpoint.node_name}"
                return Writer(Identity(gid[:PARTICIPANT], name), name)
        return None


def _take(subscription: Any, handle: Handle, now: float) -> list[_Letter]:
    """The messages that have arrived for ``subscription``."""
    letters = []
    with subscription.handle:
        while (taken := subscription.handle.take_message(subscription.msg_type, False)) is not None:
            message, info = taken
            gid = bytes(info["publisher_gid"]["data"])
            letters.append(_Letter(message, gid, info["received_timestamp"], now, subscription.topic_name, handle))
    return letters


def _remember(writers: dict[bytes, Writer], gid: bytes, writer: Writer) -> None:
    """Add ``writer``; of too many, the one known longest is forgotten, and looked up again when it writes."""
    writers[gid] = writer
    if len(writers) > KNOWN:
        del writers[next(iter(writers))]
