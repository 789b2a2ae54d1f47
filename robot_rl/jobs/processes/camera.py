"""The cameras: drawn from published joint states for a simulated arm, RealSense cameras for a robot."""

from __future__ import annotations

from hardware.cameras import make_camera
from hardware.cameras.calibrated import CalibratedCamera
from hardware.cameras.calibration_file import read_calibration
from hardware.ros.camera_node import run as run_cameras
from hardware.ros.camera_node import run_rendered
from hardware.ros.runtime import ros
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.run import Run
from robot_rl.perception.images import picture_size
from robot_rl.tasks import make_task
from robot_rl.tasks.base import scene_of


def main(run: Run, config: RunConfig, job: str) -> int:
    with ros() as stop:
        if config.arm == "sim":
            task = make_task(config.task)
            side = picture_size(task.views(config.cameras))
            run_rendered(scene_of(task), config.cameras, stop, (side, side), variation=config.camera_variation)
        else:
            devices = dict(zip(config.cameras, config.camera_devices, strict=False))
            exposure = config.camera_exposure
            cameras = [
                make_camera(config.camera_driver, name, devices.get(name, ""), exposure=exposure)
                for name in config.cameras
            ]
            calibrations = [read_calibration(run.root / file) for file in config.camera_calibrations]
            for i, calibration in enumerate(calibrations):
                cameras[i] = CalibratedCamera(cameras[i], calibration)
            run_cameras(cameras, stop)
    return 0
