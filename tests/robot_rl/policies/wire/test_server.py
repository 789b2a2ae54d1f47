"""Policies of ours served as openpi's server does, to our client, to openpi's own, and to whoever knocks."""

from __future__ import annotations

import argparse
import http.client
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from robot_rl.contract import ActionChunk, AnswerError, Observation, Policy, warm_up
from robot_rl.contract.settings import ConfigError
from robot_rl.jobs.cli import main
from robot_rl.jobs.config import load_config
from robot_rl.jobs.serve_command import make_offer
from robot_rl.policies import Served
from robot_rl.policies.wire.columns import Columns
from robot_rl.policies.wire.file import plain_names
from robot_rl.policies.wire.observing import Observing
from robot_rl.policies.wire.packing import OPENPI, pack, unpack
from robot_rl.policies.wire.remote import make_remote
from robot_rl.policies.wire.server import Offer, PolicyServer, names_of
from robot_rl.tasks.reach import Reach
from tests.robot_rl.acting import Decides
from tests.robot_rl.publishing import policy as published

TASK = Reach()
NAMES = names_of(TASK, {"front": (8, 8)})
IMAGE = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
REQUEST: dict[str, Any] = {
    "observation/image/front": IMAGE,
    "observation/to_goal": np.array([0.02, -0.004, 0.0], np.float32),
    "observation/linear_velocity": np.zeros(3),
    "observation/linear_spring": np.zeros(3, np.float32),
    "observation/tank": 2.0,
    "observation/budget": [300],
    "prompt": "reach",
}
ROWS = 3


def straight(seen: Observation) -> ActionChunk:
    """To the goal at full speed, one action a row."""
    way, scale = seen.state[:3] / TASK.fields[0].scale, np.asarray(TASK.action.scale)
    rows = []
    for _ in range(ROWS):
        rows.append(np.clip(way / scale, -1.0, 1.0))
        way = way - rows[-1] * scale
    return ActionChunk(seen.stamp_ns, np.array(rows), 7)


def offer(policy: Policy) -> Offer:
    observing = Observing(NAMES, TASK.fields, {"front": (8, 8)})
    columns = Columns(NAMES, TASK.action, TASK.control_period, TASK.fields)
    return Offer(policy, NAMES, observing, columns, "reach the ball", {"task": "reach"})


@contextmanager
def serving(policy: Policy, token: str = "") -> Iterator[int]:
    """The port of a server in a thread."""
    with PolicyServer(offer(policy), token).at("127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.socket.getsockname()[1]
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def client(port: int, **more: Any) -> Iterator[ClientConnection]:
    """A connection as openpi's client makes it."""
    with connect(f"ws://127.0.0.1:{port}", compression=None, max_size=None, proxy=None, **more) as connection:
        yield connection


def ask(connection: ClientConnection, request: object) -> Any:
    connection.send(request if isinstance(request, str | bytes) else pack(request, OPENPI))
    answer = connection.recv(30.0)
    return answer if isinstance(answer, str) else unpack(answer, OPENPI)


def test_metadata_come_first_and_say_names_sizes_and_units() -> None:
    with serving(Decides(straight)) as port, client(port) as connection:
        said = unpack(connection.recv(30.0), OPENPI)
    assert (said["task"], said["rate"], said["instruction"]) == ("reach", 10.0, "reach the ball")
    assert said["images"] == {"observation/image/front": "front"}
    assert said["state"]["observation/to_goal"] == {"size": 3, "parts": [{"field": "to_goal"}]}
    assert said["columns"][0] == {"key": "actions", "axis": "x", "means": "delta", "unit": "m"}


def test_a_policy_sees_what_the_client_sends_and_answers_in_metres() -> None:
    policy = Decides(straight)
    with serving(policy) as port, client(port) as connection:
        connection.recv(30.0)
        answer = ask(connection, REQUEST)
        ask(connection, REQUEST | {"prompt": "reach again"})
        ask(connection, {key: value for key, value in REQUEST.items() if key != "prompt"})
    step = TASK.action.scale[0]
    np.testing.assert_allclose(answer["actions"][0], [min(0.02, step), -0.004, 0.0], atol=1e-6)
    np.testing.assert_allclose(answer["actions"].sum(axis=0), [min(0.02, 3 * step), -0.004, 0.0], atol=1e-6)
    assert answer["actions"].dtype == np.float32
    assert answer["server_timing"]["infer_ms"] >= answer["policy_timing"]["infer_ms"] >= 0.0
    assert policy.began == ["reach", "reach again", "reach the ball"]
    (seen,) = policy.handed[0]
    by_name = dict(zip((field.name for field in TASK.fields), np.split(seen.state, offsets()), strict=True))
    np.testing.assert_allclose(by_name["to_goal"], TASK.fields[0].scale * REQUEST["observation/to_goal"], rtol=1e-6)
    np.testing.assert_allclose(by_name["tank"], 2.0)
    np.testing.assert_allclose(by_name["budget"], 0.9)
    assert np.array_equal(seen.images["front"], IMAGE)


def offsets() -> np.ndarray:
    return np.cumsum([field.size for field in TASK.fields])[:-1]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ("text", "bytes of msgpack, not text"),
        (b"\xc1", "no msgpack"),
        (b"\x93\x01\x02\x03", "a request is a map, not list"),
        ({}, "the key 'observation/to_goal' is missing"),
        (REQUEST | {"state": 1}, "the key 'state' is unknown"),
        (REQUEST | {"observation/to_goal": np.array([np.nan, 0, 0])}, "observation/to_goal is not finite"),
        (REQUEST | {"observation/image/front": IMAGE[:4]}, "must be an image uint8"),
    ],
    ids=["text", "bytes", "list", "empty", "unknown", "nan", "image"],
)
def test_a_request_that_is_none_is_answered_in_words_and_ends_the_connection(
    request_: object, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    policy = Decides(straight)
    with serving(policy) as port:
        with client(port) as connection:
            connection.recv(30.0)
            answer = ask(connection, request_)
            assert isinstance(answer, str) and words in answer
            with pytest.raises(ConnectionClosed) as closed:
                connection.recv(30.0)
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 1011
        with client(port) as connection:
            connection.recv(30.0)
            assert "actions" in ask(connection, REQUEST), "the server goes on"
    assert len(policy.handed) == 1


def test_a_policy_that_fails_is_said_without_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    def fail(seen: Observation) -> ActionChunk:
        raise RuntimeError("no weights")

    with caplog.at_level(logging.ERROR), serving(Decides(fail)) as port, client(port) as connection:
        connection.recv(30.0)
        assert ask(connection, REQUEST) == "robot-rl: the policy failed: RuntimeError: no weights"
    assert "Traceback" in caplog.text


def got(port: int, path: str, headers: dict[str, str]) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30.0)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


