"""The learner acting alone: success of its own policy, whatever trust says.

    python -m benchmarks.learner_alone --task peg_insertion --seed 100 --steps 400 --every 200 --episodes 20

Prints a JSON line for each evaluation: without exploring (``use``) and as it explores (``acts``), and the
clone's and the learner's episodes so far. Demonstrations are recorded once for each seed, into ``--work``; on versions
of the code that differ in demonstrations, give another folder.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from benchmarks.experiments.tables.plan import BUDGETS, OWN
from benchmarks.experiments.tables.runs import Place, demonstrations
from robot_rl.gym import job
from robot_rl.jobs.config import load_config


class AloneRun(job.GymRun):
    """A run whose evaluations are of what was learnt, by either way to act."""

    def _evaluate(self, episode_seeds: list[int]) -> None:
        learner = self._learner
        alone = learner.state if learner.agent.turn is None else learner.agent.turn(learner.state, 1.0, 1.0)
        line: dict[str, float] = {"step": self._step}
        for name, player in (("use", self._exploiter), ("acts", self._acting)):
            player.load(alone)
            line[name] = float(np.mean([bool(self._play(seed, player).success) for seed in episode_seeds]))
        trust = {name: value for name, value in learner.metrics().items() if name.startswith("trust/")}
        print(json.dumps(line | trust), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=OWN, default="peg_insertion")
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--every", type=int, default=200, help="steps between evaluations")
    parser.add_argument("--episodes", type=int, default=20, help="of each evaluation")
    parser.add_argument("--work", type=Path, default=Path("runs/learner_alone"), help="demonstrations")
    parser.add_argument("settings", nargs="*", help="learner.key=value")
    given = parser.parse_args()
    demos = demonstrations(given.task, given.seed, Place(given.work, "demos", "person"))
    config = job.GymConfig(
        env=BUDGETS[given.task].env,
        json=given.work / "lines.jsonl",
        learner=load_config(None, ["learner.agent=flash_sac", *given.settings]).learner,
        steps=given.steps,
        seed=given.seed,
        demos=demos,
        eval_episodes=given.episodes,
        eval_every=given.every,
    )
    job.GymRun = AloneRun  # type: ignore[misc]
    job.run_gym(config, lambda text: None)


if __name__ == "__main__":
    main()
