"""The fault table of docs/SAFETY.md: its rows, and the check that no torque ever exceeded a limit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from controllers.limits import MAX_TORQUE_STEP
from hardware.franka.model import fr3_model
from hardware.franka.telemetry import TELEMETRY

ROUNDING = 1e-6  # [N·m]
TABLE_VARIABLE = "ROBOT_RL_FAULT_TABLE"  # file that the rows are appended to


class FaultTable:
    """Rows of the table in docs/SAFETY.md."""

    def __init__(self) -> None:
        self.rows: list[str] = []

    def add(self, fault: str, happened: str, milliseconds: float | None = None) -> None:
        """One row: ``fault``, what ``happened``, how long after it (None: nothing to time), and the present test."""
        test = os.environ["PYTEST_CURRENT_TEST"].split("::")[-1].split(" ")[0].split("[")[0]
        after = "–" if milliseconds is None else f"{milliseconds:.0f} ms"
        self.rows.append(f"| {fault} | {happened} | {after} | `{test}` |")


@contextmanager
def written_table() -> Iterator[FaultTable]:
    """A table whose rows are appended to the file that `TABLE_VARIABLE` names, if it does."""
    table = FaultTable()
    yield table
    if name := os.environ.get(TABLE_VARIABLE):
        with Path(name).open("a", encoding="utf-8") as file:
            file.writelines(f"{row}\n" for row in table.rows)


def check_torques(ticks: np.ndarray) -> None:
    """No torque that was sent to the arm exceeds what the robot takes: its size, and its change within a tick."""
    assert len(ticks) > 0
    assert np.isfinite(ticks["torque"]).all()
    assert (np.abs(ticks["torque"]) <= fr3_model().effort).all()
    assert np.abs(ticks["torque"] - ticks["tau_J_d"]).max() <= MAX_TORQUE_STEP + ROUNDING


def telemetry_of(folder: Path) -> np.ndarray:
    """All ticks that an arm driver wrote down in ``folder``."""
    files = sorted(folder.glob("*.npz"))
    if not files:
        pytest.fail(f"no telemetry in {folder}")
    return np.concatenate([np.load(file)["telemetry"].astype(TELEMETRY) for file in files])
