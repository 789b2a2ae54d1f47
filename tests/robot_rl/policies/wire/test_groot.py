"""The arm driven by a server of GR00T, in process: what it is asked, what acts, and what is refused."""

from __future__ import annotations

import json
import logging
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from controllers.core import ControllerConfig
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.contract import AnswerError, Ending, Observation
from robot_rl.jobs.cli import main
from robot_rl.policies import Served
from robot_rl.policies.wire.packing import GROOT, pack, unpack
from robot_rl.policies.wire.remote import RemotePolicy, make_remote
from robot_rl.session.config import SessionConfig
from robot_rl.session.in_process import Rollout
from robot_rl.session.session import Session
from robot_rl.tasks.reach import Reach
from tests.robot_rl.policies.wire.reaching import FILE, ROWS, asked_once, straight, written
from tests.robot_rl.session_bench import Sink

pytest.importorskip("zmq")
from tests.robot_rl.policies.wire.groot_serving import GrootServer, groot_server, modalities

TASK = Reach()
# A request by the serialiser of Isaac-GR00T (MsgSerializer of examples/DROID/server_client.py, ade260e).
RECORDED = bytes.fromhex(
    "82a8656e64706f696e74aa6765745f616374696f6ea46461746182ab6f62736572766174696f6e82a5737461746581a377617982b15f5f6e"
    "6461727261795f636c6173735f5fc3a661735f6e7079c488934e554d5059010076007b276465736372273a20273c6634272c2027666f7274"
    "72616e5f6f72646572273a2046616c73652c20277368617065273a2028312c20312c2032292c207d2020202020202020202020202020202020"
    "20202020202020202020202020202020202020202020202020202020202020202020202020200a0000003f0000a0bfa86c616e677561676581"
    "a47461736b9191a57072657373a76f7074696f6e73c0"
)
KEYS = {"z": "eef", "roll": "rest", "x": "eef", "y": "eef"}
COLUMNS = [{**column, "key": KEYS[column.get("axis") or column["ignored"]]} for column in FILE["columns"]]


def asking(folder: Path, server: GrootServer, **changes: Any) -> RemotePolicy:
    file = written(folder, server.address, **{"columns": COLUMNS, **changes})
    return make_remote(Served("groot", file), TASK, TASK.control_period, {})


def of_groot(actions: np.ndarray) -> list[Any]:
    """Rows of the columns z, roll, x, y as GR00T has them, by its keys."""
    rows = np.asarray(actions, np.float32)
    return [{"eef": rows[None][:, :, [0, 2, 3]], "rest": rows[None][:, :, [1]]}, {}]


def to_goal(asked: dict[str, Any]) -> list[Any]:
    way = asked["state"]["observation/way"]
    assert way.shape == (1, 1, 3) and way.dtype == np.float32
    return of_groot(straight({"observation/way": way[0, 0]})["actions"])


def test_the_bytes_are_those_of_groots_own_client() -> None:
    value = unpack(RECORDED, GROOT)
    assert np.array_equal(value["data"]["observation"]["state"]["way"], np.array([[[0.5, -1.25]]], np.float32))
    assert pack(value, GROOT) == RECORDED


def test_an_evaluation_by_a_server_reaches_every_goal(tmp_path: Path) -> None:
    with groot_server(to_goal) as server:
        run, file = tmp_path / "run", written(tmp_path, server.address, columns=COLUMNS)
        assert main(["eval", "--fast", "--task", "reach", "--run", str(run), f"policy=groot:{file}", "episodes=2"]) == 0
    assert json.loads((run / "summary.json").read_text())["success_rate"] == 1.0
    assert server.called[:4] == ["ping", "get_modality_config", "reset", "get_action"]
    assert server.called.count("reset") == 3, "of the question about nothing, and of two episodes"
    assert server.called.count("ping") == 1


def test_images_and_words_have_a_robot_and_a_time(tmp_path: Path) -> None:
    image = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    names = modalities(video={"modality_keys": ["ego_view"]})
    with groot_server(to_goal, names) as server:
        file = written(tmp_path, server.address, columns=COLUMNS, images={"ego_view": "front"})
        policy = make_remote(Served("groot", file), TASK, TASK.control_period, {"front": (8, 8)})
        policy.begin("reach the ball")
        policy.act([Observation(1, 1, np.zeros(TASK.state_size, np.float32), {"front": image})])
        policy.close()
    assert np.array_equal(server.asked[0]["video"]["ego_view"], image[None, None])
    assert server.asked[0]["language"] == {"prompt": [["reach the ball"]]}


def with_value(row: int, column: int, value: float) -> list[Any]:
    rows = np.zeros((ROWS, 4))
    rows[row, column] = value
    return of_groot(rows)


