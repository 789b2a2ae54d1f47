"""From a person's marks to labelled frames, and which episodes are learnt from.

A mark says from when on, and until when, the task is done. Frames within a mark are successes, all others failures; the
frames around either end of a mark are left out, because a person speaks after they have seen it. An episode without a
mark is a failure throughout.

Where stages are marked, each is a question of its own, *has it been reached?*, with the same labels; a later stage
includes those before it. The last one is the success.

Episodes are split, never frames: two frames of one episode are nearly the same picture. They are ordered by a hash of
their names, successes and failures each for themselves, and so are those that come to no more than an earlier stage. So
the split depends on neither the order of the episodes nor on chance, and another episode changes the part of at most
one for each border between parts.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
from annotated_types import Ge, Lt

from robot_rl.contract import ContractError
from robot_rl.contract.ranges import Count, NonNegative, RangeError, check

SUCCESS, FAILURE, LEFT_OUT = 1, 0, -1  # labels of frames

Part = Annotated[float, Ge(0), Lt(1)]


class LabelsError(ContractError):
    """Episodes that no classifier can be made of; the message has the counts and what to record."""


class Mark(NamedTuple):
    """A person's word that the task is done from ``first_ns`` to ``last_ns``, both included; None: to the end."""

    first_ns: int
    last_ns: int | None = None


@dataclass(frozen=True)
class Margin:
    """Time that is left out around either end of a mark, that end included; nothing if both are 0. Raises `RangeError`.

    Attributes:
        before: [s] a person's word comes late.
        after: [s] they may have spoken too soon.
    """

    before: NonNegative = 0.5
    after: NonNegative = 0.1

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, eq=False)
class MarkedEpisode:
    """An episode as it was recorded. Raises `ContractError`.

    Attributes:
        name: by which it is told apart for ever, e.g. store and number.
        stamps_ns: of its frames ``(T,)`` [ns], never falling.
        marks: from when to when the task was done.
    """

    name: str
    stamps_ns: np.ndarray
    marks: tuple[Mark, ...] = ()

    def __post_init__(self) -> None:
        stamps = self.stamps_ns
        if stamps.ndim != 1 or not len(stamps) or (np.diff(stamps) < 0).any():
            raise ContractError(
                f"stamps_ns of episode {self.name}, of shape {stamps.shape}, must be (T,) and rise, T ≥ 1"
            )
        for first, last in self.marks:
            if not (stamps[0] <= first <= stamps[-1] and (last is None or last >= first)):
                raise ContractError(
                    f"mark {first} to {last} ns of episode {self.name} must begin within {stamps[0]} to {stamps[-1]} "
                    "and end no sooner"
                )


@dataclass(frozen=True, eq=False)
class LabelledEpisode:
    """An episode with a label ``(T,)`` int8 for each frame: `SUCCESS`, `FAILURE` or `LEFT_OUT`.

    Attributes:
        success: whether it has a mark.
    """

    name: str
    success: bool
    labels: np.ndarray

    @property
    def teaches_success(self) -> bool:
        """Whether any of its frames shows a success."""
        return bool((self.labels == SUCCESS).any())


@dataclass(frozen=True)
class SplitSettings:
    """Parts of the episodes, of successes and of failures alike. Raises `RangeError`.

    Attributes:
        stopping: that decide when to stop the training.
        judging: that choose the threshold and are reported on. They are not those of ``stopping``, which the training
            was fitted to.
        least: episodes of either kind without which no classifier is trained.
        salt: another one gives another split.
    """

    stopping: Part = 0.15
    judging: Part = 0.35
    least: Count = 5
    salt: str = ""

    def __post_init__(self) -> None:
        check(self)
        if self.stopping + self.judging >= 1.0:
            raise RangeError(f"judging={self.judging} and stopping={self.stopping} must leave a part to learn from")


@dataclass(frozen=True)
class Split:
    """Episodes by what they are for; each is in one part.

    Attributes:
        learning, stopping, judging: as in `SplitSettings`.
        unused: those with a mark, but no frame of success outside the margins.
    """

    learning: tuple[LabelledEpisode, ...]
    stopping: tuple[LabelledEpisode, ...]
    judging: tuple[LabelledEpisode, ...]
    unused: tuple[LabelledEpisode, ...] = ()


def label(episode: MarkedEpisode, margin: Margin) -> LabelledEpisode:
    """Labels of an episode's frames."""
    stamps = episode.stamps_ns
    labels = np.full(len(stamps), FAILURE, dtype=np.int8)
    for first, last in episode.marks:
        labels[(stamps >= first) & (stamps <= (stamps[-1] if last is None else last))] = SUCCESS
    for first, last in episode.marks:
        for edge in (first, last):
            if edge is not None and edge <= stamps[-1]:
                labels[_around(stamps - edge, margin)] = LEFT_OUT
    return LabelledEpisode(episode.name, bool(episode.marks), labels)


def split(episodes: Sequence[LabelledEpisode], settings: SplitSettings) -> Split:
    """Parts of ``episodes``. Each has one success and one failure at least, unless its share is 0.

    Raises `LabelsError` for too few of either kind, and where two have the same name.
    """
    _check_names(episodes)
    successes = [episode for episode in episodes if episode.success and episode.teaches_success]
    failures = [episode for episode in episodes if not episode.success]
    unused = tuple(episode for episode in episodes if episode.success and not episode.teaches_success)
    _check_counts(len(successes), len(failures), len(unused), settings)
    parts: tuple[list[LabelledEpisode], ...] = ([], [], [])
    for kind in (successes, failures):
        _share_out(kind, parts, settings)
    return Split(tuple(parts[0]), tuple(parts[1]), tuple(parts[2]), unused)


