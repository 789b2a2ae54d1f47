"""The session node: owns the episodes, records them, and ends when the job is done."""

from __future__ import annotations

import contextlib

from controllers.ros.runtime import ros, spin
from hardware.interfaces import SceneControl
from hardware.scene import ManualScene
from hardware.sim.client import SceneClient
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.processes import await_simulator
from robot_rl.jobs.progress import Progress, job_seed, open_store, session_config, view_of
from robot_rl.jobs.run import Run
from robot_rl.ros.session_node import SessionNode
from robot_rl.session.directive import EpisodeSummary
from robot_rl.session.session import Session
from robot_rl.tasks import make_task


def main(run: Run, config: RunConfig, job: str) -> int:
    task = make_task(config.task)
    settings = session_config(job, config)
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(ros())
        store = open_store(run, job, config, task)
        if store is not None:
            stack.callback(store.close)
        scene: SceneControl = SceneClient(config.robot_ip, config.scene_port) if config.arm == "sim" else ManualScene()
        await_simulator(run, config, stop)
        scene.connect()
        stack.callback(scene.disconnect)
        progress = Progress(run, job, config, store)
        session = Session(
            task, settings, store, job_seed(job, config.seed), first=progress.episodes, view=view_of(task, config)
        )
        objects = task.scene().objects if config.arm == "sim" else ()
        node: SessionNode

        def on_episode(ended: EpisodeSummary) -> None:
            progress.add(ended, **node.timing())

        node = SessionNode(session, settings, objects, config.cameras, scene, on_episode, config.learner.max_debt)
        progress.say()
        spin(node, stop, lambda: progress.done)
    return 0