def test_its_health_is_told_and_pages_of_browsers_are_refused() -> None:
    with serving(Decides(straight), "secret") as port:
        assert got(port, "/healthz", {}) == (200, "OK\n")
        status, text = got(port, "/", UPGRADE | {"Origin": "http://evil", "Authorization": "Api-Key secret"})
        assert (status, text) == (403, "a page in a browser may not ask this policy\n")


def test_a_token_is_asked_for_and_one_client_served_at_a_time() -> None:
    right = {"additional_headers": {"Authorization": "Api-Key secret"}}
    with serving(Decides(straight), "secret") as port:
        for wrong in ({}, {"additional_headers": {"Authorization": "Api-Key guess"}}):
            with pytest.raises(InvalidStatus) as refused, client(port, **wrong):
                pass
            assert refused.value.response.status_code == 401
        with client(port, **right) as connection:
            connection.recv(30.0)
            with pytest.raises(ConnectionClosed, match="another client is connected"), client(port, **right) as second:
                second.recv(30.0)
            assert "actions" in ask(connection, REQUEST)


class LooksBack(Policy):
    history = 2

    def act(self, observations: Sequence[Observation]) -> ActionChunk:
        return straight(observations[-1])


class Faster(LooksBack):
    history = 1
    rate = 20.0


@pytest.mark.parametrize("kind", [LooksBack, Faster])
def test_policies_that_the_protocol_has_no_words_for_are_refused(kind: Callable[[], Policy]) -> None:
    with pytest.raises(ConfigError, match=r"looks back at \d observations and acts at"):
        offer(kind())


def test_our_client_takes_our_server_and_refuses_other_columns(tmp_path: Path) -> None:
    names = plain_names(NAMES)
    sizes = {"front": (8, 8)}
    with serving(Decides(straight)) as port:
        path = tmp_path / "server.yaml"

        def asking(**changes: Any) -> ActionChunk:
            path.write_text(yaml.safe_dump({"address": f"ws://127.0.0.1:{port}", **names, **changes}))
            policy = make_remote(Served("openpi", path), TASK, TASK.control_period, sizes)
            try:
                warm_up(policy, TASK.state_size, sizes, "reach")
                state = np.zeros(TASK.state_size, np.float32)
                state[:3] = TASK.fields[0].scale * np.array([0.02, -0.004, 0.0])
                return policy.act([Observation(5, 1, state, {"front": IMAGE})])
            finally:
                policy.close()

        chunk = asking()
        wanted = straight(Observation(5, 1, np.array([0.02, -0.004, 0.0]) * TASK.fields[0].scale))
        np.testing.assert_allclose(chunk.actions, wanted.actions, atol=1e-5)
        columns = names["columns"]
        with pytest.raises(AnswerError, match=r"says that column 0 is .*'x'.*and the file says .*'y'"):
            asking(columns=[columns[1], columns[0], columns[2]])
        with pytest.raises(AnswerError, match="in words: robot-rl: the key 'observation/to_goal' is missing"):
            asking(state={key: parts for key, parts in names["state"].items() if "to_goal" not in key})


