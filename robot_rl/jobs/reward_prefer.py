"""``robot-rl reward prefer``: a person, or a program, says which of two snippets is better, or how good one is.

Each answer is on the disk before the next question; the same command goes on where it was.
"""

from __future__ import annotations

import inspect
import io
import itertools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from robot_rl.contract import Registry
from robot_rl.contract.files import write_atomically
from robot_rl.jobs.logs import tell
from robot_rl.jobs.reward_snippets import Recorded
from robot_rl.rewards.answers import EQUAL, FILE, FIRST, SCORES, SECOND, Answer, AnswersError, Snippet, append, read
from robot_rl.rewards.config import PreferenceConfig
from robot_rl.rewards.sheet import Tile, draw_sheet
from robot_rl.rewards.snippets import draw, split

PROGRAMS = Registry("preferring program", {})
PERSON = "person"
PICTURE, FRAMES = "preferences.png", "preferences-frames.png"
SHOWN = 4  # frames of a snippet
BARS = "▁▂▃▄▅▆▇█"
SKIP, STOP = None, "q"
PAIR_KEYS = {"1": FIRST, "2": SECOND, "=": EQUAL}
SCORE_KEYS = {str(score): score for score in range(SCORES[0], SCORES[1] + 1)}
LABELS = ("1", "2")  # of the snippets of a pair

Ask = Callable[[Sequence[Snippet]], int | None]


class Stopped(Exception):
    """The person has had enough."""


def prefer(root: Path, recorded: Recorded, config: PreferenceConfig) -> int:
    """Ask about snippets of ``recorded`` until there are as many answers as are wanted; returns the exit status.

    Raises `AnswersError` for a program's answer that is none, and for episodes that are too few.
    """
    path = root / FILE
    have = len(read(path))
    parts = split(recorded.episodes, config.stopping, config.judging)
    ask = by_program(config.by) if config.by else AtTerminal(root, config.answers).ask
    asked = 1 if config.ask == "scores" else 2
    try:
        for number in itertools.count(have):
            if have >= config.answers:
                break
            rng = np.random.default_rng([config.seed, number])
            spans = draw(parts, recorded.episodes, config.length, asked, rng)
            answer = ask([recorded.snippet(span) for span in spans])
            if answer is SKIP:
                continue
            append(path, Answer(spans[0], answer, config.by or PERSON, spans[1] if asked == 2 else None))
            have += 1
    except Stopped:
        pass
    tell(f"prefer: {have} of {config.answers} answers, {path}")
    if have >= config.answers:
        tell("next: robot-rl reward rank, which learns from them")
    return 0


def by_program(name: str) -> Ask:
    """The function called ``name`` in the place of a person. Raises `ContractError` where there is none."""
    if ":" not in name:
        raise AnswersError(f"by={name} names no program; the form is module:function")
    function = PROGRAMS.load(name)
    if not callable(function):
        raise AnswersError(f"by={name} is a {type(function).__name__}, which cannot be called with snippets")

    def ask(snippets: Sequence[Snippet]) -> int:
        try:
            inspect.signature(function).bind(*snippets)
        except TypeError as error:
            raise AnswersError(f"by={name} cannot be called with {len(snippets)} snippets: {error}") from error
        answer = function(*snippets)
        if isinstance(answer, bool) or not isinstance(answer, int | np.integer):
            raise AnswersError(f"by={name} answered {answer!r}, which is no whole number")
        return int(answer)

    return ask


class AtTerminal:
    """Shows snippets to the person at the terminal, and takes their answers.

    Args:
        root: folder for the pictures.
        wanted: answers in all, for the lines that say how far it is.
    """

    def __init__(self, root: Path, wanted: int) -> None:
        self._root, self._wanted = root, wanted

    def ask(self, snippets: Sequence[Snippet]) -> int | None:
        """The person's answer; None for another question. Raises `Stopped`."""
        most = max(float(force_of(snippet).max()) for snippet in snippets)
        for label, snippet in zip(LABELS, snippets, strict=False):
            tell(f"{label}  {in_words(snippet, most)}")
        write_atomically(self._root / PICTURE, curves(snippets))
        files = str(self._root / PICTURE)
        if all(reading.images for snippet in snippets for reading in snippet.readings):
            write_atomically(self._root / FRAMES, frames(snippets))
            files += f", {FRAMES}"
        keys = PAIR_KEYS if len(snippets) == 2 else SCORE_KEYS
        choice = "1 or 2: the better one, =: neither" if len(snippets) == 2 else "1 (bad) to 5 (good)"
        while True:
            number = len(read(self._root / FILE)) + 1
            tell(f"{number} of {self._wanted}: look at {files}; {choice}, Enter: another, q: stop")
            said = sys.stdin.readline()
            word = said.strip()
            if word == STOP or not said:
                raise Stopped
            if not word:
                return SKIP
            if word in keys:
                return keys[word]
            tell(f"{word[:20]!r} is no answer")


def force_of(snippet: Snippet) -> np.ndarray:
    """Length of the force ``(steps,)`` [N] of what touches the arm."""
    return np.array([float(np.linalg.norm(reading.contact[:3])) for reading in snippet.readings])


def speed_of(snippet: Snippet) -> np.ndarray:
    """Speed ``(steps,)`` [m/s] of the TCP."""
    return np.array([float(np.linalg.norm(reading.twist[:3])) for reading in snippet.readings])


def in_words(snippet: Snippet, most: float) -> str:
    """A line: the force over time as bars up to ``most`` [N], its mean and extent, and the speed."""
    force, speed = force_of(snippet), speed_of(snippet)
    heights = np.clip(force / max(most, 1e-9) * (len(BARS) - 1), 0, len(BARS) - 1).round().astype(int)
    bars = "".join(BARS[height] for height in heights)
    extent = f"{force.mean():.1f} N ({force.min():.1f} to {force.max():.1f})"
    return f"{bars}  force {extent}, speed {1000.0 * speed.mean():.0f} mm/s; {snippet.span}"


def curves(snippets: Sequence[Snippet]) -> bytes:
    """Force and speed of the snippets over time, as the content of a PNG file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 4.0), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    for label, snippet in zip(LABELS, snippets, strict=False):
        seconds = np.arange(len(snippet.readings)) * snippet.period
        upper.plot(seconds, force_of(snippet), label=label)
        lower.plot(seconds, 1000.0 * speed_of(snippet), label=label)
    upper.set_ylabel("force [N]")
    lower.set_ylabel("speed [mm/s]")
    lower.set_xlabel("time [s]")
    upper.legend()
    for axis in (upper, lower):
        axis.grid(alpha=0.3)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120)
    return file.getvalue()


def frames(snippets: Sequence[Snippet]) -> bytes:
    """Some frames of each snippet, as the content of a PNG file."""
    tiles = []
    for label, snippet in zip(LABELS, snippets, strict=False):
        shown = np.linspace(0, len(snippet.readings) - 1, SHOWN).round().astype(int).tolist()
        tiles += [
            Tile((f"snippet {label}", f"{index * snippet.period:.1f} s"), list(snippet.readings[index].images.values()))
            for index in shown
        ]
    return draw_sheet(tiles)
