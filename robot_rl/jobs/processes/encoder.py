"""The encoder: features of the cameras' pictures, in the one process of a job's graph that carries torch for them."""

from __future__ import annotations

from hardware.ros.runtime import ros, spin
from robot_rl.contract.settings import ConfigError
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.progress import encoder_of
from robot_rl.jobs.run import Run
from robot_rl.perception.encoders import use_one_thread
from robot_rl.ros.encoder_node import EncoderNode
from robot_rl.session.link import COMPRESSED
from robot_rl.tasks import make_task


def main(run: Run, config: RunConfig, job: str) -> int:
    encoder = encoder_of(config)
    if encoder is None:
        raise ConfigError("this run has no encoder; set encoder=")
    encoder.load()
    use_one_thread()
    views = make_task(config.task).views(config.cameras)
    compressed = config.remote and config.link.images == COMPRESSED
    with ros() as stop:
        spin(EncoderNode(encoder, views, compressed), stop)
    return 0
