"""openpi's protocol, the server's end: a policy of ours for openpi's own client.

The metadata say by which names and units observations are wanted and actions come (`Offer.metadata`). One client is
served at a time, because a policy has one memory; a new connection, or another instruction, begins a new episode. A
request that is none is answered in words, after which the connection ends, as openpi's server does it. Somebody else's
policy is served the same way, when it is offered as `Offered` is.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hmac
import http
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

from robot_rl.contract import ContractError, FrameSize, Memory, Policy, Shaped
from robot_rl.contract.settings import ConfigError
from robot_rl.policies.wire.columns import Columns
from robot_rl.policies.wire.file import ColumnSpec, PartSpec, WireFile, plain_spec, said_columns
from robot_rl.policies.wire.observing import Observing
from robot_rl.policies.wire.packing import OPENPI, pack, unpack

MAX_BYTES = 64 * 2**20  # of a request
HEALTH = "/healthz"
LEAVING = 2.0  # [s] that a client may take to go before the next one is refused
LOGGER = logging.getLogger(__name__)
QUIET = logging.getLogger("robot_rl.policies.wire.websockets")
QUIET.setLevel(logging.CRITICAL)  # who connects and goes is no error

# A client's request → the answer to it. Raises `ContractError`, in words for the client, for a request that is none.
Answering = Callable[[Mapping[Any, Any]], Mapping[str, Any]]


class Offered(Protocol):
    """A policy as a `PolicyServer` serves it."""

    def metadata(self) -> Mapping[str, Any]:
        """The server's first message."""

    def conversation(self) -> Answering:
        """How the requests of one connection are answered, one after the other."""


def names_of(task: Shaped, cameras: Mapping[str, FrameSize]) -> WireFile:
    """Names by which a policy for ``task`` is served where no file says others: a key for each field and camera.

    Actions are displacements in metres and radians, the gripper's number its opening, 0–1.
    """
    columns = []
    for axis in task.action.axes:
        if axis == "gripper":
            columns.append(ColumnSpec(axis, open=1.0, closed=0.0))
        else:
            columns.append(ColumnSpec(axis, "delta", "m" if axis in ("x", "y", "z") else "rad"))
    return WireFile(
        images={f"observation/image/{camera}": camera for camera in cameras},
        state={f"observation/{field.name}": (PartSpec(field.name),) for field in task.fields},
        prompt="prompt",
        columns=tuple(columns),
    )


@dataclass(frozen=True)
class Offer:
    """A policy as it is served.

    Attributes:
        policy: one action a control period, looking at one observation.
        file: the names.
        observing, columns: what they stand for.
        instruction: of the task, where the client sends none.
        about: more metadata.
    """

    policy: Policy
    file: WireFile
    observing: Observing
    columns: Columns
    instruction: str = ""
    about: Mapping[str, object] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises `ConfigError` for a policy or names that the protocol has no words for."""
        self.observing.check_whole()
        if self.file.history > 1:
            raise ConfigError(f"history={self.file.history}: a policy of ours is served that looks at one observation")
        if not self.columns.keeps_rate:
            raise ConfigError(
                f"rate={self.columns.rate:g} Hz is not the task's, by which the policy acts; leave it out"
            )
        if self.columns.moves_joints:
            raise ConfigError("columns: a policy of ours moves the TCP; name its axes, and no joints")
        if self.policy.history > 1 or self.policy.rate is not None:
            raise ConfigError(
                f"policy {type(self.policy).__name__} looks back at {self.policy.history} observations and acts at "
                f"{self.policy.rate or 'the task’s'} Hz; one that is served looks at one, and acts at the task's rate"
            )

    def metadata(self) -> dict[str, Any]:
        """The server's first message: names, sizes and units."""
        return {
            **self.about,
            "instruction": self.instruction,
            "rate": self.columns.rate,
            "images": dict(self.file.images),
            "state": {
                key: {"size": self.observing.sizes()[key], "parts": [plain_spec(part) for part in parts]}
                for key, parts in self.file.state.items()
            },
            "prompt": self.file.prompt,
            "columns": said_columns(self.file),
        }

    def conversation(self) -> Answering:
        """Requests by the file's names; another instruction begins a new episode."""
        memory, numbers, episode, said = Memory(), itertools.count(), 0, None

        def answer(request: Mapping[Any, Any]) -> Mapping[str, Any]:
            nonlocal episode, said
            observation = self.observing.received(request, next(numbers))
            instruction = self.observing.instruction(request, self.instruction)
            episode, said = episode + (instruction != said), instruction
            memory.see(self.policy, observation, episode, instruction)
            began = time.perf_counter()
            chunk = memory.ask(self.policy)
            if chunk.times is not None or chunk.places is not None:
                raise ContractError("the policy stamps its actions, or says places, for which the server has no words")
            took = 1000.0 * (time.perf_counter() - began)
            return {**self.columns.answer(chunk.actions, observation.state), "policy_timing": {"infer_ms": took}}

        return answer


