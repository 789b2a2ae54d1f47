"""The preference term at work: readings → what each step earns beside the task's reward. It needs no torch.

With f the score that `robot_rl.rewards.preference` has learnt, H the task's time limit in steps and w < 1 the weight,

    r = r_task + w / H · g,      g = the share of the steps learnt from whose f is lower,      0 ≤ g ≤ 1

by the quantiles of f over these steps, and straight lines between them: 1 is as good as the best that was shown, 0 as
bad as the worst, and a few steps that are far worse than all others make these no more alike. All steps of an episode
together earn at most w by it, and a success earns 1: no preference outweighs success. It is never negative, or breaking
off would pay, and a step that fails, aborts or is labelled by a person earns nothing by it. Nor does dawdling pay: it
earns w / H a step at most and puts off the success, which costs a learner of discount γ the share 1 − γ of it; that is
0.03 by default, and w / H is less for all tasks here.

On disk:

    preference.json       task, layout of its state, fields that it looks at, how well it agrees, digest of the weights
    weights.safetensors   means, scales and layers of the network, quantiles of f; no pickle
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as arrays_of

from robot_rl.contract import ContractError, Ending, Field, Judge, Outcome, Reading, Verdict
from robot_rl.contract.files import write_atomically
from robot_rl.rewards.saved import digest_of

FORMAT = "robot_rl preference 1"
CARD, WEIGHTS = "preference.json", "weights.safetensors"
LAYERS, LEVELS = 3, 41  # of the network; quantiles of f


class PreferenceError(ContractError):
    """A preference that cannot be used: a file is missing or damaged, or it does not fit; the message names which."""


class Stated(Protocol):
    """A task with a state."""

    @property
    def name(self) -> str: ...

    @property
    def fields(self) -> tuple[Field, ...]: ...

    def state(self, reading: Reading) -> np.ndarray:
        """State vector ``(d,)`` float32."""


@dataclass(frozen=True)
class Card:
    """All that is known of a preference beside its weights.

    Attributes:
        task: its name.
        layout: fields of the task's state, each with its size and scale.
        fields: names of those that are looked at.
        weights: digest of the file of weights.
        answers: that it was learnt from, that stopped the training, and that it was judged by.
        agreement: share of the judging pairs, those called equal left out, in which it prefers the same snippet; None
            without any.
        error: root mean square of its errors in the judging scores [of 1 to 5]; None without any.
        learning, stopping, judging: names of the episodes of each part.
    """

    task: str
    layout: tuple[tuple[str, int, float], ...]
    fields: tuple[str, ...]
    weights: str
    answers: tuple[int, int, int]
    agreement: float | None
    error: float | None
    learning: tuple[str, ...] = ()
    stopping: tuple[str, ...] = ()
    judging: tuple[str, ...] = ()

    @staticmethod
    def read(folder: Path) -> Card:
        """The description in ``folder``. Raises `PreferenceError` where there is none, or it cannot be read."""
        path = folder / CARD
        if not path.is_file():
            raise PreferenceError(
                f"no preference at {folder}: it has no {CARD}; make one: robot-rl reward prefer --run DIR, then "
                "robot-rl reward rank --run DIR"
            )
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if values.pop("format") != FORMAT:
                raise PreferenceError(f"{path} is of another version; rank anew")
            values["layout"] = tuple((name, int(size), float(scale)) for name, size, scale in values["layout"])
            for name in ("fields", "answers", "learning", "stopping", "judging"):
                values[name] = tuple(values[name])
            return Card(**values)
        except PreferenceError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PreferenceError(f"{path} is damaged: {str(error) or type(error).__name__}") from error

    def write(self, folder: Path) -> None:
        """Replace the description in ``folder``."""
        values = {"format": FORMAT, **dataclasses.asdict(self)}
        write_atomically(folder / CARD, json.dumps(values, indent=2, ensure_ascii=False).encode() + b"\n")

    def check(self, folder: Path, task: Stated) -> None:
        """Raises `PreferenceError` unless it is of ``task`` and its state, and its weights are whole."""
        if self.task != task.name:
            raise PreferenceError(f"preference={folder} was made for the task {self.task!r}, not for {task.name!r}")
        if self.layout != layout_of(task):
            raise PreferenceError(f"preference={folder}: the state of task {task.name!r} has changed since; rank anew")
        weights_of(folder, self)


def layout_of(task: Stated) -> tuple[tuple[str, int, float], ...]:
    """Fields of the task's state: name, size and scale."""
    return tuple((field.name, field.size, float(field.scale)) for field in task.fields)


