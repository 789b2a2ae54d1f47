"""openpi's protocol, the client's end: msgpack over a websocket.

The server speaks first, and says metadata. Then each binary message is a map with an observation, and each answer a map
with the array of actions. Text is an error, after which the server closes.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import socket
from collections.abc import Mapping
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from robot_rl.contract import AnswerError
from robot_rl.contract.ranges import shown
from robot_rl.policies.wire.file import WireFile, said_columns
from robot_rl.policies.wire.observing import Sent
from robot_rl.policies.wire.packing import OPENPI, PackingError, pack, unpack

MAX_BYTES = 16 * 2**20  # of an answer
CONNECTING = 5.0  # [s]
ENDING = 1.0  # [s] that the server's close, and then the library's thread, may take
LOGGER = logging.getLogger(__name__)


class OpenpiLink:
    """Connection to one server.

    Args:
        file: says where and how long to wait.
        token: as ``Authorization: Api-Key``; "" for none.
    """

    def __init__(self, file: WireFile, token: str = "") -> None:
        self._file, self._token = file, token
        self._connection: ClientConnection | None = None
        self._answered = False  # on this connection: the first answer may wait for a compiler

    @property
    def address(self) -> str:
        return self._file.address

    def begin(self) -> None:
        """The protocol has no word for it."""

    def ask(self, sent: Sent) -> Mapping[Any, Any]:
        """The answer to an observation. Raises `AnswerError`."""
        answer = self._exchange(pack({**sent.images, **sent.state, **sent.prompt}, OPENPI))
        self._answered = True
        return answer

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _exchange(self, request: bytes) -> Mapping[Any, Any]:
        """Send ``request`` and receive its answer. Whatever goes wrong ends the connection: no answer may be another's.

        Not to wait for what is late is the business of `ChunkBuffer`; ``timeout`` is for a server that hangs.
        """
        try:
            connection = self._connected()
            connection.send(request)
            return self._received(connection)
        except AnswerError:
            self._drop()
            raise
        except (OSError, WebSocketException) as error:
            self._drop()
            raise AnswerError(f"{self.address} cannot be asked: {_words(error)}") from error

    def _connected(self) -> ClientConnection:
        if self._connection is None:
            headers = {"Authorization": f"Api-Key {self._token}"} if self._token else None
            self._connection = connect(
                self.address,
                additional_headers=headers,
                compression=None,
                max_size=MAX_BYTES,
                open_timeout=CONNECTING,
                close_timeout=ENDING,
                ping_interval=None,  # openpi's server answers no ping while it thinks
                proxy=None,
            )
            self._answered = False
            metadata = self._received(self._connection)
            LOGGER.info("%s says: %s", self.address, shown(metadata))
            self._check_columns(metadata)
        return self._connection

    def _check_columns(self, metadata: Mapping[Any, Any]) -> None:
        """Raises `AnswerError` where the server says its columns, as ours does, and they are others than the file's."""
        theirs, ours = metadata.get("columns"), said_columns(self._file)
        if not isinstance(theirs, list) or theirs == ours:
            return
        for number, (there, here) in enumerate(itertools.zip_longest(theirs, ours)):
            if there != here:
                raise AnswerError(
                    f"{self.address} says that column {number} is {shown(there)}, and the file says {shown(here)}"
                )

    def _received(self, connection: ClientConnection) -> Mapping[Any, Any]:
        patience = self._file.timeout if self._answered else self._file.first_timeout
        try:
            message = connection.recv(patience)
        except TimeoutError as error:
            raise AnswerError(f"{self.address} has not answered for {patience:g} s") from error
        if isinstance(message, str):
            lines = message.strip().splitlines() or ["(nothing)"]
            raise AnswerError(f"{self.address} answers in words: {lines[-1].strip()[:300]}")
        try:
            value = unpack(message, OPENPI)
        except PackingError as error:
            raise AnswerError(f"{self.address}: {error}") from error
        if not isinstance(value, dict):
            raise AnswerError(f"{self.address} answers with {type(value).__name__}, not a map")
        return value

    def _drop(self) -> None:
        """End the connection without a word to a server that may hang.

        The library's thread is joined first: `close_socket` tells the protocol that the stream has ended, and data that
        the thread takes in after that is an "unexpected internal error" to it, with a traceback.
        """
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(OSError):  # the server ended it
                connection.socket.shutdown(socket.SHUT_RDWR)
            connection.recv_events_thread.join(ENDING)
            connection.close_socket()


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
