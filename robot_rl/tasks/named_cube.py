"""Three cubes of different colours, and words that say which to touch, to lift, or to push over a line.

`robot-rl record --task robot_rl.tasks.named_cube:TouchCube`, or `PushCube`, `LiftCube`. They have no short names,
because no agent without words can do them: only the words say what is wanted, and the three begin alike, in the same
scene. The words follow from the object `ASKED`, whose place says a cube and a phrasing, so that they go wherever poses
go, into stores and over the graph; the colours from the look, a number whose digits, in base `len(PALETTE)`, are those
of cube 0, 1 and 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from controllers.spatial import Pose
from controllers.workspace import Workspace
from hardware.interfaces import TeleopCommand
from hardware.scene import LOOK, WRIST_CAMERA, SceneSpec, look_of, pose_of_look
from robot_rl.contract import ContractError, Field, Outcome, Reading, View
from robot_rl.tasks import fields
from robot_rl.tasks.base import TOOL_DOWN, Start, Task
from robot_rl.tasks.pick_cube import CUBE_WIDTH, CUBE_YAW, PickCube, between_fingers

CUBES = ("cube_0", "cube_1", "cube_2")
ASKED = "asked"  # the object whose place says what is asked for
STEP = 0.001  # [m] along x from one cube to the next, along y from one phrasing to the next
COLOURS: Mapping[str, tuple[float, float, float]] = MappingProxyType(  # RGB, 0–1
    {
        "red": (0.85, 0.08, 0.08),
        "green": (0.10, 0.60, 0.15),
        "blue": (0.10, 0.20, 0.85),
        "yellow": (0.95, 0.90, 0.10),
        "orange": (1.00, 0.50, 0.00),
        "pink": (1.00, 0.60, 0.75),
        "violet": (0.55, 0.20, 0.90),
        "turquoise": (0.15, 0.80, 0.75),
    }
)
HELD_OUT_COLOURS: Mapping[str, tuple[float, float, float]] = MappingProxyType(
    {"purple": (0.50, 0.05, 0.55), "crimson": (0.75, 0.03, 0.20), "gold": (0.90, 0.70, 0.15)}
)
PALETTE = MappingProxyType({**COLOURS, **HELD_OUT_COLOURS})
DISTINCT = 0.5  # least distance in RGB of a held-out colour from those beside it, which a person tells apart at once
KNOWN = 3  # phrasings of each task that demonstrations use; those behind them are held out
LANES = (-0.09, 0.0, 0.09)  # [m] y of the cubes
MIDDLE = 0.49  # [m] x of the cubes
ASIDE = np.array([0.03, 0.015])  # [m] of a cube, at most, from its lane's middle
LINE = 0.565  # [m] x of the line on the table
LIFTED = 0.05  # [m] of a cube above where it lay
TOUCHED = np.array([0.018, 0.018, 0.5 * CUBE_WIDTH + 0.016])  # [m] of the TCP from a cube's centre, at most
CLOSED = 0.3  # opening below which the fingers are one finger

Drawn = Literal["known", "held_out"]


class Asked(NamedTuple):
    """Numbers of the cube that is meant, and of the phrasing."""

    cube: int
    phrasing: int


class NamedCube(Task):
    """The three tasks but for their verbs; `outcome` is a failure once another cube than the one named is done to.

    Args:
        words: phrasings that are drawn: those of demonstrations, or those that are held out of them.
        colours: of the named cube, drawn likewise; the others are always of `COLOURS`.
    """

    action = PickCube.action
    fields: tuple[Field, ...] = (
        Field("place", 2, 8.0),  # of the TCP, from the middle of the area
        *(field for field in PickCube.fields if field.name not in ("to_cube", "near_cube", "lifted")),
    )
    horizon: int = 45
    workspace: Workspace = Workspace(np.array([0.38, -0.14, 0.014]), np.array([0.64, 0.14, 0.22]))
    retreat_height: float = 0.15
    nominal: Pose = Pose(np.array([0.47, 0.0, 0.16]), TOOL_DOWN)
    needs: tuple[str, ...] = (*CUBES, LOOK, ASKED)
    cameras: Mapping[str, View] = MappingProxyType({WRIST_CAMERA: View()})
    phrasings: ClassVar[tuple[str, ...]]

    def __init__(self, words: Drawn = "known", colours: Drawn = "known") -> None:
        self._words, self._colours = words, colours

    def scene(self) -> SceneSpec:
        from robot_rl.tasks.scenes.cubes import scene

        return scene()

    def sample_start(self, rng: np.random.Generator) -> Start:
        start = self.nominal.translation + rng.uniform(-0.02, 0.02, 3)
        objects = {}
        for name, lane in zip(CUBES, rng.permutation(LANES), strict=True):
            x, y = np.array([MIDDLE, lane]) + rng.uniform(-ASIDE, ASIDE)
            turn = np.array([0.0, 0.0, rng.uniform(-CUBE_YAW, CUBE_YAW)])
            objects[name] = Pose.from_rotvec(np.array([x, y, 0.5 * CUBE_WIDTH]), turn)
        known, held_out = range(KNOWN), range(KNOWN, len(self.phrasings))
        asked = Asked(int(rng.integers(len(CUBES))), int(rng.choice(known if self._words == "known" else held_out)))
        colours = self._draw_colours(rng, asked.cube)
        look = sum(list(PALETTE).index(name) * len(PALETTE) ** digit for digit, name in enumerate(colours))
        objects |= {LOOK: pose_of_look(look), ASKED: pose_of_asked(asked)}
        return Start(Pose(start, TOOL_DOWN), gripper=1.0, objects=objects)

    def _draw_colours(self, rng: np.random.Generator, cube: int) -> list[str]:
        """Names of the cubes' colours, all different."""
        named = str(rng.choice(list(COLOURS if self._colours == "known" else HELD_OUT_COLOURS)))
        apart = [name for name in COLOURS if np.linalg.norm(np.subtract(PALETTE[name], PALETTE[named])) >= DISTINCT]
        others = apart if self._colours == "held_out" else [name for name in COLOURS if name != named]
        colours = [str(name) for name in rng.choice(others, len(CUBES) - 1, replace=False)]
        return [*colours[:cube], named, *colours[cube:]]

    def words(self, objects: Mapping[str, Pose]) -> str:
        asked = asked_of(objects)
        return self.phrasings[asked.phrasing].format(colours_of(objects)[asked.cube])

    def target(self, objects: Mapping[str, Pose]) -> Pose:
        return objects[CUBES[asked_of(objects).cube]] if ASKED in objects else self.nominal

    def state(self, reading: Reading) -> np.ndarray:
        place = reading.pose.translation[:2] - self.nominal.translation[:2]
        values = {**fields.arm_values(reading), "place": place, "height": reading.pose.translation[2]}
        return fields.pack(self.fields, values)

    def outcome(self, reading: Reading) -> Outcome:
        named = CUBES[asked_of(reading.objects).cube]
        done = {name: self.deed(reading, fields.object_pose(reading, name).translation) for name in CUBES}
        wrong = [deed for name, deed in done.items() if deed and (name != named or deed != self.verb)]
        if wrong:
            return Outcome.failure(f"a cube is {wrong[0]} that should not be")
        return Outcome.success() if done[named] else Outcome.running()

    @staticmethod
    def deed(reading: Reading, cube: np.ndarray) -> str:
        """The verb that has been done to the cube at ``cube (3,)`` [m]; "" for none."""
        if cube[2] - 0.5 * CUBE_WIDTH > LIFTED and between_fingers(reading, cube):
            return LiftCube.verb
        if cube[0] > LINE:
            return PushCube.verb
        near = (np.abs(reading.pose.translation - cube) < TOUCHED).all()
        return TouchCube.verb if near and reading.gripper < CLOSED else ""

    verb: ClassVar[str]


