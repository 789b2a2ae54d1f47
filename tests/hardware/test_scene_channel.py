from __future__ import annotations

import contextlib
import json
import socket
import struct
import subprocess
import sys

import numpy as np
import pytest

from controllers.spatial import Pose
from hardware.franka.process import GRIPPER_PORT, ROBOT_PORT
from hardware.interfaces import HardwareError, SceneControl
from hardware.manual_scene import ManualScene
from hardware.sim.channel.client import SceneClient
from tests.hardware.simulated import SCENE_PORT, SERVER, SimulatedServer, environment, simulated_server, unused_address

pytest.importorskip("franky_sim")

from hardware.scene import SceneSpec
from hardware.sim.fci.server import SimulatedRobot

ON_THE_FLOOR = Pose(np.array([0.45, -0.1, 0.02]), np.array([0.0, 0.0, 0.6, 0.8]))


@pytest.fixture
def scene(robot: SimulatedServer):
    with SceneClient(robot.address, SCENE_PORT) as scene:
        yield scene


def test_objects_lie_where_they_were_placed(scene: SceneClient) -> None:
    assert isinstance(scene, SceneControl)
    for _ in range(3):  # however often, and wherever they were
        scene.place({"cube": ON_THE_FLOOR})
        np.testing.assert_allclose(scene.objects()["cube"].difference(ON_THE_FLOOR), 0.0, atol=2e-3)


def test_placing_is_done_when_the_call_returns(scene: SceneClient) -> None:
    high = Pose(np.array([0.3, 0.3, 0.8]), np.array([0.0, 0.0, 0.0, 1.0]))
    scene.place({"cube": high})
    height = scene.objects()["cube"].translation[2]
    assert 0.02 < height <= 0.8
    scene.place({"cube": ON_THE_FLOOR})
    assert scene.objects()["cube"].translation[2] < 0.03


def test_state_holds_what_a_renderer_needs(scene: SceneClient) -> None:
    state = scene.state()
    assert state.q.shape == (7,)
    assert 0.0 <= state.width <= 0.081
    assert set(state.objects) == {"cube"}
    before = scene.statistics()["steps"]
    assert scene.statistics()["steps"] > before


def test_unknown_objects_are_refused_and_nothing_moves(scene: SceneClient) -> None:
    scene.place({"cube": ON_THE_FLOOR})
    elsewhere = ON_THE_FLOOR.moved(np.array([0.1, 0.0, 0.0, 0.0, 0.0, 0.0]))
    with pytest.raises(HardwareError, match="cubes"):
        scene.place({"cube": elsewhere, "cubes": elsewhere})
    np.testing.assert_allclose(scene.objects()["cube"].difference(ON_THE_FLOOR), 0.0, atol=2e-3)


def test_what_is_no_request_is_cut_off_and_the_simulation_goes_on(robot: SimulatedServer, scene: SceneClient) -> None:
    strange = [b"GET / HTTP/1.1\r\n", b"[1]\n", b'{"id": "x"}\n', b'{"id":1e400}\n', b'{"id":1e400,"do":"state"}\n']
    strange += [b"[" * 100_000 + b"\n", b'{"a":' * 100_000 + b"\n", b"9" * 5000 + b"\n", b"\xff\xfe\n", b"null\n"]
    for line in strange:
        with socket.create_connection((robot.address, SCENE_PORT), timeout=5.0) as stranger:
            stranger.sendall(line)
            assert stranger.recv(1) == b""
    assert scene.objects()


@pytest.mark.parametrize(
    "request_",
    [
        '{"id": 1, "do": "place", "objects": {"cube": 1e400}}',
        '{"id": 1, "do": "place", "objects": {"cube": [1e400, 0, 0, 0, 0, 0, 1]}}',
        '{"id": 1, "do": "place", "objects": {"cube": [NaN, 0, 0, 0, 0, 0, 1]}}',
        '{"id": 1, "do": "place", "objects": {"cube": [0, 0, 0, 0, 0, 0, 0]}}',
        '{"id": 1, "do": "place", "objects": {"cube": []}}',
        '{"id": 1, "do": "place", "objects": {"cube": {"x": 1}}}',
        '{"id": 1, "do": "faults", "options": {"loss": 1e400}}',
        '{"id": 1, "do": "faults", "options": {"delay": "long"}}',
        '{"id": 1, "do": "user_stop"}',
        '{"id": 1, "do": "nothing"}',
    ],
)
def test_a_request_that_cannot_be_served_is_answered_in_words(
    request_: str, robot: SimulatedServer, scene: SceneClient
) -> None:
    with socket.create_connection((robot.address, SCENE_PORT), timeout=30.0) as stranger:
        stranger.sendall(request_.encode() + b"\n")
        answer = json.loads(stranger.makefile("rb").readline())
    assert answer["id"] == 1 and answer["error"]
    assert np.isfinite(scene.objects()["cube"].translation).all()


