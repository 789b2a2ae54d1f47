"""The arm node and its real-time process under wrong commands, stalls, stops and kills.

The simulator and the arm node run as in a job; the test is whoever commands. Rows of the table in docs/SAFETY.md. Times
are reported, never asserted.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from std_msgs.msg import Bool, Float64MultiArray
from std_srvs.srv import Trigger

from controllers.ros import topics
from controllers.ros.converters import fill_pose, ns_to_stamp, pose_from
from controllers.spatial import Pose
from controllers.state import Mode
from hardware.franka.arm import FrankaArm
from hardware.ros.arm_commands import QUIET, SETPOINT_DURATION
from hardware.sim.channel.client import SceneClient
from robot_rl.jobs.config import load_config
from robot_rl.jobs.run import SIMULATOR, Run
from robot_rl.tasks import make_task
from tests.conftest import session_processes
from tests.fault_table import FaultTable, check_torques, telemetry_of
from tests.hardware.simulated import end, unused_address
from tests.processes.witness import Witness

pytestmark = [pytest.mark.job, pytest.mark.timeout(600)]
TASK = make_task("reach")
PERIOD = 0.05  # [s] between targets
STALL = 0.3  # [s] of robot time
PATIENT = "controller.damp_after=10"  # [s]: a test that is late finds the arm holding still, not at the end of a motion


class ArmGraph:
    """A simulator and an arm node, as processes.

    Attributes:
        spoilt: a test has killed one of its processes, or failed; the next test needs another graph.
    """

    def __init__(self, folder: Path) -> None:
        self.spoilt = False
        self.address = unused_address()
        config = load_config(None, ["task=reach", f"robot_ip={self.address}", "source=topic", PATIENT])
        self.run = Run.create(config, folder)
        self.simulator = self._start("sim")
        self.arm = self._start("arm")
        self.scene = SceneClient(self.address, config.scene_port)

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        with (self.run.logs / f"{name}.log").open("wb") as log:
            arguments = ["node", name, "--run", str(self.run.root), "--job", "teleop"]
            return subprocess.Popen([sys.executable, "-m", "robot_rl", *arguments], stdout=log, stderr=log)

    def realtime(self) -> int:
        """Process id of the 1 kHz loop."""
        (found,) = [
            pid
            for pid, line in session_processes().items()
            if "hardware.franka.realtime" in line and _parent(pid) == self.arm.pid
        ]
        return found

    def kill(self, pid: int) -> None:
        self.spoilt = True
        os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """End it. Its arm was commanded smoothly."""
        self.scene.disconnect()
        for process in (self.arm, self.simulator):
            end(process)
        check_torques(telemetry_of(self.run.logs))


class Graphs:
    """One graph for all tests that leave it as they found it.

    Args:
        folder: makes an empty folder for a run.
    """

    def __init__(self, folder: Callable[[], Path]) -> None:
        self._folder = folder
        self._running: ArmGraph | None = None

    def running(self) -> ArmGraph:
        """The graph of the test before, or a new one when that is spoilt."""
        if self._running is not None and self._running.spoilt:
            self.close()
        if self._running is None:
            self._running = ArmGraph(self._folder() / "run")
        return self._running

    def close(self) -> None:
        graph, self._running = self._running, None
        if graph is not None:
            graph.close()


class Commander:
    """Sends ``target()`` to the arm, again and again; each time right ``after`` another one, if there is one."""

    def __init__(
        self, ros: Any, target: Callable[[], Pose], name: str = "commander", after: Commander | None = None
    ) -> None:
        self.node: Node = ros.node(name)
        self.target = target
        self.spoil: Callable[[PoseStamped], None] = lambda message: None
        self._publisher = self.node.create_publisher(PoseStamped, topics.TARGET_POSE, 1)
        self._next: Callable[[], None] = lambda: None
        if after is None:
            self.node.create_timer(PERIOD, self._send)
        else:
            after._next = self._send

    def _send(self) -> None:
        message = PoseStamped()
        message.header.stamp = self.node.get_clock().now().to_msg()
        message.header.frame_id = topics.BASE_FRAME
        fill_pose(self.target(), message.pose)
        self.spoil(message)
        self._publisher.publish(message)
        self._next()


class Scene:
    """An arm that follows a commander, and a witness."""

    def __init__(self, ros: Any, graph: ArmGraph) -> None:
        self.ros, self.graph = ros, graph
        self.witness = Witness(ros)
        ros.spin_until(lambda: self.witness.pose is not None)
        graph.scene.connect()
        assert self.witness.pose is not None
        self.home = pose_from(self.witness.pose.pose)
        self.commander = Commander(ros, lambda: self.home)
        while not self.call(topics.START).success:
            pass  # it damps out after the test before
        self.wait_mode(Mode.TRACK)

    @property
    def pose(self) -> Pose:
        assert self.witness.pose is not None
        return pose_from(self.witness.pose.pose)

    def wait_mode(self, mode: Mode) -> None:
        self.ros.spin_until(lambda: self.witness.reading.get("mode") == mode)

    def wait_robot_time(self, seconds: float) -> None:
        """Let so much time pass for the arm."""
        until = self.witness.reading["robot_time"] + seconds
        self.ros.spin_until(lambda: self.witness.reading["robot_time"] > until)

    def wait_robot_time_outside(self, seconds: float) -> None:
        """Let so much time pass for the arm while the test does not spin, by the simulator's own clock."""
        until = self.graph.scene.state().time + seconds
        while self.graph.scene.state().time < until:
            pass  # each call takes a tick of the simulator

    def call(self, service: str) -> Trigger.Response:
        client = self.witness.node.create_client(Trigger, service)
        self.ros.spin_until(client.service_is_ready)
        answer = client.call_async(Trigger.Request())
        self.ros.spin_until(answer.done)
        return answer.result()


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Graphs]:
    graphs = Graphs(lambda: tmp_path_factory.mktemp("arm"))
    yield graphs
    graphs.close()


