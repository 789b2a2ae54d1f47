"""The runs behind a table, as data: what each task may cost, and who is compared on it.

A row of a table is one entry of `ROWS`. Seeds of reports are 0 to 4 and choose nothing; settings are chosen by `TUNING`
seeds, 100 and up, whose starts, demonstrations and noise are others.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.experiments.public.envs import IDS

DEMOS = 20
EPISODES = 25  # of an evaluation, for each of the two ways to act
STEPS_PER_MINUTE = 600  # of robot time, in tasks that act 10 times a second
TUNING = 100  # the first seed by which settings are chosen
ENCODER = "efficientnet_lite0"
CAMERAS = ("front", "wrist")  # of the tasks with images
REFERENCE = "imitation"  # the row with which the others are compared


class Kind(enum.Enum):
    """Source of a row's figures."""

    SCRIPT = "script"  # the task's script, driving in the style of the demonstrations
    CLONE = "clone"  # `robot-rl gym` without a step of the robot: what the agent starts from
    AGENT = "agent"  # `robot-rl gym`
    OUTSIDE = "outside"  # a command of somebody else's code, which writes lines like those of `robot-rl gym`


@dataclass(frozen=True)
class Budget:
    """Steps that a task may learn for, steps between evaluations, the success to come to and to stay at, and the robot
    minutes within which. ``module`` registers the environment, and ``module``'s package has its demonstrations;
    ``encoder`` makes features of its images."""

    env: str
    steps: int
    every: int
    aim: float
    within: float
    module: str = ""
    encoder: str = ""


@dataclass(frozen=True)
class Row:
    """One who is compared: ``settings`` are the learner's, ``command`` that of an outside program. One that is
    ``blind`` sees none of a task's `CAMERAS`, and is for tasks with images alone.

    A command's ``{env}``, ``{task}``, ``{seed}``, ``{steps}``, ``{every}``, ``{episodes}``, ``{demos}`` (an episode
    store) and ``{lines}`` (the file to write) are filled in. ``demos``: how many demonstrations it is given, 0 for
    `DEMOS`. ``acting``: whether it is evaluated a second time, as it acts while it learns.
    """

    name: str
    kind: Kind = Kind.AGENT
    agent: str = ""
    settings: tuple[str, ...] = ()
    seeds: int = 3
    command: tuple[str, ...] = ()
    blind: bool = False
    demos: int = 0
    acting: bool = True


@dataclass(frozen=True)
class Cell:
    """One run: a row's, on a task, with a seed."""

    task: str
    row: Row
    seed: int

    @property
    def key(self) -> tuple[str, str, int]:
        return self.task, self.row.name, self.seed


BUDGETS = {
    "reach": Budget("robot_rl/Reach-v0", 1800, 300, 0.95, 3.0),
    "peg_insertion": Budget("robot_rl/PegInsertion-v0", 1200, 200, 0.95, 1.0),
    "pick_cube": Budget("robot_rl/PickCube-v0", 3000, 500, 0.95, 5.0),
    "wipe_line": Budget("robot_rl/WipeLine-v0", 1200, 200, 0.95, 2.0),
    "peg_search": Budget("robot_rl/PegSearch-v0", 3000, 500, 0.90, 5.0),
    "gear_mesh": Budget("robot_rl/GearMesh-v0", 9000, 1500, 0.90, 15.0),
    "peg_assembly": Budget("robot_rl/PegAssembly-v0", 9000, 1500, 0.90, 15.0),
    "connector": Budget("robot_rl/Connector-v0", 9000, 1500, 0.90, 15.0),
    "pick_cube_images": Budget("robot_rl/PickCubeImages-v0", 6000, 2000, 0.90, 10.0, encoder=ENCODER),
    "peg_insertion_images": Budget("robot_rl/PegInsertionImages-v0", 9000, 1500, 0.90, 15.0, encoder=ENCODER),
}
OWN = tuple(BUDGETS)
# Those of others, whose steps count as if they came 10 times a second.
BUDGETS |= {name: Budget(env, 4200, 600, 0.90, 7.0, "benchmarks.experiments.public.envs") for name, env in IDS.items()}

ROWS = (
    Row("script", Kind.SCRIPT, seeds=5),
    Row(REFERENCE, Kind.CLONE, agent="flash_sac", seeds=5),
    Row("imitation, drawn", Kind.CLONE, agent="flash_sac", settings=("settings.clone=drawn",)),
    Row("imitation, flow", Kind.CLONE, agent="chunked", settings=("settings.horizon=1",)),
    Row("imitation, flow of 5 steps", Kind.CLONE, agent="chunked"),
    Row("flash_sac", agent="flash_sac", seeds=5),
    Row("flash_sac, drawn", agent="flash_sac", settings=("settings.clone=drawn",)),
    Row("flash_sac, blind", agent="flash_sac", settings=(f"without={','.join(CAMERAS)}",), blind=True),
    Row("rlpd", agent="rlpd", seeds=5),
    Row("hil", agent="hil"),
    Row("sac", agent="sac"),
    Row("chunked", agent="chunked", seeds=5),
    Row("chunked, best of 1", agent="chunked", settings=("settings.samples=1",)),
    Row("expo", agent="expo"),
)


def cells(tasks: Sequence[str], rows: Sequence[Row], first: int = 0, seeds: int = 0) -> Iterator[Cell]:
    """The runs of a table, seeds in the outer loop: whatever is cut off, all rows have about as many.

    ``first``: of the seeds; ``seeds``: so many at most, 0 for as many as each row wants.
    """
    most = max(row.seeds for row in rows)
    for seed in range(min(seeds or most, most)):
        for task in tasks:
            fitting = (row for row in rows if not row.blind or BUDGETS[task].encoder)
            yield from (Cell(task, row, first + seed) for row in fitting if seed < row.seeds)


def row_named(name: str, rows: Sequence[Row]) -> Row:
    """The row called ``name``. Raises ValueError with the names that there are."""
    for row in rows:
        if row.name == name:
            return row
    raise ValueError(f"no row {name!r}; choose from {', '.join(repr(row.name) for row in rows)}")
