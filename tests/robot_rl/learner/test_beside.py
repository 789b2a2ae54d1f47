"""Chunks beside the clone: who acts, in whole chunks, and what imitates and learns on."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest

from robot_rl.data.parameters import ParameterError, unpack
from robot_rl.learner import imitation
from robot_rl.learner.factory import make_agent
from robot_rl.learner.loop import LearnerLoop
from tests.robot_rl.learner.test_imitation import CONFIG, episode, imitate
from tests.robot_rl.recording import DOMAIN

SMALL: dict[str, Any] = {"hidden": [8], "critics": 2, "critic_steps": 1, "held_noise": 0.0}
AGENT = make_agent("rlpd", SMALL | {"start": "flow"})
WITHOUT = make_agent("rlpd", SMALL)
BRIEF = replace(CONFIG, imitate=50)  # one call of each
ACTED = 4  # actions of a chunk
STEPS = 10


def learner(folder, agent=AGENT) -> LearnerLoop:
    made = LearnerLoop(agent, DOMAIN, config=BRIEF, checkpoints=folder)
    for number in range(4):
        made.add_demonstration(episode(number))
    return made


@pytest.fixture(scope="module")
def imitated(tmp_path_factory) -> LearnerLoop:
    made = learner(tmp_path_factory.mktemp("imitated"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(imitation, "BATCH", 16)
        imitate(made)
    return made


def acted(agent, params, chunks_until: int = STEPS) -> np.ndarray:
    """Actions in the states of an episode; from step ``chunks_until`` on, what is learnt acts."""
    carry, found = agent.carry(DOMAIN.layout), []
    act = jax.jit(agent.act, static_argnums=5)
    for step, state in enumerate(episode(99)["state"][:STEPS]):
        if step == chunks_until:
            params = {name: np.ones_like(value) if name.endswith("leads") else value for name, value in params.items()}
        actions, carry = act(params, carry, state, {}, jax.random.PRNGKey(step), True)
        found.append(np.asarray(actions))
    return np.stack(found)


def params_of(made: LearnerLoop) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in made.agent.actor(made.state).items()}


def test_the_clone_and_the_chunks_imitate_one_after_the_other_and_chunks_are_acted_by_whole(imitated) -> None:
    inner = imitated.state.inner
    assert float(inner.started) == float(inner.inner.started) == 1.0 and int(inner.chunks.made) == BRIEF.imitate
    told = re.fullmatch(r"(\d+) steps, loss .* at best; then chunks: (\d+) steps, loss .* at best", imitated.imitation)
    assert told is not None and int(told[2]) == BRIEF.imitate
    params = params_of(imitated)
    found = acted(AGENT, params)
    assert found.shape == (STEPS, 1, DOMAIN.layout.action_size)
    scale = {name.removeprefix("scale/"): value for name, value in params.items() if name.startswith("scale/")}
    chunks = {
        name.removeprefix("agent/chunks/"): value for name, value in params.items() if name.startswith("agent/chunks/")
    }
    policy = make_agent("bc", {"scale_inputs": False})
    for first in range(0, STEPS, ACTED):
        z = (episode(99)["state"][first] - scale["mean"]) * scale["gain"]
        chunk, _ = policy.act(chunks, (), z, {}, jax.random.PRNGKey(first), True)
        np.testing.assert_allclose(found[first : first + ACTED, 0], chunk[: STEPS - first], atol=1e-5)


def test_what_is_learnt_acts_when_it_leads_at_once_and_is_what_it_would_be_without_chunks(imitated) -> None:
    params = params_of(imitated)
    alone = {
        name.replace("agent/whole/", "agent/"): value for name, value in params.items() if "/chunks/" not in name
    } | {"agent/start/leads": np.float32(1.0)}
    by_learnt = acted(WITHOUT, alone)
    by_chunks = acted(AGENT, params)
    turned = acted(AGENT, params, chunks_until=2)
    np.testing.assert_array_equal(turned[:2], by_chunks[:2])
    np.testing.assert_allclose(turned[2:], by_learnt[2:], atol=1e-6)
    assert np.abs(turned[2:] - by_chunks[2:]).max() > 1e-3


def test_updates_and_turns_leave_the_chunks_as_they_are(imitated, tmp_path) -> None:
    made = learner(tmp_path)
    made.adopt(imitated.parameters())
    before = params_of(made)
    for number in range(6):
        made.add(episode(100 + number, version=made.version))
        while made.update():
            pass
    after = params_of(made)
    assert made.version > 0
    same = {name: np.array_equal(before[name], value) for name, value in after.items()}
    assert all(same[name] for name in same if "/chunks/" in name)
    assert not all(same[name] for name in same if "/edit/" in name)


def test_parameters_with_chunks_are_started_from_and_others_are_refused(imitated, tmp_path) -> None:
    pupil = learner(tmp_path / "pupil")
    pupil.adopt(imitated.parameters())
    assert not pupil.imitating
    mine, theirs = (unpack(one.parameters()).params for one in (pupil, imitated))
    kept = [name for name in theirs if "/chunks/" in name or "/clone/" in name]
    assert kept and all(np.array_equal(mine[name], theirs[name]) for name in kept)
    plain = learner(tmp_path / "plain", WITHOUT)
    with pytest.raises(ParameterError, match="no clone with flow chunks beside it"):
        pupil.adopt(plain.parameters())


def test_a_checkpoint_keeps_both(imitated, tmp_path) -> None:
    made = learner(tmp_path)
    made.adopt(imitated.parameters())
    made.checkpoint()
    again = learner(tmp_path)
    again.restore([])
    assert not again.imitating
    for name, value in params_of(made).items():
        np.testing.assert_array_equal(params_of(again)[name], value)


def test_who_is_killed_between_the_two_begins_with_the_first_again_and_says_so(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(imitation, "BATCH", 16)
    longer = replace(BRIEF, imitate=2 * BRIEF.imitate)  # two calls of each

    def fresh() -> LearnerLoop:
        made = LearnerLoop(AGENT, DOMAIN, config=longer, checkpoints=tmp_path)
        for number in range(10):
            made.add_demonstration(episode(number))
        return made

    made = fresh()
    while "chunks" not in made.imitation:
        assert made.update()
    assert made.imitation.endswith("at best; then chunks: ")
    made.checkpoint()
    again = fresh()
    again.restore([])
    assert again.imitating and again.update()
    assert again.imitation.startswith("50 steps") and "chunks" not in again.imitation
