"""The jobs in process: same session, task, controller, scene, store and learner, without ROS and without waiting."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from hardware.sim.scene.render import SceneRenderer
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.contract import Policy, warm_up
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.job import job_of, job_seed
from robot_rl.jobs.logs import tell
from robot_rl.jobs.progress import (
    Progress,
    asked_classifiers,
    encoder_of,
    judging_of,
    open_store,
    schema_of,
    session_config,
    view_of,
)
from robot_rl.jobs.run import Run
from robot_rl.perception.encoders import use_one_thread
from robot_rl.perception.images import picture_size
from robot_rl.policies import served
from robot_rl.policies.base import Newest
from robot_rl.rewards.watch import Watches
from robot_rl.session.directive import Phase
from robot_rl.session.in_process import Rollout
from robot_rl.session.session import Session
from robot_rl.tasks import make_task
from robot_rl.tasks.base import scene_of
from robot_rl.tasks.experts.person import Driver, make_driver


def run_fast(job: str, run: Run, config: RunConfig, show: Callable[[], None]) -> None:
    """Do ``job`` in process. ``show`` is called now and then, to tell the person how far it is."""
    spec = job_of(job)
    task = make_task(config.task)
    scene, view = scene_of(task), view_of(task, config)
    with contextlib.ExitStack() as stack:
        store = open_store(run, job, config, task)
        if store is not None:
            stack.callback(store.close)
        controller = task.bound(config.controller)
        world = stack.enter_context(InProcessWorld(scene, controller))
        world.start()
        renderer, encoder = None, encoder_of(config)
        if encoder is not None:
            encoder.load()
            use_one_thread()
        if views := task.views(config.cameras):
            side = picture_size(views)
            renderer = stack.enter_context(SceneRenderer(scene, side, side, tuple(views), config.camera_variation))
        progress = Progress(run, job, config, store)
        judging = judging_of(job, config, task)
        settings, seed = session_config(job, config), job_seed(job, config.seed)
        session = Session(
            task,
            settings,
            store,
            seed,
            first=progress.episodes,
            judge=judging.judge,
            view=view,
            notes=judging.notes,
        )
        teleop = make_driver(task, config.demo_style, seed, len(settings.marked)) if spec.person_drives else None
        if teleop is not None and spec.marks:
            teleop = _while_driven(teleop, session)
        signals, folders = None, asked_classifiers(job, config)
        if folders:
            from robot_rl.rewards.serving import make_signals

            signals = make_signals(folders)
        watches = Watches(folders)
        rollout = Rollout(session, world, teleop, renderer, encoder=encoder, signals=signals)
        schema = schema_of(task, config)
        policy: Policy | None = None
        after_step: Callable[[], None] = _nothing
        if spec.deterministic:
            from robot_rl.jobs.policies import make_evaluated

            policy = make_evaluated(run, config, task, schema)
            stack.callback(policy.close)
            if served(config.policy) is not None:  # a server that is not there is said before an episode begins
                warm_up(policy, view.state_size, schema.seen, task.instruction)
        elif spec.learns:
            from robot_rl.jobs.learning import make_learning
            from robot_rl.jobs.policies import Loader
            from robot_rl.jobs.training import Trainer

            acting = Newest(Loader(config, task, schema))
            trainer = Trainer(run, config, make_learning(run, config), acting.take, lambda phase: show())
            trainer.start()
            trainer.warm_up()
            _catch_up(trainer.step, show)
            policy, after_step = acting, lambda: _catch_up(trainer.step, show)
            stack.callback(trainer.finish)
        try:
            while not progress.done:
                directive = rollout.step(policy)
                if directive.step is not None:
                    for line in watches.see(directive.step):
                        progress.tell(line)
                    after_step()
                if directive.ended is not None:
                    watches.end()
                    progress.add(directive.ended, drift_alarms=watches.drifted)
                    show()
        except KeyboardInterrupt:
            if spec.learns:
                tell(
                    "stopping: the learner makes its last updates and a checkpoint; Ctrl-C again does not wait for that"
                )
            raise


def _while_driven(driver: Driver, session: Session) -> Driver:
    """``driver``, who is asked only while an episode runs or waits for the person."""
    return lambda reading: driver(reading) if session.phase in (Phase.READY, Phase.RUNNING) else None


def _catch_up(step: Callable[[], bool], show: Callable[[], None]) -> None:
    while step():
        show()


def _nothing() -> None: ...
