"""The person's words over ROS: none is lost, none counts twice, each is answered, whoever is busy or killed."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from sensor_msgs.msg import Joy
from std_msgs.msg import String
from std_srvs.srv import Trigger

from controllers.lease import Priority
from controllers.ros import topics as arm_topics
from controllers.state import Mode
from hardware.manual_scene import ManualScene
from hardware.ros.words import Spoken, WordSender, fill_word, word_from
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.contract import DISCARDED, Ending, Outcome, Step, Word
from robot_rl.data.episode import read_info
from robot_rl.data.schema import StoreSchema
from robot_rl.data.store import EpisodeStore
from robot_rl.ros import topics
from robot_rl.ros.operator_topics import LATCHED
from robot_rl.session.operator import OUTCOMES
from tests.robot_rl.session.test_doubt import QUESTION, Doubter
from tests.robot_rl.session_bench import Recorded, Sink
from tests.ros.operator_bench import TASK, Operated, make_world

ENDINGS = {Word.SUCCESS: Ending.SUCCESS, Word.FAILURE: Ending.FAILURE, Word.END: Ending.TIMEOUT}
HANG = 60.0  # [s] after which a test that hangs goes on, to fail
PRESSED, RELEASED = Joy(buttons=[0, 0, 1, 0]), Joy(buttons=[0, 0, 0, 0])


@pytest.fixture
def world() -> Iterator[InProcessWorld]:
    with make_world() as world:
        yield world


class Person:
    """Somebody who says words, and hears what became of them."""

    def __init__(self, ros: Any) -> None:
        self.ros = ros
        self.node: Node = ros.node("person")
        self.sender = WordSender(self.node)
        self.acknowledged: list[DiagnosticArray] = []
        self.phases: list[str] = []
        self.requests: list[str] = []
        self.driven = 0
        listen = self.node.create_subscription
        listen(DiagnosticArray, arm_topics.OPERATOR_ACKNOWLEDGED, self.acknowledged.append, 100)
        listen(String, topics.SESSION_PHASE, lambda message: self.phases.append(message.data), LATCHED)
        listen(String, arm_topics.OPERATOR_REQUEST, lambda message: self.requests.append(message.data), LATCHED)
        listen(PoseStamped, arm_topics.TARGET_POSES[Priority.POLICY], self._count, 10)

    def _count(self, _: PoseStamped) -> None:
        self.driven += 1

    def wait_for(self, phase: str) -> None:
        self.ros.spin_until(lambda: self.phases and self.phases[-1] == phase)

    def wait_for_steps(self, count: int) -> None:
        """Wait until ``count`` more steps have begun."""
        self.wait_for("running")
        before = self.driven
        self.ros.spin_until(lambda: self.driven >= before + count)

    def say(self, word: Word) -> str:
        """Say ``word`` by topic; returns what became of it."""
        spoken = self.sender.say(word)
        said: list[str] = []

        def heard() -> bool:
            found = [message.status[0].message for message in self.acknowledged if word_from(message) == spoken]
            said.extend(found)
            return bool(found)

        self.ros.spin_until(heard)
        self.ros.spin_until(lambda: spoken not in self.sender.waiting)
        return said[0]

    def call(self, word: Word) -> Trigger.Response:
        """Say ``word`` by service."""
        client = self.node.create_client(Trigger, f"{arm_topics.OPERATOR_SERVICES}/{word.value}")
        self.ros.spin_until(client.service_is_ready)
        future = client.call_async(Trigger.Request())
        self.ros.spin_until(future.done)
        return future.result()


@pytest.fixture
def person(ros: Any) -> Person:
    return Person(ros)


def applied(message: DiagnosticArray) -> dict[str, str]:
    return {value.key: value.value for value in message.status[0].values}


class BusySink(Sink):
    """Makes the session busy in the middle of each episode: until ``release`` is set."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.busy, self.release = threading.Event(), threading.Event()
        self._left = times

    def begin(self, meta: dict) -> Recorded:
        self.append(BusyEpisode(len(self), meta, self))
        return self[-1]

    def work(self) -> None:
        if self._left:
            self._left -= 1
            self.busy.set()
            self.release.wait(HANG)
            self.release.clear()


