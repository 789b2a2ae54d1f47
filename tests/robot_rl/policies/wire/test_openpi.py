"""The arm driven by an openpi server, in process: what it is asked, what of its answers acts, and what is refused."""

from __future__ import annotations

import dataclasses
import itertools
import json
import logging
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controllers.core import ControllerConfig
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.contract import AnswerError, Ending
from robot_rl.contract.settings import ConfigError
from robot_rl.jobs.cli import main
from robot_rl.policies import Served
from robot_rl.policies.wire.file import read_file
from robot_rl.policies.wire.observing import Sent
from robot_rl.policies.wire.openpi import OpenpiLink
from robot_rl.policies.wire.remote import RemotePolicy, make_remote
from robot_rl.session.config import SessionConfig
from robot_rl.session.in_process import Rollout
from robot_rl.session.session import Session
from robot_rl.tasks.reach import Reach
from tests.fault_table import FaultTable
from tests.robot_rl.policies.wire.reaching import ROWS, asked_once, straight, written
from tests.robot_rl.policies.wire.serving import OpenpiServer, openpi_server
from tests.robot_rl.session_bench import Sink

TASK = Reach()


@pytest.fixture
def server() -> Iterator[OpenpiServer]:
    with openpi_server(straight, {"model": "straight"}) as server:
        yield server


def asking(folder: Path, server: OpenpiServer, **changes: Any) -> RemotePolicy:
    file = written(folder, server.address, **changes)
    return make_remote(Served("openpi", file), TASK, TASK.control_period, {})


def test_an_evaluation_by_a_server_reaches_every_goal(tmp_path: Path, server: OpenpiServer) -> None:
    run, file = tmp_path / "run", written(tmp_path, server.address)
    assert main(["eval", "--fast", "--task", "reach", "--run", str(run), f"policy=openpi:{file}", "episodes=2"]) == 0
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["success_rate"], summary["agent"]) == (1.0, f"openpi:{file}")
    asked = server.asked[1]
    assert sorted(asked) == ["observation/velocity", "observation/way", "prompt"]
    assert asked["observation/way"].dtype == np.float32
    assert 0.001 < np.linalg.norm(asked["observation/way"]) < 0.5, "in metres, without the scale of the state"
    assert len(server.headers) == 1, "one connection serves all episodes"


def test_a_server_that_looks_back_is_sent_the_steps_before(tmp_path: Path) -> None:
    def newest(asked: dict[str, Any]) -> dict[str, Any]:
        return straight({"observation/way": asked["observation/way"][-1]})

    with openpi_server(newest, {}) as server:
        run, file = tmp_path / "run", written(tmp_path, server.address, history=3, rows=1)
        arguments = ["eval", "--fast", "--task", "reach", "--run", str(run), f"policy=openpi:{file}", "episodes=1"]
        assert main(arguments) == 0
    assert json.loads((run / "summary.json").read_text())["success_rate"] == 1.0
    ways = [asked["observation/way"] for asked in server.asked[1:]]  # the first is asked before the episode
    assert {way.shape for way in ways} == {(3, 3)}
    assert np.array_equal(ways[0], ways[0][[2, 2, 2]]), "the episode's first stands in for those before it"
    for before, after in itertools.pairwise(ways):
        assert np.array_equal(before[1:], after[:2]), "one a control period"


@pytest.mark.parametrize(
    ("kind", "address", "changes", "words"),
    [
        (
            "openpi",
            "ws://127.0.0.1:1",
            {"rate": 20},
            "of observations one a control period, and rate=20 Hz",
        ),
        ("groot", "tcp://127.0.0.1:1", {}, "and groot is sent one"),
    ],
)
def test_a_history_that_nobody_can_be_sent_is_refused(
    tmp_path: Path, kind: str, address: str, changes: dict[str, Any], words: str
) -> None:
    file = written(tmp_path, address, history=2, **changes)
    with pytest.raises(ConfigError, match=words):
        make_remote(Served(kind, file), TASK, TASK.control_period, {})


def test_a_server_that_is_not_there_is_said_before_an_episode(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    file = written(tmp_path, f"ws://127.0.0.1:{port}")
    assert main(["eval", "--fast", "--task", "reach", "--run", str(tmp_path / "a"), f"policy=openpi:{file}"]) == 2
    assert f"ws://127.0.0.1:{port} cannot be asked" in capsys.readouterr().err


def test_a_file_that_is_wrong_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, "ws://127.0.0.1:1", state={"a": ["to_gaol"]})
    for fast in ([], ["--fast"]):
        arguments = ["eval", *fast, "--task", "reach", "--run", str(tmp_path / "a"), f"policy=openpi:{file}"]
        assert main(arguments) == 2
        assert "did you mean 'to_goal'" in capsys.readouterr().err


ROW = np.zeros((ROWS, 4))


def not_finite() -> np.ndarray:
    rows = ROW.copy()
    rows[1, 3] = np.nan
    return rows


def taken_for_deltas() -> np.ndarray:
    rows = ROW.copy()
    rows[:, 2] = 0.5  # x of the goal [m], where a step is asked for
    return rows


REFUSED = [
    ({"action": ROW}, "has no 'actions', but action"),
    ({"actions": ROW[:, :3]}, r"has shape \(4, 3\); it must be rows of 4: z, roll, x, y"),
    ({"actions": not_finite()}, "is not finite: y is nan in row 1"),
    ({"actions": taken_for_deltas()}, "jumps: x by 0.5 m in control period 0"),
    ({"actions": "left"}, "must be an array of numbers, not str"),
    (
        "Traceback (most recent call last):\n  File a\nValueError: no such key\n",
        "answers in words: ValueError: no such",
    ),
    (b"\xc1 is no msgpack", "are no msgpack"),
    (b"\x93\x01\x02\x03", "answers with list, not a map"),
    (None, "cannot be asked"),
]


