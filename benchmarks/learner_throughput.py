"""How fast the learner updates, against the fastest this machine multiplies matrices in the same minute.

Prints one JSON line. Updates (replay sampling included) and the roofline's matrix products are measured in turns, so
that other load on the machine hits both; medians of each.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import jax
import numpy as np

from robot_rl.contract import Layout
from robot_rl.data.episode import Transitions
from robot_rl.data.replay import ReplayBuffer, Sampler
from robot_rl.learner import rlpd

ROOFLINE_SIZE = 1024


def mlp_flops(sizes: Sequence[int]) -> int:
    """Of one forward pass of one sample: a multiplication and an addition per weight."""
    return sum(2 * a * b for a, b in pairwise(sizes))


def flops_per_call(state_size: int, action_size: int, batch: int, config: rlpd.RlpdConfig) -> int:
    """Matrix products of one `rlpd.update`; everything else (LayerNorm, Adam, …) is overhead by this count."""
    actor = mlp_flops((state_size, *config.hidden, 2 * action_size))
    critic = mlp_flops((state_size + action_size, *config.hidden, 1))
    first = mlp_flops((state_size + action_size, config.hidden[0]))  # its input needs no gradient in a critic step
    critic_step = actor + config.subset * critic + config.critics * (3 * critic - first)
    actor_step = 3 * actor - mlp_flops((state_size, config.hidden[0])) + config.critics * 2 * critic
    return batch * (config.critic_steps * critic_step + actor_step)


def timed(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - start


def filled_buffer(state_size: int, action_size: int, seed: int) -> ReplayBuffer:
    rng = np.random.default_rng(seed)
    buffer = ReplayBuffer(50_000, Layout(state_size, action_size))
    for episode in range(200):
        steps = 100
        ends = np.arange(steps) == steps - 1
        buffer.add(
            Transitions(
                "benchmark",
                episode,
                0,
                rng.normal(size=(steps + 1, state_size)).astype(np.float32),
                {},
                *(rng.uniform(-1, 1, (steps, action_size)).astype(np.float32) for _ in range(2)),
                ends.astype(np.float32),
                ends,
                np.zeros(steps, bool),
                np.zeros(steps, np.uint8),
                np.zeros(steps, np.int64),
                np.zeros(steps, np.float32),
            )
        )
    return buffer


def measure(
    state_size: int, action_size: int, batch_size: int, calls: int, config: rlpd.RlpdConfig
) -> dict[str, object]:
    rng = np.random.default_rng(0)
    sampler = Sampler([filled_buffer(state_size, action_size, seed) for seed in range(2)], (0.5, 0.5))
    state = rlpd.create(jax.random.PRNGKey(0), Layout(state_size, action_size), config)
    square = jax.numpy.asarray(rng.normal(size=(ROOFLINE_SIZE, ROOFLINE_SIZE)).astype(np.float32))
    multiply = jax.jit(jax.numpy.matmul)

    def one_call() -> rlpd.RlpdState:
        nonlocal state
        state, _ = rlpd.update(state, sampler.sample(rng, config.critic_steps, batch_size), config=config)
        return state

    for _ in range(3):  # compile
        one_call()
        multiply(square, square)
    updates, products, samples = [], [], []
    for _ in range(calls):
        updates.append(timed(one_call))
        products.append(timed(lambda: multiply(square, square)))
        samples.append(timed(lambda: sampler.sample(rng, config.critic_steps, batch_size)))
    call = statistics.median(updates)
    gflops = flops_per_call(state_size, action_size, batch_size, config) / call / 1e9
    roofline = 2 * ROOFLINE_SIZE**3 / statistics.median(products) / 1e9
    return {
        "benchmark": "learner_throughput",
        "agent": "rlpd",
        "config": dataclasses.asdict(config)
        | {"state_size": state_size, "action_size": action_size, "batch_size": batch_size},
        "updates_per_s": round(config.critic_steps / call, 1),
        "updates_per_s_best": round(config.critic_steps / min(updates), 1),
        "gflops": round(gflops, 1),
        "roofline_gflops": round(roofline, 1),
        "roofline_fraction": round(gflops / roofline, 3),
        "sample_us": round(statistics.median(samples) * 1e6, 1),
        "sample_share": round(statistics.median(samples) / call, 4),
        "load": [round(value, 2) for value in os.getloadavg()],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=int, default=25)
    parser.add_argument("--action", type=int, default=4)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--json", type=Path, help="also append the line to this file")
    arguments = parser.parse_args()
    result = json.dumps(measure(arguments.state, arguments.action, arguments.batch, arguments.calls, rlpd.RlpdConfig()))
    print(result)
    if arguments.json:
        with arguments.json.open("a") as file:
            file.write(result + "\n")


if __name__ == "__main__":
    main()
