"""The example of an agent, on a Gymnasium environment and on the arm."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from examples.own_agent import AGENT, Td3Config
from robot_rl.contract import Layout
from robot_rl.contract.settings import ConfigError
from robot_rl.data.parameters import unpack
from robot_rl.data.replay import Batch
from robot_rl.jobs.cli import main
from robot_rl.jobs.config import load_config
from robot_rl.jobs.learning import check_run
from robot_rl.jobs.run import Run
from robot_rl.learner.checkpoint import save

NAME = "examples.own_agent:AGENT"
QUICK = ["learner.batch_size=16", "learner.imitate=20", "learner.settings.hidden=16,16"]


def test_it_learns_in_an_environment(tmp_path: Path) -> None:
    out = tmp_path / "td3.jsonl"
    given = ["--env", "Pendulum-v1", "--agent", NAME, "--steps", "140", "--eval-episodes", "1", "--json", str(out)]
    assert main(["gym", *given, "--eval-every", "140", *QUICK]) == 0
    (line,) = [json.loads(line) for line in out.read_text().splitlines()]
    assert line["agent"] == NAME and line["updates"] == 2 * 40  # of each step after the first hundred


def test_it_learns_on_the_arm(tmp_path: Path) -> None:
    pytest.importorskip("franky_sim")
    run = ["--fast", "--task", "reach", "--run", str(tmp_path / "run")]
    assert main(["record", *run, "demos=1"]) == 0
    assert main(["train", *run, f"learner.agent={NAME}", "steps=30", "learner.start_after=10", *QUICK]) == 0
    parameters = unpack((tmp_path / "run" / "policy.params").read_bytes())
    assert parameters.meta["agent"] == NAME and parameters.version > 0


def test_it_finds_the_best_action_of_a_bandit() -> None:
    """Reward −(a − s/2)², one step long: π(s) → s/2, which an actor that descended Q would flee."""
    agent, rng = AGENT.make(Td3Config(hidden=(16, 16), learning_rate=1e-2)), np.random.default_rng(0)
    state = agent.create(jax.random.PRNGKey(0), Layout(1, 1))
    for _ in range(150):
        seen, action = rng.uniform(-1, 1, (2, 2, 64, 1)).astype(np.float32)
        over = np.zeros((2, 64), np.float32)
        state, info = agent.update(state, Batch(seen, action, -((action - seen / 2)[..., 0] ** 2), over, seen))
    assert np.isfinite(list(info.values())).all()
    for wanted in (-0.4, 0.0, 0.4):
        at = jnp.array([2 * wanted], jnp.float32)
        best, _ = agent.act(agent.actor(state), (), at, {}, jax.random.PRNGKey(1), True)
        assert best.shape == (1, 1) and float(best[0, 0]) == pytest.approx(wanted, abs=0.1)


def test_images_are_refused() -> None:
    with pytest.raises(ValueError, match="front"):
        AGENT.make(Td3Config()).create(jax.random.PRNGKey(0), Layout(1, 1, {"front": (8, 8)}))


def test_what_it_refuses_is_said_in_a_line_also_where_there_is_a_checkpoint(tmp_path: Path) -> None:
    config = load_config(None, ["task=reach", "cameras=front", f"learner.agent={NAME}"])
    run = Run.create(config, tmp_path)
    save(run.checkpoints, 1, {}, {})
    with pytest.raises(ConfigError, match=r"examples\.own_agent:AGENT: this agent learns from states alone.*front"):
        check_run(run, config)
