"""The simulated robot: the FCI server of `hardware.sim.fci` with a task scene and a side channel for the scene.

One thread does it all, so that nothing competes with the 1 kHz step for the interpreter: in every tick it takes the
driver's commands and the side channel's requests, steps, and sends the state.

A robot's clock does not wait, and 20 ms without a command stop it. Only where the system does not grant real-time
scheduling, the simulated one waits for a late command: up to `PATIENCE` once, until commands come again. And however
late the simulation is itself, every state leaves the driver `ANSWER_TIME` to answer before that counts as missed.
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

import numpy as np

from controllers.spatial import Pose
from hardware.interfaces import HardwareError
from hardware.sim.channel import Request, SceneChannel
from hardware.sim.faults import Faults
from hardware.sim.fci import STEP, SceneRobotServer
from hardware.sim.scene import SceneError, SceneSpec, object_poses, place_objects, start_simulator

ROBOT_PORT = 1337
GRIPPER_PORT = 1338
SCENE_PORT = 1339  # default of the side channel

ANSWER_TIME = 0.0004  # that a driver has at least for its answer, also while the simulation catches up [s]
PATIENCE = 0.05  # that the clock waits for a late command, where it may [s]
ACTIONS = ("place", "objects", "state", "statistics", "faults", "user_stop")
PRIORITY = 60  # SCHED_FIFO priority asked for, below that of the driver's real-time process
GREATEST_LAG = 0.05  # beyond this the simulated time stays behind instead of catching up [s]


class SimulatedRobot:
    """The scene, its FCI server and its side channel, ticked by `run`."""

    def __init__(
        self,
        scene: SceneSpec,
        address: str = "127.0.0.1",
        scene_port: int = SCENE_PORT,
        faults: Faults | None = None,
        patience: float = 0.0,
    ) -> None:
        self._scene = scene
        self._address = _loopback(address)
        self._scene_port = scene_port
        self._faults = faults if faults is not None else Faults()
        self._patience = patience
        self._in_vain = False  # waited for a command since the last one, and none came
        self.steps = 0
        self.lost = 0.0  # simulated time given up because the machine was too slow [s]

    def run(self, ready: Callable[[], None] | None, stopped: Callable[[], bool]) -> None:
        """Serve in real time until ``stopped``. Raises `HardwareError` when a port is taken, `SceneError`."""
        for port in (ROBOT_PORT, GRIPPER_PORT, self._scene_port):
            _require_free(self._address, port)
        simulator = start_simulator(self._scene)
        self._model, self._data = simulator.model, simulator.data
        self._robot = simulator.robots[0]
        self._server = SceneRobotServer(self._robot, self._address, self._model, self._data)
        self._server.set_faults(self._faults)
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
            requests = channel.poll()
            replies = [(request, self._serve(request)) for request in requests if request.action == "place"]
            self._server.tick(step)
            self.steps += 1
            replies += [(request, self._serve(request)) for request in requests if request.action != "place"]
            for request, reply in replies:
                channel.reply(request, reply)
            due = self._wait(due + STEP)

    def _wait(self, due: float) -> float:
        """Sleep until the next tick is due; returns the schedule, moved when it cannot be kept."""
        now = time.perf_counter()
        if now - due > GREATEST_LAG:
            self.lost += now - due
            due = now
        time.sleep(max(due - now, ANSWER_TIME))
        if self._patience == 0.0:
            return due
        if not self._server.answer_due():
            self._in_vain = False
        elif not self._in_vain:
            start = time.perf_counter()
            self._in_vain = not self._server.wait_for_answer(self._patience)
            waited = time.perf_counter() - start
            self.lost += waited
            due += waited
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
                return {"steps": self.steps, "lost": self.lost, "missed": self._server.conformance.missed}
            if request.action == "faults":
                self._server.set_faults(Faults(**request.options))
                return {}
            if request.action == "user_stop":
                self._server.user_stop(bool(request.options["pressed"]))
                return {}
        except (SceneError, ValueError, TypeError, KeyError) as error:
            return {"error": str(error)}
        return {"error": f"unknown request {request.action!r}; choose {', '.join(ACTIONS)}"}

    def _object_poses(self) -> dict[str, list[float]]:
        poses = object_poses(self._model, self._data, self._scene.objects)
        return {name: [*pose.translation.tolist(), *pose.quat_xyzw.tolist()] for name, pose in poses.items()}


def serve(
    scene: SceneSpec,
    address: str = "127.0.0.1",
    scene_port: int = SCENE_PORT,
    ready: Callable[[], None] | None = None,
    faults: Faults | None = None,
    patience: float | None = None,
) -> None:
    """Serve a simulated FR3 at ``address`` until SIGTERM or SIGINT.

    Args:
        scene: what stands around the arm.
        address: a loopback address, 127.x.y.z; several robots take several addresses.
        scene_port: TCP port of the scene's side channel (`hardware.sim.client.SceneClient`).
        ready: called once, when drivers can connect.
        faults: how bad the network to the driver is; perfect when left out.
        patience: how long the robot's clock waits for a late command [s]; left out: not at all with real-time
            scheduling, `PATIENCE` without.

    Raises:
        HardwareError: no loopback address, or a port is taken.
        SceneError: the scene cannot be built.
    """
    # A robot does not slow down when the workstation is busy. Where this is not permitted, the simulated one does.
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
        wait = 0.0
    except PermissionError:
        wait = PATIENCE
    robot = SimulatedRobot(scene, address, scene_port, faults, wait if patience is None else patience)
    with _stop_signals() as stop:
        robot.run(ready, stop.is_set)


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
