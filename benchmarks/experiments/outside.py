"""An RLPD of others, a row of the tables: sbx's SAC with layer norms, ten critics, half of each batch demonstrations.

    python -m benchmarks.experiments.tables --tasks door-open --rows 'sbx RLPD' --outside \\
        'sbx RLPD=PYTHON -m benchmarks.experiments.outside {env} {seed} {steps} {every} {episodes} {demos} {lines}'

PYTHON is that of an environment with the extra ``bench``, and ``public`` for public tasks. Learner, networks and their
updates are sbx's; replay, environments, demonstrations and starts are those of `robot-rl gym`. Settings as our agents
have them: four critic steps and one actor step a step, γ 0.97, batches of 256, rate 3e-4, two hidden layers of 256, no
entropy backup to choose. Observations are standardised by the demonstrations.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from benchmarks.experiments.public import envs as public
from robot_rl.data.episode import Transitions
from robot_rl.gym.demos import load_demos
from robot_rl.gym.job import SUCCESS_KEYS, seeds
from robot_rl.gym.making import import_modules, make_env
from robot_rl.gym.spaces import Actions, EnvDomain, Observations
from robot_rl.gym.world import World

UPDATES = 4  # critic steps for each step of the environment
START = 100  # steps before the first update
LEAST_SPREAD = 1e-3  # what varies by less is not scaled up


class Spaces(gymnasium.Env[np.ndarray, np.ndarray]):
    """An environment that is only its spaces, which is all that sbx shall know of it."""

    def __init__(self, state: int, action: int) -> None:
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (state,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (action,), np.float32)


class Learner:
    """sbx's SAC, fed by hand. ``states (n, d)``: of the demonstrations, which observations are standardised by."""

    def __init__(self, state: int, action: int, seed: int, states: np.ndarray, steps: int) -> None:
        from sbx import SAC
        from stable_baselines3.common.buffers import ReplayBuffer
        from stable_baselines3.common.logger import configure

        self._mean, self._spread = states.mean(axis=0), states.std(axis=0)
        self._spread[self._spread < LEAST_SPREAD] = 1.0
        env = Spaces(state, action)
        networks = {"net_arch": [256, 256], "n_critics": 10, "layer_norm": True}
        self._model = SAC(
            "MlpPolicy", env, gamma=0.97, batch_size=256, seed=seed, policy_kwargs=networks, policy_delay=UPDATES
        )
        self._model.set_logger(configure(None, []))
        spaces = env.observation_space, env.action_space
        self._online, self._demos = (ReplayBuffer(count, *spaces, device="cpu") for count in (steps, len(states)))
        self._model.replay_buffer = self
        self._filled = 0

    def add(self, steps: Transitions, demonstration: bool = False) -> None:
        """Steps of an episode."""
        buffer = self._demos if demonstration else self._online
        state = self._standardised(steps["state"])
        for i in range(len(steps)):
            done = np.array([bool(steps["terminated"][i])])
            buffer.add(state[i], state[i + 1], steps["action"][i], steps["reward"][i : i + 1], done, [{}])
        self._filled += 0 if demonstration else len(steps)

    def learn(self) -> int:
        """All updates of one step; how many critic steps were made."""
        if self._filled < START:
            return 0
        self._model.train(UPDATES, 256)
        return UPDATES

    def act(self, state: np.ndarray, deterministic: bool) -> np.ndarray:
        action: np.ndarray = self._model.predict(self._standardised(state), deterministic=deterministic)[0]
        return action

    def sample(self, count: int, env: Any = None) -> Any:
        """Answers sbx, which takes this for its buffer: minibatches one after the other, each half of either."""
        import torch

        each = count // 2
        parts = [buffer.sample(each) for buffer in (self._online, self._demos)]

        def mixed(ours: Any, theirs: Any) -> Any:
            rows = [np.asarray(part).reshape(UPDATES, each // UPDATES, -1) for part in (ours, theirs)]
            return torch.as_tensor(np.concatenate(rows, axis=1).reshape(count, -1))

        first, second = parts
        return type(first)(*(mixed(*pair) for pair in zip(first[:5], second[:5], strict=True)))

    def _standardised(self, state: np.ndarray) -> np.ndarray:
        scaled: np.ndarray = ((state - self._mean) / self._spread).astype(np.float32)
        return scaled


def evaluate(world: World, learner: Learner, starts: list[int], deterministic: bool) -> float:
    """Share of episodes that succeed."""
    successes = 0
    for start in starts:
        seen, over, success = world.reset(start), False, False
        while not over:
            answer = world.step(learner.act(seen.state, deterministic))
            seen, over = answer.seen, answer.terminated or answer.truncated
            success |= any(bool(np.any(answer.info[key])) for key in SUCCESS_KEYS if key in answer.info)
        successes += success
    return successes / len(starts)


def run(env_id: str, seed: int, steps: int, every: int, episodes: int, demos: Path, lines: Path) -> None:
    import_modules(env_id, [public.__name__])
    env, other = (make_env(env_id, {}) for _ in range(2))
    observations, actions = Observations(env.observation_space), Actions(env.action_space)
    training, evaluation = (World(env_id, made, observations, actions) for made in (env, other))
    shown = load_demos(demos, EnvDomain(env_id, observations, actions), observations, actions)
    states = np.concatenate([part["state"] for part in shown])
    learner = Learner(observations.state_size, actions.size, seed, states, steps)
    for part in shown:
        learner.add(part, demonstration=True)
    first, starts = seeds(seed, episodes)
    began, updates = time.monotonic(), 0
    seen = training.reset(first)
    for step in range(1, steps + 1):
        action = learner.act(seen.state, deterministic=False)
        answer = training.step(action)
        columns = {"state": np.stack((seen.state, answer.seen.state)), "action": answer.executed[None]}
        columns |= {"reward": np.array([answer.reward], np.float32), "terminated": np.array([answer.terminated])}
        learner.add(Transitions("", 0, step, columns))
        over = answer.terminated or answer.truncated
        seen = training.reset(None) if over else answer.seen
        updates += learner.learn()
        if step % every == 0 or step == steps:
            rates = [evaluate(evaluation, learner, starts, deterministic) for deterministic in (True, False)]
            line = {"step": step, "success_rate": rates[0], "acting_success_rate": rates[1], "updates": updates}
            line |= {"actor_updates": updates // UPDATES, "wall_s": round(time.monotonic() - began, 1)}
            with lines.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("env_id", metavar="env")
    for name in ("seed", "steps", "every", "episodes"):
        parser.add_argument(name, type=int)
    for name in ("demos", "lines"):
        parser.add_argument(name, type=Path)
    run(**vars(parser.parse_args(argv)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
