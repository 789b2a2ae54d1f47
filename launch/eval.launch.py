"""Evaluate a trained policy: ``ros2 launch robot_rl eval.launch.py --show-args`` lists the arguments."""

from launch import LaunchDescription

from robot_rl.jobs.ros.launching import job_description


def generate_launch_description() -> LaunchDescription:
    return job_description("eval")
