"""The example of a policy, evaluated by its name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from examples.own_policy import StraightThere
from robot_rl.contract import ContractError, Observation
from robot_rl.jobs.cli import main
from robot_rl.tasks import make_task

NAME = "examples.own_policy:StraightThere"


def test_it_reaches_every_goal(tmp_path: Path) -> None:
    """In a run that is not there yet: it needs none."""
    pytest.importorskip("franky_sim")
    run = tmp_path / "runs" / "straight"
    assert main(["eval", "--fast", "--task", "reach", "--run", str(run), f"policy={NAME}", "episodes=3"]) == 0
    assert json.loads((run / "summary.json").read_text())["success_rate"] == 1.0


def test_a_plan_ends_where_the_goal_is() -> None:
    task = make_task("reach")
    state = np.zeros(task.state_size, np.float32)
    state[:3] = np.array([0.025, -0.01, 0.0]) * task.fields[0].scale
    actions = StraightThere(task, 0).act([Observation(0, 0, state)]).actions
    np.testing.assert_allclose(actions.sum(axis=0) * task.action.scale, [0.025, -0.01, 0.0], atol=1e-6)
    np.testing.assert_allclose(actions[0], [1.0, -1.0, 0.0], atol=1e-5)


def test_a_task_without_a_goal_in_its_state_is_refused() -> None:
    with pytest.raises(ContractError, match="to_goal"):
        StraightThere(make_task("pick_cube"), 0)
