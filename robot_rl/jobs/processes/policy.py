"""The policy node: acts with the learner's newest parameters, or deterministically with a saved policy."""

from __future__ import annotations

import contextlib

from hardware.ros.runtime import ros, spin
from robot_rl.contract import Policy, warm_up
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.job import job_of
from robot_rl.jobs.progress import schema_of, view_of
from robot_rl.jobs.run import Run
from robot_rl.jobs.threads import act_on_processor
from robot_rl.policies import served
from robot_rl.policies.base import RandomPolicy
from robot_rl.ros.policy_node import PolicyNode
from robot_rl.tasks import make_task


def main(run: Run, config: RunConfig, job: str) -> int:
    act_on_processor()
    from robot_rl.jobs.policies import make_evaluated, make_loader
    from robot_rl.learner.factory import make_loop_config
    from robot_rl.policies.loading import ActorLoader

    task = make_task(config.task)
    spec, view, schema = job_of(job), view_of(task, config), schema_of(task, config)
    guides = config.session.guides
    load = make_loader(config, task, schema)
    policy: Policy = RandomPolicy(task, config.seed)
    if spec.deterministic:
        policy = make_evaluated(run, config, task, schema)
        warm_up(policy, view.state_size, schema.seen, task.instruction)  # no episode begins before the node is there
    elif isinstance(load, ActorLoader):
        agent, _ = make_loop_config(config.learner, config.seed, images=bool(schema.images))
        load.warm_up(agent)
    loading = load if spec.learns else None
    with contextlib.closing(policy), ros() as stop:
        node = PolicyNode(task, policy, config.cameras, loading, view, schema.encoding, guides is not None)
        asks_server = spec.deterministic and served(config.policy) is not None
        with stop.at_once() if asks_server else contextlib.nullcontext():  # it may be waiting for the server
            spin(node, stop)
    return 0
