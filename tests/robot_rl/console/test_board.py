"""The state of everything in plain words."""

from __future__ import annotations

import numpy as np
import pytest

from controllers.state import Mode
from robot_rl.console import look
from robot_rl.console.board import SOURCES, Board, Line
from robot_rl.console.history import Row


def heard(mode: Mode, **status: float) -> Board:
    return Board(q=np.zeros(7), arm_at=10.0, status={"mode": float(mode), "success_rate": 1.0, **status})


def test_an_arm_that_was_never_heard_and_one_that_fell_silent() -> None:
    assert "may still be starting" in Board().lines(0.0)[0].text
    silent = heard(Mode.TRACK).lines(15.0)[0]
    assert silent.level == "error"
    assert "nothing for 5 s" in silent.text


@pytest.mark.parametrize(
    ("mode", "level", "words"),
    [
        (Mode.IDLE, "warn", "not under control"),
        (Mode.FAULT, "error", "stopped by itself: ouch"),
        (Mode.STOPPED, "error", "stopped by a person: ouch"),
    ],
)
def test_an_arm_that_does_not_move_says_why(mode: Mode, level: str, words: str) -> None:
    board = heard(mode)
    board.fault = "ouch" if mode is not Mode.IDLE else ""
    line = board.lines(10.1)[0]
    assert line.level == level
    assert words in line.text


def test_what_is_wrong_comes_first_and_what_is_well_says_so() -> None:
    board = heard(Mode.TRACK)
    assert board.lines(10.1) == [Line("ok", "The arm is under control.")]
    board.diagnose("/arm", Line("error", "/arm: two command it"), 10.0)
    board.diagnose("/camera", Line("ok", "/camera: fine"), 10.0)
    board.waiting = ("success",)
    board.learner = {"halted": "not finite"}
    assert [line.level for line in board.lines(10.1)] == ["error", "error", "warn", "ok"]
    assert "two command it" not in str(board.lines(20.0)[1:])


def test_a_busy_computer_is_named() -> None:
    assert "too busy" in heard(Mode.TRACK, success_rate=0.5).lines(10.1)[0].text


def test_who_drives_is_who_said_so_last() -> None:
    board = Board(driver="policy", driver_at=1.0)
    assert board.drives(1.1) == "policy"
    assert board.drives(2.0) == "nobody"


def test_however_many_sources_the_memory_is_bounded() -> None:
    board = Board()
    for i in range(10 * SOURCES):
        board.diagnose(f"/{i}", Line("ok", ""), float(i))
        board.events.append(Line("ok", str(i)))
        board.ended.append(Row(i, "success", "", 1, 0, 1.0))
    assert len(board.diagnostics) == SOURCES
    assert f"/{10 * SOURCES - 1}" in board.diagnostics
    assert len(board.events) == board.events.maxlen
    assert len(board.ended) == board.ended.maxlen


def test_a_phase_begins_once() -> None:
    board = Board()
    board.enter("running", 1.0)
    board.enter("running", 2.0)
    assert board.phase_at == 1.0


def test_what_others_write_is_text_and_never_markup() -> None:
    evil = "<img src=x onerror=alert(1)>"
    shown = [
        look.episode(Row(1, evil, evil, 1, 0, 0.0)),
        look.lines([Line("ok", evil)]),
        look.head("asking", 1.0, evil, evil),
        look.cell("x", evil),
    ]
    assert all("<img" not in text for text in shown)
