"""A server that speaks GR00T's protocol, as its own does, and answers what a test wants."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import zmq

from robot_rl.policies.wire.packing import GROOT, pack, unpack

NAMES = {
    "video": {"modality_keys": [], "delta_indices": [0]},
    "state": {"modality_keys": ["observation/way", "observation/velocity"], "delta_indices": [0]},
    "language": {"modality_keys": ["prompt"], "delta_indices": [0]},
    "action": {"modality_keys": ["eef", "rest"], "delta_indices": [0, 1, 2, 3]},
}


def modalities(**changes: Any) -> dict[str, Any]:
    return {
        key: {"__ModalityConfig_class__": True, "as_dict": {**value, **changes.get(key, {})}}
        for key, value in NAMES.items()
    }


class GrootServer:
    """Answers each observation with ``answer``: bytes as they are, other values packed.

    Attributes:
        address: of the server.
        called: endpoints in the order in which they were asked.
        asked: the observations.
    """

    def __init__(self, answer: Callable[[dict[str, Any]], object], names: object, token: str) -> None:
        self.address = ""
        self.called: list[str] = []
        self.asked: list[dict[str, Any]] = []
        self.answer, self.names, self.token = answer, names, token

    def reply(self, message: bytes) -> bytes:
        request = unpack(message, GROOT)
        if self.token and request.get("api_token") != self.token:
            return pack({"error": "Unauthorized: Invalid API token"}, GROOT)
        self.called.append(request["endpoint"])
        if request["endpoint"] == "ping":
            return pack({"status": "ok", "message": "Server is running"}, GROOT)
        if request["endpoint"] == "get_modality_config":
            return pack(self.names, GROOT)
        if request["endpoint"] == "reset":
            assert request["data"] == {"options": None}
            return pack({}, GROOT)
        self.asked.append(request["data"]["observation"])
        answer = self.answer(self.asked[-1])
        return answer if isinstance(answer, bytes) else pack(answer, GROOT)


@contextmanager
def groot_server(
    answer: Callable[[dict[str, Any]], object], names: object = None, token: str = ""
) -> Iterator[GrootServer]:
    """The server at a free port of this computer, in a thread."""
    served = GrootServer(answer, modalities() if names is None else names, token)
    socket, ending = zmq.Context.instance().socket(zmq.REP), threading.Event()
    served.address = f"tcp://127.0.0.1:{socket.bind_to_random_port('tcp://127.0.0.1')}"

    def run() -> None:
        while not ending.is_set():
            if socket.poll(20):
                socket.send(served.reply(socket.recv()))
        socket.close(linger=0)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield served
    finally:
        ending.set()
        thread.join()
