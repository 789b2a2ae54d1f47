"""The cameras: drawn from published joint states for a simulated arm, in one process; for a robot, a process for each.

So no camera that is slow, or gone, delays another.
"""

from __future__ import annotations

from hardware.cameras import make_camera
from hardware.cameras.calibrated import CalibratedCamera
from hardware.cameras.calibration_file import read_calibration
from hardware.interfaces import Camera
from hardware.ros.camera_node import RENDERED_RATE, run_rendered
from hardware.ros.camera_node import run as run_cameras
from hardware.ros.runtime import ros
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.run import Run
from robot_rl.perception.images import picture_size
from robot_rl.tasks import make_task
from robot_rl.tasks.base import scene_of


def main(run: Run, config: RunConfig, job: str, which: str = "") -> int:
    """Publish the drawn cameras, or the real one called ``which``."""
    with ros() as stop:
        if config.arm == "sim":
            task = make_task(config.task)
            side = picture_size(task.views(config.cameras))
            rate = config.camera_rate or RENDERED_RATE
            run_rendered(scene_of(task), config.cameras, stop, (side, side), rate, config.camera_variation)
        else:
            run_cameras([_real(run, config, which)], stop)
    return 0


def _real(run: Run, config: RunConfig, name: str) -> Camera:
    """The camera called ``name``, not connected, with its calibration where there is one."""
    number = config.cameras.index(name)
    width, height = config.camera_size or (None, None)
    camera = make_camera(
        config.camera_driver,
        name,
        config.camera_devices[number] if number < len(config.camera_devices) else "",
        width,
        height,
        config.camera_rate,
        config.camera_exposure,
        config.camera_white_balance,
        config.camera_depth,
    )
    if not config.camera_calibrations:
        return camera
    return CalibratedCamera(camera, read_calibration(run.root / config.camera_calibrations[number]))
