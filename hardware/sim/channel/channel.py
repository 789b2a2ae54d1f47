"""The side channel of a simulated scene: one JSON object a line over TCP, polled by the simulation's own loop.

A request is ``{"id": 1, "do": "place", "objects": {"cube": [x, y, z, qx, qy, qz, qw]}}``; its answer carries the same
``id`` and either the results or ``{"error": "..."}``.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
from dataclasses import dataclass, field
from typing import Any

SCENE_PORT = 1339  # where the channel is, unless told otherwise
LONGEST_LINE = 1 << 20  # bytes; a client that sends more without a newline is cut off


@dataclass(eq=False)
class Client:
    """One connection: its socket and what has come in of the line under way."""

    socket: socket.socket
    pending: bytearray = field(default_factory=bytearray)


@dataclass(frozen=True, eq=False)
class Request:
    """``action`` asked for by ``client``; ``objects`` maps names to ``(7,)`` poses [m, quaternion xyzw]; ``options``
    are the action's own."""

    client: Client
    number: int
    action: str
    objects: dict[str, list[float]]
    options: dict[str, Any] = field(default_factory=dict)


class SceneChannel:
    """Listening end of the channel. Never blocks."""

    def __init__(self, address: str, port: int) -> None:
        """Raises `OSError` when the port is taken."""
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server((address, port))
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, None)

    @property
    def connected(self) -> bool:
        """Whether there is a client."""
        return any(key.data is not None for key in self._selector.get_map().values())

    def poll(self) -> list[Request]:
        """Requests that have come in since the last call, in order."""
        requests: list[Request] = []
        for key, _ in self._selector.select(0):
            if key.data is None:
                self._accept()
            else:
                requests += self._receive(key.data)
        return requests

    def reply(self, request: Request, content: dict[str, Any]) -> None:
        """Answer; a client that has gone or does not read is dropped."""
        line = json.dumps({"id": request.number, **content}).encode() + b"\n"
        try:
            request.client.socket.sendall(line)
        except OSError:
            self._drop(request.client)

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._selector.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._listener.accept()
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(connection, selectors.EVENT_READ, Client(connection))

    def _receive(self, client: Client) -> list[Request]:
        try:
            chunk = client.socket.recv(65536)
        except BlockingIOError:
            return []
        except OSError:
            chunk = b""
        client.pending += chunk
        if not chunk or len(client.pending) > LONGEST_LINE:
            self._drop(client)
            return []
        *lines, rest = client.pending.split(b"\n")
        client.pending = bytearray(rest)
        requests = []
        for line in lines:
            try:
                content = json.loads(line)
                number, action = int(content["id"]), str(content["do"])
                objects, options = dict(content.get("objects") or {}), dict(content.get("options") or {})
                requests.append(Request(client, number, action, objects, options))
            except (ValueError, LookupError, TypeError, ArithmeticError, RecursionError):
                self._drop(client)  # not our protocol
                return []
        return requests

    def _drop(self, client: Client) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(client.socket)
        client.socket.close()
