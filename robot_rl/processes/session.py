"""The session node: owns the episodes, records them, and ends when the job is done."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import deque

import numpy as np
import rclpy

from hardware.interfaces import SceneControl
from hardware.ros.arm_node import spin
from hardware.scene import ManualScene
from hardware.sim.client import SceneClient
from robot_rl.config import RunConfig
from robot_rl.contract import Ending
from robot_rl.data.schema import StoreSchema
from robot_rl.data.store import EpisodeStore
from robot_rl.ros.session_node import SessionNode
from robot_rl.run import Run
from robot_rl.session import EpisodeSummary, Session, SessionConfig
from robot_rl.tasks import make_task

WINDOW = 20  # episodes over which the success rate is shown
PERSON_HORIZON = 600  # control periods a person may take for a demonstration
SEEDS = {"record": 1, "train": 2, "eval": 3, "teleop": 4}  # starts of different jobs differ


def session_config(job: str, config: RunConfig) -> SessionConfig:
    """The session's settings for a job."""
    if job in ("record", "teleop"):
        horizon = config.session.horizon or (0 if config.source == "expert" else PERSON_HORIZON)
        return dataclasses.replace(config.session, ask_policy=False, wait_for_person=True, horizon=horizon)
    return config.session


def job_seed(job: str, seed: int) -> int:
    """Seed of the episode starts of a job, so that evaluation begins where training never did."""
    return seed * len(SEEDS) + SEEDS[job]


class Progress:
    """Counts episodes and decides when a job is done."""

    def __init__(self, run: Run, job: str, config: RunConfig, steps: int, successes: int) -> None:
        self._run, self._job, self._config = run, job, config
        self._recent: deque[bool] = deque(maxlen=WINDOW)
        self.episodes, self.steps, self.successes = 0, steps, successes
        self.aborted = self.reflexes = self.interventions = 0
        self._last = ""

    @property
    def done(self) -> bool:
        match self._job:
            case "record":
                return self.successes >= self._config.demos
            case "train":
                return self.steps >= self._config.steps
            case "eval":
                return self.episodes >= self._config.episodes
        return False

    def add(self, ended: EpisodeSummary) -> None:
        success = ended.ending is Ending.SUCCESS
        self._recent.append(success)
        self.episodes += 1
        self.steps += ended.steps
        self.successes += success
        self.aborted += ended.ending is Ending.ABORTED
        self.reflexes += "robot stopped" in ended.reason
        self.interventions += ended.interventions
        self._last = f"{ended.ending.value}{f' ({ended.reason})' if ended.reason else ''} in {ended.steps} steps"
        self.say()

    def say(self, **more: float) -> None:
        """Write the status file."""
        rate = float(np.mean(self._recent)) if self._recent else 0.0
        self._run.say(
            "session",
            {
                "job": self._job,
                "episodes": self.episodes,
                "steps": self.steps,
                "successes": self.successes,
                "success_rate": rate,
                "aborted": self.aborted,
                "reflexes": self.reflexes,
                "interventions": self.interventions,
                "last": self._last,
                "done": self.done,
                **more,
            },
        )


def main(run: Run, config: RunConfig, job: str) -> int:
    task = make_task(config.task)
    settings = session_config(job, config)
    rclpy.init()
    with contextlib.ExitStack() as stack:
        stack.callback(rclpy.try_shutdown)
        sink, steps, successes = None, 0, 0
        if job != "teleop":
            path = {"record": run.demos, "train": run.online, "eval": run.evaluation}[job]
            images = dict.fromkeys(config.cameras, (128, 128))
            sink = EpisodeStore.create_or_open(path, StoreSchema.of(task, images))
            stack.callback(sink.close)
            known = sink.episodes() if job != "eval" else []
            steps, successes = sum(e.steps for e in known), sum(e.success for e in known)
        scene: SceneControl = (
            SceneClient(config.robot_ip, config.scene_port) if config.arm == "sim" else ManualScene()
        )
        scene.connect()
        stack.callback(scene.disconnect)
        session = Session(task, settings, sink, job_seed(job, config.seed))
        progress = Progress(run, job, config, steps, successes)
        node: SessionNode

        def on_episode(ended: EpisodeSummary) -> None:
            progress.add(ended)
            if progress.done:
                rclpy.try_shutdown()

        objects = task.scene().objects if config.arm == "sim" else ()
        node = SessionNode(session, settings, objects, config.cameras, scene, on_episode)
        progress.say()
        if not progress.done:
            spin(node)
        if node.decisions_ms:
            p50, p95 = np.percentile(node.decisions_ms, [50, 95])
            progress.say(obs_to_action_ms_p50=float(p50), obs_to_action_ms_p95=float(p95), late=node.late)
    return 0
