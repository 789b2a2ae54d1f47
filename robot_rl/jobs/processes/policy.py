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
    from robot_rl.jobs.policies import Loader, make_evaluated
    from robot_rl.jobs.vla import vla_base
    from robot_rl.learner.factory import make_loop_config

    task = make_task(config.task)
    spec, view, schema = job_of(job), view_of(task, config), schema_of(task, config)
    guides = config.session.guides
    load = Loader(config, task, schema) if spec.learns else None
    policy: Policy = RandomPolicy(task, config.seed)
    if spec.deterministic:
        policy = make_evaluated(run, config, task, schema)
        warm_up(policy, view.state_size, schema.seen, task.instruction)  # no episode begins before the node is there
    elif load is not None and (base := vla_base(config)) is not None:
        policy = load(base)
        warm_up(policy, view.state_size, schema.seen, task.instruction)
    elif load is not None:
        agent, _ = make_loop_config(config.learner, config.seed, images=bool(schema.images))
        load.agents.warm_up(agent)
    with contextlib.closing(policy), ros() as stop:
        node = PolicyNode(task, policy, config.cameras, load, view, schema.encoding, guides is not None)
        asks_server = spec.deterministic and served(config.policy) is not None
        with stop.at_once() if asks_server else contextlib.nullcontext():  # it may be waiting for the server
            spin(node, stop)
    return 0