@pytest.fixture
def scene(ros: Any, graphs: Graphs, request: pytest.FixtureRequest) -> Iterator[Scene]:
    graph, failed = graphs.running(), request.session.testsfailed
    try:
        ros.spin_until(lambda: Run(graph.run.root).status_of(SIMULATOR).get("ready"))
        yield Scene(ros, graph)
    except BaseException:
        graph.spoilt = True
        raise
    graph.scene.disconnect()
    graph.spoilt = graph.spoilt or request.session.testsfailed > failed


def _nan(message: PoseStamped) -> None:
    message.pose.position.x = float("nan")


def _infinite(message: PoseStamped) -> None:
    message.pose.position.z = float("inf")


def _wrong_frame(message: PoseStamped) -> None:
    message.header.frame_id = "camera"


def _stale(message: PoseStamped) -> None:
    stamp = message.header.stamp
    ns_to_stamp((stamp.sec * 10**9 + stamp.nanosec) - 10**9, stamp)


BAD = {"NaN": _nan, "infinite": _infinite, "wrong frame": _wrong_frame, "stale (1 s old)": _stale}


def test_setpoints_that_must_not_reach_the_law(scene: Scene, fault_table: FaultTable) -> None:
    for name, spoil in BAD.items():
        refusal = None
        while refusal is None:  # what goes on is reported once, and setpoints of a busy machine are stale before
            scene.wait_robot_time(1.5 * QUIET)
            scene.wait_mode(Mode.TRACK)
            before = scene.pose
            scene.commander.spoil = spoil
            began = time.monotonic()
            held, _ = scene.witness.wait(began, "mode:HOLD")
            scene.wait_robot_time(0.2)
            assert np.linalg.norm(scene.pose.translation - before.translation) < 0.002
            scene.commander.spoil = lambda message: None
            refusal = scene.witness.first(began, "event:setpoint_rejected")
        refused, why = 1000.0 * (refusal.when - began), refusal.detail
        fault_table.add(f"setpoints: {name}", f"refused ({why.split(': ', 1)[1]})", refused)
        fault_table.add(f"setpoints: {name}", "nothing valid comes: the measured pose is held", held)


