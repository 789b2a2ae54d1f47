"""Names of the topics, services and frames of an arm. All relative, so that ``namespace:=left`` makes two arms.

Command and state names are those of CRISP's controllers where it has one, so that crisp_py and robot_rl understand each
other.
"""

BASE_FRAME = "fr3_link0"
JOINT_NAMES = tuple(f"fr3_joint{i}" for i in range(1, 8))
FINGER_NAMES = ("fr3_finger_joint1", "fr3_finger_joint2")
FINGER_STROKE = 0.04  # [m] of each finger; 0–1 openings are shares of it

# State of the arm. All messages of one measurement carry the same stamp.
JOINT_STATES = "joint_states"  # sensor_msgs/JointState: arm and fingers
CURRENT_POSE = "current_pose"  # geometry_msgs/PoseStamped: TCP in the base frame
CURRENT_TWIST = "current_twist"  # geometry_msgs/TwistStamped: TCP, base axes
EXTERNAL_WRENCH = "external_wrench"  # geometry_msgs/WrenchStamped: on the TCP, base axes
REFERENCE_POSE = "reference_pose"  # geometry_msgs/PoseStamped: where the controller pulls the TCP
ARM_STATUS = "arm_status"  # sensor_msgs/JointState as a named vector: STATUS_NAMES in position
OBJECTS = "objects"  # geometry_msgs/PoseArray: movable objects, in the scene's order (simulator only)
ARM_EVENTS = "arm_events"  # diagnostic_msgs/DiagnosticStatus, one for each event
STATUS_NAMES = ("robot_time", "tank", "mode", "success_rate", "budget", "activity")

# Commands.
TARGET_POSE = "target_pose"  # geometry_msgs/PoseStamped in the base frame
GRIPPER_COMMAND = "gripper_command"  # std_msgs/Float64MultiArray: one opening, 0–1
TWIST_COMMAND = "twist_cmd"  # geometry_msgs/TwistStamped: the person's wish, base axes
JOY = "joy"  # sensor_msgs/Joy: buttons JOY_BUTTONS
JOY_BUTTONS = ("close", "open", "success", "failure")

# Services, std_srvs/Trigger.
START = "start"
STOP = "stop"
ERROR_RECOVERY = "error_recovery"
