"""The operator's words on their way to whoever runs the session: numbered, stamped, and said until acknowledged."""

from __future__ import annotations

from typing import Any, NamedTuple

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.node import Node
from rclpy.publisher import Publisher
from std_msgs.msg import Bool

from controllers.ros import topics
from controllers.ros.converters import ns_to_stamp, stamp_to_ns
from hardware.interfaces import Word

RESEND = 0.25  # [s] between two times that a word is said
PATIENCE = 5.0  # [s] without an acknowledgement after which the person is told


class Spoken(NamedTuple):
    """One word as it crosses a topic.

    Attributes:
        number: rises by one with each word of ``origin``.
        word: one of `Word`, by its value.
        by: who said it, for people.
        origin: the start of the program that said it; together with ``number`` it tells words apart for ever.
        stamp_ns: when it was said [ns], ROS time.
        about: number of the episode that is meant; −1: the one that the stamp is in.
    """

    number: int
    word: str
    by: str
    origin: str
    stamp_ns: int
    about: int = -1


def fill_word(spoken: Spoken, message: Any, text: str = "", level: bytes = DiagnosticStatus.OK, **more: Any) -> Any:
    """``spoken`` → diagnostic_msgs/DiagnosticArray; an acknowledgement says in ``text`` and ``more`` what was done."""
    values = {"number": spoken.number, "word": spoken.word, "about": spoken.about} | more
    status = DiagnosticStatus(level=level, name=spoken.by, message=text or spoken.word, hardware_id=spoken.origin)
    status.values = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
    message.status = [status]
    ns_to_stamp(spoken.stamp_ns, message.header.stamp)
    return message


def word_from(message: Any) -> Spoken:
    """diagnostic_msgs/DiagnosticArray → what was said. Raises `ValueError` when it is no such message."""
    if len(message.status) != 1:
        raise ValueError(f"a word comes with one status, not {len(message.status)}")
    status = message.status[0]
    values = {value.key: value.value for value in status.values}
    try:
        number, word, about = int(values["number"]), values["word"], int(values.get("about", -1))
    except (KeyError, ValueError) as error:
        raise ValueError(f"a word has a number and a word among its values, not {values}") from error
    return Spoken(number, word, status.name, status.hardware_id, stamp_to_ns(message.header.stamp), about)


def make_stop_publisher(node: Node) -> Publisher:
    """A publisher of ``emergency_stop``; that one of the arm's subscriptions does not match it is meant."""
    quiet = PublisherEventCallbacks(use_default_callbacks=False)
    return node.create_publisher(Bool, topics.EMERGENCY_STOP, 1, event_callbacks=quiet)


class WordSender:
    """Says words for ``node``. A listener that is busy, or starts anew, hears each of them in the end.

    A stop goes to the arm as well, at once, for it must not wait for a session.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._by = node.get_fully_qualified_name()
        self._origin = f"{self._by}@{node.get_clock().now().nanoseconds}"
        self._number = 0
        self._waiting: dict[int, Spoken] = {}
        self._told: set[int] = set()  # of those that wait, the ones about which the person has been told
        depth = topics.OPERATOR_DEPTH
        self._words = node.create_publisher(DiagnosticArray, topics.OPERATOR_WORD, depth)
        self._stop = make_stop_publisher(node)
        node.create_subscription(DiagnosticArray, topics.OPERATOR_ACKNOWLEDGED, self._on_acknowledged, depth)
        node.create_timer(RESEND, self._resend)

    @property
    def waiting(self) -> tuple[Spoken, ...]:
        """Words that nobody has acknowledged yet, oldest first."""
        return tuple(self._waiting.values())

    def say(self, word: Word, about: int = -1) -> Spoken:
        """Say ``word`` now; ``about`` an episode, by its number, instead of what happens now."""
        if word is Word.STOP:
            self._stop.publish(Bool(data=True))
        self._number += 1
        now = self._node.get_clock().now().nanoseconds
        spoken = Spoken(self._number, word.value, self._by, self._origin, now, about)
        self._waiting[spoken.number] = spoken
        self._words.publish(fill_word(spoken, DiagnosticArray()))
        return spoken

    def close(self) -> None:
        """Say which words nobody has acknowledged; call it before the node ends."""
        if self._waiting:
            lost = ", ".join(f"{spoken.number} ({spoken.word})" for spoken in self.waiting)
            self._node.get_logger().error(f"ends with words that no session has acknowledged: {lost}")

    def _resend(self) -> None:
        now = self._node.get_clock().now().nanoseconds
        for number, spoken in self._waiting.items():
            self._words.publish(fill_word(spoken, DiagnosticArray()))
            if number not in self._told and now - spoken.stamp_ns > PATIENCE * 1e9:
                self._told.add(number)
                self._node.get_logger().warning(
                    f"nobody has acknowledged word {number} ({spoken.word}) for {PATIENCE:g} s: does a session run in "
                    "this namespace? It is said until one hears it"
                )

    def _on_acknowledged(self, message: DiagnosticArray) -> None:
        try:
            spoken = word_from(message)
        except ValueError as error:
            self._node.get_logger().error(f"{topics.OPERATOR_ACKNOWLEDGED}: {error}")
            return
        if spoken.origin != self._origin or self._waiting.pop(spoken.number, None) is None:
            return
        self._told.discard(spoken.number)
        self._node.get_logger().info(message.status[0].message)
