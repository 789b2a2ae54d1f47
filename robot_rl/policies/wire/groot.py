"""GR00T's protocol, the client's end: msgpack over ZeroMQ, one request, one answer.

    {"endpoint": "get_action", "data": {"observation": {"video": …, "state": …, "language": …}, "options": nil}}
    → [{key: (1, H, n) float32, …}, {}]        or  {"error": text}

Images are ``(1, 1, h, w, 3)``, states ``(1, 1, n)``, instructions ``[[text]]``: one robot, one observation. Before the
first request of a connection the server is asked whether it is there, and by which names it goes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import zmq

from robot_rl.contract import AnswerError
from robot_rl.policies.wire.file import WireFile
from robot_rl.policies.wire.observing import Sent
from robot_rl.policies.wire.packing import GROOT, PackingError, pack, unpack

MAX_BYTES = 16 * 2**20  # of an answer
CONNECTING = 5.0  # [s] to say that it is there


class GrootLink:
    """Connection to one server of GR00T N1.6 or later.

    Args:
        file: says where and how long to wait.
        token: as ``api_token``; "" for none.
    """

    def __init__(self, file: WireFile, token: str = "") -> None:
        self._file, self._token = file, token
        self._socket: zmq.Socket[bytes] | None = None
        self._answered = False  # on this connection: the first answer may wait for a compiler
        self._fresh = True  # the episode: the server has not been told of it

    @property
    def address(self) -> str:
        return self._file.address

    def begin(self) -> None:
        """The server is told with the next request."""
        self._fresh = True

    def ask(self, sent: Sent) -> Mapping[Any, Any]:
        """The answer to an observation. Raises `AnswerError`; whatever goes wrong ends the connection."""
        observation = {
            "video": {key: image[None, None] for key, image in sent.images.items()},
            "state": {key: values[None, None] for key, values in sent.state.items()},
            "language": {key: [[text]] for key, text in sent.prompt.items()},
        }
        try:
            self._connect()
            if self._fresh:
                self._call("reset", {"options": None}, self._patience)
                self._fresh = False
            answer = self._call("get_action", {"observation": observation, "options": None}, self._patience)
            action = self._action(answer)
        except zmq.ZMQError as error:
            self.close()
            raise AnswerError(f"{self.address} cannot be asked: {error}") from error
        except AnswerError:
            self.close()
            raise
        self._answered = True
        return action

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close(linger=0)
        self._socket = None

    @property
    def _patience(self) -> float:
        return self._file.timeout if self._answered else self._file.first_timeout

    def _connect(self) -> None:
        if self._socket is not None:
            return
        self._answered, self._fresh = False, True
        # The process's context, which is never ended: to end one waits for ever now and then where the other end left
        # with a message on its way, whatever the linger.
        self._socket = zmq.Context.instance().socket(zmq.REQ)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_BYTES)
        self._socket.connect(self.address)
        self._call("ping", None, CONNECTING)
        self._check_names(self._call("get_modality_config", None, self._file.first_timeout))

    def _call(self, endpoint: str, data: dict[str, Any] | None, patience: float) -> Any:
        """The server's answer to a request within ``patience`` [s]. Raises `AnswerError`."""
        request: dict[str, Any] = {"endpoint": endpoint}
        if data is not None:
            request["data"] = data
        if self._token:
            request["api_token"] = self._token
        socket = self._socket
        if socket is None:
            raise AnswerError(f"{self.address} is not connected")
        socket.send(pack(request, GROOT))
        if not socket.poll(round(1000.0 * patience)):
            raise AnswerError(f"{self.address} has not answered {endpoint} for {patience:g} s; is a server there?")
        message = socket.recv()
        if message == b"ERROR":
            raise AnswerError(f"{self.address} answers in words: ERROR")
        try:
            answer = unpack(message, GROOT)
        except PackingError as error:
            raise AnswerError(f"{self.address}: {error}") from error
        if isinstance(answer, dict) and "error" in answer:
            lines = str(answer["error"]).strip().splitlines() or ["(nothing)"]
            raise AnswerError(f"{self.address} answers in words: {lines[-1].strip()[:300]}")
        return answer

    def _action(self, answer: object) -> Mapping[Any, Any]:
        """The arrays ``(H, n)`` of an answer by their keys."""
        action = answer[0] if isinstance(answer, list) and len(answer) == 2 else None
        if not isinstance(action, dict):
            raise AnswerError(f"{self.address} answers with {type(answer).__name__}, not with action and information")
        for key, array in action.items():
            if not isinstance(array, np.ndarray) or array.ndim != 3 or len(array) != 1:
                shape = array.shape if isinstance(array, np.ndarray) else type(array).__name__
                raise AnswerError(f"{self.address}: {str(key)[:80]} of the answer is {shape}, and not (1, H, n)")
        return {key: array[0] for key, array in action.items()}

    def _check_names(self, said: object) -> None:
        """Raises `AnswerError` where the server says its names, and they are others than the file's."""
        modalities = {key: _modality(value) for key, value in said.items()} if isinstance(said, dict) else {}
        prompt = [self._file.prompt] if self._file.prompt else []
        ours = {"video": self._file.images, "state": self._file.state, "language": prompt}
        for kind, names in ours.items():
            theirs = modalities.get(kind, {})
            if "modality_keys" in theirs and set(theirs["modality_keys"]) != set(names):
                raise AnswerError(
                    f"{self.address} wants as {kind} {_listed(theirs['modality_keys'])}, and the file has "
                    f"{_listed(names)}"
                )
            if len(theirs.get("delta_indices", [0])) != 1:
                raise AnswerError(f"{self.address} looks back at {len(theirs['delta_indices'])} as {kind}; one is sent")
        known = modalities.get("action", {}).get("modality_keys")
        asked = {column.key or self._file.actions for column in self._file.columns}
        if known is not None and not asked <= set(known):
            raise AnswerError(
                f"{self.address} answers with {_listed(known)}, and the file's columns are of {_listed(asked)}"
            )


def _modality(value: object) -> dict[str, Any]:
    """Names that a server gives to one of its modalities; empty where it says nothing that is understood."""
    said = value.get("as_dict", value.get("as_json")) if isinstance(value, dict) else None
    if isinstance(said, str):
        try:
            said = json.loads(said)
        except ValueError:
            return {}
    lists = ("modality_keys", "delta_indices")
    return {key: said[key] for key in lists if isinstance(said.get(key), list)} if isinstance(said, dict) else {}


def _listed(names: Iterable[object]) -> str:
    return ", ".join(sorted(map(str, names)))[:200] or "none"
