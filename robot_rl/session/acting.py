"""The policy's side of a session: when it is asked, which of its answers count, and what of them acts now."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from controllers.spatial import Pose
from robot_rl.contract import ActionChunk, ContractError, Planned
from robot_rl.session.borders import Borders
from robot_rl.session.chunks import ROUNDING, ChunkBuffer, Due
from robot_rl.session.config import SessionConfig
from robot_rl.session.ensemble import Ensemble

DELAYS = 10  # answers whose delay is remembered
VOIDED = 64  # observations remembered whose answers are not wanted any more


class _Delay(NamedTuple):
    """Control periods that an answer took; whether it was a ``first`` one."""

    periods: int
    first: bool


class Asking:
    """Keeps which observations await an answer, and says when to ask: one at a time, unless its answer is overdue.

    Args:
        period: control period [s].
        wait: [s] of robot time in which an answer comes at once: the decision waits for it.
        patience: [s] of robot time after which an answer is overdue; longer where answers have taken longer.
    """

    def __init__(self, period: float, wait: float, patience: float) -> None:
        self._period, self._wait, self._patience = period, wait, patience
        self._open: dict[int, float] = {}  # stamp → robot time of the observations whose answer is wanted
        self._voided: dict[int, float] = {}  # … and is not wanted any more
        self._delays: deque[_Delay] = deque(maxlen=DELAYS)

    @property
    def awaits(self) -> bool:
        """Whether an answer is on its way that will be used."""
        return bool(self._open)

    @property
    def delay(self) -> int:
        """Control periods that answers take, at most, of the latest ones; 0 when all came at once.

        A first one, for which a policy may have been compiled or loaded, counts as long as there is no other.
        """
        usual = [delay.periods for delay in self._delays if not delay.first]
        return max(usual or [delay.periods for delay in self._delays], default=0)

    def wants(self, now: float, covered: int, ahead: int, person: bool) -> bool:
        """Whether to ask at robot time ``now`` [s].

        Args:
            covered: control periods that are planned from now on.
            ahead: with so many left at least; more when answers take longer.
            person: a person drives: then only a policy that answers at once is asked, for what it would have done.
        """
        latest = max((*self._open.values(), *self._voided.values()), default=-math.inf)
        if 0.0 <= now - latest < max(self._patience, 2 * self.delay * self._period):
            return False
        if person and self.delay > 0:
            return False
        return covered <= max(ahead, self.delay)

    def sent(self, stamp_ns: int, now: float) -> None:
        """The observation of ``stamp_ns`` [ns] and robot time ``now`` [s] goes to the policy."""
        self._open[stamp_ns] = now

    def answered(self, stamp_ns: int, now: float, first: bool = False) -> float | None:
        """The robot time [s] of the observation that is answered at robot time ``now`` [s].

        ``first``: it is the first answer of a policy that has started, or has loaded other parameters.
        None when its answer is not wanted any more. Raises `ContractError` for an observation nobody asked about.
        """
        wanted = stamp_ns in self._open
        if not wanted and stamp_ns not in self._voided:
            raise ContractError(f"an action chunk is for the observation of {stamp_ns} ns, which was not asked about")
        asked = self._open.pop(stamp_ns) if wanted else self._voided.pop(stamp_ns)
        self._open = {stamp: at for stamp, at in self._open.items() if at > asked}
        took = now - asked
        at_once = took < self._wait - ROUNDING
        self._delays.append(_Delay(0 if at_once else max(1, math.ceil(took / self._period - ROUNDING)), first))
        return asked if wanted else None

    def refused(self, stamp_ns: int) -> None:
        """The answer to an observation is of no use: nothing more comes of it."""
        self._open.pop(stamp_ns, None)
        self._voided.pop(stamp_ns, None)

    def void(self) -> None:
        """Whatever is on its way is not wanted any more: a person has moved the arm, or another episode begins."""
        self._voided = dict(list({**self._voided, **self._open}.items())[-VOIDED:])
        self._open = {}


class _Promise(NamedTuple):
    """Robot times [s] of a plan that an answer shall take up: it goes on until ``begin``, where the answer takes over.

    ``latest``: by then it has to be there; without a limit where the plan ends at ``begin`` and the arm holds.
    """

    begin: float
    latest: float


class Acting:
    """One policy, asked by one session.

    Args:
        config: of the session.
        axes: of the task's actions.
        period: control period [s].

    Attributes:
        late_actions: actions that came after their time, in all episodes.
        dropped_answers: answers that were of no use, in all episodes: refused, or not wanted any more.
        borders: jumps of the commanded pose between its chunks, in all episodes.
    """

    def __init__(self, config: SessionConfig, axes: tuple[str, ...], period: float) -> None:
        self.wait = min(config.policy_wait, period)
        self.late_actions = self.dropped_answers = 0
        self._config, self._axes, self._period = config, axes, period
        self._promises: dict[int, _Promise] = {}  # stamp of an observation → of its answer
        self._planned: Planned | None = None
        self._version: int | None = None  # of the latest answer; None: of a policy that has not answered yet
        self._half = 0  # of the latest chunk, in control periods
        self.borders = Borders(period)
        self._plan = _plan_of(config, axes, period)
        self._asking = Asking(period, self.wait, config.policy_timeout)
        self._now = -math.inf  # robot time [s] of the observation looked at last
        self._acts: Due | None = None  # the action decided on last
        self._wants = self._decided = False

    @property
    def wants(self) -> bool:
        """Whether the policy has to be asked about the observation looked at last."""
        return self._wants

    @property
    def delay(self) -> int:
        """Control periods until an answer can act, as far as one knows."""
        return self._asking.delay

    @property
    def waits(self) -> bool:
        """Whether the decision should wait, until ``wait`` [s] after its reading, for an answer that is on its way."""
        if self._decided or not self._asking.awaits:
            return False
        return (self._wants and self._asking.delay == 0) or self._plan.due(self._now) is None

    @property
    def planned(self) -> Planned | None:
        """The plan that goes on while the policy thinks about the last observation; None: nobody takes it up."""
        return self._planned

    def look(self, stamp_ns: int, now: float, person: bool) -> None:
        """An observation of robot time ``now`` [s] needs a decision; ``person``: somebody else drives."""
        self._now, self._decided = now, False
        covered, chunks = self._plan.covered(now), self._config.chunks
        ready = self._config.ask_policy and (covered == 0 or chunks != "wait")
        ahead = max(self._config.ask_ahead, self._half) if chunks == "rtc" else self._config.ask_ahead
        self._wants = ready and self._asking.wants(now, covered, ahead, person)
        if chunks == "rtc":
            self._planned = self._promise(stamp_ns, now)
        if self._wants:
            self._asking.sent(stamp_ns, now)

    def _promise(self, stamp_ns: int, now: float) -> Planned:
        """The plan from ``now`` on, promised to the answer to the observation of ``stamp_ns`` if one is wanted."""
        actions = self._plan.ahead(now) if self._wants else []
        delay = min(self._asking.delay, len(actions))
        if self._wants:
            begin = now + delay * self._period
            promise = _Promise(begin, begin if delay < len(actions) else math.inf)
            self._promises = dict(list(self._promises.items())[-VOIDED:]) | {stamp_ns: promise}
        return Planned(np.reshape(actions, (len(actions), len(self._axes))), delay)

    def answer(self, chunk: ActionChunk, now: float) -> None:
        """Take an answer that comes at robot time ``now`` [s], be it to an earlier observation.

        Raises `ContractError`, and counts it, when its observation was not asked about or its actions do not fit.
        """
        try:
            size = chunk.actions.shape[1]
            if size != len(self._axes):
                raise ContractError(f"an action chunk of {size} axes does not fit this task's {', '.join(self._axes)}")
            asked = self._asking.answered(chunk.stamp_ns, now, chunk.version != self._version)
            self._version = chunk.version
        except ContractError:
            self.refuse(chunk.stamp_ns)
            raise
        if asked is None:
            self.dropped_answers += 1
            return
        upcoming = self._now + self._period if self._decided else self._now
        promise = self._promises.pop(chunk.stamp_ns, None)
        if promise is not None and upcoming > promise.latest + 0.5 * self._period:
            self.dropped_answers += 1  # until then the arm has done other things than it was told
            return
        if self._config.chunks in ("wait", "rtc"):  # what is on its way knows nothing of this answer
            self._asking.void()
        if self._config.chunks == "wait":
            asked = max(asked, upcoming - (0.0 if chunk.times is None else float(chunk.times[0])))
        if promise is None:
            self.late_actions += self._plan.take(chunk, asked, upcoming)
        else:  # as long as the arm has held, so much later all of it is due
            held = max(0.0, upcoming - promise.begin) if math.isinf(promise.latest) else 0.0
            self._plan.take(chunk, asked + held, promise.begin + held)
        periods = len(chunk.actions) if chunk.times is None else round(float(chunk.times[-1]) / self._period) + 1
        self._half = periods // 2

    def answer_at_once(self, chunk: ActionChunk, stamp_ns: int) -> None:
        """Take the answer to the observation looked at last, of ``stamp_ns``. Raises `ContractError` like `answer`."""
        self._asking.sent(stamp_ns, self._now)
        self.answer(replace(chunk, stamp_ns=stamp_ns), self._now)

    def refuse(self, stamp_ns: int) -> None:
        """The answer to the observation of ``stamp_ns`` could not be understood: the policy may be asked anew."""
        self._asking.refused(stamp_ns)
        self.dropped_answers += 1

    def restarted(self) -> None:
        """The policy is another process than before: its first answer says nothing of those to come."""
        self._version = None

    def decide(self) -> Due | None:
        """The action that is due at the observation looked at last, or None."""
        self._decided = True
        self._acts = self._plan.due(self._now)
        return self._acts

    def commanded(self, target: Pose) -> None:
        """``target`` is the pose that came of the last decision, in the base frame."""
        self.borders.commanded(target, None if self._acts is None else self._acts.chunk)

    def forget(self) -> None:
        """Nothing that was decided on an observation before now acts any more."""
        self.borders.interrupt()
        self._promises.clear()
        self._plan.clear()
        self._asking.void()


def _plan_of(config: SessionConfig, axes: tuple[str, ...], period: float) -> ChunkBuffer | Ensemble:
    """The keeper of the policy's answers that ``session.chunks`` names."""
    if config.chunks == "ensemble":
        return Ensemble(period, axes[-1:] == ("gripper",), config.ensemble_decay)
    return ChunkBuffer(period)
