"""The comparison of passivity-aware and agnostic training: each piece once, with next to no training."""

from __future__ import annotations

import json
from dataclasses import replace

import jax
import numpy as np
import pytest

from benchmarks.experiments.passivity import compare
from controllers.core import ControllerConfig
from controllers.state import Setpoint
from robot_rl.contract import Layout
from robot_rl.data.parameters import pack
from robot_rl.data.store import StoreReader
from robot_rl.policies.loading import describe
from tests.robot_rl.publishing import ACTOR


def test_an_episode_begins_with_a_full_tank() -> None:
    tank = replace(compare.TIGHT, filter=False)
    with compare.FullTankWorld(compare.TASK.scene(), ControllerConfig(tank=tank)) as world:
        world.start()
        pose = world.read().pose
        for number in range(20):
            world.command(Setpoint(pose.moved(np.array([0.0, 0.0, 0.05, 0.0, 0.0, 0.0])), number, 0.5))
            world.advance(0.05)
        assert world.read().tank < 0.7 * tank.capacity
        world.begin_episode()
        world.take()
        world.advance(0.01)
        assert world.read().tank == pytest.approx(tank.capacity, abs=0.01)
        trace = world.take()
        assert abs(trace.delivered).max() < 0.01  # the motion in between is nobody's


def test_a_policy_that_hurries_runs_the_tank_dry_only_without_the_filter(monkeypatch) -> None:
    """Full stroke along every axis: more than the tight tank pays for."""
    monkeypatch.setattr(compare.TASK.__class__, "horizon", 20)
    agent = compare.make_agents()["agnostic"]
    state = agent.create(jax.random.PRNGKey(0), Layout(compare.TASK.state_size, compare.TASK.action.size))
    params = {name: np.zeros_like(value) for name, value in agent.actor(state).items()}
    params[f"{ACTOR}/b2"][:4] = (3.0, 3.0, -3.0, 3.0)
    data = pack(params, 1, describe(compare.TASK, agent))
    off, on = (
        compare.evaluate(data, replace(compare.TIGHT, filter=f), 1, compare.FullTankWorld) for f in (False, True)
    )
    assert off["violating_episodes"] == 1.0 and off["violating_steps"] >= 2
    assert on["violating_episodes"] == 0.0
    assert off["activity"] > 0.1 and on["activity"] > 0.0
    assert on["energy"] < off["energy"]
    assert off["success"] == 0.0


@pytest.mark.slow
def test_compare_trains_deploys_and_does_nothing_twice(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(compare, "DEMOS", 1)
    monkeypatch.setattr(compare, "IMITATION", 50)
    monkeypatch.setattr(compare.TASK.__class__, "horizon", 30)
    text = compare.compare(tmp_path, [3], steps=12, count=1)
    rows = json.loads((tmp_path / "results.json").read_text())
    combinations = [(row["agent"], row["filter"]) for row in rows]
    assert combinations == [("agnostic", False), ("agnostic", True), ("aware", False), ("aware", True)]
    assert all(0.0 <= row["success"] <= 1.0 and row["steps"] <= 30 for row in rows)
    demos, online = StoreReader(tmp_path / "demos-3"), StoreReader(tmp_path / "online-aware-3")
    assert [info.success for info in demos.episodes()] == [True]
    costs = np.concatenate([part["cost"] for part in (*demos.poll().new, *online.poll().new)])
    assert costs.max() > 0.0  # the learner is told
    (tmp_path / "aware-3.params").unlink()
    assert compare.compare(tmp_path, [3], steps=12, count=1) == text
    assert not (tmp_path / "aware-3.params").exists()


def test_the_table_has_mean_and_spread() -> None:
    rows = [
        {"agent": "aware", "filter": True, "seed": seed, **dict.fromkeys(compare.FIGURES, value)}
        for seed, value in enumerate((1.0, 3.0))
    ]
    line = compare.table(rows).splitlines()[-1]
    assert line.startswith("| aware | on | 2 | 2 ± 1 |")
