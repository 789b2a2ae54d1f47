"""The simulated robots: an FCI server (`hardware.sim.fci.protocol`) and a side channel for each arm of one scene.

One thread does it all, so that nothing competes with the 1 kHz step for the interpreter: in every tick it takes the
drivers' commands and the side channels' requests, steps, and sends the states.

A robot's clock does not wait, and 20 ms without a command stop it. Only where the system does not grant real-time
scheduling, or has no core to spare for the driver's loop, the simulated one waits for a late command: up to `PATIENCE`
once, until commands come again. And however late the simulation is itself, every state leaves the driver `ANSWER_TIME`
to answer before that counts as missed. While nobody is connected, time nearly stands still: nobody pays for it.
"""

from __future__ import annotations

import contextlib
import ipaddress
import math
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from controllers.spatial import Pose
from controllers.state import TICK
from hardware.franka.process import CORES, GRIPPER_PORT, ROBOT_PORT
from hardware.interfaces import HardwareError
from hardware.scene import SceneError, SceneSpec
from hardware.sim.channel.channel import SCENE_PORT, Request, SceneChannel
from hardware.sim.channel.faults import Faults
from hardware.sim.fci.protocol import SceneRobotServer
from hardware.sim.scene.model import object_poses, place_objects, start_simulator

if TYPE_CHECKING:
    from franky_sim.mujoco_simulator import MujocoSimulator

ANSWER_TIME = 0.0004  # that a driver has at least for its answer, also while the simulation catches up [s]
PATIENCE = 0.2  # that the clock waits for a late command, where it may [s]
ACTIONS = ("place", "objects", "state", "statistics", "faults", "user_stop")
PRIORITY = 60  # SCHED_FIFO priority asked for, below that of the driver's real-time process
GREATEST_LAG = 0.05  # beyond this the simulated time stays behind instead of catching up [s]
REST_AFTER = 2.0  # [s] with nobody connected, in which what moved has come to rest …
REST = 0.02  # … and the time of a tick from then on [s]


@dataclass
class Pace:
    """Pace of the simulation: ticks done, and simulated time given up because the machine was too slow [s]."""

    steps: int = 0
    lost: float = 0.0


class SimulatedArm:
    """One arm of a running scene: its FCI server and its side channel, at ``address``.

    Attributes:
        server: ticked by `SimulatedRobot`.
        in_vain: the clock has waited for a command since the last one, and none came.
    """

    def __init__(
        self, scene: SceneSpec, simulator: MujocoSimulator, arm: int, address: str, scene_port: int, pace: Pace
    ) -> None:
        self._scene, self._arm, self._base, self._pace = scene, arm, scene.bases[arm], pace
        self._model, self._data = simulator.model, simulator.data
        self._robot = simulator.robots[arm]
        self._address, self._scene_port = address, scene_port
        self._requests: list[Request] = []
        self.server = SceneRobotServer(self._robot, address, self._model, self._data, arm)
        self.in_vain = False

    def open(self) -> None:
        """Begin to serve. Raises `HardwareError`."""
        try:
            self.server.init()
            self._channel = SceneChannel(self._address, self._scene_port)
        except OSError as error:
            raise HardwareError(f"the simulated robot cannot serve at {self._address}: {error}") from error

    def close(self) -> None:
        self._channel.close()

    @property
    def connected(self) -> bool:
        """Whether a driver, one of the hand, or a client of the side channel is there."""
        hand = self.server.gripper_server
        return self.server.tcp_connected or self._channel.connected or (hand is not None and hand.tcp_connected)

    def before_step(self) -> None:
        """Take the side channel's requests, and do those that change the scene."""
        self._requests = []
        for request in self._channel.poll():
            if request.action == "place":
                self._channel.reply(request, self._serve(request))
            else:
                self._requests.append(request)

    def after_step(self) -> None:
        """Answer what was asked about the scene."""
        for request in self._requests:
            self._channel.reply(request, self._serve(request))

    def _serve(self, request: Request) -> dict[str, Any]:
        """Answer to one request of the side channel."""
        try:
            if request.action == "place":
                poses = {name: Pose(np.array(p[:3]), np.array(p[3:])) for name, p in request.objects.items()}
                place_objects(self._model, self._data, poses, self._arm, self._base)
                return {}
            if request.action == "objects":
                return {"objects": self._object_poses()}
            if request.action == "state":
                return {
                    "time": self.server.robot_time,
                    "q": list(self._robot.inner_state.q),
                    "width": self._robot.hand_width,
                    "objects": self._object_poses(),
                }
            if request.action == "statistics":
                return {**asdict(self._pace), "missed": self.server.conformance.missed}
            if request.action == "faults":
                self.server.set_faults(Faults(**request.options))
                return {}
            if request.action == "user_stop":
                self.server.user_stop(bool(request.options["pressed"]))
                return {}
        except (SceneError, ValueError, TypeError, LookupError, ArithmeticError) as error:
            return {"error": str(error)}
        return {"error": f"unknown request {request.action!r}; choose {', '.join(ACTIONS)}"}

    def _object_poses(self) -> dict[str, list[float]]:
        poses = object_poses(self._model, self._data, self._scene.objects, self._arm, self._base)
        return {name: [*pose.translation.tolist(), *pose.quat_xyzw.tolist()] for name, pose in poses.items()}


