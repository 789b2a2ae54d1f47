"""Control over a simulated scene from another process: place objects, read what a renderer needs."""

from __future__ import annotations

import json
import socket
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from controllers.spatial import Pose
from hardware.interfaces import HardwareError
from hardware.sim.channel.channel import SCENE_PORT
from hardware.sim.channel.faults import Faults

CONNECT_TIMEOUT = 2.0  # [s]
REPLY_TIMEOUT = 5.0  # [s]


@dataclass(frozen=True, eq=False)
class SceneState:
    """One instant, as a renderer needs it.

    Attributes:
        time: robot time [s], the clock of the arm's state.
        q: joint positions ``(7,)`` [rad].
        width: opening of the gripper [m].
        objects: poses of the movable objects in the base frame.
    """

    time: float
    q: np.ndarray
    width: float
    objects: dict[str, Pose]


class SceneClient:
    """`hardware.interfaces.SceneControl` of the simulated robot at ``address``."""

    def __init__(self, address: str, port: int = SCENE_PORT) -> None:
        self._address = address
        self._port = port
        self._socket: socket.socket | None = None
        self._requests = 0

    def __enter__(self) -> SceneClient:
        self.connect()
        return self

    def __exit__(self, *exception: object) -> None:
        self.disconnect()

    def connect(self) -> None:
        """Raises `HardwareError` when no simulated robot serves there."""
        self.disconnect()
        try:
            self._socket = socket.create_connection((self._address, self._port), timeout=CONNECT_TIMEOUT)
        except OSError as error:
            raise HardwareError(
                f"no simulated scene at {self._address}:{self._port} ({error}); start the simulator: robot-rl sim"
            ) from error
        self._socket.settimeout(REPLY_TIMEOUT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._lines = self._socket.makefile("rb")

    def disconnect(self) -> None:
        if self._socket is not None:
            self._lines.close()
            self._socket.close()
            self._socket = None

    def place(self, objects: dict[str, Pose]) -> None:
        """Put each named object at its pose in the base frame, at rest; returns when the simulation has done so.

        Raises `HardwareError`: a name that is no movable object (nothing has been moved then), or a lost connection.
        """
        self._ask(
            "place", {name: [*pose.translation.tolist(), *pose.quat_xyzw.tolist()] for name, pose in objects.items()}
        )

    def objects(self) -> dict[str, Pose]:
        """Poses of all movable objects in the base frame. Raises `HardwareError`."""
        return _poses(self._ask("objects")["objects"])

    def state(self) -> SceneState:
        """Arm, gripper and objects at one instant. Raises `HardwareError`."""
        reply = self._ask("state")
        return SceneState(float(reply["time"]), np.array(reply["q"]), float(reply["width"]), _poses(reply["objects"]))

    def statistics(self) -> dict[str, float]:
        """``steps`` done, time ``lost`` [s] to a slow machine, commands ``missed``. Raises `HardwareError`."""
        reply = self._ask("statistics")
        return {name: reply[name] for name in ("steps", "lost", "missed")}

    def set_faults(self, faults: Faults) -> None:
        """Make the network between the simulated arm and its driver as bad as this. Raises `HardwareError`."""
        self._ask("faults", options=asdict(faults))

    def user_stop(self, pressed: bool) -> None:
        """Press or release the simulated arm's user stop. Raises `HardwareError`."""
        self._ask("user_stop", options={"pressed": pressed})

    def _ask(
        self, action: str, objects: dict[str, list[float]] | None = None, options: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        if self._socket is None:
            raise HardwareError(f"the scene at {self._address}:{self._port} is not connected; call connect() first")
        self._requests += 1
        request = {"id": self._requests, "do": action, "objects": objects, "options": options}
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
            line = self._lines.readline()
            reply: dict[str, Any] | None = json.loads(line) if line else None
        except (OSError, ValueError) as error:
            self.disconnect()
            raise HardwareError(
                f"the scene at {self._address}:{self._port} does not answer ({error}); is robot-rl sim still running?"
            ) from error
        if reply is None:
            self.disconnect()
            raise HardwareError(
                f"the scene at {self._address}:{self._port} closed the connection; start the simulator: robot-rl sim"
            )
        if "error" in reply:
            raise HardwareError(f"the scene at {self._address} refused to {action}: {reply['error']}")
        return reply


def _poses(values: dict[str, list[float]]) -> dict[str, Pose]:
    return {name: Pose(np.array(v[:3]), np.array(v[3:])) for name, v in values.items()}
