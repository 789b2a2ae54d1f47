"""The meaning of an end of a process, the same for both front ends."""

from __future__ import annotations

import pytest

from robot_rl.jobs.bringup import NodeSpec
from robot_rl.jobs.supervisor import RESTARTS, End, end_of


@pytest.mark.parametrize(
    ("name", "required", "status", "restarts", "end"),
    [
        ("session", True, 0, 0, End.DONE),
        ("report", True, 0, 0, End.DONE),
        ("session", True, 1, 0, End.FAILED),
        ("arm", True, 0, 0, End.FAILED),
        ("arm", True, -9, 0, End.FAILED),
        ("policy", False, 1, 0, End.AGAIN),
        ("policy", False, -9, RESTARTS - 1, End.AGAIN),
        ("policy", False, -9, RESTARTS, End.FAILED),
        ("camera", False, 2, 0, End.FAILED),
        ("learner", False, 0, 0, End.FAILED),
    ],
)
def test_ends(name: str, required: bool, status: int, restarts: int, end: End) -> None:
    assert end_of(NodeSpec(name, (), required, respawn=not required), status, restarts) is end
