"""Nobody is served, by page or websocket, who may not be."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.http11 import Request
from websockets.sync.client import connect

from robot_rl.console.config import ConsoleConfig
from robot_rl.console.guard import COOKIE, Guard, check_address, guarded, token_at
from robot_rl.contract.ranges import RangeError
from robot_rl.contract.settings import ConfigError

viser = pytest.importorskip("viser", reason="the page is not installed (robot-rl[console])")
TOKEN = "an-open-secret"
PROTOCOL = f"viser-v{viser.__version__}"


@pytest.fixture(scope="module", params=["", TOKEN])
def served(request: pytest.FixtureRequest) -> Iterator[tuple[int, str]]:
    """Port and token of viser's own server behind the guard."""
    with guarded(Guard(request.param)):
        server = viser.ViserServer(host="127.0.0.1", port=0, verbose=False)
    yield server.get_port(), request.param
    server.stop()


def get(port: int, path: str = "/", **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path, headers={"Host": f"localhost:{port}"} | headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, answer.headers, body


def open_websocket(port: int, origin: str | None = None, **headers: str) -> None:
    with connect(
        f"ws://localhost:{port}", subprotocols=[PROTOCOL], additional_headers=headers, origin=origin, max_size=None
    ) as websocket:
        websocket.recv(timeout=60)


def test_who_may_gets_page_and_websocket(served: tuple[int, str]) -> None:
    port, token = served
    cookie = {"Cookie": f"{COOKIE}={token}"} if token else {}
    status, _, body = get(port, **cookie)
    assert status == 200
    assert b"<html" in body
    open_websocket(port, f"http://localhost:{port}", **cookie)


def test_the_token_in_the_address_becomes_a_cookie(served: tuple[int, str]) -> None:
    port, token = served
    if not token:
        return
    status, headers, body = get(port, f"/?token={token}")
    assert (status, headers["Location"], body) == (303, "/", b"\n")
    cookie = headers["Set-Cookie"].split(";")[0]
    assert "HttpOnly" in headers["Set-Cookie"]
    assert get(port, Cookie=cookie)[0] == 200


def test_a_browser_that_connects_in_advance_and_goes_is_no_error(
    served: tuple[int, str], caplog: pytest.LogCaptureFixture
) -> None:
    port, _ = served
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b""  # the server has noticed
    get(port)
    assert caplog.records == []


@pytest.mark.parametrize("headers", [{}, {"Cookie": f"{COOKIE}=wrong"}, {"Cookie": f"{COOKIE}=;;;"}])
def test_without_the_token_nothing_is_served(served: tuple[int, str], headers: dict[str, str]) -> None:
    port, token = served
    if not token:
        return
    for path in ("/", "/index.html", "/?token=wrong", "/?token="):
        status, answered, body = get(port, path, **headers)
        assert status == 401
        assert "Set-Cookie" not in answered
        assert b"<html" not in body
    with pytest.raises(InvalidStatus, match="401"):
        open_websocket(port, **headers)


def test_another_sites_page_reaches_nothing(served: tuple[int, str]) -> None:
    port, token = served
    cookie = {"Cookie": f"{COOKIE}={token}"} if token else {}
    with pytest.raises(InvalidStatus, match="403"):
        open_websocket(port, "http://evil.example", **cookie)
    if not token:  # a name of another site that has come to mean this computer
        assert get(port, Host="evil.example")[0] == 403
        assert get(port, Host="")[0] == 403


def test_the_server_that_evades_the_guard_is_an_error() -> None:
    with pytest.raises(ConfigError, match="cannot be guarded"), guarded(Guard()):
        pass


@pytest.mark.parametrize("host", ["127.0.0.1:80", "localhost", "[::1]:80", "127.8.9.1"])
def test_this_computer_has_several_names(host: str) -> None:
    from websockets.datastructures import Headers

    assert Guard().refuse(Request("/", Headers(Host=host))) is None


def test_a_token_is_kept_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "token"
    token = token_at(path)
    assert len(token) >= 32
    assert token_at(path) == token
    assert path.stat().st_mode & 0o077 == 0
    path.write_text("")
    with pytest.raises(ConfigError, match="empty"):
        token_at(path)


def test_an_address_of_another_computer_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1 is no address of this computer"):
        check_address("192.0.2.1")
    check_address("127.0.0.1")


def test_only_addresses_of_this_computer_go_without_a_token() -> None:
    assert ConsoleConfig().loopback
    assert ConsoleConfig(host="::1").loopback
    assert not ConsoleConfig(host="0.0.0.0").loopback
    with pytest.raises(RangeError, match="must be an IP address"):
        ConsoleConfig(host="example.org")