class BusyEpisode(Recorded):
    def __init__(self, index: int, meta: dict, sink: BusySink) -> None:
        super().__init__(index, meta)
        self._sink = sink

    def append(self, step: Step) -> None:
        super().append(step)
        if len(self.steps) == 2:
            self._sink.work()


def test_no_label_of_another_programs_joy_is_lost_while_the_session_is_busy(ros: Any, world: InProcessWorld) -> None:
    """One message at 50 Hz has the button pressed, and the session does not listen for the next 0.2 s."""
    sink = BusySink(10)
    operated = Operated(ros.add, world, sink)
    node = ros.node("pad")
    joy = node.create_publisher(Joy, arm_topics.JOY, 1)

    def press() -> None:
        for _ in range(10):
            if not sink.busy.wait(HANG):
                return
            sink.busy.clear()
            stamp = node.get_clock().now().to_msg()
            for message in (PRESSED, *[RELEASED] * 10):
                message.header.stamp = stamp
                joy.publish(message)
            sink.release.set()

    ros.spin_until(joy.get_subscription_count)
    presses = threading.Thread(target=press)
    presses.start()
    ros.spin_until(lambda: len(operated.ended) == 10)
    presses.join()
    assert [ended.ending for ended in operated.ended] == [Ending.SUCCESS] * 10
    assert [line.split(" by ")[0] for line in operated.lines] == [f"label {i} (success)" for i in range(1, 11)]
    assert all("/pad" in line and "ends with step 2 as success" in line for line in operated.lines)


def test_a_button_that_is_held_is_one_label_and_each_pad_has_its_own(ros: Any, world: InProcessWorld) -> None:
    operated = Operated(ros.add, world, Sink())
    pads = [ros.node(f"pad{i}").create_publisher(Joy, arm_topics.JOY, 10) for i in range(2)]
    ros.spin_until(lambda: all(pad.get_subscription_count() for pad in pads))
    for pad in pads:
        for message in (*[PRESSED] * 8, *[RELEASED] * 2, *[PRESSED] * 8):
            pad.publish(message)
        pad.publish(Joy(buttons=[0, 0, 0, 1]))
    ros.spin_until(lambda: len(operated.lines) >= 6)
    ros.spin_times(100)
    said = sorted(line.split(": ")[0].split(" ", 2)[2] for line in operated.lines)
    each = ["(failure) by /pad{}", "(success) by /pad{}", "(success) by /pad{}"]
    assert said == sorted(words.format(i) for i in range(2) for words in each)


