"""The judge in the session: a classifier's probabilities, which come as signals of the readings, to an outcome.

It needs no torch: the network runs beside the cameras, in a process of its own (`robot_rl.ros.reward_node`), or in
process before the session. A signal that is not there is a fault, never a zero.
"""

from __future__ import annotations

from pathlib import Path

from robot_rl.contract import Outcome, Reading, Verdict
from robot_rl.rewards.filtering import Decision, FilterState, Frame, decide, step
from robot_rl.rewards.saved import ClassifierError, Saved


class ClassifierJudge:
    """Success once the filtered score of the classifier in ``folder`` is above its threshold.

    Raises `ClassifierError` when it cannot be read, or has no threshold yet.
    """

    time_limit = True

    def __init__(self, folder: Path) -> None:
        saved = Saved.read(folder)
        if saved.thresholds is None:
            raise ClassifierError(f"judge=classifier:{folder} has no threshold yet: robot-rl reward eval --run DIR")
        self._saved, self._thresholds = saved, saved.thresholds
        self._state = FilterState()

    @property
    def score(self) -> float:
        """Of the frames of this episode so far, after the filter, 0 to 1."""
        return self._state.score

    def begin(self) -> None:
        self._state = FilterState()

    def judge(self, reading: Reading) -> Outcome:
        probability, at = (reading.signals.get(name) for name in (self._saved.signal, self._saved.stamp_signal))
        if probability is None or at is None:
            return Outcome.aborted(f"the reward classifier says nothing: no signal {self._saved.signal}")
        if not 0.0 <= probability <= 1.0:
            return Outcome.aborted(f"signal {self._saved.signal} is {probability}, which is no probability")
        frame = Frame(round(at * 1e9), probability, guarded=not self._saved.guards.outside(reading))
        self._state = step(self._saved.filter, self._state, frame)
        match decide(self._state.score, self._thresholds):
            case Decision.SUCCESS:
                return Outcome.success()
            case Decision.UNCERTAIN:
                return Outcome.doubtful(
                    f"Is it done? The classifier's score is {self.score:.2f}, and success is above "
                    f"{self._thresholds.success:.2f}. Say success or failure; resume goes on without."
                )
        return Outcome.running()

    def later(self) -> tuple[Verdict, ...]:
        return ()
