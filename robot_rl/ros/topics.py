"""Topics between session, policy, learner and teleoperation; relative like those of the arm."""

OBSERVATION = "observation"  # sensor_msgs/JointState as a named vector: the policy's state; stamp of the measurement
OBSERVATION_IMAGE = "observation/image"  # + "/<camera>", sensor_msgs/Image with the observation's stamp
OBSERVATION_FEATURES = "observation/features"  # sensor_msgs/Image, in place of images where there is an encoder
FEATURES = "features"  # after "<camera>/": features of the image of that stamp, 16FC<channels>; frame: digest
OBSERVATION_PLAN = "observation/plan"  # trajectory_msgs/JointTrajectory of its stamp: what goes on meanwhile
ACTION_CHUNK = "action_chunk"  # trajectory_msgs/JointTrajectory: stamp of the observation it answers
INSTRUCTION = "instruction"  # std_msgs/String, latched: what is to be done, in the task's words
POLICY_PARAMETERS = "policy_parameters"  # std_msgs/UInt8MultiArray, latched: version, checksum and weights
LEARNER_DEBT = "learner_debt"  # std_msgs/Int64: critic updates that are due
LEARNER_PHASE = "learner_phase"  # std_msgs/String, latched: compiling, imitating …, pretraining N of M, or …
LEARNING = "learning"  # … this: steps are learnt as they come
SESSION_PHASE = "session_phase"  # std_msgs/String, latched: reset, ready, running, stopped, paused or asking
REWARD = "reward"  # std_msgs/Float64: of each step of an episode, when it is known
TEACH_NEXT = "teach/next"  # std_msgs/String, latched: what is to be shown next, or done
TEACH_MARK = "teach/mark"  # std_msgs/String: mark, or the name on teach/next, takes the pose; undo takes back
JUDGE_SIGNALS = "judge_signals"  # sensor_msgs/JointState, name → position: what judges make of the image of the stamp
LINK = "link"  # diagnostic_msgs/DiagnosticStatus: the link to an arm of another computer; why no episode may rely on it
EPISODES = "episodes"  # diagnostic_msgs/DiagnosticStatus, one for each episode that ended
