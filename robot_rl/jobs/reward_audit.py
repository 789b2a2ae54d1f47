"""``robot-rl reward audit``: the frame by which a classifier called each episode a success, for a person to look at.

The pictures are in the stores, as those of every step. Whoever finds a success that is none makes it a failure by
`demos.relabel`, or while the job runs on its page; learner, counts and the next training go by it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from robot_rl.contract.files import write_atomically
from robot_rl.data.columns import SIGNAL
from robot_rl.data.store import StoreReader
from robot_rl.jobs.logs import tell
from robot_rl.rewards.saved import is_probability
from robot_rl.rewards.sheet import Tile, draw_sheet

FOLDER, PAGE = "audit", 48  # of the run; successes on a sheet


class Declared(NamedTuple):
    """A success that a classifier has declared: by which step of which episode, and its probability there."""

    store: Path
    episode: int
    step: int
    probability: float
    pictures: list[np.ndarray]


def audit(root: Path, stores: Sequence[str]) -> int:
    """Sheets and a list of the successes in ``stores`` of the run at ``root``; returns the exit status."""
    folder, page, pages = root / FOLDER, list[Declared](), 0
    lines: list[str] = []

    def draw() -> None:
        tiles = [
            Tile((f"{one.store.name} {one.episode}, step {one.step}", f"p = {one.probability:.3f}"), one.pictures)
            for one in page
        ]
        path = folder / f"audit-{pages:03d}.png"
        write_atomically(path, draw_sheet(tiles))
        tell(f"audit: {len(lines)} successes, {path}")

    for old in folder.glob("audit-*.png"):
        old.unlink()
    for one in (found for store in stores for found in _declared(root / store)):
        page.append(one)
        values = {"store": one.store.name, "episode": one.episode, "step": one.step}
        lines.append(json.dumps(values | {"probability": round(one.probability, 4)}))
        if len(page) == PAGE:
            pages += 1
            draw()
            page.clear()
    if page:
        pages += 1
        draw()
    write_atomically(folder / "audit.jsonl", "".join(f"{line}\n" for line in lines).encode())
    if not lines:
        tell(f"audit: no success by a classifier in {', '.join(stores)} of {root}")
        return 0
    tell(f"one that is none: python -m demos.relabel {root / stores[0]} EPISODE STEP failure")
    return 0


def _declared(store: Path) -> Iterator[Declared]:
    """Successes of ``store``, as labelled now, that a classifier has judged; none where there is no store."""
    reader = StoreReader(store)
    for info in reader.episodes():
        if not info.success:
            continue
        episode = reader.load_episode(info.index)
        said = [
            name for name in episode.columns if name.startswith(SIGNAL) and is_probability(name.removeprefix(SIGNAL))
        ]
        if said:
            probability = max(float(episode[name][-1]) for name in said)
            pictures = [frames[-1] for frames in episode.images.values()]
            yield Declared(store, info.index, info.steps - 1, probability, pictures)
