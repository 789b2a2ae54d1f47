"""The session as a node: readings in, observations out, action chunks in, targets out."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray, Int64, String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from controllers.ros import topics as arm_topics
from controllers.ros.converters import fill_pose, stamp_to_ns
from hardware.interfaces import SceneControl
from robot_rl.contract import ActionChunk, ContractError, Observation, Reading
from robot_rl.ros import topics
from robot_rl.ros.arm_topics import ArmTopics, TeleopTopics
from robot_rl.ros.converters import chunk_from, fill_image, fill_observation, state_names
from robot_rl.session.config import SessionConfig
from robot_rl.session.directive import Command, Directive, EpisodeSummary, Phase
from robot_rl.session.errors import SessionError
from robot_rl.session.session import Session
from robot_rl.tasks.base import CONTROL_PERIOD

DEBT_AGE = 3.0  # [s] after which a learner's word about its debt no longer counts
SILENCE = 30.0  # [s] without a word of the arm before the session gives up
TIMED = 1000  # answers whose timing is remembered
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class SessionNode(Node):
    """Runs a `Session` in robot time: one tick for every control period that passes on the arm's own clock.

    Args:
        session: what to run.
        config: its timeouts.
        objects: names of the scene's objects, as published.
        cameras: cameras that belong to the observation.
        scene: puts objects in place.
        on_episode: called with each episode that ended.
        max_debt: critic updates that may be due when an episode begins. A learner that is silent is not waited for.
    """

    def __init__(
        self,
        session: Session,
        config: SessionConfig,
        objects: tuple[str, ...],
        cameras: tuple[str, ...],
        scene: SceneControl,
        on_episode: Callable[[EpisodeSummary], None],
        max_debt: int,
    ) -> None:
        super().__init__("session")
        self._session, self._config, self._scene, self._on_episode = session, config, scene, on_episode
        self._axes = session.task.action.axes
        self._names = state_names(session.task.fields)
        self._due = -1.0
        self._asked: tuple[Observation, float] | None = None
        self._reading: Reading | None = None
        self._stalled = False
        self._began = time.monotonic()
        self.decisions_ms: deque[float] = deque(maxlen=TIMED)
        self.late = 0
        self._max_debt, self._debt, self._debt_at = max_debt, 0, -math.inf
        self.create_subscription(Int64, topics.LEARNER_DEBT, self._on_debt, 1)
        self._arm = ArmTopics(self, objects, cameras, self._on_reading, config.image_age)
        self._teleop = TeleopTopics(self, config.teleop_timeout)
        self._targets = {
            priority: self.create_publisher(PoseStamped, topic, 1)
            for priority, topic in arm_topics.TARGET_POSES.items()
        }
        self._gripper = self.create_publisher(Float64MultiArray, arm_topics.GRIPPER_COMMAND, 1)
        self._observation = self.create_publisher(JointState, topics.OBSERVATION, 1)
        self._images = {name: self.create_publisher(Image, f"{topics.OBSERVATION_IMAGE}/{name}", 1) for name in cameras}
        self._phase = self.create_publisher(String, topics.SESSION_PHASE, LATCHED)
        self._episodes = self.create_publisher(DiagnosticStatus, topics.EPISODES, 10)
        self._phase_said = ""
        self.create_subscription(JointTrajectory, topics.ACTION_CHUNK, self._on_chunk, 5)
        self._start = self.create_client(Trigger, arm_topics.START)
        self._recover = self.create_client(Trigger, arm_topics.ERROR_RECOVERY)
        self._begin_episode = self.create_client(Trigger, arm_topics.BEGIN_EPISODE)
        self.create_timer(0.005, self._check_deadlines)

    def timing(self) -> dict[str, float]:
        """From observation to action [ms], median and 95th percentile of the latest answers, and how many came late."""
        if not self.decisions_ms:
            return {}
        p50, p95 = np.percentile(self.decisions_ms, [50, 95])
        return {"obs_to_action_ms_p50": float(p50), "obs_to_action_ms_p95": float(p95), "late": self.late}

    @property
    def ready(self) -> bool:
        """Everybody the session needs is there: the arm speaks, and a policy listens when one is asked."""
        policy = not self._config.ask_policy or (
            self.count_subscribers(topics.OBSERVATION) > 0 and self.count_publishers(topics.ACTION_CHUNK) > 0
        )
        services = (self._start, self._recover, self._begin_episode)
        targets = all(target.get_subscription_count() > 0 for target in self._targets.values())
        return policy and targets and all(service.service_is_ready() for service in services)

    @property
    def _waiting(self) -> bool:
        """Nothing begins without everybody there; an episode that runs goes on, and ends when answers stay away."""
        return self._session.phase is not Phase.RUNNING and not self.ready

    @property
    def _learner_behind(self) -> bool:
        """Collecting more would lower the update-to-data ratio."""
        return self._debt > self._max_debt and time.monotonic() - self._debt_at < DEBT_AGE

    def _on_debt(self, message: Int64) -> None:
        self._debt, self._debt_at = message.data, time.monotonic()

    def _on_reading(self, reading: Reading) -> None:
        self._reading = reading
        self._stalled = False
        ahead = self._due - reading.robot_time  # by more than a period: time began anew, with a new connection
        if 1e-6 < ahead < 2.0 * CONTROL_PERIOD or self._asked is not None or self._waiting:
            return
        in_step = -CONTROL_PERIOD < ahead <= 1e-6
        self._due = (self._due if in_step else reading.robot_time) + CONTROL_PERIOD
        self._follow(
            self._session.advance(reading, self._teleop.command(reading.gripper), self._learner_behind), reading
        )

    def _follow(self, directive: Directive, reading: Reading) -> None:
        if directive.ended is not None:
            self._announce(directive.ended)
        if directive.recover:
            self._recover.call_async(Trigger.Request()).add_done_callback(lambda _: self._call_start())
        elif directive.start:
            self._call_start()
        if directive.begin_episode:
            self._begin_episode.call_async(Trigger.Request())
        if directive.place:
            self._scene.place(directive.place)
            self._teleop.forget()
        if directive.command is not None:
            self._send(directive.command)
        if directive.phase.value != self._phase_said:
            self._phase_said = directive.phase.value
            self._phase.publish(String(data=self._phase_said))
        if directive.observation is None:
            return
        if not self._session.wants_policy:
            self._act(None, reading, 0.0)
            return
        self._asked = (directive.observation, time.monotonic())
        for name, image in directive.observation.images.items():
            self._images[name].publish(fill_image(image, directive.observation.stamp_ns, name, Image()))
        self._observation.publish(fill_observation(directive.observation, self._names, JointState()))

    def _call_start(self) -> None:
        self._start.call_async(Trigger.Request())

    def _on_chunk(self, message: JointTrajectory) -> None:
        if self._asked is None or stamp_to_ns(message.header.stamp) != self._asked[0].stamp_ns:
            self.late += 1
            return
        try:
            chunk: ActionChunk | None = chunk_from(message, self._axes)
        except ContractError as error:
            self.get_logger().error(str(error))
            chunk = None
        elapsed = (time.monotonic() - self._asked[1]) * 1000.0
        self.decisions_ms.append(elapsed)
        self._act(chunk, self._reading, elapsed)

    def _act(self, chunk: ActionChunk | None, reading: Reading | None, elapsed: float) -> None:
        self._asked = None
        gripper = reading.gripper if reading is not None else 0.0
        self._send(self._session.act(chunk, self._teleop.command(gripper, take_labels=False), elapsed))

    def _check_deadlines(self) -> None:
        now = time.monotonic()
        if self._asked is not None and now - self._asked[1] > self._config.policy_timeout:
            self._act(None, self._reading, (now - self._asked[1]) * 1000.0)
        silent = now - max(self._arm.received, self._began)
        if silent > SILENCE:
            raise SessionError(f"the arm has said nothing for {silent:.0f} s; look at it and at the arm's log")
        if silent > self._config.stall_timeout and not self._stalled and self._reading is not None:
            self._stalled, self._asked = True, None
            ended = self._session.abort(f"no state of the arm for {silent:.2f} s")
            if ended is not None:
                self._announce(ended)

    def _announce(self, ended: EpisodeSummary) -> None:
        values = {"index": ended.index, "steps": ended.steps, "reward": ended.reward, "robot_s": ended.duration}
        values["interventions"] = ended.interventions
        message = DiagnosticStatus(name=ended.ending.value, message=ended.reason)
        message.values = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
        self._episodes.publish(message)
        self._on_episode(ended)

    def _send(self, command: Command) -> None:
        message = PoseStamped()
        message.header.stamp = self.get_clock().now().to_msg()
        message.header.frame_id = arm_topics.BASE_FRAME
        fill_pose(command.target, message.pose)
        self._targets[command.priority].publish(message)
        if command.gripper is not None:
            self._gripper.publish(Float64MultiArray(data=[command.gripper]))