class SimulatedRobot:
    """The scene and its arms, stepped together by `run`; see `serve` for the arguments."""

    def __init__(
        self,
        scene: SceneSpec,
        address: str = "127.0.0.1",
        scene_port: int = SCENE_PORT,
        faults: Faults | None = None,
        patience: float = 0.0,
        linger: float = 0.0,
    ) -> None:
        self._scene = scene
        self._addresses = arm_addresses(address, len(scene.bases))
        self._scene_port = scene_port
        self._faults = faults if faults is not None else Faults()
        self._patience = patience
        self._linger = linger
        self._ends = math.inf  # when it is over, whoever is still there
        self._pace = Pace()

    def run(self, ready: Callable[[], None] | None, stopped: Callable[[], bool]) -> None:
        """Serve in real time until ``stopped``. Raises `HardwareError` when a port is taken, `SceneError`."""
        for address in self._addresses:
            for port in (ROBOT_PORT, GRIPPER_PORT, self._scene_port):
                _require_free(address, port)
        simulator = start_simulator(self._scene)
        with contextlib.ExitStack() as cleanup:
            cleanup.callback(simulator.cleanup)
            arms = []
            for index, address in enumerate(self._addresses):
                arm = SimulatedArm(self._scene, simulator, index, address, self._scene_port, self._pace)
                arm.server.set_faults(self._faults)
                cleanup.callback(arm.server.cleanup)
                arm.open()
                cleanup.callback(arm.close)
                arms.append(arm)
            tick = simulator.step
            for arm in arms:  # each takes its commands, has the others do so, and sends its state after the one step
                tick = partial(arm.server.tick, tick)
            tick()  # fills what the servers report before anybody can ask for it
            if ready is not None:
                ready()
            self._loop(arms, tick, stopped)

    def _loop(self, arms: list[SimulatedArm], tick: Callable[[], None], stopped: Callable[[], bool]) -> None:
        due = alone = time.perf_counter()
        while not (stopped() and self._may_end(arms)):
            for arm in arms:
                arm.before_step()
            tick()
            self._pace.steps += 1
            for arm in arms:
                arm.after_step()
            if any(arm.connected for arm in arms):
                alone = due
            if due - alone < REST_AFTER:
                due = self._wait(due + TICK, arms)
            else:
                time.sleep(REST)
                due = time.perf_counter()

    def _may_end(self, arms: list[SimulatedArm]) -> bool:
        """Whether everybody has gone, or was waited for long enough."""
        now = time.perf_counter()
        self._ends = min(self._ends, now + self._linger)
        return now >= self._ends or not any(arm.connected for arm in arms)

    def _wait(self, due: float, arms: list[SimulatedArm]) -> float:
        """Sleep until the next tick is due; returns the schedule, moved when it cannot be kept."""
        now = time.perf_counter()
        if now - due > GREATEST_LAG:
            self._pace.lost += now - due
            due = now
        time.sleep(max(due - now, ANSWER_TIME))
        if self._patience == 0.0:
            return due
        for arm in arms:
            if not arm.server.answer_due():
                arm.in_vain = False
            elif not arm.in_vain:
                start = time.perf_counter()
                arm.in_vain = not arm.server.wait_for_answer(self._patience)
                waited = time.perf_counter() - start
                self._pace.lost += waited
                due += waited
        return due


def arm_addresses(address: str, arms: int) -> tuple[str, ...]:
    """Where the arms of one simulator are: ``address`` and those that follow. Raises `HardwareError`."""
    first = ipaddress.IPv4Address(_loopback(address))
    return tuple(_loopback(str(first + i)) for i in range(arms))


def serve(
    scene: SceneSpec,
    address: str = "127.0.0.1",
    scene_port: int = SCENE_PORT,
    ready: Callable[[], None] | None = None,
    faults: Faults | None = None,
    patience: float | None = None,
    linger: float = 0.0,
) -> None:
    """Serve simulated FR3s at ``address``, and at those that follow it, until SIGTERM or SIGINT.

    Args:
        scene: the arms and what stands around them.
        address: a loopback address, 127.x.y.z, of the first arm; each has one of its own, see `arm_addresses`.
        scene_port: TCP port of each arm's side channel (`hardware.sim.channel.client.SceneClient`).
        ready: called once, when drivers can connect.
        faults: how bad the network to the driver is; perfect when left out.
        patience: how long the robot's clock waits for a late command [s]; left out: not at all with real-time
            scheduling and a core for the driver's loop, else `PATIENCE`.
        linger: time for who is connected to go, once the signal has come [s].

    Raises:
        HardwareError: no loopback address, or a port is taken.
        SceneError: the scene cannot be built.
    """
    # A robot does not slow down when the workstation is busy. Where that cannot be had, the simulated one does.
    wait = 0.0 if len(os.sched_getaffinity(0)) >= CORES else PATIENCE
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    except PermissionError:
        wait = PATIENCE
    robot = SimulatedRobot(scene, address, scene_port, faults, wait if patience is None else patience, linger)
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
