"""The operator's page. Nothing waits for it."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable

from hardware.ros.runtime import ros, spin
from hardware.scene import SceneError, SceneSpec
from robot_rl.console.board import Board, Line
from robot_rl.console.guard import Guard, check_address, token_at
from robot_rl.console.history import History
from robot_rl.console.page import About, Page
from robot_rl.console.ros.node import ConsoleNode
from robot_rl.jobs.cameras_command import frozen_after
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.job import job_of
from robot_rl.jobs.run import CONSOLE, Run
from robot_rl.session.link import COMPRESSED
from robot_rl.tasks import make_task
from robot_rl.tasks.base import scene_of

NICENESS = 5  # the control path comes first


def main(
    run: Run,
    config: RunConfig,
    job: str,
    arguments: list[str] | None = None,
    served: Callable[[], None] = lambda: None,
) -> int:
    """Serve the page of ``job`` until the process is asked to end.

    Args:
        arguments: of ROS, in place of the process's.
        served: called once the page is there, and its address in the run's status.
    """
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    task, spec, settings = make_task(config.task), job_of(job), config.console
    check_address(settings.host)
    guard = Guard() if settings.loopback else Guard(token_at(run.console_token))
    scene = scene_of(task)
    history = History(run.root / spec.records if spec.records else None)

    def reread(board: Board) -> None:
        history.refresh()
        board.session = run.status_of("session")
        if spec.learns:
            board.learner = run.status_of("learner")
            if "utd" in board.learner:
                history.sample(board.learner["online_steps"], board.learner["utd"])

    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(ros(arguments))
        compressed = config.remote and config.link.images == COMPRESSED
        frozen = 0.0 if config.remote else frozen_after(run, config)  # drawn or real, only the link hears, and later
        silence = config.session.image_age
        node = ConsoleNode(scene.objects, task.views(config.cameras), reread, compressed, frozen, silence)
        about = About(job, task.name, task.action.axes, task.workspace, config.controller.tank.capacity, spec.learns)
        page = Page(about, node, settings.host, settings.port, guard)
        stack.callback(page.close)
        node.attach(lambda board, dragging: page.refresh(board, history, dragging), lambda: page.watched)
        run.say(CONSOLE, {"address": page.address, "protected": bool(guard.token)})
        served()
        drawing = threading.Thread(target=_draw, args=(page, scene, node.board))
        stack.callback(drawing.join)  # a process that ends beside a thread in MuJoCo dies of it
        drawing.start()
        spin(node, stop)
    return 0


def _draw(page: Page, scene: SceneSpec, board: Board) -> None:
    """Put the arm on the page; its meshes take seconds, and the page is there meanwhile."""
    try:
        from hardware.sim.scene.shapes import SceneShapes

        page.draw(SceneShapes(scene))
    except (ImportError, SceneError) as error:
        board.events.append(Line("warn", f"The arm cannot be drawn: {error}. Install robot-rl[sim]."))