def test_all_labels_of_a_real_device_under_load_are_applied_exactly_once(
    ros: Any, world: InProcessWorld, person: Person
) -> None:
    class Slow(Recorded):
        def append(self, step: Step) -> None:
            super().append(step)
            threading.Event().wait(0.2)  # as a disk that is slow

    class SlowSink(Sink):
        def begin(self, meta: dict) -> Recorded:
            self.append(Slow(len(self), meta))
            return self[-1]

    sink = SlowSink()
    operated = Operated(ros.add, world, sink)
    hands, terminal = pty.openpty()
    device = subprocess.Popen(
        [sys.executable, "-m", "hardware.ros.teleop_node", "--device", "keyboard"], stdin=terminal
    )
    loads = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
    try:
        person.ros.spin_until(lambda: person.node.count_publishers(arm_topics.JOY))
        person.wait_for_steps(2)
        for number in range(31):
            os.write(hands, b"\r" if number % 2 else b"\x7f")
            person.ros.spin_times(7 * (number % 5))
        person.ros.spin_until(lambda: len(operated.lines) >= 31)
        heard = len(person.acknowledged)
        person.ros.spin_until(lambda: person.say(Word.PAUSE))
        assert len(person.acknowledged) >= heard, "the acknowledgements of the device were not held up"
    finally:
        for process in (*loads, device):
            process.kill()
            process.wait()
        os.close(hands)
        os.close(terminal)
    labels = [applied(message) for message in person.acknowledged if message.status[0].name == "/teleop"]
    numbers = {int(label["number"]) for label in labels}
    assert numbers == set(range(1, 32))
    assert all(label["accepted"] == "True" for label in labels)
    assert sum("/teleop" in line for line in operated.lines) == 31, "one that is said again is not applied again"
    by_number = {int(label["number"]): (int(label["episode"]), int(label["step"]), label["word"]) for label in labels}
    for episode in {episode for episode, _, _ in by_number.values()}:
        said = [by_number[number] for number in sorted(by_number) if by_number[number][0] == episode]
        corrected = [relabel.outcome for relabel in sink.relabels if relabel.episode == episode]
        final = (corrected or [sink[episode].outcome])[-1]
        assert final.ending.value == said[-1][2], "the last one stands"
        assert {step for _, step, _ in said} == {len(sink[episode].steps) - 1}


