"""Demonstrations of a public task: its script with a noise that is held, as robomimic's HDF5.

    python -m benchmarks.experiments.public.demos door-open --seed 0 --count 20 --file door-open.hdf5

Only episodes that succeed are kept. Prints one JSON line: how many were driven for them, and their steps.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from benchmarks.experiments.public.envs import FETCH, IDS, make_script, starts

NOISE, FETCH_NOISE = 0.2, 0.1  # standard deviation, of actions from −1 to 1; scripts of Fetch grip within 15 mm
HELD = 5  # steps that a draw is held for, on average
TRIES = 10  # episodes for each one asked for, before it gives up


@dataclass(frozen=True)
class Demo:
    """An episode: observations by key ``(T+1, …)``, actions ``(T, a)``, and whether it succeeded."""

    observations: dict[str, np.ndarray]
    actions: np.ndarray
    succeeded: bool


def play(name: str, seed: int) -> Iterator[Demo]:
    """Episodes of the script without end."""
    noise = FETCH_NOISE if name in FETCH else NOISE
    env = gymnasium.make(IDS[name])
    rng = np.random.default_rng(seed)
    for start in starts(seed):
        script = make_script(name)
        seen, _ = env.reset(seed=start % 2**31)
        held: np.ndarray = np.zeros(env.action_space.shape)
        observations, actions, over, success = [seen], [], False, False
        while not over:
            if rng.random() < 1.0 / HELD:
                held = rng.normal(0.0, noise, held.shape)
            action = np.clip(script(seen) + held, -1.0, 1.0).astype(np.float32)
            seen, _, terminated, truncated, _ = env.step(action)
            observations.append(seen)
            actions.append(action)
            over, success = terminated or truncated, terminated
        yield Demo(_by_key(observations), np.stack(actions), success)


def _by_key(observations: list[Any]) -> dict[str, np.ndarray]:
    if isinstance(observations[0], dict):
        return {key: np.stack([seen[key] for seen in observations]) for key in observations[0]}
    return {"state": np.stack(observations)}


def record(name: str, seed: int, count: int, file: Path) -> tuple[int, list[int]]:
    """Write ``count`` demonstrations that succeeded; how many were driven, and the steps of each. Raises SystemExit."""
    import h5py

    steps: list[int] = []
    partial = file.with_name(file.name + ".partial")
    with h5py.File(partial, "w") as out:
        data = out.create_group("data")
        for driven, demo in enumerate(play(name, seed), start=1):
            if demo.succeeded:
                group = data.create_group(f"demo_{len(steps)}")
                last = np.arange(len(demo.actions)) == len(demo.actions) - 1
                for key, values in demo.observations.items():
                    group[f"obs/{key}"], group[f"next_obs/{key}"] = values[:-1], values[1:]
                group["actions"], group["rewards"], group["dones"] = demo.actions, last.astype(np.float32), last
                steps.append(len(demo.actions))
            if len(steps) == count:
                break
            if driven == TRIES * count:
                raise SystemExit(f"{name}: only {len(steps)} of {driven} demonstrations succeeded")
    partial.replace(file)
    return driven, steps


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=IDS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--file", type=Path, required=True)
    options = parser.parse_args(argv)
    driven, steps = record(options.name, options.seed, options.count, options.file)
    line = {"task": options.name, "seed": options.seed, "driven": driven, "succeeded": len(steps)}
    sys.stdout.write(json.dumps(line | {"median_steps": float(np.median(steps))}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
