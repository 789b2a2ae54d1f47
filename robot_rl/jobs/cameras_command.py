"""``robot-rl cameras``: a live contact sheet of the cameras, as a job of its own or beside cameras that already run."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_rl.jobs.job import job_of

if TYPE_CHECKING:
    from robot_rl.contract import View
    from robot_rl.jobs.config import RunConfig
    from robot_rl.jobs.run import Run
    from robot_rl.perception.meter import CameraReport
    from robot_rl.tasks.base import Task

CAMERAS = "cameras"  # the job, see `robot_rl.jobs.job`
SHEET_FILE = "cameras.png"
PATIENCE = 5.0  # [s] for programs of the graph to find each other
LASTING = 2.0  # [s] for which a camera is in trouble, or well, before that is a line
CHANGING = re.compile(r"\d+(\.\d+)?")  # in words about one and the same trouble


def add_cameras_parser(commands: Any, common: Callable[[argparse.ArgumentParser], argparse.ArgumentParser]) -> None:
    """Add the command to ``commands``, what `argparse.ArgumentParser.add_subparsers` returns.

    ``common`` adds the arguments that all jobs have.
    """
    spec = job_of(CAMERAS)
    parser = common(
        commands.add_parser(
            spec.name,
            help=spec.help,
            description=f"{spec.help}. The sheet is one PNG, written anew each second: each camera's picture with what "
            "policy, encoder and classifiers take of it, and that part as each of them sees it. With arm=sim the "
            "cameras are drawn; with another arm, which is left alone, they are camera_driver's. Dropped are those "
            "pictures that the gaps between stamps tell of. Exit status: 0 after Ctrl-C, 2 when a camera is not there.",
        )
    )
    parser.add_argument("--out", type=Path, metavar="PNG", help="the contact sheet; default: cameras.png in the run")
    parser.add_argument(
        "--listen",
        action="store_true",
        help="start no camera: look at those of the job that runs in --run DIR, or of the graph at ROS_DOMAIN_ID",
    )


def look_at_cameras(config: RunConfig, root: Path | None, out: Path | None, listen: bool) -> int:
    """Show the cameras until Ctrl-C; returns the exit status. Raises the errors of `robot_rl.jobs.errors`."""
    from robot_rl.contract.settings import ConfigError
    from robot_rl.jobs.logs import LIVE
    from robot_rl.tasks import make_task

    if not make_task(config.task).views(config.cameras):
        raise ConfigError(f"task={config.task} has no cameras of its own; choose cameras=NAME,…")
    display = CamerasDisplay()
    try:
        out = (_listen if listen else _run_own)(config, root, out, display)
    finally:
        LIVE.show("")
    _tell("\n".join((*summary(display.reports), f"written: {out}")))
    return 0


def _run_own(config: RunConfig, root: Path | None, out: Path | None, display: CamerasDisplay) -> Path:
    """Start the cameras, and look at them; returns the path of the sheet."""
    from robot_rl.contract.settings import ConfigError
    from robot_rl.jobs.bringup import opening, prepare, specs
    from robot_rl.jobs.locks import RunInUse, RunLock, ros_domain
    from robot_rl.jobs.run import SHEET, Run, settings_kept
    from robot_rl.jobs.supervisor import Supervisor
    from robot_rl.perception.meter import CameraReport

    with RunLock(CAMERAS) as lock, settings_kept(root, "", looks=True):
        try:
            run = prepare(CAMERAS, config, root, lock=lock)
        except RunInUse as error:
            raise ConfigError(f"{error}; or look at the cameras of that job: --listen") from error
        _, config = Run.open(run.root)
        out = (out or run.root / SHEET_FILE).absolute()
        run.say("look", {"out": str(out)})

        def update() -> None:
            said = run.status_of(SHEET)
            display.update({camera: CameraReport(**values) for camera, values in said.items()})

        with ros_domain(config, CAMERAS) as domain:
            run.say("job", {"arm": config.arm, "job": CAMERAS, "domain": domain.number})
            _tell("\n".join((*opening(CAMERAS, run, config), f"contact sheet: {out}")))
            _tell(f"ROS_DOMAIN_ID={domain.number}, logs in {run.logs}; Ctrl-C ends it")
            held = (*domain.descriptors, *lock.descriptors)
            with contextlib.suppress(KeyboardInterrupt):
                Supervisor(run, CAMERAS, specs(CAMERAS, run, config), domain.number, held).run(update)
            update()
    return out


def _listen(config: RunConfig, root: Path | None, out: Path | None, display: CamerasDisplay) -> Path:
    """Look at cameras that run already; returns the path of the sheet."""
    from hardware.ros.runtime import ros
    from robot_rl.jobs.processes import sheet
    from robot_rl.jobs.remote import join_graph
    from robot_rl.jobs.run import Run

    run = Run.open(root)[0] if root is not None else None
    job = run.status_of("job") if run is not None else {}
    domain = int(job.get("domain", os.environ.get("ROS_DOMAIN_ID", "0")))
    out = (out or (run.root if run is not None else Path()) / SHEET_FILE).absolute()
    _tell(f"{CAMERAS}: contact sheet {out}; listening at ROS_DOMAIN_ID={domain}; Ctrl-C ends it")
    with ros(join_graph(config, domain)) as stop:
        sheet.watch(config, stop, frozen_after(run, config), out, display.update, PATIENCE)
    return out


class CamerasDisplay:
    """The live line about the cameras, and a line of its own for each trouble that lasts, and for its end.

    ``reports``: how they are doing, as of the last update.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.reports: dict[str, CameraReport] = {}
        self._clock = clock
        self._since: dict[str, tuple[str, float]] = {}  # camera → its trouble, without numbers, and when it began [s]
        self._told: dict[str, str] = {}  # camera → trouble that was told last

    def update(self, reports: dict[str, CameraReport]) -> None:
        from robot_rl.jobs.logs import LIVE

        self.reports, now = reports, self._clock()
        for camera, report in reports.items():
            trouble = CHANGING.sub("", report.trouble)
            began = self._since.get(camera)
            if began is None or began[0] != trouble:
                self._since[camera] = began = (trouble, now)
            if trouble != self._told.get(camera) and now - began[1] >= LASTING:
                self._told[camera] = trouble
                _tell(f"camera {camera}: {report.trouble or report.line}")
        LIVE.show(" │ ".join(f"{camera} {report.trouble or report.line}" for camera, report in reports.items()))


