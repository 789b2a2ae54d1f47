"""``robot-rl calibrate camera``: a camera's lens and place, from pictures of a ChArUco board."""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hardware.cameras.calibration import Board

SURE_POSITION, SURE_ANGLE = 0.001, 0.25  # [m], [°]: standard deviations beyond them are a caveat
SURE_LENS = 1.0  # [px] left beyond which the lens is not believed
DRAWN = 100  # pixels of a square of the board that is drawn


def add_camera_parser(actions: Any) -> None:
    """Add the command to those of ``calibrate``."""
    text = "lens of a camera, and its place on the hand or in the base, on a ChArUco board"
    camera = actions.add_parser(
        "camera",
        help=text,
        description=f"{text}. With --camera it takes pictures while you move: one whenever board and hand are still in "
        "a new place, until none is missing; FILE-shots.png shows where it stands. With --shots it reads a folder of "
        "pictures with poses.csv (file,x,y,z,qx,qy,qz,qw: the TCP in the base when each was taken, metres; not with "
        "--mount none). A camera on the hand looks at a board that lies still, one that stands looks at "
        "one in the hand. Exit status: 0 when all is known well enough, 1 with a caveat, 2 when it cannot be "
        "calibrated.",
    )
    source = camera.add_mutually_exclusive_group()
    source.add_argument("--camera", metavar="NAME", help="take pictures from this camera, into the folder FILE-shots")
    source.add_argument("--shots", type=Path, metavar="FOLDER", help="pictures that were taken, and their poses.csv")
    camera.add_argument(
        "--listen",
        action="store_true",
        help="with --camera: it runs already, and so does the arm, in the job of --run DIR or the graph at "
        "ROS_DOMAIN_ID; without, the camera is started, which is enough for --mount none",
    )
    camera.add_argument("--run", type=Path, metavar="DIR", help="folder of the run whose job has camera and arm")
    camera.add_argument("--out", type=Path, metavar="FILE", help="the file to write, e.g. wrist.yaml")
    camera.add_argument(
        "--mount", choices=("wrist", "fixed", "none"), default="wrist", help="where it is; none: the lens alone"
    )
    camera.add_argument("--board", default="7x5", metavar="CxR", help="squares along x and y (default 7x5)")
    camera.add_argument("--square", type=float, default=0.04, metavar="M", help="side of a square (default 0.04 m)")
    camera.add_argument("--marker", type=float, default=0.03, metavar="M", help="side of a marker (default 0.03 m)")
    camera.add_argument("--dictionary", default="DICT_5X5_100", metavar="NAME", help="of the markers (OpenCV's name)")
    camera.add_argument("--draw", type=Path, metavar="FILE", help="only draw the board, to print it")
    camera.add_argument("overrides", nargs="*", metavar="key=value", help="settings, e.g. arm=fr3 camera_devices=0")


def calibrate_camera(arguments: argparse.Namespace) -> int:
    """Calibrate, write the file and say how well it is known; returns the exit status.

    Raises `ConfigError`, or `CalibrationError` when the pictures do not tell.
    """
    import cv2

    from controllers.spatial import Pose
    from hardware.cameras.calibration import calibrate_lens, calibrate_mount, find
    from hardware.cameras.calibration_file import read_pictures, read_shots, text_of
    from robot_rl.contract.files import write_atomically
    from robot_rl.contract.settings import ConfigError
    from robot_rl.jobs.logs import tell

    board = _board(arguments)
    if arguments.draw is not None:
        _, png = cv2.imencode(".png", board.picture(DRAWN))
        write_atomically(arguments.draw, png.tobytes())
        wide, high = (1000.0 * board.square * count for count in (board.columns, board.rows))
        tell(f"drawn: {arguments.draw}; print it {wide:g} × {high:g} mm large, and measure a square")
        return 0
    live = arguments.camera is not None
    if (arguments.shots is None and not live) or arguments.out is None:
        raise ConfigError("calibrate camera needs --camera NAME or --shots FOLDER, and --out FILE; or --draw FILE")
    if not live and (arguments.listen or arguments.run or arguments.overrides):
        raise ConfigError("--listen, --run and settings are for pictures that are taken with --camera NAME")
    if arguments.out.exists():
        raise ConfigError(f"{arguments.out} exists; name another file with --out, or move it away")
    folder = arguments.shots
    if live:
        from robot_rl.jobs.calibrate_shots import take_shots

        given = arguments.camera, board, arguments.mount, arguments.out, arguments.listen, arguments.run
        folder = take_shots(*given, arguments.overrides)
    if arguments.mount == "none":  # no pose is looked at
        shots = [(name, image, Pose.identity()) for name, image in read_pictures(folder)]
    else:
        shots = read_shots(folder)
    views, hands, names = [], [], []
    for name, image, hand in shots:
        if (view := find(image, board)) is not None:
            views.append(view)
            hands.append(hand)
            names.append(name)
    tell(f"the board is in {len(views)} of {len(shots)} pictures")
    height, width = shots[0][1].shape[:2] if shots else (0, 0)
    lens, left = calibrate_lens(views, width, height)
    mount = None
    if arguments.mount != "none":
        mount = calibrate_mount(views, hands, lens, arguments.mount)
        lens, left = mount.lens, mount.pixels
    focal, centre = f"{lens.fx:.1f}, {lens.fy:.1f}", f"{lens.cx:.1f}, {lens.cy:.1f}"
    tell(f"lens: focal lengths {focal} px, centre {centre} px; {left:.2f} px left")
    caveats = []
    if left > SURE_LENS:
        caveats.append(f"caveat: {left:.2f} px are left; is the board flat, and are the pictures sharp?")
    if mount is not None:
        place = ", ".join(f"{1000.0 * value:.1f}" for value in mount.camera.translation)
        sure, angle = 1000.0 * mount.position_std, math.degrees(mount.angle_std)
        frame = "hand" if arguments.mount == "wrist" else "base"
        tell(f"camera in the {frame}: {place} ± {sure:.2g} mm, turned ± {angle:.2g}°")
        index, worst = mount.worst
        tell(f"the picture that fits worst is {names[index]}, {worst:.2f} px")
        if mount.position_std > SURE_POSITION or angle > SURE_ANGLE:
            caveats.append("caveat: its place is not known within 2 mm and 0.5°; take more pictures, tilted further")
        if worst > 3.0 * mount.pixels:
            caveats.append(f"caveat: {names[index]} does not fit the others; was the hand at rest?")
    write_atomically(arguments.out, text_of(lens, left, arguments.mount, mount).encode())
    tell("\n".join([*caveats, f"written: {arguments.out}"]))
    return 1 if caveats else 0


def _board(arguments: argparse.Namespace) -> Board:
    from hardware.cameras.calibration import Board
    from robot_rl.contract.ranges import shown
    from robot_rl.contract.settings import ConfigError

    size = re.fullmatch(r"(\d{1,3})x(\d{1,3})", arguments.board)
    if size is None:
        raise ConfigError(f"--board {shown(arguments.board)} must be like 7x5: squares along x and y")
    columns, rows = map(int, size.groups())
    return Board(columns, rows, arguments.square, arguments.marker, arguments.dictionary)
