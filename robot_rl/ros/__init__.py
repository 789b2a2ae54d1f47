"""ROS 2 nodes around session, policy, expert and parameters; converters and topic names.

May import: contract, tasks, session, policies, rewards, perception.
"""
