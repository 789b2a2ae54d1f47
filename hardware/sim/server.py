"""The simulated robot: franky-sim's FCI server with a task scene, contact forces and a side channel for the scene.

One thread does it all, so that nothing competes with the 1 kHz step for the interpreter: in every tick it takes the
driver's commands and the side channel's requests, steps, and sends the state.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator

import mujoco
import numpy as np
from franky_sim import FrankaRobotServer
from franky_sim.franka_robot_state import FrankaRobotState

from controllers.spatial import Pose
from hardware.interfaces import HardwareError
from hardware.sim.channel import Request, SceneChannel
from hardware.sim.scene import (
    HAND_BODY,
    ROBOT,
    TCP_IN_HAND,
    SceneError,
    SceneSpec,
    object_poses,
    place_objects,
    start_simulator,
)
from hardware.sim.wrench import ContactWrench

ROBOT_PORT = 1337
GRIPPER_PORT = 1338
SCENE_PORT = 1339  # default of the side channel

STEP = 0.001  # [s]
SHORTEST_TICK = 0.0006  # while catching up, so that the driver still has time to answer [s]
PRIORITY = 60  # SCHED_FIFO priority asked for, below that of the driver's real-time process
GREATEST_LAG = 0.05  # beyond this the simulated time stays behind instead of catching up [s]


class SceneRobotServer(FrankaRobotServer):
    """franky-sim's robot server, which also reports the contacts of the scene and counts missing commands.

    Attributes:
        robot_time: what the connected driver sees as robot time [s]; it starts at 0 with each connection.
        missed: ticks of an active torque motion that brought no command.
    """

    def __init__(self, robot: object, address: str, wrench: ContactWrench, jacobian: Callable[[], np.ndarray]) -> None:
        super().__init__(robot, [address])
        self._wrench = wrench
        self._jacobian = jacobian
        self._external = np.zeros(6)
        self._commands = 0
        self.robot_time = 0.0
        self.missed = 0

    def tick(self, step: Callable[[], None]) -> None:
        """One millisecond: commands in, ``step``, state out."""
        self._commands = 0
        self.process_commands()
        if self.current_motion_id and not self._commands:
            self.missed += 1
        step()
        self._external = self._wrench.update()
        self.send_state()

    @property
    def robot_state(self) -> FrankaRobotState:
        external = tuple(self._external.tolist())
        return super().robot_state.replace(
            O_F_ext_hat_K=external, tau_ext_hat_filtered=tuple((self._jacobian().T @ self._external).tolist())
        )

    def _setup_udp_connection(self, network_udp_port: int) -> None:
        super()._setup_udp_connection(network_udp_port)
        self.robot_time = 0.0

    def _handle_udp_command(self, command_data: bytes) -> None:
        self._commands += 1
        super()._handle_udp_command(command_data)

    def _get_state_bytes(self) -> bytes:
        self.robot_time += STEP  # called once for each state that is sent
        return super()._get_state_bytes()


class SimulatedRobot:
    """The scene, its FCI server and its side channel, ticked by `run`."""

    def __init__(self, scene: SceneSpec, address: str = "127.0.0.1", scene_port: int = SCENE_PORT) -> None:
        self._scene = scene
        self._address = _loopback(address)
        self._scene_port = scene_port
        self.steps = 0
        self.lost = 0.0  # simulated time given up because the machine was too slow [s]

    def run(self, ready: Callable[[], None] | None, stopped: Callable[[], bool]) -> None:
        """Serve in real time until ``stopped``. Raises `HardwareError` when a port is taken, `SceneError`."""
        for port in (ROBOT_PORT, GRIPPER_PORT, self._scene_port):
            _require_free(self._address, port)
        simulator = start_simulator(self._scene)
        self._model, self._data = simulator.model, simulator.data
        self._robot = simulator.robots[0]
        wrench = ContactWrench(self._model, self._data, STEP)
        self._server = SceneRobotServer(self._robot, self._address, wrench, _TcpJacobian(self._model, self._data))
        with contextlib.ExitStack() as cleanup:
            cleanup.callback(simulator.cleanup)
            cleanup.callback(self._server.cleanup)
            try:
                self._server.init()
                channel = SceneChannel(self._address, self._scene_port)
            except OSError as error:
                raise HardwareError(f"the simulated robot cannot serve at {self._address}: {error}") from error
            cleanup.callback(channel.close)
            # One tick fills what the server reports before anybody can ask for it.
            self._server.tick(simulator.step)
            if ready is not None:
                ready()
            self._loop(simulator.step, channel, stopped)

    def _loop(self, step: Callable[[], None], channel: SceneChannel, stopped: Callable[[], bool]) -> None:
        due = time.perf_counter()
        while not stopped():
            start = time.perf_counter()
            requests = channel.poll()
            replies = [(request, self._serve(request)) for request in requests if request.action == "place"]
            self._server.tick(step)
            self.steps += 1
            replies += [(request, self._serve(request)) for request in requests if request.action != "place"]
            for request, reply in replies:
                channel.reply(request, reply)
            due = self._wait(due + STEP, start)

    def _wait(self, due: float, start: float) -> float:
        """Sleep until the next tick is due; returns the schedule, moved when it can no longer be kept."""
        now = time.perf_counter()
        if now - due > GREATEST_LAG:
            self.lost += now - due
            due = now
        delay = max(due, start + SHORTEST_TICK) - now
        if delay > 0.0:
            time.sleep(delay)
        return due

    def _serve(self, request: Request) -> dict:
        """Answer to one request of the side channel."""
        try:
            if request.action == "place":
                poses = {name: Pose(np.array(p[:3]), np.array(p[3:])) for name, p in request.objects.items()}
                place_objects(self._model, self._data, poses)
                return {}
            if request.action == "objects":
                return {"objects": self._object_poses()}
            if request.action == "state":
                return {
                    "time": self._server.robot_time,
                    "q": list(self._robot.inner_state.q),
                    "width": self._robot.hand_width,
                    "objects": self._object_poses(),
                }
            if request.action == "statistics":
                return {"steps": self.steps, "lost": self.lost, "missed": self._server.missed}
        except (SceneError, ValueError, TypeError) as error:
            return {"error": str(error)}
        return {"error": f"unknown request {request.action!r}; choose place, objects, state or statistics"}

    def _object_poses(self) -> dict[str, list[float]]:
        poses = object_poses(self._model, self._data, self._scene.objects)
        return {name: [*pose.translation.tolist(), *pose.quat_xyzw.tolist()] for name, pose in poses.items()}


def serve(
    scene: SceneSpec,
    address: str = "127.0.0.1",
    scene_port: int = SCENE_PORT,
    ready: Callable[[], None] | None = None,
) -> None:
    """Serve a simulated FR3 at ``address`` until SIGTERM or SIGINT.

    Args:
        scene: what stands around the arm.
        address: a loopback address, 127.x.y.z; several robots take several addresses.
        scene_port: TCP port of the scene's side channel (`hardware.sim.client.SceneClient`).
        ready: called once, when drivers can connect.

    Raises:
        HardwareError: no loopback address, or a port is taken.
        SceneError: the scene cannot be built.
    """
    robot = SimulatedRobot(scene, address, scene_port)
    # A robot does not slow down when the workstation is busy. Where this is not permitted, the simulated one does.
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    with _stop_signals() as stop:
        robot.run(ready, stop.is_set)


class _TcpJacobian:
    """Jacobian ``(6, 7)`` of the TCP, base axes, at the simulator's current joint positions."""

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        self._model, self._data = model, data
        self._hand = model.body(HAND_BODY).id
        self._tcp = np.array(TCP_IN_HAND)
        self._dofs = [int(model.joint(f"{ROBOT}fr3_joint{i}").dofadr[0]) for i in range(1, 8)]
        self._full = np.zeros((6, model.nv))

    def __call__(self) -> np.ndarray:
        data = self._data
        tcp = data.xpos[self._hand] + data.xmat[self._hand].reshape(3, 3) @ self._tcp
        mujoco.mj_jac(self._model, data, self._full[:3], self._full[3:], tcp, self._hand)
        return self._full[:, self._dofs]


def _loopback(address: str) -> str:
    try:
        resolved = ipaddress.IPv4Address("127.0.0.1" if address == "localhost" else address)
    except ValueError as error:
        raise HardwareError(f"{address!r} is no IPv4 address; use 127.0.0.1") from error
    if not resolved.is_loopback:
        raise HardwareError(
            f"the simulated robot serves loopback addresses only, not {address}: its protocol has no authentication; "
            f"use 127.0.0.1 (or any other 127.x.y.z)"
        )
    return str(resolved)


def _require_free(address: str, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise HardwareError(
                f"port {port} at {address} is taken ({error.strerror}): another simulated robot is probably running; "
                f"stop it, or choose another address such as 127.0.0.2"
            ) from error


@contextlib.contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set, while inside."""
    stop = threading.Event()
    previous = {s: signal.signal(s, lambda *_: stop.set()) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