GOOD = of_groot(np.zeros((ROWS, 4)))
REFUSED = [
    ([{"arm": GOOD[0]["eef"], "rest": GOOD[0]["rest"]}, {}], "has no 'eef', but arm, rest"),
    ([{**GOOD[0], "eef": GOOD[0]["eef"][:, :, :2]}, {}], r"eef of the answer has shape \(4, 2\).*z, x, y"),
    ([{**GOOD[0], "rest": GOOD[0]["rest"][:, :2]}, {}], "different lengths"),
    ([{**GOOD[0], "eef": GOOD[0]["eef"][0]}, {}], r"eef of the answer is \(4, 3\), and not \(1, H, n\)"),
    ([{**GOOD[0], "eef": "left"}, {}], r"eef of the answer is str, and not \(1, H, n\)"),
    (with_value(1, 3, np.nan), "is not finite: y is nan in row 1"),
    (with_value(0, 2, 0.5), "jumps: x by 0.5 m in control period 0"),
    ({"error": "Traceback (most recent call last):\nKeyError: 'eef'"}, "answers in words: KeyError: 'eef'"),
    (b"ERROR", "answers in words: ERROR"),
    (b"\xc1 is no msgpack", "are no msgpack"),
    ({"eef": GOOD[0]["eef"]}, "answers with dict, not with action and information"),
]


def test_what_is_no_answer_is_refused_by_name_and_the_arm_holds(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One after the other, then answers that fit: the same episode succeeds."""
    coming, sink = [answer for answer, _ in REFUSED], Sink()
    with (
        groot_server(lambda asked: coming.pop(0) if coming else to_goal(asked)) as server,
        InProcessWorld(TASK.scene(), TASK.bound(ControllerConfig())) as world,
        caplog.at_level(logging.WARNING),
    ):
        world.start()
        policy, session = asking(tmp_path, server), Session(TASK, SessionConfig(), sink, seed=3)
        rollout = Rollout(session, world)
        while not (sink and sink[0].outcome is not None):
            rollout.step(policy)
        policy.close()
        assert session.policy.dropped_answers == len(REFUSED)
    outcome, steps = sink[0].outcome, sink[0].steps
    assert outcome is not None and outcome.ending is Ending.SUCCESS
    assert not any(step.action.any() for step in steps[: len(REFUSED)]), "the arm held"
    said = [record.getMessage() for record in caplog.records][1:]
    for line, (_, words) in zip(said, REFUSED, strict=True):
        assert line.startswith(f"no answer: {server.address}") and re.search(words, line), line


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"state": {"modality_keys": ["way"]}}, "wants as state way, and the file has observation/velocity, observ"),
        ({"video": {"modality_keys": ["ego_view"]}}, "wants as video ego_view, and the file has none"),
        ({"language": {"modality_keys": ["task"]}}, "wants as language task, and the file has prompt"),
        ({"action": {"modality_keys": ["arm"]}}, "answers with arm, and the file's columns are of eef, rest"),
        ({"state": {"delta_indices": [-1, 0]}}, "looks back at 2 as state; one is sent"),
    ],
)
def test_a_server_of_other_names_is_refused_before_it_is_asked(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with groot_server(to_goal, modalities(**changes)) as server, pytest.raises(AnswerError, match=words):
        asked_once(asking(tmp_path, server))
    assert not server.asked


@pytest.mark.parametrize(
    "names",
    [
        {},
        "text",
        {"state": {"__ModalityConfig_class__": True, "as_json": '{"modality_keys": ["way"]'}},
        {"state": {"modality_keys": 7}},
    ],
)
def test_a_server_that_says_no_names_is_asked(tmp_path: Path, names: object) -> None:
    with groot_server(to_goal, names) as server:
        asked_once(asking(tmp_path, server))
    assert len(server.asked) == 1


def test_a_token_is_shown(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    with groot_server(to_goal, token="secret") as server:
        asked_once(asking(tmp_path, server, token_file="token"))
        with pytest.raises(AnswerError, match="answers in words: Unauthorized: Invalid API token"):
            asked_once(asking(tmp_path, server))


def test_a_server_that_hangs_is_given_up_and_no_context_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To end one waits for ever now and then; a socket is closed at once."""
    monkeypatch.setattr(zmq.Context, "term", lambda self: pytest.fail("a context is ended"))
    release = threading.Event()

    def hang(asked: dict[str, Any]) -> list[Any]:
        release.wait()
        return GOOD

    with groot_server(hang) as server:
        try:
            with pytest.raises(AnswerError, match=r"has not answered get_action for 0\.2 s"):
                asked_once(asking(tmp_path, server, first_timeout=0.2))
        finally:
            release.set()


def test_a_server_that_is_not_there_is_said_before_an_episode(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("robot_rl.policies.wire.groot.CONNECTING", 0.2)
    file = written(tmp_path, "tcp://127.0.0.1:9", columns=COLUMNS)
    assert main(["eval", "--fast", "--task", "reach", "--run", str(tmp_path / "a"), f"policy=groot:{file}"]) == 2
    assert "tcp://127.0.0.1:9 has not answered ping for 0.2 s" in capsys.readouterr().err


def test_an_address_of_the_other_protocol_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, "ws://127.0.0.1:9", columns=COLUMNS)
    assert main(["eval", "--fast", "--task", "reach", "--run", str(tmp_path / "a"), f"policy=groot:{file}"]) == 2
    assert "address='ws://127.0.0.1:9' must be tcp://HOST:PORT" in capsys.readouterr().err
