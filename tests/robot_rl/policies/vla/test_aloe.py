"""ALOE on a SmallVLA: its loss by hand, a gain where one can be seen, a run that goes on, and what it is fed."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from robot_rl.contract import INSTRUCTION, AgentView, Ending, Outcome, Relabel
from robot_rl.data.parameters import Parameters, unpack
from robot_rl.data.schema import StoreError, StoreSchema
from robot_rl.data.store import EpisodeStore
from robot_rl.learner.checkpoint import CheckpointError
from robot_rl.learner.domain import TaskDomain
from robot_rl.perception.encoders import make_encoder
from robot_rl.policies.vla.aloe import AloeLoop, Feed, chances
from robot_rl.policies.vla.card import Card, packed
from robot_rl.policies.vla.config import AloeConfig, VlaConfig
from robot_rl.policies.vla.network import SmallVla
from robot_rl.policies.vla.policy import VlaLoader
from robot_rl.policies.vla.seeing import cell_shape
from robot_rl.policies.vla.watched import Watched, contexts, table
from robot_rl.policies.vla.words import make_words
from tests.robot_rl.policies.vla.test_vla import SMALL
from tests.robot_rl.policies.vla.test_watched import watched
from tests.robot_rl.recording import TASK, reader, steps

SCHEMA = StoreSchema.of(TASK, {"wrist": (32, 32)})
DOMAIN = TaskDomain(AgentView(TASK), SCHEMA)
QUICK = AloeConfig(hidden=(8,), critics=2, every=10, batch=8, policy_batch=4, proposals=2, policy_steps=1.0)


def card(config: VlaConfig = SMALL) -> Card:
    return Card(config, make_encoder("efficientnet_lite0"), make_words(), {"wrist": 32})


def begun(made: Card, seed: int = 0) -> Parameters:
    """A policy that knows nothing."""
    torch.manual_seed(seed)
    network = SmallVla(made.config, {"wrist": cell_shape(made.encoder, 32)}, 5, 2)
    params = {name: value.numpy().copy() for name, value in network.state_dict().items()}
    return unpack(packed(params, AgentView(TASK), [TASK.name], made.images, made.config))


def loop(config: AloeConfig = QUICK, made: Card | None = None, **more: Any) -> AloeLoop:
    made = made or card()
    settings: dict[str, Any] = {"demos": (), "online": (), "config": config, "start_after": 0} | more
    return AloeLoop(made, begun(made), DOMAIN, **settings)


def record(path: Path, count: int, instruction: str = "go", ending: Outcome | None = None, seed: int = 0) -> None:
    with EpisodeStore.create_or_open(path, SCHEMA) as store:
        for number in range(count):
            writer = store.begin({INSTRUCTION: instruction})
            for step in steps(12, seed + number, ending, SCHEMA):
                writer.append(step)
            writer.finish()


def feed(path: Path, shown: bool = False, instruction: str = "") -> Feed:
    return Feed(reader(path, successes_only=shown), instruction, shown)


def test_the_expert_imitates_each_window_by_its_weight() -> None:
    made = loop()
    with torch.no_grad():
        made._expert.outputs.bias.copy_(torch.tensor([0.5, -1.0]))  # v = (0.5, −1) whatever is asked
    episodes = [_episode(3, 0.3)]
    found = table(episodes, 2, SMALL.horizon, 0.9)
    rows = np.array([0, 2])
    generator = torch.Generator().manual_seed(7)
    made._generator = torch.Generator().manual_seed(7)
    noise = torch.randn(4, SMALL.horizon, 2, generator=generator)  # two draws for each window
    errors = (torch.tensor([0.5, -1.0]) - (0.3 - noise)) ** 2
    within = torch.tensor([[1.0, 1, 1, 0], [1, 1, 1, 0], [1, 0, 0, 0], [1, 0, 0, 0]])
    expected = (torch.tensor([2.0, 2.0, 0.5, 0.5])[:, None, None] * within[..., None] * errors).sum() / within.sum() / 2
    assert made._imitate(episodes, found, rows, np.array([2.0, 0.5])) == pytest.approx(expected.item(), rel=1e-5)


def test_only_the_expert_learns_and_its_average_follows_and_acts() -> None:
    made = loop()
    before = {name: value.clone() for name, value in made._network.state_dict().items()}
    episodes = [_episode(3, 0.3)]
    made._imitate(episodes, table(episodes, 2, SMALL.horizon, 0.9), np.array([0, 1]), np.ones(2))
    changed = {name for name, value in made._network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and all(name.startswith("expert.") for name in changed)
    name = "expert.outputs.bias"
    learnt, mean = made._expert.outputs.bias.detach(), made._network.state_dict()[name]
    assert torch.allclose(mean, before[name] + 0.02 * (learnt - before[name]), atol=1e-7)
    np.testing.assert_array_equal(unpack(made.parameters()).params[name], mean.numpy())


@pytest.mark.parametrize("weight", ["advantage", "return"])
def test_of_two_ways_it_takes_the_one_that_succeeds(weight: Any) -> None:
    """A policy that imitated both alike; one of them ends in success, the other in failure."""
    made = card(dataclasses.replace(SMALL, horizon=2))
    quick = dataclasses.replace(QUICK, weight=weight, critic_steps=10.0, policy_steps=2.0, batch=64, every=1)
    quick = dataclasses.replace(quick, policy_batch=32, learning_rate=1e-2, average_rate=0.2, temperature=0.5)
    learner = loop(quick, made)
    learner._episodes = [_episode(1, way, reward=float(way > 0)) for way in (0.5, -0.5) * 20]
    learner.governor.receive(40)
    assert _share(learner) < 0.8, "it knows nothing yet"
    while learner.step():
        pass
    assert learner.metrics()["learner/rounds"] == 1.0 and not learner.halted
    assert _share(learner) > 0.9


def test_stores_become_rounds_and_rounds_become_parameters_that_act(tmp_path: Path) -> None:
    record(tmp_path / "demos", 2)
    learner = loop(demos=[feed(tmp_path / "demos", shown=True)], online=[feed(tmp_path / "online")])
    learner.warm_up()
    assert not learner.step(), "nothing has come of its actions yet"
    first = learner.parameters()
    record(tmp_path / "online", 2, seed=5)
    record(tmp_path / "online", 1, ending=Outcome(0.0, Ending.FAILURE, "no"), seed=9)
    while learner.step():
        pass
    told = learner.metrics()
    assert told["learner/online_steps"] == 36.0 and told["learner/demo_steps"] == 24.0
    assert told["learner/rounds"] == 1.0 and told["learner/updates"] == 140.0 and told["critic/loss"] > 0.0
    assert learner.version == SMALL.steps + 36
    load = VlaLoader(DOMAIN.view, 0, {"wrist": (32, 32)})
    policy, later = load(first), load(learner.parameters())
    assert (policy.version, later.version) == (SMALL.steps, SMALL.steps + 36) and policy.vla is later.vla
    kept = unpack(first).params, unpack(learner.parameters()).params
    assert {name.split(".")[0] for name in kept[0] if not np.array_equal(kept[0][name], kept[1][name])} == {"expert"}


def test_it_goes_on_from_its_checkpoint_with_what_it_had_learnt(tmp_path: Path) -> None:
    record(tmp_path / "online", 2)
    learner = loop(online=[feed(tmp_path / "online")], checkpoints=tmp_path / "kept")
    assert not learner.restore()
    while learner.step():
        pass
    learner.checkpoint()
    again = loop(online=[feed(tmp_path / "online")], checkpoints=tmp_path / "kept")
    assert again.restore() and again.parameters() == learner.parameters()
    kept, found = learner._state(), again._state()
    for name in ("expert", "moments", "scale"):
        for one, other in zip(_leaves(kept[name]), _leaves(found[name]), strict=True):
            np.testing.assert_array_equal(one, other, err_msg=name)
    while again.step():
        pass
    assert again.metrics()["learner/updates"] == learner.metrics()["learner/updates"], "none is made twice"
    other = card(dataclasses.replace(SMALL, steps=4))
    with pytest.raises(CheckpointError, match="began with another policy"):
        loop(made=other, checkpoints=tmp_path / "kept").restore()


def test_a_correction_reaches_what_was_watched(tmp_path: Path) -> None:
    record(tmp_path / "online", 1)
    learner = loop(online=[feed(tmp_path / "online")])
    learner.poll()
    learner.step()
    assert learner._episodes[0].terminated[-1]
    with EpisodeStore.create_or_open(tmp_path / "online", SCHEMA) as store:
        store.relabel(Relabel(0, 11, Outcome(0.0, Ending.FAILURE, "seen again"), "person"))
    learner.poll()
    assert learner._episodes[0].reward[-1] == 0.0


def test_the_oldest_rollouts_go_and_demonstrations_stay(tmp_path: Path) -> None:
    record(tmp_path / "demos", 1)
    record(tmp_path / "online", 4)
    config = dataclasses.replace(QUICK, capacity=30, every=1000)
    learner = loop(config, demos=[feed(tmp_path / "demos", shown=True)], online=[feed(tmp_path / "online")])
    while learner.step():
        pass
    assert [(one.shown, one.number) for one in learner._episodes] == [(True, 0), (False, 2), (False, 3)]


def test_what_is_not_finite_stops_it_and_is_undone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    record(tmp_path / "online", 1)
    learner = loop(online=[feed(tmp_path / "online")])
    learner.poll()
    learner.step()
    before = learner.parameters()
    learner._episodes[0].action[3] = np.nan
    while learner.step():
        pass
    assert "not finite" in learner.halted and learner.halted in caplog.text
    now = unpack(learner.parameters()).params
    for name, value in unpack(before).params.items():
        np.testing.assert_array_equal(now[name], value, err_msg=name)


def test_a_store_of_another_task_is_refused(tmp_path: Path) -> None:
    schema = dataclasses.replace(SCHEMA, task="another")
    EpisodeStore.create_or_open(tmp_path / "online", schema).close()
    with pytest.raises(StoreError, match="does not fit task 'reach'"):
        loop(online=[feed(tmp_path / "online")]).poll()


def test_demonstrations_are_half_of_a_minibatch() -> None:
    chance = chances(np.array([True, False, False, True, False]), 0.5)
    assert chance.tolist() == pytest.approx([0.25, 1 / 6, 1 / 6, 0.25, 1 / 6])
    assert chances(np.zeros(4, bool), 0.5).tolist() == [0.25] * 4


def test_a_network_that_was_imitated_begins_as_it_is(tmp_path: Path) -> None:
    made = card()
    found = begun(made)
    learner = AloeLoop(made, found, DOMAIN, demos=(), online=(), config=QUICK)
    assert learner.version == found.version
    for name, value in unpack(learner.parameters()).params.items():
        np.testing.assert_array_equal(value, found.params[name], err_msg=name)


def _episode(count: int, way: float, reward: float = 1.0) -> Watched:
    """Observations that are all alike, and actions that all go the same ``way``."""
    one = watched(count, ended=True)
    one.tokens = torch.zeros(count + 1, 3, SMALL.width).half()
    one.seen = np.zeros((count + 1, SMALL.width + 5), np.float32)
    one.action = np.full((count, 2), way, np.float32)
    one.reward[-1] = reward
    return one


def _share(learner: AloeLoop) -> float:
    """Of chunks that go the way of more than 0."""
    context = contexts(learner._episodes[:1], np.zeros(200, int), np.zeros(200, int))
    noise = torch.randn(200, learner._card.config.horizon, 2, generator=torch.Generator().manual_seed(1))
    return float((learner._network.sample(context, noise)[:, 0].mean(1) > 0.0).float().mean())


def _leaves(tree: Any) -> list[np.ndarray]:
    if not isinstance(tree, dict):
        return [np.asarray(tree)]
    return [leaf for name in sorted(tree) for leaf in _leaves(tree[name])]
