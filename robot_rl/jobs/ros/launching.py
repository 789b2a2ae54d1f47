"""The node graph of a job, for ``ros2 launch``. The graph itself is described once, in `robot_rl.jobs.bringup`.

The ROS 2 wheels of PyPI hold no ``launch``: this module needs a ROS 2 installation. ``robot-rl <job>`` does not.
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown
from launch_ros.actions import Node

from robot_rl.jobs.bringup import LAUNCH_ARGUMENTS, NodeSpec, nodes
from robot_rl.jobs.supervisor import DEFAULT_PATIENCE, PATIENCE

RESPAWN_DELAY = 1.0  # [s]


def node_action(spec: NodeSpec) -> Node:
    """The action that starts ``spec``; the end of a required node ends the launch."""
    return Node(
        package="robot_rl",
        executable=spec.executable,
        name=spec.name,
        namespace=spec.namespace,
        remappings=list(spec.remappings),
        arguments=list(spec.arguments),
        output="screen",
        respawn=spec.respawn,
        respawn_delay=RESPAWN_DELAY,
        sigterm_timeout=str(PATIENCE.get(spec.name, DEFAULT_PATIENCE)),
        on_exit=Shutdown(reason=f"{spec.name} has ended") if spec.required else None,
    )


def job_description(job: str) -> LaunchDescription:
    """The launch description of ``job`` (see `robot_rl.jobs.job`) with its launch arguments declared."""

    def actions(context: LaunchContext) -> list[Node]:
        chosen = {name: context.launch_configurations[name] for name in LAUNCH_ARGUMENTS}
        return [node_action(spec) for spec in nodes(job, chosen)]

    declared = [
        DeclareLaunchArgument(name, default_value="", description=description)
        for name, description in LAUNCH_ARGUMENTS.items()
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=actions)])
