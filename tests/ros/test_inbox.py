"""Who sent what, in which order, when the name of a sender comes late or never."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rclpy.context import Context
from rclpy.node import Node
from std_msgs.msg import Int64

from controllers.lease import Writer
from hardware.ros import inbox as module
from hardware.ros.inbox import PATIENCE, Inbox

TOPICS = ("one", "two")


class Office:
    """An inbox, what it handed over, and nodes that write to it."""

    def __init__(self, ros: Any) -> None:
        self.ros = ros
        self.handed: list[tuple[int, str, float]] = []
        self.renamed: list[tuple[Writer, Writer]] = []
        self.unheard_of: set[str] = set()  # nodes whose names discovery has not brought yet
        self.inbox = Inbox(ros.node("arm"), lambda before, after: self.renamed.append((before, after)))
        for topic in TOPICS:
            self.inbox.subscribe(Int64, topic, self._keep)
        self._look_up, self.inbox._look_up = self.inbox._look_up, self._late  # type: ignore[method-assign]

    def _keep(self, message: Int64, writer: Writer) -> None:
        self.handed.append((message.data, writer.name, self.inbox.waited))

    def _late(self, gid: bytes, topic: str) -> Writer | None:
        writer = self._look_up(gid, topic)
        return None if writer is None or writer.name in self.unheard_of else writer

    def writer(self, name: str, topic: str = TOPICS[0]) -> Callable[[int], None]:
        """Sends a number, and returns once it has arrived."""
        node = self.ros.node(name)
        publisher = node.create_publisher(Int64, topic, 1)
        self.ros.spin_until(publisher.get_subscription_count)

        def send(number: int) -> None:
            publisher.publish(Int64(data=number))
            assert publisher.wait_for_all_acked()

        return send

    def poll(self, now: float, count: int) -> list[tuple[int, str, float]]:
        """Poll at ``now`` until ``count`` messages were handed over or wait; returns those handed over."""
        before = len(self.handed)

        def polled() -> bool:
            self.inbox.poll(now)
            return len(self.handed) - before + len(self.inbox._waiting) >= count

        self.ros.spin_until(polled)
        return self.handed[before:]


@pytest.fixture
def office(ros: Any) -> Iterator[Office]:
    office = Office(ros)
    yield office
    office.inbox.close()


def test_who_has_no_name_yet_makes_nobody_else_wait(office: Office) -> None:
    late, ada = office.writer("late"), office.writer("ada")
    office.unheard_of = {"/late"}
    late(1)
    ada(2)
    late(3)
    ada(4)
    assert office.poll(0.0, 4) == [(2, "/ada", 0.0), (4, "/ada", 0.0)]
    ada(5)
    assert office.poll(0.9 * PATIENCE, 3) == [(5, "/ada", 0.0)]
    office.unheard_of = set()
    assert office.poll(0.95 * PATIENCE, 2) == [(n, "/late", pytest.approx(0.95 * PATIENCE)) for n in (1, 3)]
    assert not office.renamed


def test_a_stranger_stays_the_same_one_and_keeps_it_when_the_name_comes(office: Office) -> None:
    late = office.writer("late")
    office.unheard_of = {"/late"}
    late(1)
    assert office.poll(0.0, 1) == []
    ((_, name, _),) = office.poll(PATIENCE, 1)
    assert name.startswith("a node without a name (publisher ")
    late(2)
    assert office.poll(2.0, 1) == [(2, name, 0.0)], "it has waited long enough"
    office.unheard_of = set()
    late(3)
    assert office.poll(3.0, 1) == [(3, "/late", 0.0)]
    ((before, after),) = office.renamed
    assert (before.name, after.name) == (name, "/late")
    assert before.id[0] == after.id[0], "the same process"


def test_messages_are_handed_over_in_the_order_of_arrival(office: Office) -> None:
    writers = [office.writer("ada", topic) for topic in TOPICS]
    order = [1, 0, 0, 1, 0, 1, 1, 0]
    for number, topic in enumerate(order):
        writers[topic](number)
    assert [number for number, *_ in office.poll(0.0, len(order))] == list(range(len(order)))


def test_writers_that_have_gone_are_forgotten(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KNOWN", 2)
    writers = [office.writer(f"writer_{i}") for i in range(4)]
    for number, send in enumerate(writers):
        send(number)
        assert office.poll(0.0, 1) == [(number, f"/writer_{number}", 0.0)]
    assert len(office.inbox._named) == 2
    writers[0](9)
    assert office.poll(0.0, 1) == [(9, "/writer_0", 0.0)]


def test_the_name_that_a_launch_file_gives_is_the_nodes_alone() -> None:
    context = Context()
    context.init(args=["--ros-args", "-r", "__node:=arm", "-r", "__ns:=/left", "-r", "one:=elsewhere"])
    node = Node("anything", context=context)
    inbox = Inbox(node, lambda before, after: None)
    inbox.subscribe(Int64, "one", lambda message, writer: None)
    assert node.get_fully_qualified_name() == "/left/arm"
    assert inbox._node.get_fully_qualified_name() == "/left/arm_commands"
    assert inbox._node.count_subscribers("/left/elsewhere") == 1
    inbox.close()
    node.destroy_node()
    context.shutdown()