def columns_of(layout: Sequence[tuple[str, int, float]], fields: Sequence[str]) -> np.ndarray:
    """Places ``(n,)`` of ``fields`` in the state; of all where none is named. Raises `PreferenceError`."""
    names = [name for name, size, _ in layout for _ in range(size)]
    for name in fields:
        if name not in names:
            known = ", ".join(name for name, *_ in layout)
            raise PreferenceError(f"fields={name!r} is no field of the task's state; choose from {known}")
    return np.flatnonzero([not fields or name in fields for name in names])


def weights_of(folder: Path, card: Card) -> bytes:
    """The content of the file of weights. Raises `PreferenceError` when it is missing, or belongs to another one."""
    path = folder / WEIGHTS
    if not path.is_file():
        raise PreferenceError(f"the preference at {folder} has no {WEIGHTS}; rank anew, or copy it whole")
    data = path.read_bytes()
    if digest_of(data) != card.weights:
        raise PreferenceError(f"{path} is damaged, or of another preference than {CARD} beside it; copy both anew")
    return data


class Preference:
    """Preference of a person by the state of ``task``: the network in ``folder``.

    Raises `PreferenceError` when it cannot be used.
    """

    def __init__(self, folder: Path, task: Stated) -> None:
        self.card = Card.read(folder)
        self.card.check(folder, task)
        self._task = task
        self._columns = columns_of(self.card.layout, self.card.fields)
        try:
            self._arrays = arrays_of(weights_of(folder, self.card))
            self.quality(np.zeros((1, sum(size for _, size, _ in self.card.layout))))
        except (SafetensorError, KeyError, ValueError) as error:
            raise PreferenceError(f"{folder / WEIGHTS} does not fit what {folder} says it sees: {error}") from error

    @property
    def digest(self) -> str:
        """The name of this preference in the record of an episode."""
        return self.card.weights

    def score(self, states: np.ndarray) -> np.ndarray:
        """f ``(n,)`` of the task's states ``(n, d)``: the mean of the members."""
        kept = self._arrays
        x = (np.asarray(states, np.float64)[:, self._columns] - kept["mean"]) * kept["scale"]
        h = x[None]
        for layer in range(LAYERS):
            h = h @ kept[f"weight_{layer}"] + kept[f"bias_{layer}"][:, None]
            if layer < LAYERS - 1:
                h = np.tanh(h)
        mean: np.ndarray = h[..., 0].mean(axis=0)
        return mean

    def quality(self, states: np.ndarray) -> np.ndarray:
        """g ``(n,)``, 0 to 1, of the task's states ``(n, d)``."""
        levels = self._arrays["levels"]
        g: np.ndarray = np.interp(self.score(states), levels, np.linspace(0.0, 1.0, len(levels)))
        return g

    def of(self, readings: Sequence[Reading]) -> np.ndarray:
        """g ``(n,)`` of readings."""
        return self.quality(np.stack([self._task.state(reading) for reading in readings]))


class PreferenceTerm:
    """The bonus of steps: w / H · g of the readings that close them.

    Args:
        preference: gives g.
        weight: w, above 0 and below 1.
        horizon: H.
    """

    def __init__(self, preference: Preference, weight: float, horizon: int) -> None:
        if not 0.0 < weight < 1.0:
            raise PreferenceError(
                f"preference_weight={weight:g} must be above 0 and below 1, which is what success earns"
            )
        self.preference, self.most = preference, weight / horizon

    def __call__(self, readings: Sequence[Reading]) -> np.ndarray:
        """Bonus ``(n,)`` of n steps, by the readings that close them."""
        return self.most * self.preference.of(readings)


class PreferredJudge:
    """``judge``, with the bonus of ``term`` in the reward of each step that goes on, succeeds or runs out of time."""

    def __init__(self, judge: Judge, term: Callable[[Sequence[Reading]], np.ndarray]) -> None:
        self._judge, self._term = judge, term
        self.time_limit = judge.time_limit

    def begin(self) -> None:
        self._judge.begin()

    def judge(self, reading: Reading) -> Outcome:
        outcome = self._judge.judge(reading)
        if outcome.ending in (Ending.FAILURE, Ending.ABORTED):
            return outcome
        return dataclasses.replace(outcome, reward=outcome.reward + float(self._term([reading])[0]))

    def later(self) -> Sequence[Verdict]:
        return self._judge.later()
