"""Reading a force sensor for the identification of its tool: the node that tilts the hand, and the file of readings."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hardware.force import make_force_sensor
from hardware.force.arm import ArmForceSensor, ArmWrench
from hardware.force.tool_file import readings_text
from hardware.franka.model import fr3_model
from hardware.interfaces import ForceSensor
from hardware.ros.runtime import ros, spin
from robot_rl.contract.files import write_atomically
from robot_rl.jobs.calibrate_commands import ARM, SensorChoice
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.run import Run
from robot_rl.ros.survey_node import SurveyNode
from robot_rl.tasks import make_task

TIMEOUT = 0.5  # [s] without a reading that ends it; the arm waits as long, and holds


def main(run: Run, config: RunConfig, job: str) -> int:
    choice = SensorChoice(**run.status_of("choice"))
    said: list[str] = []

    def say(words: str) -> None:
        said.append(words)
        run.say("survey", {"said": said})

    def make_sensor(source: Callable[[], ArmWrench | None]) -> ForceSensor:
        if choice.sensor == ARM:
            return ArmForceSensor(ARM, source, choice.frame, TIMEOUT)
        return make_force_sensor(choice.sensor, "wrist", choice.device, frame=choice.frame, timeout=TIMEOUT)

    with ros() as stop:
        room = make_task(config.task).workspace
        node = SurveyNode(make_sensor, np.array(choice.mount), fr3_model(), room, say)
        spin(node, stop, lambda: node.done, node.end_motion)
    if node.failure is not None:
        raise node.failure
    if node.survey is None or not node.survey.done:
        return 0
    write_atomically(run.tool_readings, readings_text(node.survey.taken).encode())
    return 0
