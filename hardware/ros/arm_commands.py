"""The gate of an arm: every command topic, who may write on it, and what it makes of bad commands.

Policy, reset, person and any client of CRISP's topics come in here, and nothing moves the arm past it. A wrong one is
counted and said once for each burst; what is right goes to the driver, whose controller limits it further.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped, WrenchStamped
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from controllers.gains import ImpedanceGains
from controllers.lease import TIMEOUT, Lease, Priority, Writer
from controllers.ros import topics
from controllers.ros.converters import pose_from, stamp_to_ns, vectors_from
from controllers.state import EventKind, JointSetpoint, Mode, Setpoint, WrenchSetpoint
from hardware.interfaces import Arm, Gripper
from hardware.ros.converters import gains_from, joints_from
from hardware.ros.frames import frame_prefix
from hardware.ros.inbox import Identity, Inbox

SETPOINT_AGE = 0.2  # [s] after which a command in the mail is too old to follow
SETPOINT_DURATION = 0.1  # [s] the reference takes to a new target, unless it is told another time
PAUSE = 0.1  # [s] between two polls; what is longer is the node's own pause, and nobody's silence
QUIET = 1.0  # [s] without a mistake of one kind after which the next one is said again
SETTLING = 0.3  # [s] at rest after which whoever still sends targets is told
RESTING = {  # why an arm does not follow, and what to do about it
    Mode.IDLE: f"the arm is idle and does not follow; torque control begins with the service {topics.START}",
    Mode.FAULT: f"the arm has stopped by a fault; recover it (service {topics.ERROR_RECOVERY}), then {topics.START} it",
    Mode.STOPPED: f"a person has stopped the arm; release it, then {topics.START} it",
}
MOTION = (*topics.TARGET_POSES.values(), topics.TARGET_JOINT, topics.TARGET_WRENCH)
STOP = Writer(Identity(b"", "emergency stop"), "the emergency stop")

Report = Callable[[EventKind, str], None]


class Bursts:
    """Decides whether to say something of a kind again: only after it has not happened for ``QUIET``."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def begins(self, kind: str, now: float) -> bool:
        """Something of ``kind`` happens at ``now`` [s]: is it the first of its burst?"""
        begins = now - self._last.get(kind, -math.inf) > QUIET
        self._last = {other: last for other, last in self._last.items() if now - last <= QUIET} | {kind: now}
        return begins


class Following:
    """Kind of target to follow, of a writer that sends several kinds at once.

    crisp_py keeps sending poses *and* joints, the one that nobody asked for unchanged. So the kind is followed whose
    target changed last. When that one falls silent a new kind takes over, but never a target from before: the arm would
    go back to where nobody wants it.
    """

    def __init__(self) -> None:
        self._writer: object = None
        self._kind = ""
        self._at = -math.inf
        self._targets: dict[str, bytes] = {}

    def follows(self, writer: object, kind: str, target: np.ndarray, now: float) -> bool:
        """Whether to follow ``target`` of ``kind``, which ``writer`` sent at ``now`` [s]."""
        if writer != self._writer:
            self._writer, self._kind, self._targets = writer, "", {}
        before, value = self._targets.get(kind), target.tobytes()
        self._targets[kind] = value
        fresh = now - self._at > TIMEOUT if before is None else before != value
        if self._kind == "" or fresh:
            self._kind = kind
        if self._kind != kind:
            return False
        self._at = now
        return True

    def rename(self, before: object, after: object) -> None:
        """The writer known as ``before`` is known as ``after`` from now on."""
        if self._writer == before:
            self._writer = after


