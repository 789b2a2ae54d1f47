"""Pictures of a calibration board from a camera of the job, until none is missing."""

from __future__ import annotations

from hardware.ros.runtime import ros
from robot_rl.jobs.calibrate_shots import SHOTS, ShotsChoice, watch_board
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.run import Run
from robot_rl.ros.shots_node import ShotsReport


def main(run: Run, config: RunConfig, job: str) -> int:
    said: list[str] = []
    live = ""

    def speak() -> None:
        run.say(SHOTS, {"said": said, "live": live})

    def show(report: ShotsReport) -> None:
        nonlocal live
        live = report.line
        speak()

    def say(line: str) -> None:
        said.append(line)
        speak()

    with ros() as stop:
        watch_board(config, ShotsChoice(**run.status_of("choice")), stop, show, say)
    return 0
