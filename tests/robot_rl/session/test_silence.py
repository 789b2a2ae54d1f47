"""How long an arm may say nothing, and what the person hears of it meanwhile."""

from __future__ import annotations

import math

import pytest

from robot_rl.session.errors import SessionError
from robot_rl.session.silence import SILENCE, STARTING, ArmSilence

NEVER = math.inf


def reason(since: float) -> str:
    return f"since {since:g}"


def test_an_arm_that_has_not_said_a_word_may_still_be_starting_and_the_person_is_told_now_and_then() -> None:
    silence = ArmSilence(100.0)
    lines = [silence.check(100.0 + 0.1 * i, NEVER, -NEVER, reason) for i in range(round(10 * STARTING))]
    told = [line for line in lines if line]
    assert len(told) == round(STARTING / SILENCE) - 1
    assert told[1] == "the arm has said nothing for 60 s; it may still be starting: look at its log"
    with pytest.raises(
        SessionError, match=r"^the arm has said nothing for 301 s \(since 100\); look at it and its log$"
    ):
        silence.check(100.0 + STARTING + 1.0, NEVER, -NEVER, reason)


def test_a_session_that_stood_still_says_one_line() -> None:
    silence = ArmSilence(0.0)
    lines = [silence.check(at, NEVER, -NEVER, reason) for at in (10.0, 200.0, 200.1, 205.0, 211.0)]
    assert [bool(line) for line in lines] == [False, True, False, False, True]


def test_silence_counts_anew_from_the_first_word() -> None:
    silence = ArmSilence(0.0)
    assert silence.check(100.0, 99.0, -NEVER, reason) == ""
    assert silence.check(99.0 + SILENCE, 99.0, -NEVER, reason) == ""
    with pytest.raises(SessionError, match=r"for 31 s \(since 99\)"):
        silence.check(100.0 + SILENCE, 99.0, -NEVER, reason)


def test_after_its_first_word_an_arm_is_waited_for_less_and_by_a_link_longer() -> None:
    assert ArmSilence(0.0).check(80.0, 1.0, 55.0, reason) == ""
    with pytest.raises(SessionError, match=r"for 31 s \(since 49\)"):
        ArmSilence(0.0).check(80.0, 1.0, 49.0, reason)
    assert ArmSilence(0.0, more=20.0).check(80.0, 1.0, 49.0, reason) == ""
    assert ArmSilence(0.0, more=1000.0).check(900.0, NEVER, -NEVER, reason) != ""
