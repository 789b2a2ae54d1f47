"""The watch on a classifier at work: drift, another policy, guards, each said once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robot_rl.contract import Outcome, Step
from robot_rl.rewards.drift import DriftSettings, fit
from robot_rl.rewards.guards import Guards
from robot_rl.rewards.saved import DRIFT, ClassifierError, Drift, Saved, alarm_of, keep_alarm
from robot_rl.rewards.watch import Watch, Watches
from tests.robot_rl.recording import steps
from tests.robot_rl.rewards.test_drift import episodes
from tests.robot_rl.rewards.test_judge import JUDGED

WATCHED = replace(JUDGED, drift=Drift(2.0, 3, 0.05, "0"), versions=(-1, 5, 8))


def seen(saved: Saved, count: int, drift: float = 0.5, probability: float = 0.1, version: int = -1) -> list[Step]:
    """Steps of one episode, of which each shows a new picture that is ``drift`` thresholds away."""
    found = []
    for step in steps(count, 0, Outcome.timeout()):
        at = step.next_reading.stamp_ns * 1e-9
        signals = {saved.signal: probability, saved.stamp_signal: at, saved.drift_signal: drift}
        reading = replace(step.next_reading, signals=signals)
        found.append(replace(step, next_reading=reading, timing=replace(step.timing, version=version)))
    return found


def said(watch: Watch | Watches, shown: list[Step]) -> list[str]:
    """Lines of one episode, which ends."""
    lines = [line for step in shown for line in watch.see(step)]
    watch.end()
    return lines


def test_pictures_that_are_far_for_long_enough_are_said_once_an_episode() -> None:
    watch = Watch(WATCHED)
    far = seen(WATCHED, 8, drift=1.5)
    near = seen(WATCHED, 8, drift=0.9)
    (line,) = said(watch, far)
    assert line.startswith("drift: 3 pictures in a row at least 1.5 times as far") and watch.drifted == 1
    assert said(watch, near) == []
    assert said(watch, [*far[:2], *near[2:4], *far[4:6]]) == [], "not three in a row"
    assert said(watch, far) == [line] and watch.drifted == 2


def test_copies_of_a_strange_picture_are_no_evidence() -> None:
    watch = Watch(WATCHED)
    assert said(watch, [seen(WATCHED, 8, drift=9.0)[0]] * 50) == []


def test_another_policy_is_said_once() -> None:
    watch = Watch(WATCHED)
    assert said(watch, seen(WATCHED, 3, version=6)) == []
    (line,) = said(watch, seen(WATCHED, 3, version=9))
    assert "version 9 acts, the promise was measured on versions 5 to 8; evaluate" in line
    assert said(watch, seen(WATCHED, 3, version=10)) == []


def test_a_guard_that_keeps_a_success_is_named_once_an_episode() -> None:
    saved = replace(WATCHED, guards=Guards(z=(-2.0, -1.0)))
    watch = Watch(saved)
    assert said(watch, seen(saved, 3, probability=0.4)) == [], "the classifier calls it no success either"
    for _ in range(2):
        (line,) = said(watch, seen(saved, 3, probability=0.9))
        assert line.startswith("guard: z is ") and line.endswith("not -2 to -1 m, where the classifier says 0.90")


def test_the_alarm_is_kept_beside_the_classifier(tmp_path: Path) -> None:
    alarm = fit(episodes(1, 10), episodes(2, 20), DriftSettings(window=3))
    saved = replace(JUDGED, drift=keep_alarm(tmp_path, alarm))
    saved.write(tmp_path)
    assert Saved.read(tmp_path) == saved
    found = alarm_of(tmp_path, saved)
    assert found is not None and (found.threshold, found.window, found.rate) == (alarm.threshold, 3, 0.05)
    features = np.arange(4.0)
    assert found.distance(features) == alarm.distance(features)
    assert said(Watches([tmp_path, tmp_path]), seen(saved, 5, drift=1.5)) != []
    (tmp_path / DRIFT).write_bytes(b"other")
    with pytest.raises(ClassifierError, match=r"drift.safetensors is damaged"):
        alarm_of(tmp_path, saved)
    assert alarm_of(tmp_path, JUDGED) is None
