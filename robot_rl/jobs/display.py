"""Progress of a job, in the terminal: lines of how far it is, and a live line for the person who drives."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from hardware.teleop.keyboard import LEGEND
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.job import JobSpec, job_of
from robot_rl.jobs.logs import LIVE, tell
from robot_rl.jobs.progress import WINDOW, counted, robot_minutes
from robot_rl.jobs.run import CONSOLE, Run
from robot_rl.session.directive import Phase
from robot_rl.tasks import make_task

SHOW_PERIOD = 10.0  # [s] between progress lines when nothing ends
SHORTEST = 10.0  # [s] of a job after which the time left is estimated
KEYBOARD = "keyboard"

PHASES = {
    "": "the session starts",
    Phase.RESET.value: "reset: the arm goes to its start by itself",
    Phase.READY.value: "ready",
    Phase.RUNNING.value: "running",
    Phase.STOPPED.value: "stopped: release the robot's stop, and start it again",
    Phase.PAUSED.value: "paused: resume goes on",
    Phase.ASKING.value: "waits for you",
}


def now_and_then(say: Callable[[str], None]) -> Callable[[str], None]:
    """``say`` at most once in `SHOW_PERIOD`, the first time at once; what is said in between is left out."""
    last = -math.inf

    def said(text: str) -> None:
        nonlocal last
        if time.monotonic() - last >= SHOW_PERIOD:
            last = time.monotonic()
            say(text)

    return said


class Display:
    """Lines about a job: one for each episode of a recording or evaluation, and now and then.

    A message of the session to the person, such as the answer to a label, is a line of its own at once. Where a device
    drives, a live line below all others says where the session stands.
    """

    def __init__(self, run: Run, job: str, config: RunConfig) -> None:
        self._run, self._job, self._config = run, job_of(job), config
        self._period = make_task(config.task).control_period
        self._seen: tuple[int, str] = (-1, "")  # episodes, and what the learner was doing, in the last line
        before = run.status_of("session")
        self._before = before if before.get("job") == job else {}
        self._told = self._before.get("told", 0)
        self._live = LiveStatus(run, self._job, config)
        self._shown = time.monotonic()
        self._left = TimeLeft()
        self._last = ""  # line that was shown
        self._page = ""

    def update(self) -> None:
        page = page_address(self._run)
        if page and page != self._page:
            self._page = page
            tell(f"page: {page}")
        session = self._run.status_of("session")
        spoken = session.get("job") == self._job.name and session != self._before
        if spoken:
            self._tell_lines(session)
        done = self._job.progress(SimpleNamespace(**session), self._config) if spoken else None
        self._live.update(done)
        now = time.monotonic()
        if done is not None:
            self._left.see(done[0], now)
        seen = (session["episodes"] if spoken and not self._job.learns else -1, self._phase())
        waited = now - self._shown >= SHOW_PERIOD
        if seen == self._seen and not waited:
            return
        line = self._line(session, done) if spoken else self._opening()
        self._seen, self._shown = seen, now
        if line and not (self._live.drawn and line == self._last):
            tell(f"{self._job.name}: {line}")
            self._last = line

    def finish(self) -> None:
        """Say once more how far it has come, at the end of a job that has gone well."""
        session = self._run.status_of("session")
        if session.get("job") == self._job.name:
            line = self._line(session, self._job.progress(SimpleNamespace(**session), self._config))
            if line != self._last:
                tell(f"{self._job.name}: {line}")

    def close(self) -> None:
        """Leave no live line behind."""
        LIVE.show("")

    def _tell_lines(self, session: Mapping[str, Any]) -> None:
        new = session.get("told", 0) - self._told
        self._told += new
        for line in session["lines"][-new:] if new else ():
            tell(f"{self._job.name}: {line}")

    def _opening(self) -> str:
        """The line before the session has spoken; "" for none."""
        return self._learning()[0] if self._job.learns else ""

    def _line(self, session: Mapping[str, Any], done: tuple[int, int] | None) -> str:
        goal = f" of {done[1]}" if done is not None else ""
        parts = []
        if self._job.counts == "steps":
            minutes = f"{robot_minutes(session['steps'], self._period):.1f}"
            total = f" of {robot_minutes(done[1], self._period):.1f}" if done is not None else ""
            parts.append(f"{session['steps']}{goal} steps ({minutes}{total} robot-min)")
            parts += self._left.words(done)
            parts.append(f"episode {session['episodes']}")
        elif self._job.counts == "successes":
            parts.append(f"{session['successes']}{goal} demonstrations")
            parts += self._left.words(done)
            parts.append(f"episode {session['episodes']}")
        else:
            parts.append(f"episode {session['episodes']}{goal}")
            parts += self._left.words(done)
            parts.append(counted(session["successes"], "successes"))
        if self._job.learns:
            parts.append(f"success {session['success_rate']:.0%} of the last {WINDOW}")
            person = f" ({session['person_steps']} steps)" if session["interventions"] else ""
            parts.append(f"{counted(session['interventions'], 'interventions')}{person}")
            parts += self._learning()
        if session["last"]:
            parts.append(f"last: {session['last']}")
        if "obs_to_action_ms_max" in session:
            p50, p95, most = (session[f"obs_to_action_ms_{which}"] for which in ("p50", "p95", "max"))
            parts.append(f"action after {p50:.0f} ms (p95 {p95:.0f}, max {most:.0f} of {session['answers']})")
        counts = ("aborted", "reflexes", "late actions", "dropped answers")
        parts += [counted(session[what], what) for what in counts if session.get(what)]
        return ", ".join(parts)

    def _phase(self) -> str:
        """The learner's phase, but for how far it is; "" where there is none."""
        own = self._job.learns and not self._config.learner.shared
        return str(self._run.status_of("learner").get("phase", "starting")).split()[0] if own else ""

    def _learning(self) -> list[str]:
        """The learner's part of a line."""
        settings = self._config.learner
        if settings.shared:
            return [f"by the learner of {settings.shared}"]
        learner = self._run.status_of("learner")
        match self._phase():
            case "starting":
                return ["the learner starts"]
            case "compiling":
                return ["the learner compiles its update, which may take minutes"]
            case "imitating":
                return [f"the learner imitates the demonstrations: {learner['phase'].removeprefix('imitating ')}"]
            case "pretraining":
                far = learner["phase"].removeprefix("pretraining ")
                return [f"the learner learns from the demonstrations, {far} calls"]
        utd, actor_utd = learner.get("utd", 0.0), learner.get("actor_utd", 0.0)
        parts = [f"{learner.get('updates', 0)} updates, UTD {utd:.2f} (actor {actor_utd:.2f})"]
        if learner.get("trust"):
            parts.append(learner["trust"])
        if learner.get("debt", 0) > settings.max_debt:
            parts.append(f"the next episode waits for the learner, which owes {learner['debt']} updates")
        parts += _champion(learner)
        if learner.get("halted"):
            parts.append(f"learner halted: {learner['halted']}")
        return parts


