"""Memory of a process that learns, over as many steps as an operator's day has: flat, images included.

One JSON line: resident memory [MiB] after the warm-up and at the end, and its growth for each 1000 steps between, by
least squares over samples. Steps of two cameras of 64×64 pixels go into `LearnerLoop` one by one, which makes the
updates that they earn and hands out parameters, as the learner process does. The replay is bounded and full before the
warm-up ends, so that filling it is no growth. Networks are small: what leaks does so for any size.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.learner_throughput import Domain
from robot_rl.contract import Layout
from robot_rl.data.episode import Transitions
from robot_rl.learner.factory import make_agent
from robot_rl.learner.loop import LearnerLoop, LoopConfig

LAYOUT = Layout(20, 4, {"side": (64, 64), "wrist": (64, 64)})
SETTINGS: dict[str, dict[str, Any]] = {
    "flash_sac": {"actor_width": 16, "critic_width": 16, "blocks": 1, "critic_steps": 1},
    "rlpd": {"hidden": (32,), "critics": 2, "critic_steps": 1},
    "hil": {"hidden": (32,), "critic_steps": 1},
    "chunked": {"hidden": (32,), "horizon": 2, "samples": 2, "critic_steps": 1},
    "expo": {"hidden": (32,), "base_hidden": (32,), "critics": 2, "candidates": 2, "critic_steps": 1},
    "dsrl": {"hidden": (32,), "horizon": 2, "critic_steps": 1},
    "gorl": {"hidden": (32,), "horizon": 2, "critic_steps": 1},
    "rlt": {"hidden": (32,), "horizon": 2, "critic_steps": 1},
    "pa_rl": {"hidden": (32,), "horizon": 2, "critic_steps": 1},
}
EPISODE = 100  # steps
CAPACITY = 2000  # observations in the replay
SAMPLE_EVERY = 250  # steps


def resident() -> float:
    """Memory of this process that is in RAM [MiB]."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def step(number: int, rng: np.random.Generator) -> Transitions:
    """Step ``number`` of all: of episodes of ``EPISODE`` steps, every other one a success."""
    episode, start = divmod(number, EPISODE)
    last = np.array([start == EPISODE - 1])
    success = last & (episode % 2 == 0)
    columns: dict[str, np.ndarray] = {
        "state": rng.normal(size=(2, LAYOUT.state_size)).astype(np.float32),
        "action": rng.uniform(-1.0, 1.0, (1, LAYOUT.action_size)).astype(np.float32),
        "reward": success.astype(np.float32),
        "terminated": success,
        "truncated": last & ~success,
        "source": np.zeros(1, np.uint8),
        "version": np.zeros(1, np.int64),
        "cost": np.zeros(1, np.float32),
    }
    columns |= {f"image/{name}": rng.integers(0, 256, (2, *size, 3), np.uint8) for name, size in LAYOUT.images.items()}
    return Transitions("made up", episode, start, columns)


def measure(agent: str, steps: int, warm_up: int, batch_size: int) -> dict[str, float | int | str]:
    """The line of ``steps`` steps, of which the first ``warm_up`` ones do not count."""
    config = LoopConfig(utd=1.0, start_after=100, batch_size=batch_size, capacity=CAPACITY, demo_capacity=CAPACITY)
    loop, rng = LearnerLoop(make_agent(agent, SETTINGS[agent]), Domain(LAYOUT), config=config), np.random.default_rng(0)
    samples: list[tuple[int, float]] = []
    began = time.monotonic()
    for number in range(steps):
        loop.add(step(number, rng))
        while loop.update():
            pass
        if number % 10 == 0:
            loop.parameters()
        if number >= warm_up and (number - warm_up) % SAMPLE_EVERY == 0:
            gc.collect()
            samples.append((number, resident()))
    at, memory = np.array(samples).T
    return {
        "agent": agent,
        "steps": steps,
        "updates": int(loop.metrics()["learner/updates"]),
        "warm_up": warm_up,
        "rss_after_warm_up_mib": round(float(memory[0]), 1),
        "rss_at_end_mib": round(float(memory[-1]), 1),
        "growth_mib_per_1000_steps": round(float(np.polyfit(at, memory, 1)[0]) * 1000.0, 3),
        "wall_s": round(time.monotonic() - began, 1),
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agent", choices=SETTINGS, default="flash_sac")
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--warm-up", type=int, default=4000, help="steps in which the replay fills up and all compiles")
    parser.add_argument("--batch", type=int, default=4)
    options = parser.parse_args(argv)
    if options.warm_up < CAPACITY + 2 * EPISODE or options.steps < options.warm_up + 2 * SAMPLE_EVERY:
        parser.error(
            f"--warm-up {options.warm_up} must fill the replay, {CAPACITY + 2 * EPISODE} steps at least, and --steps "
            f"{options.steps} go on for {2 * SAMPLE_EVERY} more"
        )
    sys.stdout.write(json.dumps(measure(options.agent, options.steps, options.warm_up, options.batch)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
