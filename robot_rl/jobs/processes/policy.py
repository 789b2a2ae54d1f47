"""The policy node: acts with the learner's newest parameters, or deterministically with a saved policy."""

from __future__ import annotations

from controllers.ros.runtime import ros, spin
from robot_rl.contract import Policy, warm_up
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.policies import make_evaluated
from robot_rl.jobs.progress import schema_of
from robot_rl.jobs.run import Run
from robot_rl.policies.base import RandomPolicy
from robot_rl.policies.loading import ActorLoader
from robot_rl.ros.policy_node import PolicyNode
from robot_rl.tasks import make_task


def main(run: Run, config: RunConfig, job: str) -> int:
    task, images = make_task(config.task), schema_of(make_task(config.task), config).images
    policy: Policy = RandomPolicy(task, config.seed)
    if job == "eval":
        policy = make_evaluated(run, config, task, images)
    newest = ActorLoader(task, config.seed, deterministic=False, images=images)
    warm: list[Policy] = []

    def load(data: bytes) -> Policy:
        policy = newest(data)
        if not warm:
            warm_up(policy, task.state_size, images, task.instruction)
            warm.append(policy)
        return policy

    warm_up(policy, task.state_size, images, task.instruction)  # no episode begins before the node is there
    with ros() as stop:
        spin(PolicyNode(task, policy, config.cameras, load if job == "train" else None), stop)
    return 0