def split_stages(
    episodes: Sequence[tuple[LabelledEpisode, ...]], names: Sequence[str], settings: SplitSettings
) -> Split:
    """Parts of ``episodes``, each a labelled one for each of the stages ``names``; they are handed back by the last.

    Each part has one that comes to no stage, and one that comes to the last. With one stage it is `split`. Raises
    `LabelsError` as that does, where too few reach a stage or do not, and for a stage that no frame shows, because the
    next one is marked before its margins are over.
    """
    last = [stages[-1] for stages in episodes]
    if len(names) == 1:
        return split(last, settings)
    _check_names(last)
    taught = [all(one.teaches_success for one in stages if one.success) for stages in episodes]
    reached = [sum(one.success for one in stages) for stages in episodes]
    least = max(settings.least, _parts(settings))
    for stage, name in enumerate(names, 1):
        come = sum(of >= stage and teaches for of, teaches in zip(reached, taught, strict=True))
        do_not = sum(of < stage and teaches for of, teaches in zip(reached, taught, strict=True))
        if min(come, do_not) < least:
            raise LabelsError(
                f"stage {name}: {come} episodes reach it and {do_not} do not, and a classifier needs {least} of "
                f"either; record {max(least - come, 0)} and {max(least - do_not, 0)} more"
            )
    for stage, name in enumerate(names[:-1]):
        if not any(_shows_only(stages[stage], stages[stage + 1]) for stages in episodes):
            raise LabelsError(
                f"stage {name} has no frames: in each episode {names[stage + 1]} is marked before its margins are "
                "over; stay there for longer"
            )
    parts: tuple[list[LabelledEpisode], ...] = ([], [], [])
    for stage in range(len(names), -1, -1):
        kind = [one for one, of, teaches in zip(last, reached, taught, strict=True) if teaches and of == stage]
        _share_out(kind, parts, settings)
    unused = tuple(one for one, teaches in zip(last, taught, strict=True) if not teaches)
    return Split(tuple(parts[0]), tuple(parts[1]), tuple(parts[2]), unused)


def _shows_only(stage: LabelledEpisode, following: LabelledEpisode) -> bool:
    """Whether a frame shows that ``stage`` has been reached, and not the ``following`` one."""
    return bool(((stage.labels == SUCCESS) & (following.labels == FAILURE)).any())


def _share_out(
    kind: Sequence[LabelledEpisode], parts: tuple[list[LabelledEpisode], ...], settings: SplitSettings
) -> None:
    """Add episodes of one ``kind`` to the parts; where they are too few for each of them, to what is learnt from."""
    ordered = sorted(kind, key=lambda episode: _hash(settings.salt, episode.name))
    judging, stopping = _borders(settings, len(ordered)) if len(ordered) >= _parts(settings) else (0, 0)
    for part, chosen in zip(parts, (ordered[stopping:], ordered[judging:stopping], ordered[:judging]), strict=True):
        part.extend(chosen)


def _check_names(episodes: Sequence[LabelledEpisode]) -> None:
    twice = [name for name, count in Counter(episode.name for episode in episodes).items() if count > 1]
    if twice:
        raise LabelsError(f"episode {twice[0]} is there more than once: a copy might be in two parts")


def _around(away_ns: np.ndarray, margin: Margin) -> np.ndarray:
    """Which of the frames ``(T,)`` are left out that are ``away_ns (T,)`` from the end of a mark."""
    before, after = round(margin.before * 1e9), round(margin.after * 1e9)
    within: np.ndarray = (away_ns > -before) & (away_ns < after)
    return within | (away_ns == 0) if before or after else within


def _check_counts(successes: int, failures: int, unused: int, settings: SplitSettings) -> None:
    least = max(settings.least, _parts(settings))
    lacking = {
        "in which success is marked": least - successes,
        "that fail, best by a near miss": least - failures,
    }
    needed = [f"{count} more {kind}" for kind, count in lacking.items() if count > 0]
    if not needed:
        return
    short = f" ({unused} more have marks that the margin leaves nothing of: mark for longer)" if unused else ""
    raise LabelsError(
        f"{successes} episodes with success and {failures} without{short} make no classifier, which needs {least} of "
        f"either; record {' and '.join(needed)}"
    )


def _parts(settings: SplitSettings) -> int:
    """Number of parts that have a share."""
    return 1 + (settings.stopping > 0.0) + (settings.judging > 0.0)


def _borders(settings: SplitSettings, count: int) -> tuple[int, int]:
    """Where, of ``count`` episodes in order, those for judging end, and those for stopping."""
    one = settings.stopping > 0.0
    judging = max(settings.judging > 0.0, round(settings.judging * count))
    judging = min(judging, count - 1 - one)
    stopping = max(judging + one, round((settings.judging + settings.stopping) * count))
    return judging, min(stopping, count - 1)


def _hash(salt: str, name: str) -> bytes:
    return hashlib.sha256(f"{salt}\n{name}".encode()).digest()
