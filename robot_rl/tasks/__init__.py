"""The tasks, by name.

May import: contract.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from robot_rl.contract import ContractError, Registry

if TYPE_CHECKING:
    from robot_rl.tasks.base import Task

TASKS = Registry(
    "task",
    {
        "reach": "robot_rl.tasks.reach:Reach",
        "peg_insertion": "robot_rl.tasks.peg_insertion:PegInsertion",
        "peg_search": "robot_rl.tasks.peg_search:PegSearch",
        "gear_mesh": "robot_rl.tasks.gear_mesh:GearMesh",
        "connector": "robot_rl.tasks.connector:Connector",
        "peg_assembly": "robot_rl.tasks.peg_assembly:PegAssembly",
        "pick_cube": "robot_rl.tasks.pick_cube:PickCube",
        "wipe_line": "robot_rl.tasks.wipe_line:WipeLine",
        "peg_insertion_images": "robot_rl.tasks.peg_insertion_images:PegInsertionImages",
        "pick_cube_images": "robot_rl.tasks.pick_cube_images:PickCubeImages",
    },
)


def make_task(name: str) -> Task:
    """The task called ``name``: one of `TASKS`, ``module:Class``, or a YAML file (`robot_rl.tasks.file`).

    Raises:
        ContractError: there is no such task, or what is there is none.
        ConfigError: the file cannot be read, or a key or value of it does not fit.
    """
    from robot_rl.tasks.base import Task

    if is_file(name):
        from robot_rl.tasks.file import load_task

        return load_task(Path(name))
    make = TASKS.load(name)
    try:
        task = make()
    except TypeError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
            raise  # a mistake within it
        raise ContractError(f"task {name!r} cannot be made: {error}; it is a class without arguments") from error
    if not isinstance(task, Task):
        raise ContractError(f"task {name!r} makes a {type(task).__name__}, which is no robot_rl.tasks.base.Task")
    return task


def is_file(name: str) -> bool:
    """Whether ``name`` means a YAML file and no registered task."""
    return name.endswith((".yaml", ".yml"))