def test_setpoints_out_of_the_box_or_too_fast(scene: Scene, fault_table: FaultTable) -> None:
    box = TASK.workspace
    scene.commander.target = lambda: Pose(
        np.array([box.upper[0] + 0.2, *scene.home.translation[1:]]), scene.home.quat_xyzw
    )
    began = time.monotonic()
    clipped, _ = scene.witness.wait(began, "event:setpoint_clipped")
    scene.ros.spin_until(lambda: scene.pose.translation[0] > box.upper[0] - 0.01)
    scene.wait_robot_time(0.5)
    assert scene.pose.translation[0] < box.upper[0] + 0.005
    fault_table.add("setpoints 0.2 m outside the box", "clipped to the box; the arm stays inside", clipped)

    # 10 cm ahead of the arm within 0.1 s are 1 m/s: ten times what a policy may ask for.
    step = np.array([1.0 * SETPOINT_DURATION, 0.0, 0.0])

    def hasty() -> Pose:
        return Pose(np.maximum(scene.pose.translation - step, box.lower), scene.home.quat_xyzw)

    began = time.monotonic()
    scene.commander.target = hasty
    limited, reason = scene.witness.wait(began, "event:setpoint_clipped")
    scene.ros.spin_until(lambda: scene.pose.translation[0] < box.lower[0] + 0.02)
    fault_table.add("setpoints 10× too fast (1 m/s)", f"slowed down: {reason}", limited)


def test_two_publishers(scene: Scene, ros: Any, fault_table: FaultTable) -> None:
    away = scene.home.moved(np.array([0.0, 0.05, 0.0, 0.0, 0.0, 0.0]))
    began = time.monotonic()
    # After a pause of a busy machine, too, the first is the first to speak.
    Commander(ros, lambda: away, "intruder", after=scene.commander)
    refused, why = scene.witness.wait(began, "event:writer_refused", because="intruder")
    assert "commander" in why
    scene.wait_robot_time(1.0)
    assert np.linalg.norm(scene.pose.translation - scene.home.translation) < 0.005
    fault_table.add("two publishers of target_pose", "the second is refused, the first drives on", refused)


def test_a_jump_of_the_stiffness(scene: Scene, ros: Any, fault_table: FaultTable) -> None:
    publisher = scene.commander.node.create_publisher(Float64MultiArray, topics.TARGET_STIFFNESS, 1)
    ros.spin_until(publisher.get_subscription_count)

    def stiffness(translational: float, rotational: float) -> float:
        began = time.monotonic()
        publisher.publish(Float64MultiArray(data=[translational] * 3 + [rotational] * 3))
        return began

    soft = stiffness(200.0, 7.5)
    again = scene.commander.node.create_timer(1.0, lambda: stiffness(200.0, 7.5))  # the arm may know of us later
    scene.witness.wait(soft, "event:gains_changed")
    scene.commander.node.destroy_timer(again)
    changed, how = scene.witness.wait(stiffness(2000.0, 75.0), "event:gains_changed")
    fault_table.add("stiffness ×10 (200 → 2000 N/m)", how, changed)
    refused, why = scene.witness.wait(stiffness(20000.0, 750.0), "event:setpoint_rejected")
    fault_table.add("stiffness ×10 (2000 → 20 000 N/m)", f"refused: {why}", refused)
    assert np.linalg.norm(scene.pose.translation - scene.home.translation) < 0.005


def test_a_stall_of_the_ros_side(scene: Scene, fault_table: FaultTable) -> None:
    """The arm node stands still for 300 ms of the arm's time; the loop goes on, and its watchdog with it."""
    stale = None
    while stale is None:  # on a busy machine the arm may hold already when the node is stopped
        scene.wait_mode(Mode.TRACK)
        stalled, before = time.monotonic(), scene.graph.scene.state().time
        scene.graph.arm.send_signal(signal.SIGSTOP)
        scene.wait_robot_time_outside(STALL)
        scene.graph.arm.send_signal(signal.SIGCONT)
        ended = scene.graph.scene.state().time
        scene.ros.spin_until(lambda ended=ended: scene.witness.reading["robot_time"] > ended)
        scene.wait_robot_time(0.1)  # for what the node has to tell of the time before
        events = [item for item in scene.witness.received if item.what == "event:setpoint_stale"]
        stale = next((event for event in events if before < event.robot_time < ended), None)
    held, why = 1000.0 * (stale.when - stalled), stale.detail
    scene.wait_mode(Mode.TRACK)
    back = 1000.0 * (time.monotonic() - stalled)
    fault_table.add("300 ms stall of the ROS side", f"{why} (heard when it is back)", held)
    fault_table.add("300 ms stall of the ROS side", "follows fresh setpoints again", back)


