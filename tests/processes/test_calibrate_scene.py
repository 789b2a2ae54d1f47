"""The whole way of a calibration: the simulated arm is moved by topics, and its drawn wrist camera looks at a board."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from std_srvs.srv import Trigger

from controllers.ros import topics
from controllers.ros.converters import fill_pose
from controllers.spatial import Pose, exp3
from hardware.cameras.calibration_file import read_calibration
from hardware.franka.hand import HAND_FRAME
from hardware.franka.model import fr3_model
from hardware.scene import SceneSpec
from robot_rl.tasks.teaching import free_task, text_of
from tests.hardware.test_calibration_scene import BOARD, TCP_TO_HAND, Q, board_of_boxes, facing, place_of
from tests.processes.job import PATIENCE, Job
from tests.processes.test_calibrate_camera import Command
from tests.ros.conftest import Ros

pytestmark = [pytest.mark.job, pytest.mark.slow, pytest.mark.timeout(1200)]
PERIOD, SILENCE = 0.1, 60.0  # [s] between targets, and without one that ends the motion, on however busy a machine
CENTRED = Pose.from_rotation(-0.5 * BOARD.square * np.array([BOARD.columns, BOARD.rows, 0.0]), np.eye(3))
SEEN = [  # the middle of the board in the camera's frame [m], and its turn [rad]
    *(((0.0, 0.0, 0.33), turn) for turn in ((0.4, 0.0, 0.0), (-0.4, 0.0, 0.0), (0.0, 0.4, 0.0), (0.0, -0.4, 0.0))),
    *(((x, y, 0.36), (0.0, 0.0, 0.0)) for x in (-0.09, 0.09) for y in (-0.07, 0.07)),
    *(((0.0, 0.0, z), (0.0, 0.0, 0.0)) for z in (0.27, 0.42)),
    *(((0.0, 0.0, 0.33), turn) for turn in ((0.3, 0.3, 0.2), (-0.3, -0.3, -0.2))),
]


def place() -> Pose:
    """The wrist camera in the TCP."""
    return TCP_TO_HAND.compose(place_of("wrist", SceneSpec(), HAND_FRAME))


def board() -> Pose:
    """The board in the base, before the camera where the arm stands at `Q`."""
    return facing(fr3_model().forward_kinematics(Q).compose(place()), np.array([0.0, 0.0, 0.33]))


def scene() -> SceneSpec:
    """The scene of the task."""
    return SceneSpec(worldbody=board_of_boxes(board()))


def test_the_wrists_camera_is_found_on_an_arm_that_moves(
    ros: Ros, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The aims: 2 mm and 0.5°."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    task = tmp_path / "board.yaml"
    task.write_text(text_of(free_task("board", f"{__name__}:scene")) + "cameras:\n  wrist:\n    size: 640\n")
    job = Job(tmp_path / "run", "arm", "cameras=wrist", f"controller.damp_after={SILENCE}", task=str(task))
    live: Command | None = None
    try:
        node = ros.node("mover")
        start = node.create_client(Trigger, "start")
        ros.spin_until(start.service_is_ready, PATIENCE)
        ros.spin_until(start.call_async(Trigger.Request()).done, PATIENCE)
        target = node.create_publisher(PoseStamped, topics.TARGET_POSE, 1)
        size = ("--square", str(BOARD.square), "--marker", str(BOARD.marker))
        live = Command(tmp_path, "--camera", "wrist", "--out", "wrist.yaml", "--listen", "--run", "run", *size)
        hand = fr3_model().forward_kinematics(Q)

        def go() -> None:
            message = PoseStamped()
            message.header.frame_id = topics.BASE_FRAME
            message.header.stamp = node.get_clock().now().to_msg()
            fill_pose(hand, message.pose)
            target.publish(message)

        node.create_timer(PERIOD, go)
        there, in_tcp = board(), place()
        for number, (middle, turn) in enumerate(SEEN):
            seen = Pose.from_rotation(np.array(middle), exp3(np.array(turn))).compose(CENTRED)
            hand = there.compose(seen.inverse()).compose(in_tcp.inverse())
            ros.spin_until(lambda number=number, live=live: live.ended or live.kept > number, PATIENCE)
        assert live.process.wait(PATIENCE) == 0, live.said
        job.process.send_signal(signal.SIGINT)
        assert job.wait_end() == 130, job.errors
    finally:
        if live is not None and not live.ended:
            live.process.terminate()
        job.stop()
    found = read_calibration(tmp_path / "wrist.yaml").pose
    assert found is not None
    off = place().difference(found)
    assert np.linalg.norm(off[:3]) < 0.002 and np.degrees(np.linalg.norm(off[3:])) < 0.5
