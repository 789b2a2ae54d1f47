from __future__ import annotations

import numpy as np
import pytest

from benchmarks.experiments.blind import hide, main
from robot_rl.tasks import TASKS, make_task
from tests.robot_rl.readings import PerfectArm


@pytest.fixture(autouse=True)
def fields_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in TASKS.builtin:
        task = type(make_task(name))
        monkeypatch.setattr(task, "fields", task.fields)


def test_what_is_hidden_is_zero_and_the_rest_is_as_it_was() -> None:
    task = make_task("peg_search")
    felt = PerfectArm(task.nominal).reading()
    felt.wrench[:] = [1.0, -2.0, 3.0, 0.4, 0.5, -0.6]
    seen = task.state(felt)
    hide(["force", "moment"])
    blind = task.state(felt)
    names = [field.name for field in task.fields for _ in range(field.size)]
    hidden = np.isin(names, ["force", "moment"])
    assert (seen[hidden] != 0.0).all() and (blind[hidden] == 0.0).all()
    assert np.array_equal(seen[~hidden], blind[~hidden])


def test_a_job_whose_processes_would_see_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["blind", "force", "record", "--task", "reach", "--run", "somewhere"])
    with pytest.raises(SystemExit, match="the job must be gym, or have --fast"):
        main()


def test_a_field_that_no_task_has_is_named() -> None:
    with pytest.raises(SystemExit, match=r"no task has a field 'forces'; choose from .*force, gripper"):
        hide(["forces"])
