"""Worth of chunks: `chunked` with H = 5 and with H = 1 on the same data of a long way with one reward at its end.

The task: a point in a square has to visit two corners and then the goal; 45 steps at the best. The state is the place
and which of the three is next; only the goal is rewarded. The data: demonstrations that waver and, at the corners,
stand still for a time that nothing in the state tells (people do so). No steps are added. One JSON line a horizon and
seed: success and mean steps of 100 starts, and the value that the critics believe in at the start (0.43 the data, 0.64
the shortest way).
"""

from __future__ import annotations

import argparse
import json
import time

import jax
import numpy as np

from robot_rl.contract import Layout
from robot_rl.data.episode import Transitions
from robot_rl.data.replay import EXAMPLE, ReplayBuffer, Sampler
from robot_rl.learner.algorithms import chunked
from robot_rl.learner.algorithms.chunked import ChunkedConfig

STEP = 0.1  # that an action of 1 moves the point; the square is [−1, 1]²
LIMIT = 200  # steps
PLACES = np.array([(-0.5, 0.75), (0.5, 0.75), (0.8, -0.8)])  # two corners and the goal
RADIUS = 0.15  # of the places
BATCH = 128
EVALUATED = 100
DISCOUNT = 0.99


def starts(rng: np.random.Generator, count: int) -> np.ndarray:
    """``(count, 2)``."""
    return np.array([-0.8, -0.8]) + rng.uniform(-0.1, 0.1, (count, 2))


def advance(point: np.ndarray, stage: np.ndarray, action: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points ``(n, 2)`` and stages ``(n,)`` (3: done) after actions ``(n, 2)``."""
    point = np.clip(point + STEP * np.clip(action, -1.0, 1.0), -1.0, 1.0)
    reached = np.linalg.norm(point - PLACES[np.minimum(stage, 2)], axis=-1) < RADIUS
    return point, np.minimum(stage + reached, 3)


def observe(point: np.ndarray, stage: np.ndarray) -> np.ndarray:
    """States ``(n, 5)`` float32."""
    return np.concatenate((point, stage[:, None] == np.arange(3)), axis=-1).astype(np.float32)


def demonstration(rng: np.random.Generator, number: int) -> Transitions:
    """From a start to the goal, by way of the corners."""
    point, stage = starts(rng, 1), np.zeros(1, int)
    states, actions = [observe(point, stage)[0]], []
    waver, pause = np.zeros(2), 0
    while len(actions) < LIMIT and stage[0] < 3:
        waver = 0.8 * waver + 0.4 * rng.normal(size=2)
        toward = np.clip((PLACES[stage[0]] - point[0]) / STEP, -1.0, 1.0)
        action = np.clip(0.6 * toward + 0.5 * waver, -1.0, 1.0) if pause == 0 else np.zeros(2)
        before = stage[0]
        point, stage = advance(point, stage, action[None])
        pause = int(rng.integers(3, 12)) if stage[0] > before else max(pause - 1, 0)
        actions.append(action)
        states.append(observe(point, stage)[0])
    count = len(actions)
    last = np.arange(count) == count - 1
    success = bool(stage[0] == 3)
    return Transitions(
        store="",
        episode=number,
        start=0,
        columns={
            "state": np.array(states),
            "action": np.array(actions, np.float32),
            "reward": (last & success).astype(np.float32),
            "terminated": last & success,
            "truncated": last & (not success),
            "source": np.zeros(count, np.uint8),
            "version": np.zeros(count, np.int64),
        },
    )


def evaluate(state: chunked.ChunkedState, config: ChunkedConfig) -> tuple[np.ndarray, float]:
    """Steps to the goal ``(EVALUATED,)``, `LIMIT` where it was not reached; and the value at the start."""
    point, stage = starts(np.random.default_rng(12345), EVALUATED), np.zeros(EVALUATED, int)
    steps = np.full(EVALUATED, LIMIT)
    count = config.samples if config.extraction == "best_of_n" else 1
    value = 0.0

    @jax.jit
    def choose(seen: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        noise = jax.random.normal(key, (EVALUATED, count, 2 * config.horizon))
        chunk = chunked.choose(state.values.critics, state.policies, seen, noise, config)
        return chunk, chunked.q_values(state.values.critics, seen, chunk[:, None]).mean()

    for now in range(0, LIMIT, config.horizon):
        chunk, q = choose(observe(point, stage), jax.random.PRNGKey(now))
        value = float(q) if now == 0 else value
        for k, action in enumerate(np.moveaxis(np.asarray(chunk).reshape(EVALUATED, config.horizon, 2), 1, 0)):
            point, stage = advance(point, stage, action)
            steps = np.where((steps == LIMIT) & (stage == 3), min(now + k + 1, LIMIT), steps)
    return steps, value


def measure(extraction: str, horizon: int, seed: int, demos: int, updates: int) -> dict[str, object]:
    """Train on ``demos`` demonstrations, then evaluate."""
    config = ChunkedConfig(
        extraction=extraction, horizon=horizon, hidden=(64, 64), discount=DISCOUNT, flow_steps=5,
        samples=8, learning_rate=1e-3, critic_steps=25,
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    buffer = ReplayBuffer((LIMIT + 1) * demos, Layout(5, 2), (EXAMPLE,))
    episodes = [demonstration(rng, number) for number in range(demos)]
    for episode in episodes:
        buffer.add(episode)
    sampler = Sampler((buffer,), (1.0,))
    state = chunked.create(jax.random.PRNGKey(seed), Layout(5, 2), config)
    began = time.perf_counter()
    for _ in range(updates // config.critic_steps):
        state, _ = chunked.update(state, sampler.sample(rng, config.critic_steps, BATCH, horizon), config=config)
    steps, value = evaluate(state, config)
    return {
        "benchmark": "chunk_horizon", "extraction": extraction, "horizon": horizon, "seed": seed, "updates": updates,
        "demos": demos, "demo_steps": round(float(np.mean([len(episode) for episode in episodes])), 1),
        "success": float((steps < LIMIT).mean()), "steps": round(float(steps.mean()), 1), "value": round(value, 3),
        "wall_s": round(time.perf_counter() - began, 1),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--extraction", default="best_of_n", help="see robot_rl.learner.algorithms.chunked")
    parser.add_argument("--horizons", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--demos", type=int, default=60, help="demonstrations")
    parser.add_argument("--updates", type=int, default=3000, help="critic steps")
    arguments = parser.parse_args()
    for seed in arguments.seeds:
        for horizon in arguments.horizons:
            line = measure(arguments.extraction, horizon, seed, arguments.demos, arguments.updates)
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
