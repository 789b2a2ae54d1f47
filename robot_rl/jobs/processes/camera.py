"""The cameras: drawn from published joint states for a simulated arm, RealSense cameras for a robot."""

from __future__ import annotations

from hardware.cameras import make_camera
from hardware.ros.camera_node import run as run_cameras
from hardware.ros.camera_node import run_rendered
from hardware.ros.runtime import ros
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.run import Run
from robot_rl.tasks import make_task
from robot_rl.tasks.base import IMAGE_SIZE


def main(run: Run, config: RunConfig, job: str) -> int:
    with ros() as stop:
        if config.arm == "sim":
            run_rendered(make_task(config.task).scene(), config.cameras, stop, (IMAGE_SIZE, IMAGE_SIZE))
        else:
            devices = dict(zip(config.cameras, config.camera_devices, strict=False))
            exposure = config.camera_exposure
            cameras = [
                make_camera(config.camera_driver, name, devices.get(name, ""), exposure=exposure)
                for name in config.cameras
            ]
            run_cameras(cameras, stop)
    return 0
