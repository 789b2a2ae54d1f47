"""The session as the teleoperation follows it: real topics, the session's own publishers."""

from __future__ import annotations

from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import Pose as PoseMessage
from geometry_msgs.msg import PoseArray, PoseStamped
from std_msgs.msg import String

from controllers.ros import topics as arm_topics
from controllers.ros.converters import fill_pose
from controllers.spatial import Pose
from hardware.ros.words import Spoken, fill_word
from robot_rl.ros import topics
from robot_rl.ros.operator_topics import LATCHED
from robot_rl.ros.session_view import SessionView
from robot_rl.session.directive import Phase
from robot_rl.tasks import make_task
from robot_rl.tasks.base import TOOL_DOWN


def test_the_session_is_followed_by_its_topics(ros: Any) -> None:
    node, other = ros.node("teleop"), ros.node("session")
    phase = other.create_publisher(String, topics.SESSION_PHASE, LATCHED)
    phase.publish(String(data=Phase.READY.value))
    view = SessionView(node, make_task("reach"), ("goal",))
    assert view.status() | {"seconds": 0.0} == {
        "phase": "",
        "seconds": 0.0,
        "request": "",
        "taken": False,
        "way": None,
    }
    ros.spin_until(lambda: view.status()["phase"] == "ready")  # latched: said before the view was there
    request = other.create_publisher(String, arm_topics.OPERATOR_REQUEST, LATCHED)
    request.publish(String(data="Put the cube back."))
    ros.spin_until(lambda: view.status()["request"] == "Put the cube back.")

    pose = other.create_publisher(PoseStamped, arm_topics.CURRENT_POSE, 1)
    objects = other.create_publisher(PoseArray, arm_topics.OBJECTS, 1)
    here = PoseStamped()
    fill_pose(Pose(np.array([0.5, 0.0, 0.2]), TOOL_DOWN), here.pose)
    goal = PoseMessage()
    fill_pose(Pose(np.array([0.5, 0.03, 0.24]), TOOL_DOWN), goal)
    node.create_timer(0.02, lambda: (pose.publish(here), objects.publish(PoseArray(poses=[goal]))))
    ros.spin_until(lambda: view.status()["way"] is not None)
    assert view.status()["way"] == 0.05

    answers = other.create_publisher(DiagnosticArray, arm_topics.OPERATOR_ACKNOWLEDGED, arm_topics.OPERATOR_DEPTH)

    def answer(word: str, accepted: bool = True) -> None:
        level = DiagnosticStatus.OK if accepted else DiagnosticStatus.WARN
        answers.publish(fill_word(Spoken(1, word, "/teleop", "a start", 1), DiagnosticArray(), "", level))

    ros.spin_until(lambda: answers.get_subscription_count() and phase.get_subscription_count())
    answer("take_over", accepted=False)
    answer("pause")
    answer("take_over")
    ros.spin_until(lambda: view.status()["taken"])
    phase.publish(String(data=Phase.PAUSED.value))
    ros.spin_until(lambda: view.status()["phase"] == "paused")
    answer("resume")  # from the pause; they still drive
    phase.publish(String(data=Phase.RUNNING.value))
    ros.spin_until(lambda: view.status()["phase"] == "running")
    assert view.status()["taken"]
    answer("resume")
    ros.spin_until(lambda: not view.status()["taken"])


def test_the_way_is_to_the_goal_the_first_object_or_the_nominal_pose() -> None:
    there = Pose(np.array([0.4, 0.1, 0.1]), TOOL_DOWN)
    for name, target in (("reach", there), ("pick_cube", there), ("peg_insertion", None), ("peg_search", None)):
        task = make_task(name)
        assert task.target({"object": there}) is (target or task.nominal)
        assert task.target({}) is task.nominal
