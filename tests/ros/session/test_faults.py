"""An arm that falls silent, begins anew, is stopped or collides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger

from controllers.ros import topics as arm_topics
from controllers.state import Mode
from robot_rl.contract import ActionChunk, Ending, Observation
from robot_rl.ros import topics
from robot_rl.ros.policy_node import PolicyNode
from robot_rl.ros.session_node import LATCHED
from robot_rl.session.config import SessionConfig
from robot_rl.session.recovery import MOTION_ERRORS
from tests.robot_rl.acting import Decides
from tests.ros.session.graph import TASK, Graph, patient, to_goal


def test_a_silent_arm_ends_the_episode_as_aborted(ros: Any, graph: Callable[[SessionConfig], Graph]) -> None:
    running = graph(patient(stall_timeout=1.0))
    asked: list[int] = []

    def policy(seen: Observation) -> ActionChunk:
        asked.append(seen.seq)
        running.stands_still = len(asked) == 3
        return to_goal(seen)

    ros.add(PolicyNode(TASK, Decides(policy), (), None))
    ended, episode = running.run_episode()
    assert (ended.ending, ended.steps) == (Ending.ABORTED, 2), "the step in flight is not recorded"
    assert "no state of the arm for" in ended.reason
    assert episode["truncated"].tolist() == [False, True]
    running.stands_still = False
    again, _ = running.run_episode()
    assert again.ending is Ending.SUCCESS


def test_a_session_goes_on_when_robot_time_begins_anew(ros: Any, graph: Callable[[SessionConfig], Graph]) -> None:
    """As it does with a new connection to the robot."""
    running = graph(patient())
    running.world.advance(10.0)
    ros.add(PolicyNode(TASK, Decides(to_goal), (), None))
    running.run_episode()
    before = running.world.time
    running.world.disconnect()
    running.world.connect()
    ros.spin_until(lambda: running.world.read().mode is Mode.TRACK)
    assert running.world.time < before, "nobody waited for the time at which the connection was lost"
    assert running.run_episode()[0].ending is Ending.SUCCESS


def test_a_person_who_stops_the_arm_stops_the_session(ros: Any, graph: Callable[[SessionConfig], Graph]) -> None:
    phases: list[str] = []
    operator = ros.node("operator")
    operator.create_subscription(String, topics.SESSION_PHASE, lambda m: phases.append(m.data), LATCHED)
    button = operator.create_publisher(Bool, arm_topics.EMERGENCY_STOP, 1)
    release = operator.create_client(Trigger, arm_topics.RELEASE_STOP)
    running = graph(patient())
    asked: list[int] = []

    def policy(seen: Observation) -> ActionChunk:
        asked.append(seen.seq)
        if len(asked) == 3:
            button.publish(Bool(data=True))
        return to_goal(seen)

    ros.add(PolicyNode(TASK, Decides(policy), (), None))
    ended, _ = running.run_episode()
    assert ended.ending is Ending.ABORTED
    assert ended.reason.startswith("stopped by a person: emergency stop (topic emergency_stop)")
    ros.spin_until(lambda: phases[-1] == "stopped")
    ros.spin_until(lambda: running.world.read().mode is Mode.IDLE)
    stopped = running.world.read().pose
    ros.spin_times(300)
    assert np.abs(running.world.read().pose.difference(stopped)).max() < 2e-3
    assert (phases[-1], len(running.ended)) == ("stopped", 1)
    release.call_async(Trigger.Request())
    again, _ = running.run_episode()
    assert again.ending is Ending.SUCCESS
    assert phases[phases.index("stopped") + 1] == "reset"


def test_the_robots_own_words_reach_the_episode(ros: Any, graph: Callable[[SessionConfig], Graph]) -> None:
    running = graph(patient())
    asked: list[int] = []

    def policy(seen: Observation) -> ActionChunk:
        asked.append(seen.seq)
        if len(asked) == 3:
            running.world.user_stop(True)
        return to_goal(seen)

    ros.add(PolicyNode(TASK, Decides(policy), (), None))
    ended, episode = running.run_episode()
    assert ended.reason == episode.info.reason == f"stopped by a person: {running.world.read().fault}"
    assert running.world.read().fault
    running.world.user_stop(False)
    assert running.run_episode()[0].ending is Ending.SUCCESS


def test_a_blow_that_the_robot_stops_for_is_a_failure_of_the_step_and_the_next_episode_begins(
    ros: Any, graph: Callable[[SessionConfig], Graph]
) -> None:
    running = graph(patient())
    model, data = running.world.physics
    hand = model.body("robot0_hand").id
    asked: list[int] = []

    def policy(seen: Observation) -> ActionChunk:
        asked.append(seen.seq)
        data.xfrc_applied[hand, 0] = 300.0 if len(asked) == 3 else 0.0  # [N]
        return to_goal(seen)

    ros.add(PolicyNode(TASK, Decides(policy), (), None))
    ended, episode = running.run_episode()
    data.xfrc_applied[hand, 0] = 0.0
    assert (ended.ending, ended.steps) == (Ending.FAILURE, 3), "with the step in flight"
    assert any(ended.reason.startswith(f"the robot stopped the motion: {name}") for name in MOTION_ERRORS)
    assert episode["terminated"].tolist() == [False, False, True]
    assert running.run_episode()[0].ending is Ending.SUCCESS