class TimeLeft:
    """An estimate from how fast it has gone since the count was first seen to grow; before, other things were done."""

    def __init__(self) -> None:
        self._began: int | None = None
        self._first: tuple[int, float] | None = None
        self._now = (0, 0.0)

    def see(self, done: int, now: float) -> None:
        """``done`` at the steady time ``now`` [s]."""
        self._now = (done, now)
        if self._began is None:
            self._began = done
        elif self._first is None and done > self._began:
            self._first = self._now

    def words(self, done: tuple[int, int] | None) -> list[str]:
        """The time left in words, for a line; none while there is nothing to tell it from."""
        if done is None or self._first is None:
            return []
        gained, passed = self._now[0] - self._first[0], self._now[1] - self._first[1]
        left = done[1] - done[0]
        if gained <= 0 or left <= 0 or passed < SHORTEST:
            return []
        return [f"about {duration(left * passed / gained)} left"]


class LiveStatus:
    """The live line, and the legend of the keys when it is asked for, from what the teleoperation says of itself.

    ``drawn``: the teleoperation has spoken, so that the line says that the job goes on.
    """

    def __init__(self, run: Run, job: JobSpec, config: RunConfig) -> None:
        self._run, self._job, self._source = run, job, config.source
        self.drawn = False
        self._helped = -1  # how many times the legend was asked for when it was shown last
        self._stale = run.status_of("teleop")  # that of an earlier job

    def update(self, done: tuple[int, int] | None) -> None:
        """Draw it; ``done`` is how many of how many, or None."""
        teleop = self._run.status_of("teleop") if self._source not in self._job.sources else {}
        if not teleop or teleop == self._stale:
            return
        self._stale = {}
        if self._source == KEYBOARD and teleop["help"] != self._helped:
            self._helped = teleop["help"]
            tell(f"keys:\n{LEGEND}")
        LIVE.show(self.line(teleop, done))
        self.drawn = True

    def line(self, teleop: Mapping[str, Any], done: tuple[int, int] | None) -> str:
        """The live line for what the teleoperation has said."""
        phase = teleop["phase"]
        words = PHASES.get(phase, phase)
        parts = [teleop["request"] or words]
        if phase == Phase.READY.value and self._job.person_drives:
            parts = ["ready: move to begin"]
        if phase == Phase.RUNNING.value:
            parts = [f"{words} {teleop['seconds']:.0f} s", self._driver(teleop)]
        if teleop["way"] is not None:
            parts.append(f"{1000.0 * teleop['way']:.0f} mm to go")
        if done is not None:
            parts.append(f"{done[0]} of {done[1]} {self._job.goal}")
        if teleop["said"]:
            parts.append(f"said: {', '.join(teleop['said'])} …")
        if self._source == KEYBOARD:
            parts.append("? keys")
        return " │ ".join(parts)

    def _driver(self, teleop: Mapping[str, Any]) -> str:
        if teleop["drives"] or teleop["taken"]:
            return "you drive"
        return "the policy drives" if self._job.asks_policy else "nobody drives"


def duration(seconds: float) -> str:
    """A time in words: seconds below a minute and a half, minutes below an hour and a half, hours."""
    if seconds < 90.0:
        return f"{seconds:.0f} s"
    return f"{seconds / 60.0:.0f} min" if seconds < 5400.0 else f"{seconds / 3600.0:.1f} h"


def page_address(run: Run) -> str:
    """Where the run's page is, with the token that it asks for; "" while there is none."""
    page = run.status_of(CONSOLE)
    token = f"?token={run.console_token.read_text(encoding='utf-8')}" if page.get("protected") else ""
    return f"{page['address']}{token}" if page else ""


def _champion(learner: Mapping[str, Any]) -> list[str]:
    """The improvement gate's part of a line, from the learner's status."""
    if learner.get("champion") is None:
        return []
    champion = f"version {learner['champion']} ({learner['champion_success']:.0%})"
    if not learner["held_back"]:
        return [f"champion: {champion}"]
    return [f"success fell to {learner['now_success']:.0%}: champion stays {champion}"]