class PolicyServer:
    """Serves one policy to one client at a time.

    Args:
        offer: a policy.
        token: that a client shows as ``Authorization: Api-Key``; "" for none.
    """

    def __init__(self, offer: Offered, token: str = "") -> None:
        self._offer, self._token = offer, token
        self._busy = threading.Lock()
        self._connection: ServerConnection | None = None

    @contextlib.contextmanager
    def at(self, host: str, port: int) -> Iterator[Server]:
        """The server, which listens; it serves while its ``serve_forever`` runs. Afterwards no connection is left.

        ``port``: 0 for any that is free. Raises `ConfigError` for an address where nothing can be served.
        """
        try:
            server = serve(
                self._handle,
                host,
                port,
                compression=None,
                max_size=MAX_BYTES,
                process_request=self._refuse,
                server_header=None,
                logger=QUIET,
            )
        except OSError as error:
            raise ConfigError(f"host={host} port={port}: nothing can be served there: {error.strerror}") from error
        with server:
            try:
                yield server
            finally:
                if (connection := self._connection) is not None:
                    connection.close_socket()

    def _refuse(self, connection: ServerConnection, request: Request) -> Response | None:
        """The answer to a request that is no client's; None for one that may go on."""
        if request.path == HEALTH:
            return _said(http.HTTPStatus.OK, "OK")
        if "Origin" in request.headers:
            return _said(http.HTTPStatus.FORBIDDEN, "a page in a browser may not ask this policy")
        shown = request.headers.get("Authorization", "")
        if self._token and not hmac.compare_digest(shown.encode(), f"Api-Key {self._token}".encode()):
            return _said(http.HTTPStatus.UNAUTHORIZED, "this policy needs the token that robot-rl has printed")
        return None

    def _handle(self, connection: ServerConnection) -> None:
        if not self._busy.acquire(timeout=LEAVING):
            connection.close(CloseCode.TRY_AGAIN_LATER, "another client is connected; one is served at a time")
            return
        self._connection = connection
        try:
            self._converse(connection)
        except ConnectionClosed:
            return
        finally:
            self._connection = None
            self._busy.release()

    def _converse(self, connection: ServerConnection) -> None:
        answering = self._offer.conversation()
        connection.send(pack(self._offer.metadata(), OPENPI))
        for message in connection:
            began = time.perf_counter()
            try:
                if isinstance(message, str):
                    raise ContractError("a request is bytes of msgpack, not text")
                request = unpack(message, OPENPI)
                if not isinstance(request, dict):
                    raise ContractError(f"a request is a map, not {type(request).__name__}")
                answer = answering(request)
            except ContractError as error:
                LOGGER.error("request refused: %s", error)
                _hang_up(connection, str(error))
                break
            except Exception as error:  # of a policy of somebody's own
                LOGGER.exception("the policy failed")
                _hang_up(connection, f"the policy failed: {type(error).__name__}: {error}")
                break
            took = 1000.0 * (time.perf_counter() - began)
            connection.send(pack({**answer, "server_timing": {"infer_ms": took}}, OPENPI))


def _hang_up(connection: ServerConnection, why: str) -> None:
    connection.send(f"robot-rl: {why}")
    connection.close(CloseCode.INTERNAL_ERROR, "the frame before says why")


def _said(status: http.HTTPStatus, text: str) -> Response:
    body = f"{text}\n".encode()
    fixed = {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(body)), "Connection": "close"}
    return Response(status.value, status.phrase, Headers(fixed), body)