class ArmCommands:
    """The command topics of one arm and its gripper.

    Args:
        node: the arm's node; its namespace and clock are used.
        arm: connected driver.
        gripper: connected driver, or None.
        gains: that `TARGET_STIFFNESS` changes.
        report: called with what an operator has to hear.
        period: [s] between the targets of policy and person, which the reference takes from one to the next.
    """

    def __init__(
        self,
        node: Node,
        arm: Arm,
        gripper: Gripper | None,
        gains: ImpedanceGains,
        report: Report,
        period: float = SETPOINT_DURATION,
    ) -> None:
        self._node, self._arm, self._gripper, self._gains, self._report = node, arm, gripper, gains, report
        self._period = period
        self._clock = node.get_clock()
        self._prefix = frame_prefix(node)
        self._lease, self._gripper_lease = Lease(), Lease()
        self._following, self._bursts = Following(), Bursts()
        self._now = -math.inf
        self._seq = self._wrench_seq = 0
        self.counts = {"setpoints": 0, "stale": 0, "refused": 0, "rejected": 0, "at rest": 0, "not the holder": 0}
        self._complaints: dict[str, tuple[float, str]] = {}  # kind of refusal → steady time [s] and words of the last
        self._mode, self._since = Mode.IDLE, math.inf  # of the arm, and since when [s, steady]
        self._followed = False  # a target has been passed on in the present motion
        self._inbox = Inbox(node, self._rename)
        for priority, topic in topics.TARGET_POSES.items():
            self._inbox.subscribe(PoseStamped, topic, partial(self._on_pose, topic, priority))
        self._inbox.subscribe(JointState, topics.TARGET_JOINT, self._on_joints)
        self._inbox.subscribe(WrenchStamped, topics.TARGET_WRENCH, self._on_wrench)
        self._inbox.subscribe(Float64MultiArray, topics.TARGET_STIFFNESS, self._on_stiffness)
        for topic in (topics.GRIPPER_COMMAND, topics.CRISP_GRIPPER_COMMAND) if gripper is not None else ():
            self._inbox.subscribe(Float64MultiArray, topic, partial(self._on_gripper, topic))

    def poll(self) -> None:
        """Pass on the commands that have come."""
        before, self._now = self._now, time.monotonic()
        pause = self._now - before - PAUSE
        if 0.0 < pause < math.inf:  # the holder may have gone on commanding meanwhile
            for lease in (self._lease, self._gripper_lease):
                lease.excuse(pause)
        self._inbox.poll(self._now)

    def close(self) -> None:
        self._inbox.close()

    def watch(self, mode: Mode) -> None:
        """The arm is in ``mode`` now."""
        if mode is not self._mode:
            self._mode, self._since = mode, self._now
        self._followed = self._followed and mode in (Mode.TRACK, Mode.HOLD)

    @property
    def deserted(self) -> bool:
        """Whoever has commanded the present motion has gone, and nobody is there who could go on with it."""
        if not self._followed or self._lease.holder(self._now) is not None:
            return False
        return not any(self._node.count_publishers(topic) for topic in MOTION)

    def forget(self) -> None:
        """The present motion is being ended; what was commanded in it is over."""
        self._followed = False

    def complaints(self) -> dict[str, str]:
        """Kinds of command that have been refused within the last `QUIET`, as in ``counts``, with the latest reason."""
        return {kind: why for kind, (at, why) in self._complaints.items() if self._now - at <= QUIET}

    def complain(self, kind: str, why: str) -> None:
        """Count a command that is refused."""
        self.counts[kind] += 1
        self._complaints[kind] = (self._now, why)

    def stop(self) -> None:
        """Take no command from now on, until `release`."""
        self._lease.claim(STOP, Priority.STOP, time.monotonic())

    def release(self) -> None:
        self._lease.release(STOP)

    def holder(self) -> str:
        """Who commands the arm now, for people."""
        held = self._lease.holder(time.monotonic())
        return "nobody" if held is None else f"{held.writer.name} ({held.priority.name.lower()})"

    def _rename(self, before: Writer, after: Writer) -> None:
        for lease in (self._lease, self._gripper_lease):
            lease.rename(before, after)
        self._following.rename(before.id, after.id)

    # Each handler checks the message, asks for the lease and commands; what is not fit to follow claims nothing.

    def _on_pose(self, topic: str, priority: Priority, message: PoseStamped, writer: Writer) -> None:
        if not self._fits(topic, message.header, writer):
            return
        try:
            pose = pose_from(message.pose)
        except ValueError as error:
            self._refuse("value", topic, writer, str(error))
            return
        target = np.concatenate((pose.translation, pose.quat_xyzw))
        if self._moves(topic, writer, priority) and self._following.follows(writer.id, "pose", target, self._now):
            duration = SETPOINT_DURATION if priority is Priority.RESET else self._period
            self._arm.command(Setpoint(pose, self._next(), duration))

    def _on_joints(self, message: JointState, writer: Writer) -> None:
        if self._is_stale(topics.TARGET_JOINT, message.header, writer):
            return
        try:
            q = joints_from(message)
        except ValueError as error:
            self._refuse("value", topics.TARGET_JOINT, writer, str(error))
            return
        if self._moves(topics.TARGET_JOINT, writer) and self._following.follows(writer.id, "joints", q, self._now):
            self._arm.command(JointSetpoint(q, self._next(), SETPOINT_DURATION))

    def _on_wrench(self, message: WrenchStamped, writer: Writer) -> None:
        if not self._fits(topics.TARGET_WRENCH, message.header, writer):
            return
        wrench = vectors_from(message.wrench.force, message.wrench.torque)
        if not np.isfinite(wrench).all():
            self._refuse("value", topics.TARGET_WRENCH, writer, f"{wrench} is not finite")
        elif self._moves(topics.TARGET_WRENCH, writer):
            self._wrench_seq += 1
            self._arm.command(WrenchSetpoint(wrench, self._wrench_seq))

    def _on_stiffness(self, message: Float64MultiArray, writer: Writer) -> None:
        try:
            gains = gains_from(message, self._gains)
        except ValueError as error:
            self._refuse("value", topics.TARGET_STIFFNESS, writer, str(error))
            return
        if self._admits(writer):
            self._arm.change_gains(gains)

    def _on_gripper(self, topic: str, message: Float64MultiArray, writer: Writer) -> None:
        if len(message.data) != 1 or not 0.0 <= message.data[0] <= 1.0:
            self._refuse("value", topic, writer, f"{list(message.data)}; it takes one opening between 0 and 1")
        elif self._gripper is not None and self._admits_to_gripper(writer):
            self._gripper.command(message.data[0])

    def _moves(self, topic: str, writer: Writer, priority: Priority | None = None) -> bool:
        """Whether ``writer`` may command, and the arm is not at rest; who goes on then is told, once a burst."""
        if not self._admits(writer, priority):
            return False
        if self._mode in RESTING:
            if self._now - self._since > SETTLING:
                self._refuse("at rest", topic, writer, RESTING[self._mode])
            return False
        self._followed = True
        return True

    def _admits(self, writer: Writer, priority: Priority | None = None) -> bool:
        return self._granted(self._lease, writer, priority)

    def _admits_to_gripper(self, writer: Writer) -> bool:
        """The gripper goes with the arm: to whom holds it, or to another node of that process, as crisp_py has one."""
        held = self._lease.holder(self._now)
        same = held is None or held.writer.id[:1] == writer.id[:1]  # type: ignore[index]
        return self._granted(self._gripper_lease if same else self._lease, writer, None)

    def _granted(self, lease: Lease, writer: Writer, priority: Priority | None) -> bool:
        claim = lease.claim(writer, priority, self._now)
        if not claim.granted:
            self.complain("not the holder", claim.refusal)
            if claim.news:
                self._report(EventKind.WRITER_REFUSED, claim.refusal)
        return claim.granted

    def _fits(self, topic: str, header: Any, writer: Writer) -> bool:
        if header.frame_id.removeprefix(self._prefix) not in topics.BASE_FRAMES:
            known = " and ".join(repr(frame) for frame in topics.BASE_FRAMES)
            self._refuse("frame", topic, writer, f"in frame {header.frame_id!r}; only {known} are known")
            return False
        return not self._is_stale(topic, header, writer)

    def _is_stale(self, topic: str, header: Any, writer: Writer) -> bool:
        age = (self._clock.now().nanoseconds - stamp_to_ns(header.stamp)) / 1e9 - self._inbox.waited
        if age <= SETPOINT_AGE:
            return False
        why = f"{age:.2f} s old on arrival, more than {SETPOINT_AGE} s; is the sender's clock synchronised?"
        self._refuse("stale", topic, writer, why)
        return True

    def _refuse(self, kind: str, topic: str, writer: Writer, why: str) -> None:
        """Count a command, under its ``kind`` where ``counts`` has that, and say why it is refused, once a burst."""
        words = f"{topic} of {writer.name}: {why}"
        self.complain(kind if kind in self.counts else "refused", words)
        if self._bursts.begins(f"{kind} {topic} {writer.id}", self._now):
            self._report(EventKind.SETPOINT_REJECTED, words)

    def _next(self) -> int:
        self._seq += 1
        self.counts["setpoints"] += 1
        return self._seq
