"""Starting, spinning and ending rclpy, the same way in every process."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import rclpy
from rclpy.experimental import EventsExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from hardware.ros.rosout import told_on_rosout

WAKE = 0.1  # [s] between looks at whether the process was asked to end
SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Fast DDS's shared memory may deliver nothing any more, for ever and without a word, to a process that was killed and
# started again (its issues 5053 and 5469). `ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST` always brings it; a process that
# names UDP alone as its address gets none of it.
PROFILES, OURS = "FASTDDS_DEFAULT_PROFILES_FILE", Path(__file__).with_name("fastdds.xml")


class Stop:
    """Whether the process was asked to end."""

    def __init__(self) -> None:
        self.asked = False

    def ask(self, number: int = 0, frame: FrameType | None = None) -> None:
        self.asked = True

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Meanwhile the process ends, well, as soon as it is asked to: for when it has nothing that could be lost.

        Also while it is inside a library for minutes, as a compiler is, where no handler of Python's runs: the bytes
        that signals write are read by a thread. For the main thread.
        """
        listening, written = os.pipe()
        os.set_blocking(written, False)
        before = signal.set_wakeup_fd(written)
        listener = threading.Thread(target=_end_when_asked, args=(listening,), daemon=True)
        listener.start()
        try:
            if self.asked:
                os._exit(0)
            yield
        finally:
            signal.set_wakeup_fd(before)
            os.close(written)
            listener.join()
            os.close(listening)


def _end_when_asked(descriptor: int) -> None:
    """End the process at the first of `SIGNALS` whose number comes; return when nothing can come any more."""
    while number := os.read(descriptor, 1):
        if number[0] in SIGNALS:
            os._exit(0)


@contextlib.contextmanager
def ros(arguments: list[str] | None = None) -> Iterator[Stop]:
    """rclpy, initialised with the process's ROS arguments, and shut down afterwards.

    Unless the environment has other profiles of Fast DDS, messages come by UDP, on one computer, too. SIGINT and
    SIGTERM only ask to stop: rclpy's own handlers would pull the context away under a running callback.
    """
    stop = Stop()
    previous = {number: signal.signal(number, stop.ask) for number in SIGNALS}
    os.environ.setdefault(PROFILES, str(OURS))
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    try:
        yield stop
    finally:
        rclpy.try_shutdown()
        for number, handler in previous.items():
            signal.signal(number, handler)


def spin(
    node: Node, stop: Stop, done: Callable[[], bool] = lambda: False, ended: Callable[[], bool] = lambda: True
) -> None:
    """Run ``node`` until ``stop`` is asked for or ``done``; then destroy it. Exceptions of callbacks come through.

    Before it is destroyed, whatever the reason, it runs on until ``ended``, which is asked again and again.
    """
    executor = EventsExecutor()
    executor.add_node(node)
    # The first line of rclpy's logger looks for its caller in all modules, for 0.1 s and more: now, not in a motion.
    node.get_logger().info(f"{node.get_fully_qualified_name()} runs")
    try:
        with told_on_rosout(node):
            while not (stop.asked or done()):
                executor.spin_once(timeout_sec=WAKE)
    finally:
        try:
            while not ended():
                executor.spin_once(timeout_sec=WAKE)
        finally:
            executor.shutdown()
            node.destroy_node()
