"""Words in the terminal about how far a job is, and the live line for the person who drives."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest

from hardware.teleop.keyboard import LEGEND
from robot_rl.jobs import display as displays
from robot_rl.jobs.config import load_config
from robot_rl.jobs.display import Display, LiveStatus, TimeLeft, duration
from robot_rl.jobs.job import job_of
from robot_rl.jobs.logs import LIVE, tell, warn
from robot_rl.jobs.progress import Progress
from robot_rl.jobs.run import CONSOLE, Run

SESSION = {
    "job": "train",
    "episodes": 30,
    "kept": 30,
    "steps": 1200,
    "successes": 17,
    "last": "success in 31 steps",
    "success_rate": 0.85,
    "interventions": 0,
    "person_steps": 0,
    "aborted": 0,
    "reflexes": 1,
    "lines": [],
    "told": 0,
}
TIMING = {
    "obs_to_action_ms_p50": 3.1,
    "obs_to_action_ms_p95": 8.2,
    "obs_to_action_ms_max": 41.0,
    "answers": 1234,
    "late actions": 0,
    "dropped answers": 2,
    "aborted": 0,
    "reflexes": 0,
}
TELEOP = {
    "drives": False,
    "help": 0,
    "said": [],
    "phase": "running",
    "seconds": 3.2,
    "request": "",
    "taken": False,
    "way": 0.0123,
}


class Terminal(io.StringIO):
    """A stdout that is a terminal."""

    def isatty(self) -> bool:
        return True


def show_on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Let stdout and stderr be a terminal, for the rest of the test."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(LIVE, "_drawn", "")
    return terminal


def test_each_line_that_the_session_tells_is_shown_once_and_none_of_an_earlier_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = load_config(None, ["learner.shared=left"])
    run = Run.create(config, tmp_path)
    Progress(run, "train", config, None).tell("label 1 (success) of an earlier start")
    display = Display(run, "train", config)
    display.update()
    capsys.readouterr()
    progress = Progress(run, "train", config, None)
    for number in (1, 2):
        progress.tell(f"label {number} (pause) by /teleop: paused")
    display.update()
    display.update()
    progress.tell("Please bring the cube back.")
    display.update()
    assert capsys.readouterr().out.splitlines() == [
        "train: label 1 (pause) by /teleop: paused",
        "train: label 2 (pause) by /teleop: paused",
        "train: Please bring the cube back.",
    ]


@pytest.mark.parametrize(
    ("learner", "said"),
    [
        ({"champion": None, "champion_success": None, "now_success": 0.1, "held_back": True}, ""),
        (
            {"champion": 40, "champion_success": 0.9, "now_success": 0.85, "held_back": False},
            "champion: version 40 (90%)",
        ),
        (
            {"champion": 40, "champion_success": 0.9, "now_success": 0.25, "held_back": True},
            "success fell to 25%: champion stays version 40 (90%)",
        ),
        ({"due": 203, "debt": 200}, ""),
        ({"due": 205, "debt": 204}, "the next episode waits for the learner, which owes 204 updates"),
        ({"due": 999, "debt": 0, "halted": "update 7 is not finite"}, "learner halted: update 7 is not finite"),
    ],
)
def test_a_line_of_progress_says_how_the_policy_does_and_which_one_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], learner: dict[str, Any], said: str
) -> None:
    run = Run.create(load_config(None, []), tmp_path)
    display = Display(run, "train", load_config(None, []))
    run.say("session", SESSION)
    run.say("learner", {"phase": "learning", "updates": 4000, "utd": 3.9, "actor_utd": 1.95} | learner)
    display.update()
    assert capsys.readouterr().out == (
        "train: 1200 of 2400 steps (2.0 of 4.0 robot-min), episode 30, success 85% of the last 20, 0 interventions, "
        f"4000 updates, UTD 3.90 (actor 1.95){said and ', '}{said}, last: success in 31 steps, 1 reflex\n"
    )


@pytest.mark.parametrize(
    ("job", "session", "line"),
    [
        ("record", {"successes": 3, "episodes": 4}, "record: 3 of 20 demonstrations, episode 4"),
        ("eval", {"successes": 3, "episodes": 4}, "eval: episode 4 of 50, 3 successes"),
        ("train", {"interventions": 3, "person_steps": 57}, "3 interventions (57 steps)"),
        ("eval", TIMING, "action after 3 ms (p95 8, max 41 of 1234), 2 dropped answers"),
    ],
)
def test_a_line_says_how_many_of_how_many(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], job: str, session: dict[str, Any], line: str
) -> None:
    config = load_config(None, [])
    run = Run.create(config, tmp_path)
    display = Display(run, job, config)
    run.say("session", SESSION | {"job": job} | session)
    display.update()
    assert line in capsys.readouterr().out


def test_the_learner_is_followed_from_its_start_before_there_is_an_episode(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = load_config(None, [])
    run = Run.create(config, tmp_path)
    display = Display(run, "train", config)
    for status in (
        {},
        {"phase": "compiling"},
        {"phase": "pretraining 7 of 500"},
        {"phase": "pretraining 8 of 500"},
        {"phase": "learning"},
    ):
        run.say("learner", status)
        display.update()
    assert capsys.readouterr().out.splitlines() == [
        "train: the learner starts",
        "train: the learner compiles its update, which may take minutes",
        "train: the learner learns from the demonstrations, 7 of 500 calls",
        "train: 0 updates, UTD 0.00 (actor 0.00)",
    ]


def test_the_time_left_is_told_from_what_was_done_in_this_start() -> None:
    left = TimeLeft()
    assert left.words((0, 2400)) == []
    left.see(900, 0.0)
    left.see(900, 45.0)
    left.see(1000, 50.0)
    left.see(1010, 55.0)
    assert left.words((1010, 2400)) == [], "too early"
    left.see(1100, 60.0)
    assert left.words((1100, 2400)) == ["about 2 min left"]
    assert left.words((2400, 2400)) == left.words(None) == []
    assert [duration(seconds) for seconds in (42.4, 89.0, 91.0, 5400.0)] == ["42 s", "89 s", "2 min", "1.5 h"]


def test_other_lines_scroll_above_the_live_line(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = show_on_terminal(monkeypatch)
    monkeypatch.setenv("COLUMNS", "20")
    LIVE.show("running 3 s │ you drive │ 12 mm to go")
    LIVE.show("running 3 s │ you drive │ 12 mm to go")
    tell("record: an answer")
    LIVE.show("ready")
    warn("learner", "late")
    LIVE.show("")
    cleared = "\r\x1b[K"
    assert terminal.getvalue() == (f"running 3 s │ you d{cleared}record: an answer\nready{cleared}learner: late\n")


def test_elsewhere_than_in_a_terminal_there_is_no_live_line(capsys: pytest.CaptureFixture[str]) -> None:
    LIVE.show("running")
    tell("a line")
    assert capsys.readouterr().out == "a line\n"


@pytest.mark.parametrize(
    ("job", "said", "line"),
    [
        ("record", {"phase": "ready"}, "ready: move to begin │ 12 mm to go │ 3 of 20 demos │ ? keys"),
        ("record", {"drives": True}, "running 3 s │ you drive │ 12 mm to go │ 3 of 20 demos │ ? keys"),
        ("train", {}, "running 3 s │ the policy drives │ 12 mm to go"),
        ("train", {"taken": True}, "running 3 s │ you drive │"),
        ("record", {"said": ["success"]}, "│ said: success … │"),
        ("record", {"phase": "asking", "request": "Put the cube back."}, "Put the cube back. │"),
        ("record", {"phase": "paused", "way": None}, "paused: resume goes on │ 3 of 20 demos"),
        ("record", {"phase": ""}, "the session starts │"),
    ],
)
def test_the_live_line_says_where_the_session_stands_and_who_drives(
    tmp_path: Path, job: str, said: dict[str, Any], line: str
) -> None:
    config = load_config(None, ["source=keyboard"])
    live = LiveStatus(Run.create(config, tmp_path), job_of(job), config)
    assert line in live.line(TELEOP | said, (3, 20))


def test_the_keys_are_shown_at_first_and_whenever_they_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = show_on_terminal(monkeypatch)
    config = load_config(None, ["source=keyboard"])
    run = Run.create(config, tmp_path)
    run.say("teleop", TELEOP | {"help": 7})  # of a job before
    display = Display(run, "record", config)
    display.update()
    assert LEGEND not in terminal.getvalue()
    for asked, shown in ((0, 1), (0, 1), (1, 2)):
        run.say("teleop", TELEOP | {"help": asked, "seconds": 4.0})
        display.update()
        assert terminal.getvalue().count(LEGEND) == shown
    assert terminal.getvalue().endswith("? keys")
    display.close()
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_a_script_that_drives_has_no_live_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = show_on_terminal(monkeypatch)
    config = load_config(None, [])
    run = Run.create(config, tmp_path)
    display = Display(run, "record", config)
    run.say("teleop", TELEOP)
    display.update()
    assert terminal.getvalue() == ""
    assert displays.PHASES.keys() >= {"reset", "ready", "running"}


def test_the_address_of_the_page_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = load_config(None, [])
    run = Run.create(config, tmp_path)
    display = Display(run, "record", config)
    display.update()
    run.say(CONSOLE, {"address": "http://127.0.0.1:8400/", "protected": False})
    display.update()
    display.update()
    assert capsys.readouterr().out.splitlines() == ["page: http://127.0.0.1:8400/"]


def test_what_is_told_now_and_then_is_told_at_once_and_then_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(displays, "SHOW_PERIOD", float("inf"))
    say = displays.now_and_then(said.append)
    say("one")
    say("two")
    monkeypatch.setattr(displays, "SHOW_PERIOD", 0.0)
    say("three")
    assert said == ["one", "three"]
