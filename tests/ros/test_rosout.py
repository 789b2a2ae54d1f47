"""A program's log, where rqt and bags find it."""

from __future__ import annotations

import logging
from typing import Any

from rcl_interfaces.msg import Log

from hardware.ros.rosout import ROSOUT, ROSOUT_QOS, told_on_rosout

LOGGER = logging.getLogger("robot_rl.learner.loop")


def test_what_is_logged_meanwhile_is_on_rosout_in_the_name_of_the_node(ros: Any) -> None:
    heard: list[Log] = []
    node = ros.node("learner")
    with told_on_rosout(node):
        LOGGER.warning("episode %d is damaged", 3)
        LOGGER.error("the learner\nhas halted")
    LOGGER.warning("nobody listens any more")
    listener = ros.node("rqt")
    listener.create_subscription(Log, ROSOUT, heard.append, ROSOUT_QOS)  # late: what was said is still there
    last = "that is all"
    with told_on_rosout(node):
        LOGGER.critical(last)
        ros.spin_until(lambda: len([message for message in heard if message.name == "learner"]) >= 3)
    said = [(message.name, message.level, message.msg) for message in heard if message.name == "learner"]
    levels = [level for _, level, _ in said]
    assert levels.index(Log.WARN) < levels.index(Log.ERROR)
    assert sorted(said, key=lambda each: each[1]) == [  # of two publishers, whose messages may overtake each other
        ("learner", Log.WARN, "episode 3 is damaged"),
        ("learner", Log.ERROR, "the learner\nhas halted"),
        ("learner", Log.FATAL, last),
    ]
    assert heard[0].stamp.sec > 0 and heard[0].function and heard[0].line
