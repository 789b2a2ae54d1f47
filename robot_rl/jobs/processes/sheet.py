"""The contact sheet of the cameras: it watches their topics, and nothing waits for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from hardware.ros.runtime import Stop, ros, spin
from robot_rl.contract.files import write_atomically
from robot_rl.jobs.cameras_command import frozen_after, seen_by
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.processes import await_link
from robot_rl.jobs.run import SHEET, Run
from robot_rl.perception.contact_sheet import png_of
from robot_rl.perception.meter import CameraReport
from robot_rl.ros.sheet_node import SheetNode
from robot_rl.session.link import COMPRESSED
from robot_rl.tasks import make_task

Tell = Callable[[dict[str, CameraReport]], None]


def main(run: Run, config: RunConfig, job: str) -> int:
    """Write the run's sheet, and say in its status how the cameras are doing, until the process is asked to end."""

    def tell(reports: dict[str, CameraReport]) -> None:
        run.say(SHEET, {name: report._asdict() for name, report in reports.items()})

    with ros() as stop:
        await_link(run, config, stop)
        watch(config, stop, frozen_after(run, config), Path(run.status_of("look")["out"]), tell)
    return 0


def watch(
    config: RunConfig,
    stop: Stop,
    frozen: float,
    out: Path,
    tell: Tell,
    patience: float = 0.0,
) -> None:
    """Write the contact sheet of the cameras anew each second until ``stop``; rclpy is initialised.

    Args:
        frozen: [s] for which a camera may send the same pixels; 0: for ever.
        out: the sheet.
        tell: called with how the cameras are doing, and once more at the end.
        patience: see `SheetNode`.

    Raises `CameraError` for a camera that is not there.
    """

    def draw(sheet: np.ndarray) -> None:
        write_atomically(out, png_of(sheet))

    def say_all() -> bool:
        draw(node.sheet())
        tell(node.reports())
        return True

    compressed = config.remote and config.link.images == COMPRESSED
    cameras = seen_by(config, make_task(config.task))
    node = SheetNode(cameras, draw, tell, frozen, config.session.image_age, compressed, patience)
    spin(node, stop, lambda: node.failure is not None, say_all)
    if node.failure is not None:
        raise node.failure
