"""The person's device, on the teleoperation topics; what the terminal shows of the session goes into the status."""

from __future__ import annotations

import contextlib

from hardware.ros.runtime import ros, spin
from hardware.ros.teleop_node import TeleopNode
from hardware.teleop import make_teleop
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.processes import await_link
from robot_rl.jobs.remote import scene_objects
from robot_rl.jobs.run import Run
from robot_rl.ros.session_view import SessionView
from robot_rl.tasks import make_task

STATUS_PERIOD = 0.2  # [s]


def main(run: Run, config: RunConfig, job: str) -> int:
    device = make_teleop(config.source)
    task = make_task(config.task)
    with ros() as stop:
        device.connect()
        try:
            await_link(run, config, stop)
            node = TeleopNode(device)
            view = SessionView(node, task, scene_objects(run, config, task))

            def say() -> None:
                help_asked = getattr(device, "help_asked", 0)
                waiting = [spoken.word for spoken in node.words.waiting]
                with contextlib.suppress(OSError):  # a full disk takes nobody's device away
                    run.say("teleop", {"drives": node.engaged, "help": help_asked, "said": waiting, **view.status()})

            node.create_timer(STATUS_PERIOD, say)
            spin(node, stop)
        finally:
            device.disconnect()
    return 0
