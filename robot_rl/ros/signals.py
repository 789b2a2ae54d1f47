"""Signals of judges that run as programs of their own, such as a reward classifier on the GPU's machine."""

from __future__ import annotations

import math
from collections.abc import Iterable

from rclpy.node import Node
from sensor_msgs.msg import JointState

from controllers.ros.converters import stamp_to_ns
from robot_rl.ros import topics

DEPTH = 10
NAMES = 32  # signals that are remembered, so that whoever makes up names does not fill the memory


class Signals:
    """The newest value of each signal on `topics.JUDGE_SIGNALS`.

    Args:
        node: the node to subscribe with.
        age: [s] between the stamp of a signal and that of a reading, beyond which it does not belong to it.
    """

    def __init__(self, node: Node, age: float) -> None:
        self._node, self._age = node, age
        self._newest: dict[str, tuple[int, float]] = {}
        node.create_subscription(JointState, topics.JUDGE_SIGNALS, self._on_signals, DEPTH)

    def at(self, stamp_ns: int) -> dict[str, float]:
        """The signals that belong to the reading of ``stamp_ns``: name to value."""
        near = round(self._age * 1e9)
        return {name: value for name, (stamp, value) in self._newest.items() if abs(stamp_ns - stamp) <= near}

    def lost(self, stamp_ns: int, wanted: Iterable[str]) -> list[str]:
        """Why of ``wanted`` signals no value belongs to the reading of ``stamp_ns``, in words, one for each."""
        there = self.at(stamp_ns)
        return [self._silence(name, stamp_ns) for name in wanted if name not in there]

    def _silence(self, name: str, stamp_ns: int) -> str:
        if name not in self._newest:
            return f"the judge has not said {name} on {topics.JUDGE_SIGNALS} yet"
        return f"the judge is silent: its last {name} is {(stamp_ns - self._newest[name][0]) / 1e9:.2f} s old"

    def _on_signals(self, message: JointState) -> None:
        stamp, values = stamp_to_ns(message.header.stamp), list(message.position)
        if len(values) != len(message.name):
            self._complain(f"{len(message.name)} names and {len(values)} values")
            return
        for name, value in zip(message.name, values, strict=True):
            if not name or "/" in name or not math.isfinite(value):
                self._complain(f"{name!r} is {value}; a name has no '/', a value is finite")
            elif name not in self._newest and len(self._newest) >= NAMES:
                self._complain(f"{name!r} is one more than the {NAMES} that are remembered")
            else:
                self._newest[name] = (stamp, value)

    def _complain(self, why: str) -> None:
        self._node.get_logger().error(f"{topics.JUDGE_SIGNALS} refused: {why}", throttle_duration_sec=1.0)
