"""A server that speaks openpi's protocol, as its own does, and answers what a test wants."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from robot_rl.policies.wire.packing import OPENPI, pack, unpack

Answer = Callable[[dict[str, Any]], object]


class OpenpiServer:
    """Answers each observation with ``answer``: bytes and text as they are, other values packed; None hangs up.

    Attributes:
        address: of the server.
        asked: the observations.
        headers: ``Authorization`` of each connection.
    """

    def __init__(self, answer: Answer, metadata: object) -> None:
        self.address = ""
        self.asked: list[dict[str, Any]] = []
        self.headers: list[str | None] = []
        self.answer, self.metadata = answer, metadata

    def handle(self, connection: ServerConnection) -> None:
        request = connection.request
        self.headers.append(request.headers.get("Authorization") if request is not None else None)
        try:
            connection.send(packed(self.metadata))
            for message in connection:
                if isinstance(message, str):
                    return
                self.asked.append(unpack(message, OPENPI))
                answer = self.answer(self.asked[-1])
                if answer is None:
                    return
                connection.send(packed(answer))
                if isinstance(answer, str):
                    connection.close(1011, "Internal server error. Traceback included in previous frame.")
        except ConnectionClosed:
            return


def packed(value: object) -> str | bytes:
    return value if isinstance(value, str | bytes) else pack(value, OPENPI)


@contextmanager
def openpi_server(answer: Answer, metadata: object = None) -> Iterator[OpenpiServer]:
    """The server at a free port of this computer, in a thread."""
    served = OpenpiServer(answer, {} if metadata is None else metadata)
    with serve(served.handle, "127.0.0.1", 0, compression=None, max_size=None) as server:
        served.address = f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()
