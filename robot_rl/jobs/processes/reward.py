"""The reward node: judges the cameras' pictures by the classifiers that the judge of the run asks."""

from __future__ import annotations

from hardware.ros.runtime import ros, spin
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.run import Run
from robot_rl.rewards.serving import make_signals
from robot_rl.ros.reward_node import RewardNode
from robot_rl.session.judge import classifiers_in
from robot_rl.session.link import COMPRESSED
from robot_rl.tasks import make_task


def main(run: Run, config: RunConfig, job: str) -> int:
    signals = make_signals(classifiers_in(config.judge))
    views = make_task(config.task).views(config.cameras)
    compressed = config.remote and config.link.images == COMPRESSED
    with ros() as stop:
        spin(RewardNode(signals, views, config.session.image_age, compressed), stop)
    return 0
