"""Topics that somebody has to send, for whoever does not want to wait for ever."""

from __future__ import annotations

from rclpy.node import Node


def nobody_sends(node: Node, topic: str, what: str) -> str:
    """In words, that nobody sends ``topic``, that of ``what``, and which topics of its type there are; "" when somebody
    does.

    ``topic``: with its namespace, and subscribed to by ``node``.
    """
    if node.count_publishers(topic):
        return ""
    names = dict(node.get_topic_names_and_types())
    kinds = set(names.get(topic, ()))
    others = sorted(name for name, found in names.items() if kinds & set(found) and node.count_publishers(name))
    there = f"there are {', '.join(others)}" if others else "there is none of its kind"
    return f"{what}: nobody sends {topic}; {there}. Is it the ROS_DOMAIN_ID of the graph that has it?"
