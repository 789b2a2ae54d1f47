"""The example of a program that drives by topics: one way after the other, words once it is there."""

from __future__ import annotations

from functools import partial
from typing import Any

from geometry_msgs.msg import PoseStamped, TwistStamped
from std_msgs.msg import String
from std_srvs.srv import Trigger

from examples.drive_from_topics import Driver


def at(x: float) -> PoseStamped:
    message = PoseStamped()
    message.pose.position.x = x
    return message


def test_it_goes_one_way_in_each_episode_and_says_its_words(ros: Any) -> None:
    said: list[str] = []
    twists: list[TwistStamped] = []

    def answer(word: str, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        said.append(word)
        return response

    session = ros.node("session")
    for word in ("success", "end"):
        session.create_service(Trigger, f"operator/{word}", partial(answer, word))
    session.create_subscription(TwistStamped, "twist_cmd", twists.append, 10)
    driver = Driver([["0.5,0,0,0.001", "success", "0s", "end"], ["0.4,0,0"]], again=True)
    ros.add(driver)
    ros.spin_until(
        lambda: driver.twist.get_subscription_count() and all(c.service_is_ready() for c in driver.labels.values())
    )
    driver.on_phase(String(data="reset"))
    driver.on_pose(at(0.498))
    assert driver.next == 0, "it drives only while an episode runs, or is to begin"
    driver.on_phase(String(data="running"))
    driver.on_pose(at(0.498))
    ros.spin_until(lambda: twists)
    assert twists[-1].twist.linear.x > 0.0 and driver.next == 0, "2 mm is not near enough"
    for _ in range(5):
        driver.on_pose(at(0.5005))
    ros.spin_until(lambda: said == ["success", "end"])
    for phase in ("asking", "reset", "reset", "ready"):
        driver.on_phase(String(data=phase))
    twists.clear()
    driver.on_pose(at(0.5))
    ros.spin_until(lambda: twists)
    assert twists[-1].twist.linear.x < 0.0 and (driver.episode, driver.next) == (1, 0)
    driver.on_pose(at(0.4))
    assert driver.next == 0, "there it stays"
    driver.on_phase(String(data="running"))
    driver.on_phase(String(data="reset"))
    assert driver.words[0] == "0.5,0,0,0.001", "after the last way comes the first"