class TouchCube(NamedCube):
    """Success: the closed fingers on top of the named cube."""

    name: str = f"{__name__}:TouchCube"
    verb = "touched"
    phrasings = (
        "touch the {} cube",
        "put a finger on the {} block",
        "tap the {} one",
        "press on the {} cube",
        "please tap the top of the {} block",
        "the {} one: touch it with your finger",
    )

    def expert(self, reading: Reading) -> TeleopCommand:
        from robot_rl.tasks.experts.named_cube import touch

        return touch(reading, self.target(reading.objects).translation, self.control_period)


class PushCube(NamedCube):
    """Success: the named cube beyond the line, on the table."""

    name: str = f"{__name__}:PushCube"
    verb = "pushed"
    phrasings = (
        "push the {} cube over the line",
        "shove the {} block away",
        "slide the {} one forward",
        "move the {} cube across the line",
        "please slide the {} block across the line",
        "the {} one: push it away",
    )

    def expert(self, reading: Reading) -> TeleopCommand:
        from robot_rl.tasks.experts.named_cube import push

        return push(reading, self.target(reading.objects).translation, self.control_period)


class LiftCube(NamedCube):
    """Success: the named cube lifted by 5 cm, between the fingers."""

    name: str = f"{__name__}:LiftCube"
    verb = "lifted"
    phrasings = (
        "lift the {} cube",
        "pick up the {} block",
        "grab the {} one",
        "take the {} cube off the table",
        "please pick the {} cube up",
        "the {} one: grab and lift it",
    )

    def expert(self, reading: Reading) -> TeleopCommand:
        from robot_rl.tasks.experts.pick_cube import grasp_then_lift

        return grasp_then_lift(reading, self.control_period, CUBES[asked_of(reading.objects).cube])


def pose_of_asked(asked: Asked) -> Pose:
    """Where the object `ASKED` stands for ``asked``."""
    return Pose(np.array([asked.cube * STEP, asked.phrasing * STEP, 0.0]), np.array([0.0, 0.0, 0.0, 1.0]))


def asked_of(objects: Mapping[str, Pose]) -> Asked:
    """The cube and the phrasing that the poses of ``objects`` say. Raises `ContractError` where they say none."""
    if ASKED not in objects:
        raise ContractError(f"this task needs the pose of {ASKED!r}, and the scene knows {sorted(objects)}")
    x, y, _ = objects[ASKED].translation
    return Asked(round(float(x) / STEP), round(float(y) / STEP))


def colours_of(objects: Mapping[str, Pose]) -> list[str]:
    """Names of the colours of the cubes."""
    look, names = look_of(objects) or 0, list(PALETTE)
    return [names[look // len(names) ** digit % len(names)] for digit in range(len(CUBES))]
