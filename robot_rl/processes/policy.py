"""The policy node: acts with the learner's newest parameters, or deterministically with a saved policy."""

from __future__ import annotations

from pathlib import Path

from controllers.ros.runtime import ros, spin
from robot_rl.config import ConfigError, RunConfig
from robot_rl.policies.base import Policy, RandomPolicy
from robot_rl.policies.loading import load_actor
from robot_rl.ros.policy_node import PolicyNode
from robot_rl.run import Run
from robot_rl.tasks import make_task


def main(run: Run, config: RunConfig, job: str) -> int:
    task = make_task(config.task)

    def load(data: bytes) -> Policy:
        return load_actor(data, task, seed=config.seed, deterministic=job == "eval")

    policy: Policy = RandomPolicy(task.action.size, config.seed)
    if job == "eval":
        policy = load(read_parameters(run, config))
    with ros() as stop:
        spin(PolicyNode(task, policy, config.cameras, load if job == "train" else None), stop)
    return 0


def read_parameters(run: Run, config: RunConfig) -> bytes:
    """The bytes of the policy to evaluate. Raises `ConfigError` when there is no such file."""
    path = Path(config.policy) if config.policy else run.parameters
    if not path.exists():
        raise ConfigError(f"no policy at {path}; train one first (robot-rl train), or name one: policy=FILE")
    return path.read_bytes()
