"""The session node: owns the episodes, records them, and ends when the job is done."""

from __future__ import annotations

import contextlib
import dataclasses
import logging

from hardware.interfaces import SceneControl
from hardware.manual_scene import ManualScene
from hardware.ros.runtime import ros, spin
from hardware.sim.channel.client import SceneClient
from robot_rl.contract import Step
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.job import job_of, job_seed
from robot_rl.jobs.processes import await_link, await_simulator
from robot_rl.jobs.progress import (
    Progress,
    asked_classifiers,
    judging_of,
    open_store,
    past_of,
    schema_of,
    session_config,
    view_of,
)
from robot_rl.jobs.remote import knows_scene, scene_objects
from robot_rl.jobs.run import Run
from robot_rl.rewards.saved import Saved
from robot_rl.rewards.watch import Watches
from robot_rl.ros.session_node import SessionNode
from robot_rl.session.directive import EpisodeSummary
from robot_rl.session.session import Session
from robot_rl.tasks import make_task

LOGGER = logging.getLogger(__name__)


def main(run: Run, config: RunConfig, job: str) -> int:
    task = make_task(config.task)
    settings = session_config(job, config)
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(ros())
        store = open_store(run, job, config, task, background=True)
        if store is not None:
            stack.callback(store.close)
        simulated = SceneClient(config.robot_ip, config.scene_port)
        manual = ManualScene(lambda request: node.ask(request), task.reset_words)
        await_simulator(run, config, stop)
        await_link(run, config, stop)
        arranged_there = config.remote and knows_scene(run, config)
        if config.arm == "sim" or arranged_there:  # whose cameras are drawn, without a sensor's noise
            settings = dataclasses.replace(settings, image_frozen=0.0)
        scene: SceneControl = simulated if config.knows_scene else manual
        scene.connect()
        stack.callback(scene.disconnect)
        progress = Progress(run, job, config, store)
        judging = judging_of(job, config, task)
        session = Session(
            task,
            settings,
            store,
            job_seed(job, config.seed),
            first=progress.episodes,
            judge=judging.judge,
            past=past_of(store),
            view=view_of(task, config),
            notes=judging.notes,
        )
        objects = scene_objects(run, config, task)
        node: SessionNode

        classifiers = asked_classifiers(job, config)
        watches = Watches(classifiers)

        def on_step(step: Step) -> None:
            for line in watches.see(step):
                LOGGER.info("%s", line)
                progress.tell(line)

        def on_episode(ended: EpisodeSummary) -> None:
            watches.end()
            progress.add(ended, drift_alarms=watches.drifted, **node.timing())
            LOGGER.info("%s", progress.line)
            if progress.done:
                LOGGER.info("%s", progress.result)

        debt = config.learner.max_debt
        node = SessionNode(
            session,
            settings,
            objects,
            config.cameras,
            None if arranged_there else scene,
            on_episode,
            debt,
            progress.correct,
            progress.tell,
            awaits_learner=job_of(job).learns,
            link=config.link if config.remote else None,
            force_sensor=config.force if config.force.sensor else None,
            encoding=schema_of(task, config).encoding,
            signals=tuple(Saved.read(folder).signal for folder in classifiers),
            on_step=on_step,
        )
        progress.say()
        spin(node, stop, lambda: progress.done, node.end_motion)
    return 0
