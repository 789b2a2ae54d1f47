"""A policy that another program is asked for."""

from __future__ import annotations

import importlib.util
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from robot_rl.contract import ActionChunk, AnswerError, ContractError, FrameSize, Observation, Policy, Shaped
from robot_rl.contract.settings import ConfigError
from robot_rl.policies import Served
from robot_rl.policies.wire.columns import Columns
from robot_rl.policies.wire.file import WireFile, read_file
from robot_rl.policies.wire.observing import Observing, Sent

LOGGER = logging.getLogger(__name__)


class Link(Protocol):
    """A server that answers one request after the other. It connects when it is asked, and again when it was lost."""

    @property
    def address(self) -> str: ...

    def ask(self, sent: Sent) -> Mapping[Any, Any]:
        """The server's answer. Raises `AnswerError` when there is none, or it is no answer."""

    def begin(self) -> None:
        """A new episode begins."""

    def close(self) -> None:
        """Disconnect."""


class RemotePolicy(Policy):
    """Asks a server by its own names, and takes of its answers only what fits.

    Args:
        observing, columns: what the names stand for.
        link: to the server.
        history: how many observations are sent.
    """

    def __init__(self, observing: Observing, columns: Columns, link: Link, history: int = 1) -> None:
        self._observing, self._columns, self._link, self.history = observing, columns, link, history
        self._instruction = ""
        self._warned = False  # that there is none

    def begin(self, instruction: str) -> None:
        if not instruction and self._observing.tells and not self._warned:
            LOGGER.warning("the task has no instruction, so %s is told nothing of what to do", self._link.address)
            self._warned = True
        self._instruction = instruction
        self._link.begin()

    def act(self, observations: Sequence[Observation]) -> ActionChunk:
        return self._ask(observations)

    def rehearse(self, observations: Sequence[Observation]) -> None:
        """As `act`; an answer about nothing may jump."""
        self._ask(observations, bounded=False)

    def close(self) -> None:
        self._link.close()

    def _ask(self, observations: Sequence[Observation], bounded: bool = True) -> ActionChunk:
        answer, newest = self._link.ask(self._observing.sent(observations, self._instruction)), observations[-1]
        try:
            moves = self._columns.moves(answer, newest.state, bounded)
            return ActionChunk(newest.stamp_ns, moves.actions, places=moves.places)
        except ContractError as error:
            raise AnswerError(f"{self._link.address}: {error}") from error


LIBRARIES = {"openpi": ("msgspec", "websockets"), "groot": ("msgspec", "zmq")}  # protocol → modules that it needs
ADDRESSES = {"openpi": "ws://gpu:8000", "groot": "tcp://gpu:5555"}  # examples


def check_libraries(kind: str) -> None:
    """Raises `ConfigError` where a module is missing that the protocol ``kind`` needs."""
    if missing := [name for name in LIBRARIES[kind] if importlib.util.find_spec(name) is None]:
        raise ConfigError(
            f"{kind} needs {' and '.join(missing)}: .venv/bin/pip install -c constraints.txt -e '.[wire]'"
        )


def check_address(file: WireFile, path: Path, example: str) -> None:
    """Raises `ConfigError` for an address that has not the form of ``example``."""
    scheme = example.partition(":")[0]
    secure = "s?" if scheme == "ws" else ""
    if re.fullmatch(rf"{scheme}{secure}://([\w.-]+|\[[0-9A-Fa-f:]+\])(:\d{{1,5}})?(/\S*)?", file.address) is None:
        raise ConfigError(f"{path}: address={file.address!r} must be {scheme}://HOST:PORT, e.g. {example}")


def token_of(file: WireFile) -> str:
    """The server's token; "" for none. Raises `ConfigError` when its file cannot be read."""
    if not file.token_file:
        return ""
    try:
        token = Path(file.token_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"token_file={file.token_file} cannot be read: {error}") from error
    if not token or not token.isascii() or not token.isprintable():
        raise ConfigError(f"token_file={file.token_file} holds no token: one line of plain characters is wanted")
    return token


def make_remote(server: Served, task: Shaped, period: float, images: Mapping[str, FrameSize]) -> RemotePolicy:
    """The policy that ``server`` has for ``task``; nothing is connected yet.

    Args:
        task: as the policy sees it.
        period: its control period [s].
        images: camera → size, see `Layout`.

    Raises `ConfigError` for a file that does not fit protocol, task or cameras, or a library that is missing.
    """
    check_libraries(server.kind)
    file = read_file(server.file)
    try:
        observing = Observing(file, task.fields, images)
        columns = Columns(file, task.action, period, task.fields)
    except ConfigError as error:
        raise ConfigError(f"{server.file}: {error}") from error
    if file.history > 1 and (server.kind != "openpi" or not columns.keeps_rate):
        why = "groot is sent one" if server.kind != "openpi" else f"rate={columns.rate:g} Hz is not the task's"
        raise ConfigError(f"{server.file}: history={file.history} is of observations one a control period, and {why}")
    check_address(file, server.file, ADDRESSES[server.kind])
    return RemotePolicy(observing, columns, _link(server.kind, file, token_of(file)), file.history)


def _link(kind: str, file: WireFile, token: str) -> Link:
    if kind == "openpi":
        from robot_rl.policies.wire.openpi import OpenpiLink

        return OpenpiLink(file, token)
    from robot_rl.policies.wire.groot import GrootLink

    return GrootLink(file, token)
