"""Events after a fault, and after how many milliseconds, as somebody on the ROS graph hears it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from controllers.lease import Priority
from controllers.ros import topics as arm_topics
from controllers.state import Mode
from robot_rl.ros import topics
from tests.processes.job import Job

PATIENCE = 600.0  # [s] before a test gives up waiting; never what it measures
TOO_LATE = ("communication_constraints_violation", "UDP receive: Timeout")  # what a robot says of a slow computer
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Received(NamedTuple):
    """Something that was received at ``when`` (`time.monotonic()`): ``what`` like ``mode:HOLD`` or ``event:reflex``.

    It may have happened long before: nothing is received while the test does not spin.
    """

    when: float
    what: str
    detail: str
    robot_time: float = 0.0  # [s], of an event


class Witness:
    """Listens to one arm and its session.

    Args:
        ros: the test's nodes (`tests.ros.conftest.Ros`).
        namespace: of the graph.
        job: whose end is not waited through.
    """

    def __init__(self, ros: Any, namespace: str = "", job: Job | None = None) -> None:
        self._ros, self._job = ros, job
        self.received: list[Received] = []
        self.reading: dict[str, float] = {}
        self.pose: PoseStamped | None = None
        self._mode = -1.0
        self.node = ros.node("witness")
        listen = self._listener(f"/{namespace}/" if namespace else "/")
        listen(DiagnosticStatus, arm_topics.ARM_EVENTS, self._on_event, 20)
        listen(JointState, arm_topics.ARM_STATUS, self._on_status, 5)
        listen(PoseStamped, arm_topics.CURRENT_POSE, self._on_pose, 5)
        listen(PoseStamped, arm_topics.TARGET_POSE, lambda m: self._note("target:policy", ""), 5)
        listen(PoseStamped, arm_topics.TARGET_POSES[Priority.PERSON], lambda m: self._note("target:person", ""), 5)
        listen(JointTrajectory, topics.ACTION_CHUNK, lambda m: self._note("chunk", ""), 5)
        listen(String, topics.SESSION_PHASE, lambda m: self._note(f"phase:{m.data}", ""), LATCHED)
        listen(DiagnosticStatus, topics.EPISODES, lambda m: self._note(f"episode:{m.name}", m.message), 10)

    def _listener(self, prefix: str) -> Callable[..., None]:
        def listen(kind: Any, topic: str, callback: Callable[[Any], None], qos: Any) -> None:
            self.node.create_subscription(kind, prefix + topic, callback, qos)

        return listen

    def _note(self, what: str, detail: str, robot_time: float = 0.0) -> None:
        self.received.append(Received(time.monotonic(), what, detail, robot_time))

    def _on_event(self, message: DiagnosticStatus) -> None:
        values = {value.key: value.value for value in message.values}
        self._note(f"event:{message.name}", message.message, float(values["robot_time"]))

    def _on_status(self, message: JointState) -> None:
        self.reading = dict(zip(message.name, message.position, strict=True))
        if self.reading["mode"] != self._mode:
            self._mode = self.reading["mode"]
            self._note(f"mode:{Mode(int(self._mode)).name}", "")

    def _on_pose(self, message: PoseStamped) -> None:
        self.pose = message

    def first(self, since: float, *what: str) -> Received | None:
        """The first thing received after ``since`` whose name is one of ``what``."""
        return next((item for item in self.received if item.when > since and item.what in what), None)

    def faults(self, since: float) -> list[Received]:
        """Why the arm stopped by itself after ``since``, unless because the computer was too slow for it."""
        reflexes = [item for item in self.received if item.when > since and item.what == "event:reflex"]
        return [item for item in reflexes if not any(late in item.detail for late in TOO_LATE)]

    def wait(self, since: float, *what: str, because: str = "") -> tuple[float, str]:
        """Spin until one of ``what`` is received; milliseconds after ``since`` and the reason that came with it.

        Only one whose reason says ``because`` counts. Fails when the job has ended before.
        """

        def found() -> Received | None:
            later = (item for item in self.received if item.when > since and item.what in what)
            return next((item for item in later if because in item.detail), None)

        def ended() -> bool:
            return self._job is not None and self._job.process.poll() is not None

        self._ros.spin_until(lambda: found() or ended(), PATIENCE)
        item = found()
        assert item is not None, f"the job ended before {what}: {self._job and self._job.errors}"
        return 1000.0 * (item.when - since), item.detail

    def aborted(
        self, because: str, harm: Callable[[], object], heal: Callable[[], object] = lambda: None
    ) -> tuple[float, float, str]:
        """``harm`` the job while a policy acts, until an episode is aborted that says ``because``; then ``heal`` it.

        Repeated where a busy machine, which stalls the arm, has ended the episode first. Returns when ``harm``
        was done [s], how long after that the episode ended [ms], and why; the next one runs.
        """
        while True:
            self.wait(time.monotonic(), "chunk")  # the policy acts, and so has all that it sees
            harmed = time.monotonic()
            harm()
            try:
                after, reason = self.wait(harmed, "episode:aborted")
            finally:
                heal()
            self.wait(time.monotonic(), "phase:running")
            if because in reason:
                return harmed, after, reason
