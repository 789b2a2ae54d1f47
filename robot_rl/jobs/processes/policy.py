"""The policy node: acts with the learner's newest parameters, or deterministically with a saved policy."""

from __future__ import annotations

from controllers.ros.runtime import ros, spin
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.progress import schema_of, view_of
from robot_rl.jobs.run import Run, read_parameters
from robot_rl.policies.base import Policy, RandomPolicy
from robot_rl.policies.loading import ActorLoader
from robot_rl.ros.policy_node import PolicyNode
from robot_rl.tasks import make_task


def main(run: Run, config: RunConfig, job: str) -> int:
    task = make_task(config.task)
    view, images = view_of(task, config), schema_of(task, config).images
    load = ActorLoader(view, config.seed, deterministic=job == "eval", images=images)
    policy: Policy = RandomPolicy(task.action.size, config.seed)
    if job == "eval":
        policy = load(read_parameters(run, config))
    with ros() as stop:
        spin(PolicyNode(task, policy, config.cameras, load if job == "train" else None), stop)
    return 0
