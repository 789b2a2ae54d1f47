"""The session as a node: readings in, observations out, action chunks in, targets out."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64, Float64MultiArray, Int64, String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from controllers.ros import topics as arm_topics
from controllers.ros.converters import fill_pose, stamp_to_ns
from controllers.spatial import Pose
from hardware.force.lane import ForceConfig
from hardware.interfaces import SceneControl
from robot_rl.contract import NO_ENCODING, ContractError, Encoding, Label, Observation, Reading, Relabel, Step
from robot_rl.ros import topics
from robot_rl.ros.arm_topics import ArmTopics, TeleopTopics
from robot_rl.ros.converters import chunk_from, fill_grid, fill_image, fill_observation, fill_planned, state_names
from robot_rl.ros.link_topics import LinkWatch, RemoteScene
from robot_rl.ros.motion_end import MotionEnd
from robot_rl.ros.operator_topics import LATCHED, OperatorTopics
from robot_rl.session.config import SessionConfig
from robot_rl.session.directive import Command, Directive, EpisodeSummary, Hands
from robot_rl.session.link import COMPRESSED, LinkConfig
from robot_rl.session.session import Session
from robot_rl.session.silence import ArmSilence

DEBT_AGE = 3.0  # [s] after which a learner's word about its debt no longer counts
LEARNER_PATIENCE = 120.0  # [s] without a learner, so that it may be started anew, before the first episode does without
TIMED = 1000  # answers whose timing is remembered
TIMING_BOUNDS = (5, 10, 20, 50, 100, 200, 500, 1000, 2000)  # [ms] between the bins of its histogram
SENT = 64  # observations sent whose answer is still timed


class SessionNode(Node):
    """Runs a `Session` in robot time: one tick for every control period that passes on the arm's own clock.

    Args:
        session: what to run.
        config: its timeouts.
        objects: names of the scene's objects, as published.
        cameras: cameras that belong to the observation.
        scene: puts objects in place; None: the simulator of another computer does, when it is told by topic.
        on_episode: called with each episode that ended.
        max_debt: critic updates that may be due when an episode begins. A learner that is silent is not waited for.
        on_relabel: called with each correction of a step that is recorded already.
        tell: called with each line that the person at the terminal shall read: answers to labels, and requests.
        awaits_learner: the first episode waits until the learner is ready to learn from it, as long as one is there.
        link: settings of the link to an arm of another computer; None: it is one of this computer.
        force_sensor: on the arm; None: there is none.
        encoding: features that belong to the observation in place of images, which are recorded with them.
        signals: of judges, without which no step can begin.
        on_step: called with each step as it is recorded.
    """

    def __init__(
        self,
        session: Session,
        config: SessionConfig,
        objects: tuple[str, ...],
        cameras: tuple[str, ...],
        scene: SceneControl | None,
        on_episode: Callable[[EpisodeSummary], None],
        max_debt: int,
        on_relabel: Callable[[Relabel], None] = lambda relabel: None,
        tell: Callable[[str], None] = lambda line: None,
        awaits_learner: bool = False,
        link: LinkConfig | None = None,
        force_sensor: ForceConfig | None = None,
        encoding: Encoding = NO_ENCODING,
        signals: tuple[str, ...] = (),
        on_step: Callable[[Step], None] = lambda step: None,
    ) -> None:
        super().__init__("session")
        self._session, self._config, self._on_episode = session, config, on_episode
        self._scene = scene if scene is not None else RemoteScene(self)
        self._link = LinkWatch(self) if link is not None else None
        self._on_relabel, self._tell, self._on_step = on_relabel, tell, on_step
        self._axes = session.task.action.axes
        self._names = state_names(session.view.fields)
        self._period = session.task.control_period
        self._due = -1.0
        self._undecided: Reading | None = None  # the tick whose decision waits for the policy
        self._sent: dict[int, float] = {}  # stamp of an observation that asks for an answer → steady time [s]
        self._answered = False  # by this policy, whose first answer takes longer than others and is not timed
        self._reading: Reading | None = None
        self._stalled = False
        began = time.monotonic()
        self._silence = ArmSilence(began, link.patience if link is not None else 0.0)
        self.decisions_ms: deque[float] = deque(maxlen=TIMED)
        self._timed = 0  # answers, in all
        self._max_debt, self._debt, self._debt_at = max_debt, 0, -math.inf
        self.create_subscription(Int64, topics.LEARNER_DEBT, self._on_debt, 1)
        self._awaits_learner, self._learner_there, self._learner_phase = awaits_learner, began, ""
        self._phases = self.create_subscription(String, topics.LEARNER_PHASE, self._on_learner_phase, LATCHED)
        compressed = link is not None and link.images == COMPRESSED
        views = session.task.views(cameras)
        self._arm = ArmTopics(
            self,
            objects,
            views,
            self._on_reading,
            config.image_age,
            compressed,
            force_sensor,
            encoding,
            signals,
            config.signal_age,
            config.image_frozen,
        )
        self._teleop = TeleopTopics(self, config.teleop_timeout)
        self._operator = OperatorTopics(self, self._on_label)
        self._targets = {
            priority: self.create_publisher(PoseStamped, topic, 1)
            for priority, topic in arm_topics.TARGET_POSES.items()
        }
        self._gripper = self.create_publisher(Float64MultiArray, arm_topics.GRIPPER_COMMAND, 1)
        self._observation = self.create_publisher(JointState, topics.OBSERVATION, 1)
        self._plan = self.create_publisher(JointTrajectory, topics.OBSERVATION_PLAN, 1)
        self._encoder = encoding.digest
        frames = topics.OBSERVATION_FEATURES if self._encoder else topics.OBSERVATION_IMAGE
        self._frames = {name: self.create_publisher(Image, f"{frames}/{name}", 1) for name in cameras}
        self._phase = self.create_publisher(String, topics.SESSION_PHASE, LATCHED)
        self._reward = self.create_publisher(Float64, topics.REWARD, 10)
        self._episodes = self.create_publisher(DiagnosticStatus, topics.EPISODES, 10)
        self._phase_said = ""
        self._instruction = self.create_publisher(String, topics.INSTRUCTION, LATCHED)
        self._told = session.instruction
        self._instruction.publish(String(data=self._told))
        self.create_subscription(JointTrajectory, topics.ACTION_CHUNK, self._on_chunk, 5)
        self._start = self.create_client(Trigger, arm_topics.START)
        self._recover = self.create_client(Trigger, arm_topics.ERROR_RECOVERY)
        self._begin_episode = self.create_client(Trigger, arm_topics.BEGIN_EPISODE)
        self._end = MotionEnd(self)
        ask_budget = partial(self._begin_episode.call_async, Trigger.Request())
        self._hands = Hands(self._begin, ask_budget, self._put, self._send)
        self.create_timer(0.005, self._check_deadlines)

    def timing(self) -> dict[str, Any]:
        """From observation to answer [ms]: median, 95th percentile, maximum and histogram of the latest `TIMED`.

        The first of all does not count. With them: how many were timed in all, how many actions came late and answers
        were dropped, and the largest jumps of the commanded pose where chunks met [m], and of its velocity [m/s].
        """
        if not self.decisions_ms:
            return {}
        policy = self._session.policy
        figures = np.percentile(self.decisions_ms, [50, 95, 100])
        names = ("obs_to_action_ms_p50", "obs_to_action_ms_p95", "obs_to_action_ms_max")
        counts = {"late actions": policy.late_actions, "dropped answers": policy.dropped_answers}
        bins = np.bincount(np.searchsorted(TIMING_BOUNDS, self.decisions_ms), minlength=len(TIMING_BOUNDS) + 1)
        histogram = {"obs_to_action_ms_bounds": list(TIMING_BOUNDS), "obs_to_action_ms_counts": bins.tolist()}
        jump = policy.borders.largest
        jumps = {"chunk_jump_m": jump.way, "chunk_jump_m_s": jump.speed}
        return {
            **dict(zip(names, figures.tolist(), strict=True)),
            "answers": self._timed,
            **histogram,
            **counts,
            **jumps,
        }

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
        return not self._session.running and not self.ready

    def end_motion(self) -> bool:
        """Command nothing any more, end the motion, and say whether it is over; to be called until it is."""
        self._undecided = None
        return self._end.over(self._reading.mode if self._reading is not None else None, self._arm.received)

    def destroy_node(self) -> None:
        if self._session.unanswered:
            self._session.abort("interrupted")
            self._pass_on()
        self._operator.close()
        super().destroy_node()

    def ask(self, request: str) -> None:
        """Ask the person at the arm for something, and hold the arm until they resume."""
        self._session.ask(request)
        self._say(f"{request} Then resume (word, or service {arm_topics.OPERATOR_SERVICES}/resume).")

    def _on_label(self, label: Label) -> None:
        self._session.say(label)
        self._pass_on()

    def _pass_on(self) -> None:
        """Tell everybody what has become of labels."""
        for relabel in self._session.relabels():
            self._on_relabel(relabel)
        for answer in self._session.answers():
            self._operator.answer(answer)
            self._say(str(answer))
        for line in self._session.notes():
            self._say(line)
        self._operator.request(self._session.request)

    def _say(self, line: str) -> None:
        self.get_logger().info(line)
        self._tell(line)

    @property
    def _learner_behind(self) -> bool:
        """Collecting more would lower the update-to-data ratio."""
        return self._debt > self._max_debt and time.monotonic() - self._debt_at < DEBT_AGE

    def _on_learner_phase(self, message: String) -> None:
        phase = message.data
        if phase == topics.LEARNING:
            self._awaits_learner = False
        elif self._awaits_learner and phase.split()[:1] != self._learner_phase.split()[:1]:
            self._say(f"the first episode waits for the learner, which is {phase}")
        self._learner_phase = phase

    def _watch_learner(self) -> None:
        """Wait no longer for the first word of a learner that is not there."""
        if not self._awaits_learner:
            return
        now = time.monotonic()
        if self.count_publishers(self._phases.topic_name):
            self._learner_there = now
        elif now - self._learner_there > LEARNER_PATIENCE:
            self._awaits_learner = False
            self._say(f"no learner has been there for {LEARNER_PATIENCE:g} s; the first episode begins without it")

    def _on_debt(self, message: Int64) -> None:
        self._debt, self._debt_at = message.data, time.monotonic()

    def _on_reading(self, reading: Reading) -> None:
        self._reading = reading
        if self._end.begun:
            return
        self._stalled = False
        ahead = self._due - reading.robot_time  # by more than a period: time began anew, with a new connection
        waits = 1e-6 < ahead < 2.0 * self._period
        if self._undecided is not None:
            waited = reading.robot_time - self._undecided.robot_time
            if not waits or waited > self._session.policy.wait - 1e-6:
                self._act(waited * 1000.0)
        if waits:
            return
        if not self.count_publishers(topics.ACTION_CHUNK):
            self._answered = False
            self._session.policy.restarted()
        if self._waiting:
            return
        in_step = -self._period < ahead <= 1e-6
        self._due = (self._due if in_step else reading.robot_time) + self._period
        self._watch_learner()
        wait = self._hindered() or self._learner_behind or self._awaits_learner
        self._follow(self._session.advance(reading, self._teleop.command(reading.gripper), wait), reading)

    def _follow(self, directive: Directive, reading: Reading) -> None:
        if directive.step is not None:
            self._reward.publish(Float64(data=directive.step.outcome.reward))
            self._on_step(directive.step)
        if directive.ended is not None:
            self._announce(directive.ended)
        directive.carry_out(self._hands)
        self._pass_on()
        if directive.phase.value != self._phase_said:
            self._phase_said = directive.phase.value
            self._phase.publish(String(data=self._phase_said))
        if self._session.instruction != self._told:  # while the arm goes to the start, long before an episode's first
            self._told = self._session.instruction
            self._instruction.publish(String(data=self._told))
        if directive.observation is None:
            return
        self._undecided = reading
        if self._config.ask_policy:
            self._show(directive.observation)
        if not self._session.policy.waits:
            self._act()

    def _show(self, observation: Observation) -> None:
        """Send the policy an observation; it remembers all, and answers when asked."""
        asked = self._session.policy.wants
        if asked:
            self._sent = dict(list(self._sent.items())[-SENT:]) | {observation.stamp_ns: time.monotonic()}
        for name, frame in observation.images.items():
            fill, label = (fill_grid, self._encoder) if self._encoder else (fill_image, name)
            self._frames[name].publish(fill(frame, observation.stamp_ns, label, Image()))
        if observation.planned is not None:
            plan = fill_planned(
                observation.planned,
                observation.stamp_ns,
                self._axes,
                self._period,
                JointTrajectoryPoint,
                JointTrajectory(),
            )
            self._plan.publish(plan)
        episode = self._session.episodes
        self._observation.publish(fill_observation(observation, self._names, JointState(), episode, asked))

    def _begin(self, recover: bool) -> None:
        if recover:
            self._recover.call_async(Trigger.Request()).add_done_callback(lambda _: self._call_start())
        else:
            self._call_start()

    def _put(self, poses: dict[str, Pose]) -> None:
        self._scene.place(poses)
        self._teleop.forget()

    def _call_start(self) -> None:
        if not self._end.begun:
            self._end.after(self._start.call_async(Trigger.Request()))

    def _on_chunk(self, message: JointTrajectory) -> None:
        stamp = stamp_to_ns(message.header.stamp)
        sent = self._sent.pop(stamp, None)
        elapsed = (time.monotonic() - sent) * 1000.0 if sent is not None else 0.0
        if sent is not None and self._answered:
            self.decisions_ms.append(elapsed)
            self._timed += 1
        self._answered |= sent is not None
        policy, now = self._session.policy, self._reading.robot_time if self._reading is not None else 0.0
        try:
            chunk = chunk_from(message, self._axes)
        except ContractError as error:
            self._complain(error)
            policy.refuse(stamp)
        else:
            try:
                policy.answer(chunk, now)
            except ContractError as error:
                self._complain(error)
        if self._undecided is not None and not policy.waits:
            self._act(elapsed)

    def _complain(self, error: ContractError) -> None:
        self.get_logger().error(f"an answer of the policy is refused: {error}", throttle_duration_sec=1.0)

    def _act(self, elapsed: float = 0.0) -> None:
        """Decide now; ``elapsed`` [ms] since the observation was sent that the policy has just answered, or has not."""
        tick, self._undecided = self._undecided, None
        gripper = self._reading.gripper if self._reading is not None else 0.0
        if tick is not None:
            self._send(self._session.act(None, self._teleop.command(gripper), elapsed))

    def _check_deadlines(self) -> None:
        now = time.monotonic()
        self._operator.poll()
        if self._end.begun:
            return
        if line := self._silence.check(now, self._arm.first, self._arm.received, self._arm.silent):
            self._say(line)
        silent = now - self._arm.received
        if silent > self._config.stall_timeout and not self._stalled and self._reading is not None:
            self._stalled = True
            self._abort(f"no state of the arm for {silent:.2f} s")

    def _hindered(self) -> bool:
        """Whether the link keeps an episode from beginning; one that runs is ended."""
        why = self._link.hindrance if self._link is not None else ""
        if why and self._session.running:
            self._abort(f"the link to the arm: {why}")
        return bool(why)

    def _abort(self, reason: str) -> None:
        self._undecided = None
        ended = self._session.abort(reason)
        if ended is not None:
            self._announce(ended)
        self._pass_on()

    def _announce(self, ended: EpisodeSummary) -> None:
        values = {"index": ended.index, "steps": ended.steps, "reward": ended.reward, "robot_s": ended.duration}
        values |= {"interventions": ended.interventions, "number": ended.number}
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
