"""Names of the topics, services and frames of an arm. All relative, so that ``namespace:=left`` makes two arms.

Command and state names are those of CRISP's controllers where it has one, so that crisp_py and robot_rl understand each
other.
"""

from controllers.lease import Priority

BASE_FRAME = "fr3_link0"
BASE_FRAMES = (BASE_FRAME, "base")  # the same frame: the robot's description joins them rigidly, crisp_py says "base"
JOINT_NAMES = tuple(f"fr3_joint{i}" for i in range(1, 8))
FINGER_NAMES = ("fr3_finger_joint1", "fr3_finger_joint2")

# State of the arm. All messages of one measurement carry the same stamp.
JOINT_STATES = "joint_states"  # sensor_msgs/JointState: arm and fingers
CURRENT_POSE = "current_pose"  # geometry_msgs/PoseStamped: TCP in the base frame
CURRENT_TWIST = "current_twist"  # geometry_msgs/TwistStamped: TCP, base axes
EXTERNAL_WRENCH = "external_wrench"  # geometry_msgs/WrenchStamped: on the TCP, base axes
SENSED_WRENCH = "force_sensor/wrench"  # geometry_msgs/WrenchStamped: on a force–torque sensor, in its own frame
REFERENCE_POSE = "reference_pose"  # geometry_msgs/PoseStamped: where the controller pulls the TCP
ARM_STATUS = "arm_status"  # sensor_msgs/JointState as a named vector: STATUS_NAMES in position
OBJECTS = "objects"  # geometry_msgs/PoseArray: movable objects, in the scene's order (simulator only)
ARM_FAULT = "arm_fault"  # diagnostic_msgs/DiagnosticArray: one status, why the arm does not move; "" when it does
ARM_EVENTS = "arm_events"  # diagnostic_msgs/DiagnosticStatus, one for each event
ROBOT_DESCRIPTION = "robot_description"  # std_msgs/String, latched: URDF
TF = "/tf"  # tf2_msgs/TFMessage: frames that move
TF_STATIC = "/tf_static"  # tf2_msgs/TFMessage, latched: frames that do not
SERVED_ARM = "served_arm"  # std_msgs/String, latched: what a session on another computer has to agree with, as JSON
CLOCK_QUESTION = "clock/question"  # sensor_msgs/TimeReference: stamp of who asks, in frame_id who that is
CLOCK_ANSWER = "clock/answer"  # sensor_msgs/TimeReference: stamp here, time_ref and source as they were asked with
PLACE_OBJECTS = "place_objects"  # trajectory_msgs/MultiDOFJointTrajectory: poses by name (simulator)
STATUS_NAMES = ("robot_time", "tank", "mode", "success_rate", "budget", "activity")

# Commands. Whoever commands first has the lease on the arm, until they fall silent; see `controllers.lease`.
TARGET_POSES = {  # geometry_msgs/PoseStamped in the base frame, on whose behalf
    Priority.POLICY: "target_pose",
    Priority.RESET: "reset/target_pose",
    Priority.PERSON: "person/target_pose",
}
TARGET_POSE = TARGET_POSES[Priority.POLICY]
TARGET_JOINT = "target_joint"  # sensor_msgs/JointState: positions of JOINT_NAMES
TARGET_WRENCH = "target_wrench"  # geometry_msgs/WrenchStamped: to exert on top, base axes at the TCP
TARGET_STIFFNESS = "target_stiffness"  # std_msgs/Float64MultiArray: x, y, z [N/m] and roll, pitch, yaw [N·m/rad]
GRIPPER_COMMAND = "gripper_command"  # std_msgs/Float64MultiArray: one opening, 0–1
CRISP_GRIPPER_COMMAND = "gripper/gripper_position_controller/commands"  # the same, by the name crisp_py has for it
CRISP_GRIPPER_STATE = "gripper/joint_states"  # sensor_msgs/JointState: the opening, 0–1
EMERGENCY_STOP = "emergency_stop"  # std_msgs/Bool: true stops; false says nothing. And a service that stops
TWIST_COMMAND = "twist_cmd"  # geometry_msgs/TwistStamped: the person's wish, base axes
JOY = "joy"  # sensor_msgs/Joy: buttons JOY_BUTTONS
JOY_BUTTONS = ("close", "open", "success", "failure")

# The operator's words, `hardware.interfaces.Word`. One status a message: name = by whom, hardware_id = the start of the
# program that says it, message = the word (or what was done), values = the number, which rises by one, and what it met.
OPERATOR_WORD = "operator/word"  # diagnostic_msgs/DiagnosticArray: stamp of the press; sent until acknowledged
OPERATOR_ACKNOWLEDGED = "operator/acknowledged"  # diagnostic_msgs/DiagnosticArray: the same, and what it was applied to
OPERATOR_REQUEST = "operator/request"  # std_msgs/String, latched: what the person shall do; "" when nothing
OPERATOR_DEPTH = 100  # words that may wait for a listener that is busy
OPERATOR_SERVICES = "operator"  # + "/<word>", std_srvs/Trigger: say the word; the answer says what it was applied to

# Services, std_srvs/Trigger.
START = "start"
STOP = "stop"
ERROR_RECOVERY = "error_recovery"
RELEASE_STOP = "release_stop"
BEGIN_EPISODE = "begin_episode"
