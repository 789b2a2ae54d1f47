"""Watch on a classifier at work: says when its promise does not hold any more, and when a guard has kept it.

A promise is of pictures and policies like those that it was measured on (`robot_rl.rewards.drift`). The watch hears of
each step, as it is recorded, and needs no torch: how strange a picture is comes as a signal, as the probability does.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from robot_rl.contract import Step
from robot_rl.rewards.drift import DriftState, follow, policy_changed
from robot_rl.rewards.saved import Saved


class Watch:
    """Watch on the classifier ``saved``.

    Attributes:
        drifted: episodes so far in which the drift alarm was raised.
    """

    def __init__(self, saved: Saved) -> None:
        self._saved = saved
        self._drift, self._guarded = DriftState(), False  # of this episode
        self._changed = False
        self.drifted = 0

    def see(self, step: Step) -> list[str]:
        """Lines for the person after ``step``: each at most once an episode, that of another policy once."""
        lines = [*self._see_drift(step), *self._see_guards(step)]
        why = "" if self._changed else policy_changed(self._saved.versions, step.timing.version)
        if why:
            self._changed = True
            lines.append(f"{why}; evaluate the classifier on its episodes")
        return lines

    def end(self) -> None:
        """The episode has ended, or been broken off."""
        self._drift, self._guarded = DriftState(), False

    def _see_drift(self, step: Step) -> list[str]:
        saved, signals = self._saved, step.next_reading.signals
        distance, at = signals.get(saved.drift_signal), signals.get(saved.stamp_signal)
        if saved.drift is None or distance is None or at is None or self._drift.alarm:
            return []
        self._drift = follow(self._drift, round(at * 1e9), distance, saved.drift.window, threshold=1.0)
        if not self._drift.alarm:
            return []
        self.drifted += 1
        return [
            f"drift: {saved.drift.window} pictures in a row at least {self._drift.lasting:.2g} times as far from those "
            "that the classifier was learnt from as its evaluation allows; its promise does not hold"
        ]

    def _see_guards(self, step: Step) -> list[str]:
        saved, reading = self._saved, step.next_reading
        probability = reading.signals.get(saved.signal, 0.0)
        if self._guarded or saved.thresholds is None or probability <= saved.thresholds.success:
            return []
        outside = saved.guards.outside(reading)
        self._guarded = bool(outside)
        return [f"guard: {', '.join(outside)}, where the classifier says {probability:.2f}"] if outside else []


class Watches:
    """A `Watch` on each of the classifiers in ``folders``."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._watches = [Watch(Saved.read(folder)) for folder in folders]

    @property
    def drifted(self) -> int:
        """Alarms so far, of all together."""
        return sum(watch.drifted for watch in self._watches)

    def see(self, step: Step) -> list[str]:
        """Lines for the person after ``step``."""
        return [line for watch in self._watches for line in watch.see(step)]

    def end(self) -> None:
        """The episode has ended, or been broken off."""
        for watch in self._watches:
            watch.end()
