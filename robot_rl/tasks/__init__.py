"""The tasks, by name.

May import: contract.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from robot_rl.contract import Registry

if TYPE_CHECKING:
    from robot_rl.tasks.base import Task

TASKS = Registry(
    "task",
    {
        "reach": "robot_rl.tasks.reach:Reach",
        "peg_insertion": "robot_rl.tasks.peg_insertion:PegInsertion",
        "peg_search": "robot_rl.tasks.peg_search:PegSearch",
        "pick_cube": "robot_rl.tasks.pick_cube:PickCube",
    },
)


def make_task(name: str) -> Task:
    """The task called ``name``: one of `TASKS`, or ``module:Class``. Raises `ContractError` for any other name."""
    task: Task = TASKS.load(name)()
    return task