def test_what_is_no_answer_is_refused_by_name_and_the_arm_holds(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, fault_table: FaultTable
) -> None:
    """One after the other, then answers that fit: the same episode succeeds."""
    coming = [answer for answer, _ in REFUSED]
    sink = Sink()
    with (
        openpi_server(lambda asked: coming.pop(0) if coming else straight(asked)) as server,
        InProcessWorld(TASK.scene(), TASK.bound(ControllerConfig())) as world,
        caplog.at_level(logging.WARNING),
    ):
        world.start()
        policy = asking(tmp_path, server)
        session = Session(TASK, SessionConfig(), sink, seed=3)
        rollout = Rollout(session, world)
        while not (sink and sink[0].outcome is not None):
            rollout.step(policy)
        policy.close()
        assert session.policy.dropped_answers == len(REFUSED)
    outcome, steps = sink[0].outcome, sink[0].steps
    told, *said = [record.getMessage() for record in caplog.records]
    assert told == f"the task has no instruction, so {server.address} is told nothing of what to do"
    assert outcome is not None and outcome.ending is Ending.SUCCESS
    assert [step.timing.late for step in steps[: len(REFUSED) + 1]] == [True] * len(REFUSED) + [False]
    assert not any(step.action.any() for step in steps[: len(REFUSED)]), "the arm held"
    assert len(said) == len(REFUSED)
    for line, (_, words) in zip(said, REFUSED, strict=True):
        assert line.startswith(f"no answer: {server.address}")
        assert re.search(words, line), line
    kinds = f"a server's answer that is none ({len(REFUSED)} kinds: wrong-named, wrong-sized, NaN, a jump, text, …)"
    fault_table.add(kinds, "refused by name; the arm holds until one comes that fits, and the episode succeeds")
    assert len(server.headers) == 1 + sum(not isinstance(answer, dict) for answer, _ in REFUSED), "connected anew"


def test_a_server_that_hangs_is_given_up(tmp_path: Path) -> None:
    release = threading.Event()

    def hang(asked: dict[str, Any]) -> None:
        release.wait()

    with openpi_server(hang) as server:
        try:
            with pytest.raises(AnswerError, match=r"has not answered for 0\.2 s"):
                asked_once(asking(tmp_path, server, first_timeout=0.2))
        finally:
            release.set()


class Held:
    """A socket whose data its reader has read and not yet taken in, until ``released``, once it ``holds``."""

    def __init__(self, inner: socket.socket, released: threading.Event) -> None:
        self._inner, self._released = inner, released
        self.holds = False

    def recv(self, size: int) -> bytes:
        data = self._inner.recv(size)
        if data and self.holds:
            self._released.wait()
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def test_data_that_comes_in_while_a_server_is_given_up_is_no_error(
    tmp_path: Path, server: OpenpiServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    link = OpenpiLink(read_file(written(tmp_path, server.address)))
    sent = Sent({}, {"observation/way": np.zeros(3, np.float32)}, {})
    link.ask(sent)
    connection, released = link._connection, threading.Event()
    assert connection is not None
    thread, take_end = connection.recv_events_thread, connection.protocol.receive_eof
    held = Held(connection.socket, released)
    connection.socket = held  # type: ignore[assignment]
    link.ask(sent)  # after it the thread waits for data of this socket, if it did not before
    held.holds = True
    link._file = dataclasses.replace(link._file, timeout=0.2)

    def ends() -> None:
        take_end()
        released.set()

    def join(timeout: float | None = None) -> None:
        released.set()
        threading.Thread.join(thread, timeout)

    monkeypatch.setattr(connection.protocol, "receive_eof", ends)
    monkeypatch.setattr(thread, "join", join)
    with pytest.raises(AnswerError, match=r"has not answered for 0\.2 s"):
        link.ask(sent)
    thread.join()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_pictures_are_sent_as_the_session_sees_them(tmp_path: Path, server: OpenpiServer) -> None:
    run, file = tmp_path / "run", written(tmp_path, server.address, images={"observation/image": "front"})
    settings = ["cameras=front", "session.horizon=6", "episodes=1"]
    assert main(["eval", "--fast", "--task", "reach", "--run", str(run), f"policy=openpi:{file}", *settings]) == 0
    dark, *seen = [asked["observation/image"] for asked in server.asked]
    assert not dark.any()
    assert len(seen) == 2
    for image in seen:
        assert (image.shape, image.dtype) == ((128, 128, 3), np.uint8)
        assert image.std() > 10.0


@pytest.mark.parametrize("metadata", ["no openpi server", b"\x01", b"\xc1"], ids=["text", "number", "no msgpack"])
def test_a_server_that_says_no_metadata_is_refused(tmp_path: Path, metadata: object) -> None:
    with openpi_server(straight, metadata) as server, pytest.raises(AnswerError, match=r"answers|no msgpack"):
        asked_once(asking(tmp_path, server))
    assert not server.asked


def test_an_answer_about_nothing_may_jump_but_must_fit(tmp_path: Path) -> None:
    with openpi_server(lambda asked: {"actions": taken_for_deltas()}) as server:
        asked_once(asking(tmp_path, server))
    with openpi_server(lambda asked: {"actions": ROW[0]}) as server, pytest.raises(AnswerError, match="rows of 4"):
        asked_once(asking(tmp_path, server))


def test_the_token_is_shown_as_openpis_client_shows_it(tmp_path: Path, server: OpenpiServer) -> None:
    (tmp_path / "token").write_text("secret\n")
    asked_once(asking(tmp_path, server, token_file="token"))
    asked_once(asking(tmp_path, server))
    assert server.headers == ["Api-Key secret", None]