class Process:
    """A session as a process of its own."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen([sys.executable, "-m", "tests.ros.operator_bench", str(folder)])

    def hang(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_labels_that_a_killed_session_has_not_acknowledged_are_applied_by_the_next(
    ros: Any, person: Person, tmp_path: Path
) -> None:
    session = Process(tmp_path)
    try:
        person.wait_for_steps(3)
        heard = len(person.phases)
        assert "episode 0 ends with step" in person.say(Word.SUCCESS)
        ros.spin_until(lambda: "running" in person.phases[heard:])  # a busy listener may miss those between
        person.wait_for_steps(4)
        session.hang()
        numbers = [person.sender.say(word).number for word in (Word.SUCCESS, Word.FAILURE, Word.DISCARD)]
        session.kill()
        assert [spoken.number for spoken in person.sender.waiting] == numbers
        before = lines(tmp_path / "answers")
        session = Process(tmp_path)
        ros.spin_until(lambda: not person.sender.waiting)
        ros.spin_until(lambda: len(lines(tmp_path / "answers")) >= len(before) + 3)
        person.wait_for_steps(1)
    finally:
        session.kill()
    with EpisodeStore.create_or_open(tmp_path / "store", StoreSchema.of(TASK)) as store:
        discarded = store.episodes()[1]
    assert (discarded.ending, discarded.reason, discarded.steps) == (Ending.ABORTED, DISCARDED, 0), "it is no data"
    answers = [line.split(" by ")[0] for line in lines(tmp_path / "answers")]
    assert len(before) == 1
    assert answers == ["label 1 (success)", "label 2 (success)", "label 3 (failure)", "label 4 (discard)"]
    relabels = [line.split() for line in lines(tmp_path / "relabels")]
    recorded = read_info(tmp_path / "store" / "episodes" / "000001.zarr").steps
    assert recorded >= 3, "the episode had gone on for some steps when the session was killed"
    last = str(recorded - 1)  # said after it, in the step that was in flight and is lost
    assert relabels == [["2", "1", last, "success"], ["3", "1", last, "failure"], ["4", "1", last, "aborted"]]


@pytest.mark.parametrize("way", ["topic", "service"])
def test_each_word_that_ends_an_episode(ros: Any, world: InProcessWorld, person: Person, way: str) -> None:
    sink = Sink()
    operated = Operated(ros.add, world, sink)
    for index, (word, ending) in enumerate([*ENDINGS.items(), (Word.DISCARD, Ending.ABORTED)]):
        person.wait_for_steps(2)
        if way == "topic":
            said = person.say(word)
        else:
            response = person.call(word)
            assert response.success
            said = response.message
        ros.spin_until(lambda index=index: len(operated.ended) > index)
        last = len(sink[index].steps) - 1
        assert said.endswith(f"episode {index} ends with step {last} as {ending.value}")
        assert f"({word.value})" in said
        assert sink[index].outcome.ending is operated.ended[index].ending is ending
        assert said in operated.lines
        ros.spin_until(lambda: person.phases[-1] != "running")
    assert operated.ended[-1].reason == DISCARDED
    assert [relabel.outcome for relabel in sink.relabels] == [Outcome.aborted(DISCARDED)], "followers forget it"


def pass_time(ros: Any, world: InProcessWorld, seconds: float) -> None:
    """Let robot time pass."""
    until = world.time + seconds
    ros.spin_until(lambda: world.time > until)


@pytest.mark.parametrize("way", ["topic", "service"])
def test_pausing_resuming_taking_over_and_stopping(ros: Any, world: InProcessWorld, person: Person, way: str) -> None:
    def say(word: Word) -> None:
        said = person.say(word) if way == "topic" else person.call(word).message
        assert f"({word.value})" in said and "refused" not in said

    sink = Sink()
    operated = Operated(ros.add, world, sink)
    person.wait_for_steps(2)
    say(Word.PAUSE)
    person.wait_for("paused")
    pass_time(ros, world, 0.5)  # the reference comes to rest
    recorded, held = len(sink[0].steps), world.read().target
    pass_time(ros, world, 1.0)
    assert (len(sink[0].steps), person.phases[-1]) == (recorded, "paused")
    assert np.abs(world.read().target.difference(held)).max() < 1e-6
    say(Word.RESUME)
    person.wait_for_steps(1)
    by_person: list[PoseStamped] = []
    person.node.create_subscription(PoseStamped, arm_topics.TARGET_POSES[Priority.PERSON], by_person.append, 10)
    say(Word.TAKE_OVER)
    ros.spin_until(lambda: len(by_person) > 3)
    say(Word.RESUME)
    person.wait_for_steps(2)
    say(Word.STOP)
    person.wait_for("stopped")
    ros.spin_until(lambda: world.read().mode is Mode.IDLE)
    assert operated.ended[-1].ending is Ending.ABORTED
    assert "emergency stop" in operated.ended[-1].reason


def test_a_label_after_the_end_corrects_the_last_step_of_that_episode(
    ros: Any, world: InProcessWorld, person: Person
) -> None:
    sink = Sink()
    operated = Operated(ros.add, world, sink)
    assert "refused: there has been no episode yet" in person.say(Word.SUCCESS)
    person.wait_for_steps(3)
    person.call(Word.END)
    person.wait_for("reset")
    answer = person.say(Word.SUCCESS)
    last = len(sink[0].steps) - 1
    assert answer.endswith(f"episode 0 ends with step {last} as success")
    (relabel,) = sink.relabels
    assert (relabel.episode, relabel.step, relabel.outcome) == (0, last, Outcome.success())
    assert operated.relabels == [relabel]
    late = person.sender.say(Word.FAILURE)._replace(number=77, stamp_ns=sink[0].steps[1].next_reading.stamp_ns)
    person.wait_for_steps(2)
    publisher = person.node.create_publisher(DiagnosticArray, arm_topics.OPERATOR_WORD, 10)
    ros.spin_until(publisher.get_subscription_count)
    for _ in range(3):  # as one that has been lost twice
        publisher.publish(fill_word(late, DiagnosticArray()))
    ros.spin_until(lambda: sum(word_from(message).number == 77 for message in person.acknowledged) == 3)
    assert "a label that was said later" in person.acknowledged[-1].status[0].message
    assert sum("label 77" in line for line in operated.lines) == 1


def test_a_label_of_a_clock_that_is_ahead_lets_later_ones_stand(
    ros: Any, world: InProcessWorld, person: Person
) -> None:
    sink = Sink()
    Operated(ros.add, world, sink)
    person.wait_for_steps(3)
    person.call(Word.END)
    person.wait_for("reset")
    publisher = person.node.create_publisher(DiagnosticArray, arm_topics.OPERATOR_WORD, 10)
    ros.spin_until(publisher.get_subscription_count)
    now = person.node.get_clock().now().nanoseconds
    publisher.publish(fill_word(Spoken(1, "failure", "console", "elsewhere", now + 60 * 10**9), DiagnosticArray()))
    ros.spin_until(lambda: any(word_from(message).origin == "elsewhere" for message in person.acknowledged))
    assert person.say(Word.SUCCESS).endswith("as success")
    assert [relabel.outcome for relabel in sink.relabels] == [OUTCOMES[Word.FAILURE], Outcome.success()]


def test_on_a_real_arm_the_person_puts_the_objects_back_and_the_session_waits(
    ros: Any, world: InProcessWorld, person: Person
) -> None:
    operated = Operated(ros.add, world, Sink(), lambda ask: ManualScene(ask))
    for episode in range(2):
        person.wait_for("asking")
        ros.spin_until(lambda: person.requests and person.requests[-1])
        assert person.requests[-1].startswith("Please bring goal to x ")
        assert person.requests[-1] in operated.lines[-1]
        pass_time(ros, world, 0.5)  # the reference comes to rest
        held = world.read().target
        pass_time(ros, world, 1.0)
        assert person.phases[-1] == "asking"
        assert np.abs(world.read().target.difference(held)).max() < 1e-6
        assert person.call(Word.RESUME).success
        ros.spin_until(lambda: person.requests[-1] == "")
        person.wait_for_steps(2)
        assert person.call(Word.SUCCESS).success
        ros.spin_until(lambda episode=episode: len(operated.ended) == episode + 1)


def test_a_judge_in_doubt_asks_the_person_whose_word_counts(ros: Any, world: InProcessWorld, person: Person) -> None:
    operated = Operated(ros.add, world, Sink(), judge=Doubter())
    person.wait_for("asking")
    ros.spin_until(lambda: person.requests and person.requests[-1] == QUESTION)
    assert operated.lines[-1].startswith(QUESTION)
    assert person.call(Word.SUCCESS).success
    ros.spin_until(lambda: operated.ended)
    assert operated.ended[0].ending is Ending.SUCCESS
    assert [step.outcome.done for step in operated.steps] == [False] * (operated.ended[0].steps - 1) + [True]
    ros.spin_until(lambda: person.requests[-1] == "")


def test_a_session_that_ends_applies_what_it_has_heard(ros: Any, world: InProcessWorld, person: Person) -> None:
    sink = Sink()
    operated = Operated(ros.add, world, sink)
    person.wait_for_steps(3)
    person.sender.say(Word.SUCCESS)
    ros.spin_until(lambda: operated.session.unanswered)
    ros.end(operated.node)
    ros.spin_until(lambda: not person.sender.waiting)
    (relabel,) = sink.relabels
    assert (relabel.episode, relabel.step) == (0, len(sink[0].steps) - 1)


def test_a_message_that_is_no_word_is_refused_and_the_session_goes_on(
    ros: Any, world: InProcessWorld, person: Person
) -> None:
    Operated(ros.add, world, Sink())
    publisher = person.node.create_publisher(DiagnosticArray, arm_topics.OPERATOR_WORD, 10)
    ros.spin_until(publisher.get_subscription_count)
    publisher.publish(DiagnosticArray())
    spoken = person.sender.say(Word.PAUSE)
    publisher.publish(fill_word(spoken._replace(word="sucess", number=9), DiagnosticArray()))
    assert "(resume)" in person.say(Word.RESUME)
    assert all(word_from(message).number != 9 for message in person.acknowledged)
