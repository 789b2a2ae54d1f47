"""Pictures for ``robot-rl calibrate camera`` from a camera that runs, taken while a person moves board or hand."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from hardware.cameras.calibration import Board
    from hardware.ros.runtime import Stop
    from robot_rl.jobs.config import RunConfig
    from robot_rl.ros.shots_node import ShotsReport

SHOTS = "shots"  # the job, see `robot_rl.jobs.job`
PATIENCE = 5.0  # [s] for programs of the graph to find each other


@dataclass(frozen=True)
class ShotsChoice:
    """The pictures to take.

    Attributes:
        camera: its name.
        board: see `hardware.cameras.calibration.Board`.
        with_hand: the pose of the hand belongs to each.
        folder: where they go, which is made; the picture for the person is beside it.
    """

    camera: str
    board: dict[str, float | str]
    with_hand: bool
    folder: str

    @property
    def picture(self) -> Path:
        """The picture for the person."""
        return Path(f"{self.folder}.png")


def take_shots(
    camera: str, board: Board, mounting: str, out: Path, listen: bool, root: Path | None, overrides: list[str]
) -> Path:
    """Take the pictures that a calibration of ``camera`` needs; returns their folder, beside the file ``out``.

    Args:
        mounting: ``none`` takes pictures alone, others take the hand's pose with each.
        listen: the camera runs already, in the job of the run at ``root``, or in the graph at ROS_DOMAIN_ID.
        overrides: settings.

    Raises the errors of `robot_rl.jobs.errors`, and KeyboardInterrupt when the person gives up.
    """
    from robot_rl.contract.settings import ConfigError
    from robot_rl.jobs.config import load_config
    from robot_rl.jobs.logs import LIVE, tell
    from robot_rl.jobs.run import settings_of

    with_hand = mounting != "none"
    if with_hand and not listen:
        raise ConfigError(
            f"--mount {mounting} needs the hand's pose from an arm that runs: drive it by robot-rl teleop, or guide it "
            "under robot-rl arm, with this camera in cameras=, and add --listen and that job's --run DIR here"
        )
    if root is not None and not listen:
        raise ConfigError(f"--run {root} is a job whose camera runs already: add --listen")
    folder = out.with_name(f"{out.stem}-shots").absolute()
    if folder.exists():
        raise ConfigError(f"{folder} exists; calibrate from it with --shots {folder}, or move it away")
    config = settings_of(None, root, overrides) if root is not None else load_config(None, overrides)
    config = dataclasses.replace(config, cameras=(camera,), camera_calibrations=())
    choice = ShotsChoice(camera, dataclasses.asdict(board), with_hand, str(folder))
    tell(f"calibrate: pictures of camera {camera} go to {folder}; look at {choice.picture}")
    done = False
    try:
        done = _listen(config, choice, root) if listen else _run_own(config, choice)
    finally:
        LIVE.show("")
        if not done and folder.exists():
            tell(f"to calibrate with the pictures that there are: --shots {folder}")
    if not done:
        raise KeyboardInterrupt
    return folder


def _run_own(config: RunConfig, choice: ShotsChoice) -> bool:
    """Start the camera and take the pictures; whether nothing is missing."""
    from robot_rl.jobs.bringup import check_drawn, specs
    from robot_rl.jobs.locks import RunLock, ros_domain
    from robot_rl.jobs.logs import LIVE, tell
    from robot_rl.jobs.run import Run
    from robot_rl.jobs.said import Said
    from robot_rl.jobs.supervisor import Supervisor

    if config.arm == "sim":
        check_drawn(config.cameras)
    with contextlib.ExitStack() as stack:
        lock = stack.enter_context(RunLock(SHOTS))
        run = Run.create(config, take=lock.take)
        _, config = Run.open(run.root)
        run.say("choice", dataclasses.asdict(choice))
        domain = stack.enter_context(ros_domain(config, SHOTS))
        tell(f"ROS_DOMAIN_ID={domain.number}, logs in {run.logs}; Ctrl-C ends it")
        said = Said(run, SHOTS)

        def update() -> None:
            LIVE.clear()
            said.update()
            LIVE.show(run.status_of(SHOTS).get("live", ""))

        held = (*domain.descriptors, *lock.descriptors)
        Supervisor(run, SHOTS, specs(SHOTS, run, config), domain.number, held).run(update)
    return True


def _listen(config: RunConfig, choice: ShotsChoice, root: Path | None) -> bool:
    """Take the pictures from a camera that runs; whether nothing is missing."""
    from hardware.ros.runtime import ros
    from robot_rl.jobs.logs import LIVE, tell
    from robot_rl.jobs.remote import join_graph
    from robot_rl.jobs.run import Run

    job = Run.open(root)[0].status_of("job") if root is not None else {}
    domain = int(job.get("domain", os.environ.get("ROS_DOMAIN_ID", "0")))
    tell(f"listening at ROS_DOMAIN_ID={domain}; Ctrl-C ends it")
    with ros(join_graph(config, domain)) as stop:
        return watch_board(config, choice, stop, lambda report: LIVE.show(report.line), tell, PATIENCE)


def watch_board(
    config: RunConfig,
    choice: ShotsChoice,
    stop: Stop,
    show: Callable[[ShotsReport], None],
    say: Callable[[str], None],
    patience: float = 0.0,
) -> bool:
    """Keep pictures until nothing is missing, or ``stop``; returns whether nothing is. rclpy is initialised.

    Args:
        show: called after each look with how far it is.
        say: called with a line for each picture that is kept.
        patience: see `ShotsNode`.

    Raises the error of a camera or arm that is not there.
    """
    from hardware.cameras.calibration import Board
    from hardware.cameras.calibration_file import ShotFolder
    from hardware.ros.runtime import spin
    from robot_rl.contract.files import write_atomically
    from robot_rl.perception.contact_sheet import png_of
    from robot_rl.ros.shots_node import ShotsNode
    from robot_rl.session.link import COMPRESSED

    shots, kept = ShotFolder(Path(choice.folder)), 0

    def tell(report: ShotsReport) -> None:
        nonlocal kept
        show(report)
        if report.kept != kept:
            kept = report.kept
            lacks = f"missing: {'; '.join(report.missing)}" if report.missing else "nothing is missing"
            say(f"picture {kept} is kept; {lacks}")

    def draw(picture: np.ndarray) -> None:
        write_atomically(choice.picture, png_of(picture))

    compressed = config.remote and config.link.images == COMPRESSED
    board = Board(**choice.board)  # type: ignore[arg-type]
    node = ShotsNode(choice.camera, board, choice.with_hand, shots.keep, tell, draw, compressed, patience)
    spin(node, stop, lambda: node.done or node.failure is not None)
    if node.failure is not None:
        raise node.failure
    return node.done
