"""The tasks, by name.

May import: contract.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from robot_rl.contract import ContractError

if TYPE_CHECKING:
    from robot_rl.tasks.base import Task

TASKS = ("reach", "peg_insertion", "peg_search", "pick_cube")


def make_task(name: str) -> Task:
    """The task called ``name``, one of `TASKS`. Raises `ContractError` for any other name."""
    if name == "reach":
        from robot_rl.tasks.reach import Reach

        return Reach()
    if name == "peg_insertion":
        from robot_rl.tasks.peg_insertion import PegInsertion

        return PegInsertion()
    if name == "peg_search":
        from robot_rl.tasks.peg_search import PegSearch

        return PegSearch()
    if name == "pick_cube":
        from robot_rl.tasks.pick_cube import PickCube

        return PickCube()
    near = difflib.get_close_matches(name, TASKS, 1, cutoff=0.4)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ContractError(f"unknown task {name!r}; choose from {', '.join(TASKS)}{hint}")
