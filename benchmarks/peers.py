"""One peer's learner, for `learner_throughput.py`: makes as many train calls as each line on stdin says.

Prints ``ready NAME VERSION`` or ``missing MODULE``, then for each line the seconds that its calls took. Replay sampling
is theirs and included. It runs in a process of its own, by a Python of its own if need be: an environment with PyTorch
is nothing that robot_rl needs.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import gymnasium
import numpy as np

FILLED = 20_000  # transitions


class Sizes(gymnasium.Env):
    """An environment that is only its spaces."""

    def __init__(self, state: int, action: int) -> None:
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (state,))
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (action,))


def make(arguments: argparse.Namespace) -> Any:
    """The peer's SAC at the sizes asked for, its replay buffer filled with noise."""
    policy: dict[str, Any] = {"net_arch": [256, 256], "n_critics": arguments.critics}
    more: dict[str, Any] = {}
    if arguments.peer == "sbx":
        from sbx import SAC

        policy["layer_norm"] = arguments.layer_norm
        more["policy_delay"] = arguments.updates  # one actor step a call, as ours
    else:
        from stable_baselines3 import SAC  # one actor step for each critic step: it has no other way
    from stable_baselines3.common.logger import configure

    env = Sizes(arguments.state, arguments.action)
    model = SAC(
        "MlpPolicy", env, batch_size=arguments.batch, buffer_size=50_000, policy_kwargs=policy, device="cpu", **more
    )
    model.set_logger(configure(None, []))
    rng, buffer = np.random.default_rng(0), model.replay_buffer
    for column in (buffer.observations, buffer.next_observations, buffer.actions, buffer.rewards):
        column[:FILLED] = rng.uniform(-1.0, 1.0, column[:FILLED].shape)
    buffer.pos = FILLED
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=("sb3", "sbx"))
    for name, default in (("state", 40), ("action", 7), ("batch", 256), ("critics", 2), ("updates", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--layer-norm", action="store_true")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    arguments = parser.parse_args()
    clock = time.process_time if arguments.clock == "cpu" else time.perf_counter
    try:
        model = make(arguments)
    except ModuleNotFoundError as error:
        print(f"missing {error.name}")
        return
    package = sys.modules["sbx" if arguments.peer == "sbx" else "stable_baselines3"]
    print(f"ready {arguments.peer} {package.__version__}", flush=True)
    for line in sys.stdin:
        start = clock()
        for _ in range(int(line)):
            model.train(gradient_steps=arguments.updates, batch_size=arguments.batch)
        print(clock() - start, flush=True)


if __name__ == "__main__":
    main()
