"""``robot-rl reward relabel``: a person goes through the episodes that a classifier doubts, and corrects their labels.

Corrections are relabels of the store, so that nothing recorded is changed, a learner that follows it hears of them, and
the next training goes by them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from robot_rl.contract import Ending, Outcome, Reading, Relabel, View
from robot_rl.contract.files import write_atomically
from robot_rl.data.store import EpisodeStore
from robot_rl.jobs.logs import tell
from robot_rl.jobs.reward_data import Recording
from robot_rl.rewards.classifier import load
from robot_rl.rewards.config import RewardConfig
from robot_rl.rewards.filtering import Thresholds
from robot_rl.rewards.judged import judged, peaks
from robot_rl.rewards.labels import FAILURE
from robot_rl.rewards.saved import ClassifierError, Saved
from robot_rl.rewards.sheet import Tile, draw_sheet

BY, BY_PERSON = "person", "labelled by the person"
SHOWN = (-8, -4, 0, 4)  # frames beside the one in doubt
SHEET = "doubtful.png"


class Doubt(NamedTuple):
    """An episode whose label the classifier doubts.

    Attributes:
        recording: the episode.
        by: how far the score is on the wrong side of the threshold, or, below 0, how far it is from it.
        frame: number of the frame in doubt.
        score: at it, after the temporal filter.
    """

    recording: Recording
    by: float
    frame: int
    score: float


def relabel_episodes(
    out: Path, task: str, period: float, views: dict[str, View], found: list[Recording], settings: RewardConfig
) -> int:
    """Ask at the terminal about the episodes of ``found`` that the classifier at ``out`` doubts most."""
    saved = Saved.read(out)
    if saved.thresholds is None:
        raise ClassifierError(f"the classifier at {out} has no threshold yet: robot-rl reward eval --run DIR")
    if saved.earlier:
        raise ClassifierError(
            f"the classifier at {out} has stages, which are corrected step by step: python -m demos.relabel STORE "
            f"EPISODE STEP running --reward K/{len(saved.stages)}"
        )
    doubts = sorted(_doubts(out, found, saved, saved.thresholds), key=lambda one: -one.by)[: settings.report.mistakes]
    corrected = 0
    for number, doubt in enumerate(doubts, 1):
        labelled = doubt.recording.labelled
        readings = doubt.recording.frames().readings
        write_atomically(out / SHEET, _sheet(readings, doubt.frame, views))
        now = "a success" if labelled.success else "a failure"
        tell(f"{number} of {len(doubts)}: {labelled.name} is {now}; score {doubt.score:.3f} at frame {doubt.frame}")
        tell(f"look at {out / SHEET}; s: success from there on, f: failure, Enter: as it is, q: stop")
        answer = sys.stdin.readline()
        if answer.strip() == "q" or not answer:
            break
        if answer.strip() in ("s", "f"):
            _correct(doubt.recording, readings[doubt.frame].stamp_ns, success=answer.strip() == "s")
            corrected += 1
    tell(f"relabel: {corrected} of {len(doubts)} corrected; train and evaluate again to go by them")
    return 0


def _doubts(out: Path, found: Sequence[Recording], saved: Saved, thresholds: Thresholds) -> Iterator[Doubt]:
    """All episodes that are on the wrong side of the threshold, or between doubt and success."""
    classifier = load(out)
    for recording in found:
        frames = recording.frames()
        stamps = np.array([reading.stamp_ns for reading in frames.readings])
        said = classifier.probabilities(frames.readings)
        labelled = recording.labelled
        guarded = np.array([not saved.guards.outside(reading) for reading in frames.readings])
        episode = judged(labelled.name, labelled.success, stamps, said, frames.labels[:, -1], guarded)
        scores = peaks(episode, saved.filter).scores
        failing = frames.labels[:, -1] == FAILURE
        wrong, right = np.where(failing, scores, 0.0), np.where(failing, 0.0, scores)
        if wrong.max() > thresholds.doubt:
            yield Doubt(recording, float(wrong.max() - thresholds.success), int(wrong.argmax()), float(wrong.max()))
        elif labelled.success and right.max() <= thresholds.success:
            yield Doubt(recording, float(thresholds.success - right.max()), int(right.argmax()), float(right.max()))


def _correct(recording: Recording, stamp_ns: int, success: bool) -> None:
    """Label an episode as a success from the reading of ``stamp_ns`` on, or as a failure throughout."""
    with EpisodeStore.open(recording.store) as store:
        episode = store.load_episode(recording.index, ("stamp_ns", "reward"))
        info, steps = episode.info, len(episode["reward"])
        first = max(0, int(np.searchsorted(episode["stamp_ns"], stamp_ns)) - 1)  # the step that this reading closes
        if not info.meta.get("marks"):
            outcome = Outcome.success() if success else Outcome.failure(BY_PERSON)
            store.relabel(Relabel(recording.index, first if success else steps - 1, outcome, BY))
            return
        for step in range(steps):
            reward = float(success and step >= first)
            last = step == steps - 1
            outcome = Outcome(reward, info.ending if last else Ending.RUNNING, info.reason if last else "")
            if reward != episode["reward"][step]:
                store.relabel(Relabel(recording.index, step, outcome, BY))


def _sheet(readings: Sequence[Reading], frame: int, views: dict[str, View]) -> bytes:
    """The frame in doubt and some beside it, as a PNG."""
    chosen = dict.fromkeys(min(max(frame + away, 0), len(readings) - 1) for away in SHOWN)
    return draw_sheet(
        [
            Tile((f"frame {index}", "in doubt" if index == frame else ""), [readings[index].images[c] for c in views])
            for index in chosen
        ]
    )