def test_a_saved_policy_is_served_as_it_acts(tmp_path: Path) -> None:
    file = tmp_path / "policy.params"
    file.write_bytes(published(TASK, mean=0.4))
    config = load_config(None, ["task=reach", f"policy={file}"])
    saved = make_offer(argparse.Namespace(run=None, names=None, show=False), config)
    with PolicyServer(saved).at("127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with client(server.socket.getsockname()[1]) as connection:
                connection.recv(30.0)
                answer = ask(connection, {key: value for key, value in REQUEST.items() if "image" not in key})
        finally:
            server.shutdown()
            thread.join()
    np.testing.assert_allclose(answer["actions"], [np.tanh(0.4) * np.array(TASK.action.scale)], rtol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "which policy?"),
        (["policy=topic"], "policy=topic is another program's"),
        (["policy=openpi:a.yaml"], "is another program's"),
        (["policy=random", "--host", "nowhere"], "--host nowhere must be an IP address"),
        (["policy=random", "--host", "203.0.113.7"], "host=203.0.113.7 port=8000: nothing can be served there"),
        (["policy=random", "--port", "0"], "--port 0 must be from 1 to 65535"),
        (["policy=random", "--names", "none.yaml"], "cannot read none.yaml"),
        (["policy=none.params"], "no policy at none.params"),
    ],
)
def test_what_cannot_be_served_is_one_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAX_PLATFORMS", os.environ.get("JAX_PLATFORMS", ""))
    monkeypatch.setenv("XLA_FLAGS", os.environ.get("XLA_FLAGS", ""))
    assert main(["serve", "--task", "reach", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_names_are_shown_as_a_file_that_our_client_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAX_PLATFORMS", os.environ.get("JAX_PLATFORMS", ""))
    monkeypatch.setenv("XLA_FLAGS", os.environ.get("XLA_FLAGS", ""))
    assert main(["serve", "--show", "--task", "reach", "policy=random"]) == 0
    path = tmp_path / "server.yaml"
    path.write_text(capsys.readouterr().out)
    make_remote(Served("openpi", path), TASK, TASK.control_period, {})


def test_ctrl_c_ends_it_though_a_client_is_connected() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "robot_rl", "serve", "--task", "reach", "--port", str(port), "policy=random"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == f"policy for reach at ws://127.0.0.1:{port}; Ctrl-C ends it\n"
            with client(port) as connection:
                connection.recv(60.0)
                process.send_signal(signal.SIGINT)
                with pytest.raises(ConnectionClosed):
                    connection.recv(60.0)
            _, said = process.communicate(timeout=120)
        finally:
            process.kill()
    assert (process.returncode, said) == (130, "robot-rl: stopped\n")


CLIENT = """
import json, sys
import numpy as np
from openpi_client.websocket_client_policy import WebsocketClientPolicy

policy = WebsocketClientPolicy("127.0.0.1", int(sys.argv[1]), "secret")
asked = {"observation/to_goal": np.array([0.02, -0.004, 0.0], np.float32), "observation/tank": np.array([2.0])}
for name in ("linear_velocity", "linear_spring"):
    asked[f"observation/{name}"] = np.zeros(3, np.float32)
asked["observation/budget"] = np.array([300.0])
asked["observation/image/front"] = np.zeros((8, 8, 3), np.uint8)
answers = [policy.infer({**asked, "prompt": "reach"}) for _ in range(2)]
try:
    policy.infer({})
except RuntimeError as error:
    print(json.dumps([policy.get_server_metadata(), answers[1]["actions"].tolist(), str(error)]))
"""


def test_openpis_own_client_is_served() -> None:
    """In an environment of its own, since it pins numpy below 2: ``OPENPI_CLIENT_PYTHON`` names its interpreter."""
    python = os.environ.get("OPENPI_CLIENT_PYTHON", "")
    if not python:
        pytest.skip("OPENPI_CLIENT_PYTHON names no Python with openpi-client 0.1.2")
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "LD_LIBRARY_PATH")}
    with serving(Decides(straight), "secret") as port:
        done = subprocess.run([python, "-c", CLIENT, str(port)], capture_output=True, text=True, env=clean, timeout=120)
    assert done.returncode == 0, done.stderr
    metadata, actions, refused = json.loads(done.stdout)
    assert metadata["task"] == "reach"
    np.testing.assert_allclose(actions[0], [min(0.02, TASK.action.scale[0]), -0.004, 0.0], atol=1e-6)
    assert "the key 'observation/to_goal' is missing" in refused
