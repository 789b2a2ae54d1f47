"""Contents of episode stores: ``robot-rl inspect runs/<run>``, also as ``python -m demos.inspect``."""

from __future__ import annotations

import argparse
import logging
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from robot_rl.data.episode import EpisodeInfo
from robot_rl.data.schema import StoreError
from robot_rl.data.store import StoreReader

STORES = ("demos", "online", "evaluation")  # of a run
HEADER = f"{'episode':>7}  {'ending':<8} {'steps':>6} {'reward':>8} {'by person':>9} {'seconds':>8}  reason"


def describe_episode(info: EpisodeInfo) -> str:
    """A line of the table under `HEADER`."""
    numbers = f"{info.steps:>6} {info.total_reward:>8.2f} {info.interventions:>9} {info.duration:>8.1f}"
    return f"{info.index:>7}  {info.ending.value:<8} {numbers}  {info.reason}".rstrip()


def describe_total(task: str, episodes: Sequence[EpisodeInfo]) -> str:
    """One line about all of them."""
    if not episodes:
        return f"{task}: no finished episodes"
    endings = Counter(info.ending.value for info in episodes)
    steps = sum(info.steps for info in episodes)
    person = sum(info.interventions for info in episodes) / max(steps, 1)
    parts = [
        f"{task}: {len(episodes)} episodes ({', '.join(f'{count} {name}' for name, count in endings.most_common())})",
        f"{steps} steps",
        f"{sum(info.duration for info in episodes) / 60.0:.1f} min",
        f"reward {sum(info.total_reward for info in episodes):.2f}",
        f"{person:.0%} of the steps by a person",
    ]
    return ", ".join(parts)


def describe_columns(columns: Mapping[str, np.ndarray]) -> str:
    """One line: every recorded column with the shape of a row."""
    shapes = (f"{name}{list(column.shape[1:]) or ''}" for name, column in sorted(columns.items()))
    return f"columns: {', '.join(shapes)}"


def inspect(path: Path) -> str:
    """The table and totals of the store at ``path``, or of each store of the run there.

    Raises `StoreError` when there is neither, or a store cannot be read.
    """
    if StoreReader(path).schema is not None:
        return inspect_store(path)
    stores = [path / name for name in STORES if StoreReader(path / name).schema is not None]
    if not stores:
        raise StoreError(f"{path} is not an episode store, nor a run; a run keeps its own in {', '.join(STORES)}")
    return "\n".join(f"{store}\n{inspect_store(store)}" for store in stores)


def inspect_store(path: Path) -> str:
    """The table of a store and its totals. Raises `StoreError` when it cannot be read."""
    reader = StoreReader(path)
    if reader.schema is None:
        raise StoreError(f"{path} is not an episode store")
    episodes = reader.episodes()
    lines = [HEADER, *map(describe_episode, episodes), describe_total(reader.schema.task, episodes)]
    if episodes:
        lines.append(describe_columns(reader.load_episode(episodes[-1].index).columns))
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 2 when there is nothing to list."""
    parser = argparse.ArgumentParser(
        prog="python -m demos.inspect", description="List the episodes of a store, or of a run."
    )
    parser.add_argument("folder", type=Path)
    logging.basicConfig(format="demos.inspect: %(message)s")
    try:
        sys.stdout.write(inspect(parser.parse_args(argv).folder))
    except StoreError as error:
        sys.stderr.write(f"demos.inspect: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
