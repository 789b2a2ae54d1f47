"""Who may see the page, decided before anything is served: the page itself and the websocket alike.

At an address of this computer only, a request has to name it, so that no other site's page in the person's browser
reaches the arm. At any other address it has to show the token as well, in the address or in the cookie that this sets.
"""

from __future__ import annotations

import contextlib
import hmac
import http
import ipaddress
import logging
import os
import secrets
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import websockets.asyncio.server as websocket_server
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from robot_rl.contract.settings import ConfigError

COOKIE = "robot_rl_console"
TOKEN_BYTES = 24
PING = 2.0  # [s] between two questions to a browser whether it is there
SILENCE = 5.0  # [s] without an answer after which it has let go of everything


@dataclass(frozen=True)
class Guard:
    """``token``: to be shown; "" where the page is served to this computer only."""

    token: str = ""

    def refuse(self, request: Request) -> Response | None:
        """The answer to a request that gets nothing else; None for one that may go on."""
        host = urlsplit(f"//{request.headers.get('Host', '')}").hostname or ""
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("Host", ""):
            return _answer(http.HTTPStatus.FORBIDDEN, "another site's page may not use this one")
        if not self.token:
            if not _of_this_computer(host):
                return _answer(http.HTTPStatus.FORBIDDEN, "open this page at http://localhost")
            return None
        given = parse_qs(urlsplit(request.path).query).get("token", [""])[0]
        if self._matches(given):
            cookie = f"{COOKIE}={self.token}; HttpOnly; SameSite=Strict; Path=/"
            return _answer(http.HTTPStatus.SEE_OTHER, "", {"Location": "/", "Set-Cookie": cookie})
        if not self._matches(_cookie(request.headers.get("Cookie", ""))):
            return _answer(http.HTTPStatus.UNAUTHORIZED, "this page needs the token that robot-rl has printed")
        return None

    def _matches(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.token.encode())


@contextlib.contextmanager
def guarded(guard: Guard) -> Iterator[None]:
    """The server of websockets that viser starts meanwhile asks ``guard`` first, and notices a browser that is gone.

    Raises `ConfigError` when none was started: nothing may be served past the guard.
    """
    original = websocket_server.serve
    started: list[bool] = []
    quiet = logging.getLogger(__name__)
    quiet.setLevel(logging.CRITICAL)  # browsers connect in advance and go without a request, which is no error

    def serve(handler: Any, *args: Any, process_request: Callable[..., Any], **kwargs: Any) -> Any:
        def first(connection: Any, request: Request) -> Any:
            return guard.refuse(request) or process_request(connection, request)

        started.append(True)
        return original(
            handler, *args, process_request=first, ping_interval=PING, ping_timeout=SILENCE, logger=quiet, **kwargs
        )

    websocket_server.serve = serve  # type: ignore[misc, assignment]
    try:
        yield
    finally:
        websocket_server.serve = original  # type: ignore[misc]
    if not started:
        raise ConfigError("this version of viser serves its page in a way that cannot be guarded; install viser 1.1")


def check_address(host: str) -> None:
    """Raises `ConfigError` when nothing can be served at ``host``, which viser would try for ever."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((host, 0))
    except OSError as error:
        raise ConfigError(f"console.host={host} is no address of this computer: {error.strerror}") from error


def token_at(path: Path) -> str:
    """The token kept in the file ``path``, for its owner alone; made where there is none."""
    with contextlib.suppress(FileExistsError), open(path, "x", encoding="utf-8", opener=_private) as file:
        file.write(secrets.token_urlsafe(TOKEN_BYTES))
    token = path.read_text(encoding="utf-8").strip()
    if not token:
        raise ConfigError(f"{path} should hold a token, and is empty; remove it")
    return token


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _of_this_computer(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _cookie(header: str) -> str:
    try:
        cookies = SimpleCookie(header)
    except CookieError:
        return ""
    return cookies[COOKIE].value if COOKIE in cookies else ""


def _answer(status: http.HTTPStatus, text: str, headers: dict[str, str] | None = None) -> Response:
    body = f"{text}\n".encode()
    fixed = {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(body)), "Connection": "close"}
    return Response(status.value, status.phrase, Headers({**fixed, **(headers or {})}), body)
