"""Description and frames of an arm that moves, as RViz would put them together."""

from __future__ import annotations

import copy
import importlib.util
from typing import Any

import numpy as np
import pinocchio as pin
import pytest
import rclpy
from geometry_msgs.msg import PoseStamped, TransformStamped
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from controllers.core import ControllerConfig
from controllers.ros import topics
from controllers.ros.converters import pose_from
from controllers.spatial import Pose
from hardware.franka.description import Joint, child_in_parent, fr3_joints
from hardware.franka.hand import TCP_FRAME
from hardware.ros.arm_node import ArmNode
from hardware.ros.frames import ArmFrames, frame_prefix
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.tasks.base import scene_of
from robot_rl.tasks.reach import Reach
from tests.frames import placed
from tests.ros.conftest import Ros

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
JOINTS = fr3_joints()
HAS_TF = importlib.util.find_spec("tf2_msgs") is not None


def moves(joint: Joint) -> bool:
    return joint.kind != "fixed"


def tree_of(transforms: list[TransformStamped]) -> dict[str, tuple[str, Pose]]:
    found = {}
    for message in transforms:
        place, turn = message.transform.translation, message.transform.rotation
        pose = Pose(np.array([place.x, place.y, place.z]), np.array([turn.x, turn.y, turn.z, turn.w]))
        found[message.child_frame_id] = (message.header.frame_id, pose)
    return found


@pytest.fixture(params=["", "left"])
def namespaced(request: pytest.FixtureRequest) -> Any:
    """A ROS context in which all nodes are in a namespace, as one argument of launch has it."""
    rclpy.init(args=["--ros-args", "-r", f"__ns:=/{request.param}"] if request.param else None)
    ros = Ros(rclpy.get_default_context())
    yield ros
    ros.close()
    rclpy.try_shutdown()


def test_the_chain_of_frames_ends_at_the_pose_that_is_published(namespaced: Any) -> None:
    ros, poses, joints, said = namespaced, [], [], []
    listener = ros.node()
    prefix = frame_prefix(listener)
    assert prefix == f"{listener.get_namespace().strip('/')}/".lstrip("/")
    listener.create_subscription(PoseStamped, topics.CURRENT_POSE, poses.append, 10)
    listener.create_subscription(JointState, topics.JOINT_STATES, joints.append, 10)
    with InProcessWorld(scene_of(Reach()), ControllerConfig()) as world:
        ros.add(ArmNode(world, world.gripper, joints=JOINTS))
        world.start()
        listener.create_timer(0.005, lambda: world.advance(0.01))
        ros.spin_until(lambda: poses and joints)
        goal, target = copy.deepcopy(poses[-1]), listener.create_publisher(PoseStamped, topics.TARGET_POSE, 1)
        goal.pose.position.z += 0.03

        def send() -> None:
            goal.header.stamp = listener.get_clock().now().to_msg()
            target.publish(goal)  # in the frame of the state, namespace and all

        listener.create_timer(0.02, send)
        ros.spin_until(lambda: goal.pose.position.z - poses[-1].pose.position.z < 0.02)
        listener.create_subscription(String, topics.ROBOT_DESCRIPTION, said.append, LATCHED)  # late, as RViz is
        ros.spin_until(lambda: said)
    pose, state = poses[-1], next(state for state in joints if state.header.stamp == poses[-1].header.stamp)
    assert pose.header.frame_id == state.header.frame_id == f"{prefix}fr3_link0"
    by_name = dict(zip(state.name, state.position, strict=True))

    model = pin.buildModelFromXML(said[0].data)
    data = model.createData()
    pin.framesForwardKinematics(model, data, np.array([by_name[name] for name in model.names[1:]]))
    base, tip = (data.oMf[model.getFrameId(prefix + frame)] for frame in ("fr3_link0", TCP_FRAME))
    tip = base.inverse() * tip
    of_urdf = Pose.from_rotation(tip.translation, tip.rotation)
    np.testing.assert_allclose(of_urdf.difference(pose_from(pose.pose)), 0.0, atol=1e-6)

    frames = ArmFrames(listener, JOINTS)
    for message, joint in zip(frames.transforms(by_name, 0), filter(moves, JOINTS), strict=True):
        (found,) = tree_of([message]).values()
        np.testing.assert_allclose(found[1].difference(child_in_parent(joint, by_name[joint.name])), 0.0, atol=1e-9)
    moving = frames.transforms(by_name, 1_500_000_000)
    assert {(one.header.stamp.sec, one.header.stamp.nanosec) for one in moving} == {(1, 500_000_000)}
    tree = tree_of([*frames.fixed.transforms, *moving])
    of_tf = placed(tree, f"{prefix}fr3_link0", prefix + TCP_FRAME)
    np.testing.assert_allclose(of_tf.difference(pose_from(pose.pose)), 0.0, atol=1e-6)
    assert placed(tree, f"{prefix}base", prefix + TCP_FRAME)


@pytest.mark.skipif(not HAS_TF, reason="tf2_msgs is in a ROS 2 installation, not in the wheels of PyPI")
def test_tf_says_the_same_with_the_stamp_of_the_joints(ros: Any) -> None:
    from tf2_msgs.msg import TFMessage

    listener, poses, moving, fixed = ros.node(), [], [], []
    listener.create_subscription(PoseStamped, topics.CURRENT_POSE, poses.append, 100)
    listener.create_subscription(TFMessage, topics.TF, moving.append, 100)
    with InProcessWorld(scene_of(Reach()), ControllerConfig()) as world:
        ros.add(ArmNode(world, world.gripper, joints=JOINTS))

        def both() -> bool:
            world.advance(0.01)
            stamps = {str(message.transforms[0].header.stamp) for message in moving}
            return any(str(pose.header.stamp) in stamps for pose in poses)

        ros.spin_until(both)
        listener.create_subscription(TFMessage, topics.TF_STATIC, fixed.append, LATCHED)
        ros.spin_until(lambda: fixed)
    of_stamp = {str(message.transforms[0].header.stamp): message.transforms for message in moving}
    pose = next(pose for pose in poses if str(pose.header.stamp) in of_stamp)
    tree = tree_of([*fixed[0].transforms, *of_stamp[str(pose.header.stamp)]])
    difference = placed(tree, "fr3_link0", TCP_FRAME).difference(pose_from(pose.pose))
    np.testing.assert_allclose(difference, 0.0, atol=1e-6)
