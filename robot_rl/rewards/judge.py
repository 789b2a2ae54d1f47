"""The judge in the session: a classifier's probabilities, which come as signals of the readings, to an outcome.

With stages, each has a filter and a threshold of its own, and what is held is the highest stage whose own score and
those of all before it are above their thresholds: none is skipped, and one is lost again when its score falls.

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
        self._least = tuple(stage.thresholds.success for stage in saved.stages if stage.thresholds is not None)
        self._states = (FilterState(),) * len(saved.stages)

    @property
    def score(self) -> float:
        """Score of success at the frames of this episode so far, after the filter, 0 to 1."""
        return self._states[-1].score

    @property
    def stage(self) -> int:
        """Number of stages that are held now; that of all of them at a success."""
        above = [state.score > least for state, least in zip(self._states, self._least, strict=True)]
        return above.index(False) if False in above else len(above)

    @property
    def progress(self) -> float:
        """Share of the stages that are held now, 0 to 1."""
        return self.stage / len(self._states)

    def begin(self) -> None:
        self._states = (FilterState(),) * len(self._saved.stages)

    def judge(self, reading: Reading) -> Outcome:
        at = reading.signals.get(self._saved.stamp_signal)
        guarded, states = not self._saved.guards.outside(reading), []
        for name, state in zip(self._saved.signals, self._states, strict=True):
            probability = reading.signals.get(name)
            if probability is None or at is None:
                return Outcome.aborted(f"the reward classifier says nothing: no signal {name}")
            if not 0.0 <= probability <= 1.0:
                return Outcome.aborted(f"signal {name} is {probability}, which is no probability")
            counts = guarded or name != self._saved.signal  # a guard is of success alone
            states.append(step(self._saved.filter, state, Frame(round(at * 1e9), probability, guarded=counts)))
        self._states = tuple(states)
        if self.stage < len(states) - 1:
            return Outcome.running()
        match decide(self.score, self._thresholds):
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
