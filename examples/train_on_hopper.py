"""Learn to hop: the learner of the arm on a Gymnasium environment, by its Python interface.

    python examples/train_on_hopper.py --steps 100000
    python examples/train_on_hopper.py --env Pendulum-v1 --steps 5000 --agent examples.own_agent:AGENT

`robot-rl gym` does the same from the command line, with more options. How far 100 000 steps come is in docs/RESULTS.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from robot_rl.gym.job import GymConfig, run_gym
from robot_rl.learner.config import LearnerConfig

DISCOUNT = 0.99  # hopping has no end to reach: look further ahead than tasks of the arm do


def train(env: str, agent: str, steps: int, seed: int, results: Path) -> list[dict[str, float]]:
    """Train, show lines in the terminal, and return the run's evaluations, which are appended to ``results``."""
    learner = LearnerConfig(agent=agent, utd=1, start_after=min(1000, steps // 2), settings={"discount": DISCOUNT})
    before = len(results.read_text().splitlines()) if results.exists() else 0
    run_gym(GymConfig(env, results, learner, steps=steps, seed=seed, eval_every=max(1, steps // 10)), print)
    return [json.loads(line) for line in results.read_text().splitlines()[before:]]


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description="Learn in a Gymnasium environment.")
    parser.add_argument("--env", default="Hopper-v5")
    parser.add_argument("--agent", default="sac")
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=Path("hopper.jsonl"), help="gets a line for each evaluation")
    given = parser.parse_args(arguments)
    evaluations = train(given.env, given.agent, given.steps, given.seed, given.json)
    best = max(evaluations, key=lambda line: line["return_mean"])
    print(f"best return {best['return_mean']:.0f} at step {best['step']}; all evaluations: {given.json}")


if __name__ == "__main__":
    main(sys.argv[1:])