def test_garbage_at_the_robots_own_ports_is_refused_and_the_simulator_lives(
    robot: SimulatedServer, scene: SceneClient
) -> None:
    rng = np.random.default_rng(0)
    for port, commands, header in ((ROBOT_PORT, 12, "<III"), (GRIPPER_PORT, 6, "<HII")):
        length = struct.calcsize(header)
        for command in range(commands):
            for size in (0, 1, 8, 56, 57, 400):
                for claimed in (length + size, 4, 2**32 - 1):
                    with (
                        socket.create_connection((robot.address, port), timeout=5.0) as stranger,
                        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as states,
                    ):
                        states.bind((robot.address, 0))
                        connect = struct.pack(header, 0, 1, length + 8) + struct.pack(
                            "<HH4x", 9, states.getsockname()[1]
                        )
                        payload = rng.integers(0, 256, size, dtype=np.uint8).tobytes()
                        with contextlib.suppress(OSError):  # cut off
                            stranger.sendall(connect)
                            stranger.recv(20)
                            stranger.sendall(struct.pack(header, command, 2, claimed) + payload)
                before = scene.statistics()["steps"]
                assert scene.statistics()["steps"] > before
    assert robot.process.poll() is None


def test_two_clients_are_served(robot: SimulatedServer, scene: SceneClient) -> None:
    with SceneClient(robot.address, SCENE_PORT) as other:
        assert set(other.objects()) == set(scene.objects()) == {"cube"}


def test_no_simulator_at_the_address() -> None:
    client = SceneClient(unused_address(), SCENE_PORT)
    with pytest.raises(HardwareError, match="robot-rl sim"):
        client.connect()
    with pytest.raises(HardwareError, match="connect"):
        client.objects()


def test_simulator_that_stops_ends_its_clients_and_exits_cleanly() -> None:
    with simulated_server() as server, SceneClient(server.address, SCENE_PORT) as client:
        server.process.terminate()
        assert server.process.wait() == 0
        with pytest.raises(HardwareError, match=server.address):
            client.objects()


def test_a_simulator_that_shall_end_waits_for_those_who_are_there() -> None:
    with simulated_server(linger=600.0) as server:
        with SceneClient(server.address, SCENE_PORT) as client:
            client.objects()  # it is known to be there
            server.process.terminate()
            for _ in range(300):  # a tick of a millisecond each, at least
                client.objects()
            assert server.process.poll() is None
        assert server.process.wait() == 0


def test_a_simulator_waits_for_nobody_for_ever() -> None:
    with simulated_server(linger=0.05) as server, SceneClient(server.address, SCENE_PORT) as client:
        client.objects()
        server.process.terminate()
        assert server.process.wait() == 0


def test_port_taken_is_said_with_address_and_port(robot: SimulatedServer) -> None:
    second = SimulatedRobot(SceneSpec(), robot.address, SCENE_PORT)
    with pytest.raises(HardwareError, match=f"port 1337 at {robot.address} is taken"):
        second.run(None, lambda: True)
    process = subprocess.run(
        [sys.executable, "-c", SERVER, robot.address], capture_output=True, text=True, env=environment()
    )
    assert process.returncode == 1
    assert "is taken" in process.stderr.splitlines()[-1]


@pytest.mark.parametrize("address", ["0.0.0.0", "192.168.0.10", "robot.example"])
def test_only_loopback_addresses_are_served(address: str) -> None:
    with pytest.raises(HardwareError, match=r"127\.0\.0\.1"):
        SimulatedRobot(SceneSpec(), address)


def test_manual_scene_asks_a_person() -> None:
    asked: list[str] = []
    scene = ManualScene(asked.append)
    assert isinstance(scene, SceneControl)
    scene.place({"peg": ON_THE_FLOOR})
    assert asked == ["Please bring peg to x 0.450, y -0.100, z 0.020 m (in the robot's base frame)."]
    assert scene.objects() == {}
    scene.place({})
    assert len(asked) == 1
    ManualScene(asked.append, "Push the peg into the rack.").place({})
    assert asked[1:] == ["Push the peg into the rack."]
