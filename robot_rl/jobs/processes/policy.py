"""The policy node: acts with the learner's newest parameters, or deterministically with a saved policy."""

from __future__ import annotations

from hardware.ros.runtime import ros, spin
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.job import job_of
from robot_rl.jobs.progress import schema_of, view_of
from robot_rl.jobs.run import Run, read_parameters
from robot_rl.jobs.threads import act_on_processor
from robot_rl.policies.base import Policy, RandomPolicy
from robot_rl.ros.policy_node import PolicyNode
from robot_rl.tasks import make_task


def main(run: Run, config: RunConfig, job: str) -> int:
    act_on_processor()
    from robot_rl.learner.factory import make_loop_config
    from robot_rl.policies.loading import ActorLoader

    task = make_task(config.task)
    spec, images = job_of(job), schema_of(task, config).images
    load = ActorLoader(view_of(task, config), config.seed, deterministic=spec.deterministic, images=images)
    policy: Policy = RandomPolicy(task.action.size, config.seed)
    if spec.deterministic:
        policy = load(read_parameters(run, config))
    else:  # before the first observation, which would wait for it
        agent, _ = make_loop_config(config.learner, config.seed, images=bool(images))
        load.warm_up(agent)
    with ros() as stop:
        spin(PolicyNode(task, policy, config.cameras, load if spec.learns else None), stop)
    return 0
