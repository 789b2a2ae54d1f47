"""The operator as a session hears them: words by topic, by service and by the buttons of ``joy``, each answered.

A word by topic is sent again until it is acknowledged, so one that has been received is not taken twice, and its
acknowledgement is sent again. Words by service and by ``joy`` have no number of their own and get one here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from functools import partial

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.task import Future
from sensor_msgs.msg import Joy
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger

from controllers.lease import Writer
from controllers.ros import topics
from controllers.ros.converters import stamp_to_ns
from hardware.interfaces import Word
from hardware.ros.inbox import Inbox
from hardware.ros.words import Spoken, fill_word, make_stop_publisher, word_from
from robot_rl.contract import Answer, Label

BUTTONS = {name: Word(name) for name in topics.JOY_BUTTONS if name in ("success", "failure")}
REMEMBERED = 10_000  # words that are not taken twice
LAST_WORDS = 0.5  # [s] for acknowledgements to arrive when the session ends
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)

Key = tuple[str, int]  # origin and number of a label


class OperatorTopics:
    """Hands each word once to ``say``, and tells whoever said it what became of it.

    Call `poll` often, `answer` with each answer of the session, and `close` before the node ends.

    A stop is handed on to the arm before anything else.
    """

    def __init__(self, node: Node, say: Callable[[Label], None]) -> None:
        self._node, self._say = node, say
        self._origin = f"{node.get_fully_qualified_name()}@{node.get_clock().now().nanoseconds}"
        self._numbers = 0
        self._answers: dict[Key, Answer | None] = {}
        self._called: dict[Key, Future[Answer]] = {}
        self._pressed: dict[Hashable, frozenset[Word]] = {}
        self._requested = ""
        self._inbox = Inbox(node, self._rename)
        self._inbox.subscribe(Joy, topics.JOY, self._on_joy, topics.OPERATOR_DEPTH)
        depth = topics.OPERATOR_DEPTH
        node.create_subscription(DiagnosticArray, topics.OPERATOR_WORD, self._on_word, depth)
        for word in Word:
            node.create_service(Trigger, f"{topics.OPERATOR_SERVICES}/{word.value}", partial(self._on_call, word))
        self._acknowledged = node.create_publisher(DiagnosticArray, topics.OPERATOR_ACKNOWLEDGED, depth)
        self._request = node.create_publisher(String, topics.OPERATOR_REQUEST, LATCHED)
        self._stop = make_stop_publisher(node)

    def poll(self) -> None:
        """Take what has come on ``joy``."""
        self._inbox.poll(time.monotonic())

    def close(self) -> None:
        """Let the last acknowledgements arrive."""
        self._acknowledged.wait_for_all_acked(Duration(seconds=LAST_WORDS))
        self._inbox.close()

    def answer(self, answer: Answer) -> None:
        """Acknowledge a label."""
        key = (answer.label.origin, answer.label.number)
        self._answers[key] = answer
        self._acknowledge(answer)
        called = self._called.pop(key, None)
        if called is not None:
            called.set_result(answer)

    def request(self, words: str) -> None:
        """Publish what the person is asked to do; "" when nothing. The same as before is not said again."""
        if words != self._requested:
            self._requested = words
            self._request.publish(String(data=words))

    def _take(self, label: Label) -> None:
        if label.word is Word.STOP:
            self._stop.publish(Bool(data=True))
        self._answers[label.origin, label.number] = None
        if len(self._answers) > REMEMBERED:
            del self._answers[next(iter(self._answers))]
        self._say(label)

    def _number(self, word: Word, by: str, stamp_ns: int) -> Label:
        """A label without a number of its own."""
        self._numbers += 1
        return Label(self._numbers, word, by, stamp_ns, self._origin)

    def _now(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)

    def _said(self, stamp_ns: int) -> int:
        """When a word was said [ns]: by its stamp, but never after it is heard, or no later word would stand."""
        now = self._now()
        return min(stamp_ns or now, now)

    def _on_word(self, message: DiagnosticArray) -> None:
        try:
            spoken = word_from(message)
            word = Word(spoken.word)
        except ValueError as error:
            known = ", ".join(word.value for word in Word)
            self._node.get_logger().error(f"{topics.OPERATOR_WORD}: {error} (words: {known})")
            return
        key = (spoken.origin, spoken.number)
        if key not in self._answers:
            stamp = self._said(spoken.stamp_ns)
            self._take(Label(spoken.number, word, spoken.by, stamp, spoken.origin, spoken.about))
            return
        answer = self._answers[key]
        if answer is not None:
            self._acknowledge(answer)

    def _on_joy(self, message: Joy, writer: Writer) -> None:
        """Each button that goes down is a word; one that is held says nothing more."""
        buttons = dict(zip(topics.JOY_BUTTONS, message.buttons, strict=False))
        pressed = frozenset(word for name, word in BUTTONS.items() if buttons.get(name))
        new = pressed - self._pressed.get(writer.id, frozenset())
        self._pressed[writer.id] = pressed
        for word in sorted(new, key=lambda word: word.value):
            said = self._said(stamp_to_ns(message.header.stamp) or self._inbox.arrived)
            self._take(self._number(word, writer.name, said))

    def _rename(self, before: Writer, after: Writer) -> None:
        if before.id in self._pressed:
            self._pressed[after.id] = self._pressed.pop(before.id)

    async def _on_call(self, word: Word, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        label = self._number(word, f"service {topics.OPERATOR_SERVICES}/{word.value}", self._now())
        called: Future[Answer] = Future()
        self._called[label.origin, label.number] = called
        self._take(label)
        answer = await called
        response.success, response.message = answer.accepted, str(answer)
        return response

    def _acknowledge(self, answer: Answer) -> None:
        label = answer.label
        spoken = Spoken(label.number, label.word.value, label.by, label.origin, label.stamp_ns, label.episode)
        level = DiagnosticStatus.OK if answer.accepted else DiagnosticStatus.WARN
        applied = {"accepted": answer.accepted, "episode": answer.episode, "step": answer.step}
        self._acknowledged.publish(fill_word(spoken, DiagnosticArray(), str(answer), level, **applied))
