"""Imitation in the learner: before everything else, until held-out demonstrations are imitated no better."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from robot_rl.contract import Layout, Source
from robot_rl.data.episode import Transitions
from robot_rl.data.parameters import ParameterError, unpack
from robot_rl.data.replay import ReplayBuffer
from robot_rl.learner.devices import DataParallel
from robot_rl.learner.factory import make_agent
from robot_rl.learner.imitation import BATCH, PATIENCE, STEPS, Imitation
from robot_rl.learner.loop import LearnerLoop, LoopConfig
from robot_rl.policies.loading import load_actor
from tests.robot_rl.recording import DOMAIN, TASK

AGENT = make_agent("rlpd", {"hidden": [8], "critics": 2, "critic_steps": 1})
D, A = DOMAIN.layout.state_size, DOMAIN.layout.action_size
WEIGHTS = np.random.default_rng(0).normal(size=(D, A)) / D
CONFIG = LoopConfig(utd=1.0, start_after=5, batch_size=8, capacity=500, demo_capacity=500, imitate=200)


def episode(number: int, count: int = 12, version: int = -1, reward: float = 1.0, noise: float = 0.0) -> Transitions:
    """One that acts by ``WEIGHTS`` and ends with ``reward``."""
    rng = np.random.default_rng(number)
    states = rng.normal(size=(count + 1, D)).astype(np.float32)
    action = np.clip(states[:-1] @ WEIGHTS + noise * rng.normal(size=(count, A)), -1.0, 1.0).astype(np.float32)
    last = np.arange(count) == count - 1
    return Transitions(
        "demos" if version < 0 else "online",
        number,
        0,
        {
            "state": states,
            "action": action,
            "policy_action": action,
            "reward": np.float32(reward * last),
            "terminated": last,
            "truncated": np.zeros(count, bool),
            "source": np.full(count, Source.PERSON if version < 0 else Source.POLICY, np.uint8),
            "version": np.full(count, version),
            "cost": np.zeros(count, np.float32),
        },
    )


def learner(tmp_path, demos: int = 10, config: LoopConfig = CONFIG) -> LearnerLoop:
    made = LearnerLoop(AGENT, DOMAIN, config=config, checkpoints=tmp_path)
    for number in range(demos):
        made.add_demonstration(episode(number))
    return made


def imitate(made: LearnerLoop) -> None:
    assert made.imitating
    while made.imitating:
        assert made.update()


def test_it_comes_before_everything_else_and_is_what_acts_at_first(tmp_path) -> None:
    made = learner(tmp_path)
    imitate(made)
    assert (made.version, made.due) == (0, 0)
    metrics = made.metrics()
    assert metrics["imitation/held_out"] < 0.5 * np.square(episode(50)["action"]).mean()
    assert metrics["imitation/steps"] == 200.0 and "held-out" in made.imitation
    policy = load_actor(made.parameters(), TASK, 0, deterministic=True)
    seen = episode(99)
    acted = np.stack([policy.actor.act(state, {}, True)[0] for state in seen["state"][:-1]])
    assert np.square(acted - seen["action"]).mean() < 0.5 * np.square(seen["action"]).mean()


def test_without_demonstrations_or_with_imitate_0_nothing_is_imitated(tmp_path) -> None:
    assert not learner(tmp_path, demos=0).imitating
    made = learner(tmp_path, config=LoopConfig(imitate=0, capacity=500, demo_capacity=500))
    assert not made.imitating and not made.update()


def test_the_one_that_imitates_held_out_demonstrations_best_is_kept() -> None:
    """Of actions that are noise alone, every step beyond the first few makes held-out ones worse."""
    demos = ReplayBuffer(500, Layout(D, A))
    for number in range(10):
        demos.add(episode(number, noise=5.0))
    run = Imitation(AGENT, demos, 10_000, 0, DataParallel())
    state = AGENT.create(jax.random.PRNGKey(0), Layout(D, A))
    losses = []
    while not run.done:
        state, metrics = run.step(state)
        losses.append(float(AGENT.imitation_loss(state, run.judged)))
    assert run.made < 5000 and metrics["imitation/held_out"] == run.held_out
    assert losses[-1] == run.held_out == min(losses) < losses[-2]
    assert run.made - PATIENCE > 0


def test_passes_end_it_before_anything_else_does() -> None:
    demos = ReplayBuffer(3000, Layout(D, A))
    for number in range(60):
        demos.add(episode(number))
    windows = 54 * len(demos.episodes()[0])  # of the episodes that are not held out
    run = Imitation(AGENT, demos, 10_000, 0, DataParallel(), passes=64)
    state = AGENT.create(jax.random.PRNGKey(0), Layout(D, A))
    calls = 0
    while not run.done:
        (state, _), calls = run.step(state), calls + 1
    each = -(-windows // BATCH)  # steps of a pass, which is judged
    assert each < STEPS and run.made == 64 * each == calls * each


def test_turns_are_drawn_when_an_episode_has_ended_and_the_clone_leads_until_the_learner_is_better(tmp_path) -> None:
    made = learner(tmp_path)
    imitate(made)
    leads = []
    for number in range(60):
        explores = made._turns.learner(made.version)
        made.add(episode(100 + number, version=made.version, reward=1.0 if explores else 0.0))
        while made.update():
            pass
        leads.append(float(made.state.inner.leads))
    assert leads[0] == 0.0 and leads[-1] == 1.0
    metrics = made.metrics()
    assert (metrics["trust/clone"], metrics["trust/learner"]) == (0.0, 1.0) and metrics["trust/chance"] > 0.9
    assert made.trust.startswith("the clone returns 0.00 of ") and "what was learnt since 1.00 of 20" in made.trust
    made.checkpoint()
    again = learner(tmp_path)
    again.restore([])
    assert not again.imitating and again._turns.state == made._turns.state and again.imitation == made.imitation


def test_a_base_takes_the_place_of_imitation(tmp_path) -> None:
    teacher = learner(tmp_path)
    imitate(teacher)
    pupil = learner(tmp_path / "other")
    pupil.adopt(teacher.parameters())
    assert not pupil.imitating
    mine, theirs = (unpack(one.parameters()).params for one in (pupil, teacher))
    assert all((mine[name] == value).all() for name, value in theirs.items() if "/clone/" in name or "scale/" in name)
    with pytest.raises(ParameterError, match="no clone"):
        pupil.adopt(learner(tmp_path / "third").parameters())
