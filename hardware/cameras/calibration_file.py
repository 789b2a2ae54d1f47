"""Files of a calibrated camera: pictures with poses of the hand, and lens and place as YAML."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from controllers.spatial import Pose, SpatialError
from hardware.cameras.calibration import CalibrationError, Mount, Mounting
from hardware.cameras.intrinsics import Intrinsics
from hardware.kept_files import numbers, read_keys, read_rows

POSES = "poses.csv"
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
COLUMNS = ("file", "x", "y", "z", "qx", "qy", "qz", "qw")  # of a picture and the hand (TCP) in the base [m]
KEYS = ("width", "height", "focal", "centre", "distortion", "mount", "position", "quaternion")


@dataclass(frozen=True, eq=False)
class Calibration:
    """A camera: its lens, and its optical frame in the hand (``wrist``) or the base (``fixed``), if known."""

    lens: Intrinsics
    mounting: Mounting | None = None
    pose: Pose | None = None


def text_of(lens: Intrinsics, left: float, mounting: Mounting, mount: Mount | None) -> str:
    """The file's text. ``left``: root mean square of the distances that are left [px]."""
    lines = [
        "# A camera, by robot-rl calibrate camera.",
        f"width: {lens.width}",
        f"height: {lens.height}",
        f"focal: {_list((lens.fx, lens.fy))}  # px; {left:.2f} px are left",
        f"centre: {_list((lens.cx, lens.cy))}  # px",
        f"distortion: {_list(lens.distortion)}  # k1, k2, p1, p2, k3",
    ]
    if mount is not None:
        frame = "hand" if mounting == "wrist" else "base"
        lines += [
            f"mount: {mounting}  # the optical frame (z along the view, x right, y down) in the frame of the {frame}",
            f"position: {_list(mount.camera.translation)}  # m, ± {1000.0 * mount.position_std:.2g} mm",
            f"quaternion: {_list(mount.camera.quat_xyzw)}  # x, y, z, w; ± {np.degrees(mount.angle_std):.2g}°",
        ]
    return "\n".join(lines) + "\n"


def read_calibration(path: Path) -> Calibration:
    """The camera in a file. Raises `CalibrationError` that names file, key and what would fit."""
    held = read_keys(path, "calibrated camera", KEYS, CalibrationError)
    width, height = (round(numbers(path, held, key, 1, CalibrationError)[0]) for key in ("width", "height"))
    distortion = tuple(map(float, numbers(path, held, "distortion", 5, CalibrationError)))
    (fx, fy), (cx, cy) = (map(float, numbers(path, held, key, 2, CalibrationError)) for key in ("focal", "centre"))
    lens = Intrinsics(width, height, fx, fy, cx, cy, distortion)
    if min(width, height, lens.fx, lens.fy) <= 0:
        raise CalibrationError(f"{path}: width, height and focal must be positive")
    if "mount" not in held:
        return Calibration(lens)
    if held["mount"] not in ("wrist", "fixed"):
        raise CalibrationError(f"{path}: mount={held['mount']!r} must be wrist or fixed")
    try:
        pose = Pose(
            numbers(path, held, "position", 3, CalibrationError), numbers(path, held, "quaternion", 4, CalibrationError)
        )
    except SpatialError as error:
        raise CalibrationError(f"{path}: quaternion: {error}") from error
    return Calibration(lens, held["mount"], pose)


def read_shots(folder: Path) -> list[tuple[str, np.ndarray, Pose]]:
    """Name, picture ``(h, w, 3)`` uint8 RGB and pose of the hand for each line of `POSES` in ``folder``.

    Raises `CalibrationError` that names file and line.
    """
    path = folder / POSES
    rows = read_rows(path, COLUMNS, CalibrationError)
    shots: list[tuple[str, np.ndarray, Pose]] = []
    for number, row in enumerate(rows, start=2):
        try:
            if len(row) != len(COLUMNS):
                raise ValueError(f"{len(COLUMNS)} values, not {len(row)}")
            values = np.array([float(value) for value in row[1:]])
            pose = Pose(values[:3], values[3:])
        except (ValueError, SpatialError) as error:
            raise CalibrationError(f"{path}, line {number}: {error}") from None
        image = _picture(folder / row[0], f"{path}, line {number}", shots[0] if shots else None)
        shots.append((row[0], image, pose))
    return shots


def read_pictures(folder: Path) -> list[tuple[str, np.ndarray]]:
    """Name and picture ``(h, w, 3)`` uint8 RGB of each file in ``folder`` that ends like one, by name.

    Raises `CalibrationError` that names the file.
    """
    pictures: list[tuple[str, np.ndarray]] = []
    for file in sorted(path for path in folder.glob("*") if path.suffix.lower() in PICTURES):
        pictures.append((file.name, _picture(file, str(file), pictures[0] if pictures else None)))
    return pictures


def _picture(file: Path, where: str, first: tuple[Any, ...] | None) -> np.ndarray:
    """The picture in ``file``, of the size of the ``first``. Raises `CalibrationError` that says ``where``."""
    image = cv2.imread(str(file), cv2.IMREAD_COLOR)
    if image is None:
        raise CalibrationError(f"{where}: {file} is no picture")
    if first is not None and image.shape != first[1].shape:
        raise CalibrationError(f"{where}: {file.name} has another size than {first[0]}")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


class ShotFolder:
    """Writes pictures as they are taken into ``folder``, which it makes, with the hand's poses that belong to them.

    Raises `CalibrationError` where the folder is there already.
    """

    def __init__(self, folder: Path) -> None:
        if folder.exists():
            raise CalibrationError(f"{folder} exists; calibrate from it with --shots {folder}, or move it away")
        folder.mkdir(parents=True)
        self._folder = folder
        self._rows: list[str] = []
        self._pictures = 0

    def keep(self, image: np.ndarray, hand: Pose | None) -> None:
        """Write ``image (h, w, 3)`` uint8 RGB, and ``hand``, its pose in the base, where that counts."""
        self._pictures += 1
        name = f"{self._pictures:03d}.png"
        cv2.imwrite(str(self._folder / name), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        if hand is None:
            return
        numbers_of_hand = (*hand.translation, *hand.quat_xyzw)
        self._rows.append(",".join((name, *(f"{value:.9g}" for value in numbers_of_hand))))
        scratch = self._folder / f".{POSES}"
        scratch.write_text("\n".join((",".join(COLUMNS), *self._rows)) + "\n", encoding="utf-8")
        scratch.replace(self._folder / POSES)


def _list(values: Any) -> str:
    return f"[{', '.join(f'{float(value) + 0.0:.7f}' for value in values)}]"
