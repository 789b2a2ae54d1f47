"""The jobs in process: same session, task, controller, scene, store and learner, without ROS and without waiting."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence

from hardware.sim.inprocess import InProcessWorld
from hardware.sim.render import SceneRenderer
from robot_rl.contract import ActionChunk, Observation, Policy
from robot_rl.contract.settings import ConfigError
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.policies import make_evaluated
from robot_rl.jobs.progress import Progress, job_seed, open_store, schema_of, session_config
from robot_rl.jobs.run import Run
from robot_rl.policies.loading import ActorLoader
from robot_rl.session.in_process import Rollout
from robot_rl.session.session import Session
from robot_rl.tasks import make_task
from robot_rl.tasks.base import IMAGE_SIZE


def run_fast(job: str, run: Run, config: RunConfig, show: Callable[[], None]) -> None:
    """Do ``job`` in process. ``show`` is called now and then, to tell the person how far it is."""
    task = make_task(config.task)
    scene = task.scene()
    with contextlib.ExitStack() as stack:
        store = open_store(run, job, config, task)
        if store is not None:
            stack.callback(store.close)
        controller = dataclasses.replace(config.controller, workspace=task.workspace)
        world = stack.enter_context(InProcessWorld(scene, controller))
        world.start()
        renderer = None
        if config.cameras:
            renderer = stack.enter_context(SceneRenderer(scene, IMAGE_SIZE, IMAGE_SIZE, config.cameras))
        progress = Progress(run, job, config, store)
        session = Session(task, session_config(job, config), store, job_seed(job, config.seed), first=progress.episodes)
        rollout = Rollout(session, world, task.expert if job == "record" else None, renderer)
        images = schema_of(task, config).images
        policy: Policy | None = None
        after_step: Callable[[], None] = _nothing
        if job == "eval":
            policy = make_evaluated(run, config, task, images)
        elif job == "train":
            from robot_rl.jobs.learning import make_learner
            from robot_rl.jobs.training import Trainer

            acting = _Newest(ActorLoader(task, config.seed, deterministic=False, images=images))
            trainer = Trainer(run, config, make_learner(run, config), acting.take)
            trainer.start()
            policy, after_step = acting, lambda: _catch_up(trainer.step, show)
            stack.callback(trainer.finish)
        while not progress.done:
            directive = rollout.step(policy)
            if directive.step is not None:
                after_step()
            if directive.ended is not None:
                progress.add(directive.ended)
                show()


class _Newest(Policy):
    """A policy that acts by the newest parameters it was given."""

    def __init__(self, load: Callable[[bytes], Policy]) -> None:
        self._load = load
        self._policy: Policy | None = None

    def take(self, data: bytes) -> None:
        self._policy = self._load(data)

    def act(self, observations: Sequence[Observation]) -> ActionChunk:
        if self._policy is None:
            raise ConfigError("no parameters have been published yet")
        return self._policy.act(observations)


def _catch_up(step: Callable[[], bool], show: Callable[[], None]) -> None:
    while step():
        show()


def _nothing() -> None: ...
