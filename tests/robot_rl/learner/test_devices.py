"""Data-parallel updates give what one device gives. The devices are parts of the processor, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from robot_rl.learner.devices import DataParallel

pytestmark = pytest.mark.timeout(400)
ROOT = Path(__file__).parents[3]
SCRIPT = """
import json, sys
import jax, numpy as np
from robot_rl.contract import Layout
from robot_rl.data.replay import Batch
from robot_rl.learner.devices import DataParallel
from robot_rl.learner.factory import make_agent

def batch(agent, seed):
    lead = (agent.updates_per_call, 16)
    steps = lead if agent.horizon == 1 else (*lead, agent.horizon)
    rng = np.random.default_rng(seed)
    normal = lambda *shape: rng.normal(size=shape).astype(np.float32)
    return Batch(
        normal(*lead, 6), np.tanh(normal(*steps, 2)), normal(*steps), (rng.random(lead) < 0.8).astype(np.float32),
        normal(*lead, 6), np.ones(steps, np.float32),
        columns={
            "cost": rng.random(lead).astype(np.float32), "recent_cost": np.full(lead[0], 0.1, np.float32),
            "previous_action": np.tanh(normal(*lead, 2)),
            "return_deviation": np.ones(lead[0], np.float32), "return_largest": np.ones(lead[0], np.float32),
            "example": (rng.random(lead) < 0.7).astype(np.float32),
        },
    )

def leaves(state):
    return {jax.tree_util.keystr(path): np.asarray(leaf, np.float64)
            for path, leaf in jax.tree_util.tree_leaves_with_path(state)}

def learn(name, settings):
    agent, ends = make_agent(name, settings), []
    fresh = agent.create(jax.random.PRNGKey(0), Layout(6, 2, options=2 if name == "hil" else 0))
    for devices in (jax.devices()[:1], jax.devices()):
        place = DataParallel(devices)
        place.check(16)
        state = place.place_state(fresh)
        for seed in range(3):
            state, info = agent.update(state, place.place_batch(batch(agent, seed)))
        spread = {leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(state)}
        ends.append((leaves(state), len(jax.tree.leaves(state)[0].sharding.device_set), spread))
    (one, _, _), (all_, used, whole) = ends
    difference = max(float(np.abs(one[name] - all_[name]).max(initial=0.0)) for name in one)
    start = leaves(fresh)
    moved = max(float(np.abs(one[name] - start[name]).max()) for name in one if name.endswith("['w0']"))
    return {"difference": difference, "moved": moved, "used": used, "whole": list(whole)}

print(json.dumps({name: learn(name, settings) for name, settings in json.loads(sys.argv[1]).items()}))
"""
AGENTS = {
    "rlpd_lagrangian": {"hidden": [16, 16], "critic_steps": 2},  # and all of rlpd
    "chunked": {"hidden": [16], "critic_steps": 2, "horizon": 2, "flow_steps": 2, "samples": 2},
    # norms over whole batches
    "flash_sac": {"actor_width": 8, "critic_width": 8, "blocks": 1, "critic_steps": 2, "critic_norm": "batch"},
    "sac": {"hidden": [16], "critic_steps": 2},
    "hil": {"hidden": [16]},
    "expo": {"hidden": [16], "base_hidden": [16], "critics": 2, "critic_steps": 2, "base_steps": 2},
}
LOOP = """
import sys
from pathlib import Path
import jax, numpy as np
from robot_rl.data.store import EpisodeStore
from robot_rl.learner.factory import make_agent
from robot_rl.learner.loop import LearnerLoop, LoopConfig
from tests.robot_rl.recording import DOMAIN, SCHEMA, reader, steps

ROOT = Path(sys.argv[1])
agent = make_agent("sac", {"hidden": (8,)})
config = LoopConfig(utd=1.0, start_after=10, batch_size=8, demo_share=None, capacity=100, demo_capacity=10)

def learner():
    return LearnerLoop(agent, DOMAIN, online=[reader(ROOT / "online")], config=config, checkpoints=ROOT / "saved")

def spread(loop):
    return {(len(leaf.sharding.device_set), leaf.sharding.is_fully_replicated) for leaf in jax.tree.leaves(loop.state)}

with EpisodeStore.create_or_open(ROOT / "online", SCHEMA) as store:
    writer = store.begin({})
    for step in steps(30):
        writer.append(step)
    writer.finish()
first = learner()
while first.step():
    pass
assert first.version == 20 and not first.halted, first.halted
first.checkpoint()
second = learner()
assert second.restore() and second.version == 20
assert spread(first) == spread(second) == {(4, True)}, spread(second)
assert first.parameters() == second.parameters()
"""


def on_four_devices(script: str, argument: str) -> str:
    """Output of ``script`` in a process whose processor is four devices."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", script, argument]
    result = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_learner_on_four_devices_checkpoints_and_publishes_like_any_other(tmp_path: Path) -> None:
    on_four_devices(LOOP, str(tmp_path))


@pytest.mark.slow
def test_four_devices_learn_what_one_learns() -> None:
    learnt = json.loads(on_four_devices(SCRIPT, json.dumps(AGENTS)))
    assert learnt.keys() == AGENTS.keys()
    for name, found in learnt.items():
        assert found["used"] == 4 and found["whole"] == [True], name
        assert found["difference"] < 1e-5 < 1e-3 < found["moved"], name


def test_a_minibatch_that_cannot_be_shared_out_is_refused() -> None:
    import jax

    place = DataParallel(jax.devices() * 3)
    with pytest.raises(ValueError, match="minibatch of 256 cannot be shared out evenly over 3 devices"):
        place.check(256)