def test_stops_by_a_person_and_recovery_refused(scene: Scene, ros: Any, fault_table: FaultTable) -> None:
    pressed = time.monotonic()
    scene.graph.scene.user_stop(True)
    stopped, _ = scene.witness.wait(pressed, "mode:STOPPED")
    fault_table.add("user stop pressed", "motion ended by the robot, mode STOPPED", stopped)
    asked = time.monotonic()
    answer = scene.call(topics.ERROR_RECOVERY)
    assert not answer.success
    fault_table.add("recovery refused by the robot", answer.message, 1000.0 * (time.monotonic() - asked))
    scene.wait_robot_time(0.5)
    assert scene.witness.reading["mode"] == Mode.STOPPED, "setpoints keep coming, and move nothing"

    scene.graph.scene.user_stop(False)
    scene.wait_mode(Mode.IDLE)
    before = scene.pose
    away = scene.home.moved(np.array([0.0, 0.0, 0.05, 0.0, 0.0, 0.0]))
    scene.commander.target = lambda: away
    scene.wait_robot_time(0.5)
    assert np.linalg.norm(scene.pose.translation - before.translation) < 0.002, "released, and still at rest"
    assert scene.call(topics.START).success
    scene.wait_mode(Mode.TRACK)

    button = scene.witness.node.create_publisher(Bool, topics.EMERGENCY_STOP, 1)
    ros.spin_until(button.get_subscription_count)
    pressed = time.monotonic()
    button.publish(Bool(data=True))
    stopped, _ = scene.witness.wait(pressed, "mode:STOPPED")
    fault_table.add("emergency_stop published", "arm damps out, nothing is accepted", stopped)
    refused = scene.call(topics.START)
    assert not refused.success and "release_stop" in refused.message
    written = [str(np.load(file)["reason"]) for file in scene.graph.run.logs.glob("fault-*.npz")]
    assert any("emergency stop" in reason for reason in written)
    assert scene.call(topics.RELEASE_STOP).success
    scene.wait_mode(Mode.IDLE)  # a start while the arm still damps out is refused
    assert scene.call(topics.START).success


def test_arm_node_killed(scene: Scene, fault_table: FaultTable) -> None:
    """The loop sees that its parent has gone, damps out, and ends."""
    loop = scene.graph.realtime()
    killed = time.monotonic()
    scene.graph.kill(scene.graph.arm.pid)
    scene.graph.arm.wait()
    scene.ros.spin_until(lambda: not _alive(loop))
    gone = 1000.0 * (time.monotonic() - killed)
    state, steps = scene.graph.scene.state(), scene.graph.scene.statistics()["steps"]
    scene.ros.spin_until(lambda: scene.graph.scene.statistics()["steps"] > steps + 200)
    assert np.abs(scene.graph.scene.state().q - state.q).max() < 1e-3
    fault_table.add("arm node killed (-9)", "real-time process damps the arm out and ends", gone)


def test_realtime_process_killed(scene: Scene, fault_table: FaultTable) -> None:
    """The robot itself notices that commands stay away."""
    loop = scene.graph.realtime()
    before = scene.pose
    killed = time.monotonic()
    scene.graph.kill(loop)
    scene.ros.spin_until(lambda: scene.graph.arm.poll() is not None or scene.witness.first(killed, "mode:FAULT"))
    noticed = 1000.0 * (time.monotonic() - killed)
    assert np.linalg.norm(scene.pose.translation - before.translation) < 0.002
    with FrankaArm(scene.graph.address) as arm:
        assert "communication_constraints_violation" in arm.read().fault, "what the next program finds"
    fault_table.add(
        "real-time process killed (-9)",
        "robot stops by itself after 20 missed commands (20 ms); the arm node says so and ends",
        noticed,
    )


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
