"""All that the page has heard last, and what it says of it in plain words. It is written and read by one thread."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from controllers.spatial import Pose
from controllers.state import Mode
from robot_rl.console.history import Row

KEPT = 200  # episodes, of a job that records none
SAID = 6  # newest events and answers that are kept
SOURCES = 32  # of diagnostics
SILENT = 1.0  # [s] without a word of the arm after which the page says so
DRIVES = 0.5  # [s] for which a target says who drives
TOLD = 4.0  # [s] for which a word of the diagnostics holds; the arm says one each second
MODES = {
    Mode.IDLE: "is not under control",
    Mode.FAULT: "has stopped by itself",
    Mode.STOPPED: "is stopped by a person",
}


class Line(NamedTuple):
    """A sentence, and how grave it is: ``ok``, ``warn`` or ``error``."""

    level: str
    text: str


@dataclass(eq=False)
class Board:
    """Attributes are what their topics said last; times are steady [s].

    Attributes:
        q, opening: joints ``(7,)`` [rad] and gripper, 0 closed – 1 open.
        pose, reference, target: of the TCP: measured, where the controller pulls it, where it shall go.
        force: on the TCP ``(3,)`` [N], base axes.
        status: of the arm, see `controllers.ros.topics.STATUS_NAMES`.
        driver, driver_at: on whose behalf the last target was, and when it came.
        reward: since the running episode began.
        images: camera → its newest picture ``(h, w, 3)``, with what the policy takes of it drawn in.
        cameras: camera → how it is doing, in words.
        answers: to the person's words, newest last.
        ended: episodes that have ended meanwhile, newest last.
        learner: see `robot_rl.jobs.training`.
        session: what the session last said of itself, see `robot_rl.ros.session_node.SessionNode.timing`.
        waiting: words that no session has acknowledged yet.
    """

    q: np.ndarray | None = None
    opening: float = 0.0
    pose: Pose | None = None
    reference: Pose | None = None
    target: Pose | None = None
    force: np.ndarray = field(default_factory=lambda: np.zeros(3))
    status: Mapping[str, float] = field(default_factory=dict)
    objects: Mapping[str, Pose] = field(default_factory=dict)
    fault: str = ""
    arm_at: float = -math.inf
    driver: str = ""
    driver_at: float = -math.inf
    phase: str = ""
    phase_at: float = 0.0
    reward: float = 0.0
    request: str = ""
    instruction: str = ""
    images: dict[str, np.ndarray] = field(default_factory=dict)
    cameras: Mapping[str, Line] = field(default_factory=dict)
    events: deque[Line] = field(default_factory=lambda: deque(maxlen=SAID))
    diagnostics: dict[str, tuple[Line, float]] = field(default_factory=dict)
    answers: deque[Line] = field(default_factory=lambda: deque(maxlen=SAID))
    ended: deque[Row] = field(default_factory=lambda: deque(maxlen=KEPT))
    learner: Mapping[str, Any] = field(default_factory=dict)
    session: Mapping[str, Any] = field(default_factory=dict)
    waiting: tuple[str, ...] = ()

    @property
    def mode(self) -> Mode | None:
        return Mode(int(self.status["mode"])) if "mode" in self.status else None

    def enter(self, phase: str, now: float) -> None:
        """The session has gone over to ``phase``."""
        if phase != self.phase:
            self.phase, self.phase_at = phase, now
            self.reward = 0.0 if phase == "running" else self.reward

    def drives(self, now: float) -> str:
        """Who drives."""
        return self.driver if now - self.driver_at < DRIVES else "nobody"

    def diagnose(self, source: str, line: Line, now: float) -> None:
        """``source`` says ``line`` of itself."""
        self.diagnostics[source] = (line, now)
        if len(self.diagnostics) > SOURCES:
            del self.diagnostics[min(self.diagnostics, key=lambda name: self.diagnostics[name][1])]

    def lines(self, now: float) -> list[Line]:
        """The state of everything in words, the gravest first."""
        lines = [self._arm(now), *self._words(), *self._learner()]
        lines += [line for line, at in self.diagnostics.values() if now - at < TOLD and line.level != "ok"]
        return sorted(lines, key=lambda line: ("error", "warn", "ok").index(line.level))

    def _arm(self, now: float) -> Line:
        silent = now - self.arm_at
        if math.isinf(silent):
            return Line("warn", "The arm has not said anything yet; it may still be starting.")
        if silent > SILENT:
            return Line("error", f"The arm has said nothing for {silent:.0f} s. Look at it, and at its log.")
        mode = self.mode
        if mode in (Mode.HOLD, Mode.DAMP):
            return Line("warn", "The arm holds still, then damps out: nobody commands it any more.")
        if mode in MODES:
            reason = f": {self.fault}" if self.fault else ""
            return Line("warn" if mode is Mode.IDLE else "error", f"The arm {MODES[mode]}{reason}.")
        if self.fault:
            return Line("warn", self.fault)
        received = self.status.get("success_rate", 1.0)
        if received < 0.95:
            return Line(
                "warn", f"Only {received:.0%} of the commands reach the robot in time: the computer is too busy."
            )
        return Line("ok", "The arm is under control.")

    def _words(self) -> list[Line]:
        if not self.waiting:
            return []
        return [Line("warn", f"No session has answered yet to: {', '.join(self.waiting)}. It is said until one does.")]

    def _learner(self) -> list[Line]:
        learner = self.learner
        if not learner:
            return []
        if learner.get("halted"):
            return [Line("error", f"The learner has halted: {learner['halted']}")]
        text = f"The learner has made {learner.get('updates', 0)} updates, {learner.get('updates_per_s', 0)} a second."
        return [Line("ok", text)]