def summary(reports: dict[str, CameraReport]) -> Iterator[str]:
    """How the cameras have been, line by line."""
    for camera, report in reports.items():
        parts = ["no picture"]
        if report.pictures:
            parts = [f"{report.pictures} pictures of {report.width}x{report.height}", f"{report.mean_rate:.1f} Hz"]
            parts += [f"{1000.0 * report.age:.0f} ms old", f"{report.dropped} dropped"]
        parts += [report.trouble] if report.trouble else []
        yield f"camera {camera}: {', '.join(parts)}"


def seen_by(config: RunConfig, task: Task) -> dict[str, dict[str, View]]:
    """Camera → consumer → what it sees of the pictures; the policy first. Raises `ClassifierError`."""
    from robot_rl.rewards.saved import Saved
    from robot_rl.session.judge import classifiers_in

    found = {camera: {"policy": view} for camera, view in task.views(config.cameras).items()}
    if config.encoder:
        for seen in found.values():
            seen[f"encoder {config.encoder}"] = seen["policy"]
    for folder in classifiers_in(config.judge or task.judge):
        for camera, view in Saved.read(folder).seen.views.items():
            if camera in found:
                found[camera][f"classifier {folder.name}"] = view
    return found


def frozen_after(run: Run | None, config: RunConfig) -> float:
    """[s] for which cameras may send the same pixels; 0, for ever, where they are drawn."""
    from robot_rl.jobs.remote import knows_scene

    drawn = config.arm == "sim" or (config.remote and run is not None and knows_scene(run, config))
    return 0.0 if drawn else config.session.image_frozen


def _tell(text: str) -> None:
    from robot_rl.jobs.logs import tell

    tell(text)
