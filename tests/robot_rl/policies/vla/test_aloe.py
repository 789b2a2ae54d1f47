"""ALOE on a SmallVLA: its loss by hand, a gain where one can be seen, a run that goes on, and what it is fed."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import torch

from robot_rl.contract import DISCARDED, INSTRUCTION, AgentView, Ending, Outcome, Relabel, Source
from robot_rl.data.parameters import unpack
from robot_rl.data.schema import StoreError, StoreSchema
from robot_rl.data.store import EpisodeStore
from robot_rl.learner.checkpoint import CheckpointError
from robot_rl.learner.domain import TaskDomain
from robot_rl.perception.encoders import make_encoder
from robot_rl.policies.vla.aloe import AloeLoop, chances
from robot_rl.policies.vla.card import Card, packed
from robot_rl.policies.vla.config import AloeConfig, VlaConfig
from robot_rl.policies.vla.feed import Feed
from robot_rl.policies.vla.network import SmallVla
from robot_rl.policies.vla.policy import VlaLoader
from robot_rl.policies.vla.seeing import cell_shape
from robot_rl.policies.vla.turns import TurnTaking
from robot_rl.policies.vla.watched import Watched, contexts, table
from robot_rl.policies.vla.words import make_words
from tests.robot_rl.policies.vla.test_vla import SMALL
from tests.robot_rl.policies.vla.test_watched import watched
from tests.robot_rl.recording import TASK, steps, transitions

SCHEMA = StoreSchema.of(TASK, {"wrist": (32, 32)})
DOMAIN = TaskDomain(AgentView(TASK), SCHEMA)
QUICK = AloeConfig(hidden=(8,), critics=2, every=10, batch=8, policy_batch=4, proposals=2, policy_steps=1.0)


def card(config: VlaConfig = SMALL) -> Card:
    return Card(config, make_encoder("efficientnet_lite0"), make_words(), {"wrist": 32})


def begun(made: Card, seed: int = 0) -> bytes:
    """A policy that knows nothing."""
    torch.manual_seed(seed)
    network = SmallVla(made.config, {"wrist": cell_shape(made.encoder, 32)}, 5, 2)
    params = {name: value.numpy().copy() for name, value in network.state_dict().items()}
    return packed(params, AgentView(TASK), [TASK.name], made.images, made.config)


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
    return Feed(path, TASK.state, instruction, shown)


def work_off(learner: AloeLoop) -> None:
    while learner.step():
        pass


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
    np.testing.assert_array_equal(unpack(made.newest()).params[name], mean.numpy())


@pytest.mark.parametrize("weight", ["advantage", "return"])
def test_of_two_ways_it_takes_the_one_that_succeeds(weight: Any) -> None:
    """A policy that imitated both alike; one of them ends in success, the other in failure."""
    made = card(dataclasses.replace(SMALL, horizon=2))
    quick = dataclasses.replace(QUICK, weight=weight, critic_steps=10.0, policy_steps=2.0, batch=64, every=1)
    quick = dataclasses.replace(quick, policy_batch=32, learning_rate=1e-2, average_rate=0.2, temperature=0.5)
    learner = loop(quick, made)
    learner._episodes = [_episode(1, way, reward=float(way > 0)) for way in (0.5, -0.5) * 20]
    for governor in (learner.governor, learner._expert_governor):
        governor.receive(40)
    assert _share(learner) < 0.8, "it knows nothing yet"
    work_off(learner)
    assert learner.metrics()["learner/rounds"] == 1.0 and not learner.halted
    assert _share(learner) > 0.9


def test_stores_become_rounds_and_rounds_become_parameters_that_act(tmp_path: Path) -> None:
    record(tmp_path / "demos", 2)
    learner = loop(demos=[feed(tmp_path / "demos", shown=True)], online=[feed(tmp_path / "online")])
    learner.warm_up()
    assert not learner.step(), "nothing has come of its actions yet"
    first = learner.parameters()
    assert first == learner.newest()
    record(tmp_path / "online", 2, seed=5)
    record(tmp_path / "online", 1, ending=Outcome(0.0, Ending.FAILURE, "no"), seed=9)
    work_off(learner)
    told = learner.metrics()
    assert told["learner/online_steps"] == 36.0 and told["learner/demo_steps"] == 24.0
    assert told["learner/rounds"] == 1.0 and told["learner/updates"] == 140.0 and told["critic/loss"] > 0.0
    assert learner.version == SMALL.steps + 36
    assert learner.parameters() == first, "in use, what was learnt has earned nothing yet"
    load = VlaLoader(DOMAIN.view, 0, {"wrist": (32, 32)})
    policy, later = load(first), load(learner.newest())
    assert (policy.version, later.version) == (SMALL.steps, SMALL.steps + 36) and policy.vla is later.vla
    kept = unpack(first).params, unpack(learner.newest()).params
    assert {name.split(".")[0] for name in kept[0] if not np.array_equal(kept[0][name], kept[1][name])} == {"expert"}


def test_what_was_learnt_takes_turns_with_what_was_and_leads_once_it_returns_more() -> None:
    turns = TurnTaking(begun_with=3, seed=0)

    def end(version: int, reward: float, number: int) -> bool:
        part = transitions(2, episode=number, version=np.full(2, version), source=np.full(2, Source.POLICY))
        part["reward"][:] = [0.0, reward]
        turns.add(part)
        return turns.take(version=9)

    for number in range(12):
        end(3, 0.0, number)
    assert not turns.leads and turns.explores
    for number in range(12, 24):
        end(9, 1.0, number)
    assert turns.leads and turns.metrics["trust/learner"] == 1.0 and "as it was returns 0.00 of 12" in turns.words
    changes = sum(end(9, -1.0, number) for number in range(24, 60))
    assert changes > 3 and not turns.leads, "it is tried less, but it goes on to be known"
    early = TurnTaking(begun_with=1500, seed=0)
    for number, version in enumerate([1510] * 3 + [1600] * 4):
        part = transitions(2, episode=number, version=np.full(2, version), source=np.full(2, Source.POLICY))
        early.add(part)
    early.take(version=1700)
    assert early.metrics["trust/learner_episodes"] == 4.0, "those of the first half of its steps are too old"


def test_who_acts_is_published_with_its_own_version(tmp_path: Path) -> None:
    record(tmp_path / "online", 2)
    learner = loop(online=[feed(tmp_path / "online")])
    work_off(learner)
    learner._turns.explores = False
    assert learner.acting() == (SMALL.steps, learner._base)
    learner._turns.explores = True
    assert learner.acting() == (learner.version, learner.newest()) and learner.version > SMALL.steps


def test_episodes_are_watched_once_they_are_written_whole_with_their_words_and_labels(tmp_path: Path) -> None:
    learner = loop(dataclasses.replace(QUICK, every=1000), online=[feed(tmp_path / "online", instruction="of the run")])
    with EpisodeStore.create_or_open(tmp_path / "online", SCHEMA) as store:
        writer = store.begin({INSTRUCTION: "touch the red cube"})
        for number, step in enumerate(steps(12, 0, None, SCHEMA)):
            if number == 9:
                break  # the arm is stopped: no step says that the episode is over
            writer.append(step)
            learner.poll()
            assert not learner._waiting
        writer.finish()
        work_off(learner)  # nothing more has come of it, and no other episode has begun
        assert [len(one) for one in learner._episodes] == [9]
        store.relabel(Relabel(0, 4, Outcome.success(), "person"))
        work_off(learner)
        assert learner._episodes[0].counted.tolist() == [True] * 5 + [False] * 4
        assert len(learner._episodes[0].counts) > 4 + len(make_words().encode("of the run")), "its own words are longer"
        writer = store.begin({})
        for step in steps(12, 1, None, SCHEMA):
            writer.append(step)
        writer.finish()
    work_off(learner)
    assert [len(one) for one in learner._episodes] == [9, 12]


@pytest.mark.parametrize("before", [True, False])
def test_a_demonstration_that_turns_out_a_failure_counts_no_more(tmp_path: Path, before: bool) -> None:
    record(tmp_path / "demos", 2)
    learner = loop(demos=[feed(tmp_path / "demos", shown=True)])
    learner.poll()
    if not before:
        work_off(learner)
    with EpisodeStore.create_or_open(tmp_path / "demos", SCHEMA) as store:
        store.relabel(Relabel(0, 11, Outcome(0.0, Ending.FAILURE, "seen again"), "person"))
    work_off(learner)
    assert [bool(one.counted.any()) for one in learner._episodes] == [False, True]


def test_what_is_discarded_while_a_round_goes_on_leaves_nothing_to_learn(tmp_path: Path) -> None:
    record(tmp_path / "online", 1)
    learner = loop(online=[feed(tmp_path / "online")])
    learner.poll()
    learner.step()
    assert learner.step() and learner._work is not None, "it proposes"
    learner._episodes[0].counted[:] = False
    work_off(learner)
    assert not learner.halted and learner.version == SMALL.steps


def test_an_episode_of_which_nobody_said_what_was_asked_for_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record(tmp_path / "online", 1, instruction="")
    learner = loop(online=[feed(tmp_path / "online")])
    work_off(learner)
    assert not learner._episodes and "episode 0 says not what was asked for" in caplog.text


def test_without_a_step_that_counts_nothing_is_learnt(tmp_path: Path) -> None:
    record(tmp_path / "online", 1)
    with EpisodeStore.create_or_open(tmp_path / "online", SCHEMA) as store:
        store.relabel(Relabel(0, 0, Outcome(0.0, Ending.ABORTED, DISCARDED), "person"))
    learner = loop(online=[feed(tmp_path / "online")])
    work_off(learner)
    assert learner.metrics()["learner/rounds"] == 0.0 and not learner.halted


def test_it_goes_on_from_its_checkpoint_with_what_it_had_learnt(tmp_path: Path) -> None:
    record(tmp_path / "online", 2)
    learner = loop(online=[feed(tmp_path / "online")], checkpoints=tmp_path / "kept")
    assert not learner.restore()
    work_off(learner)
    learner.checkpoint()
    again = loop(online=[feed(tmp_path / "online")], checkpoints=tmp_path / "kept")
    assert again.restore() and again.newest() == learner.newest()
    kept, found = learner._state(), again._state()
    for name in kept:
        for one, other in zip(jax.tree.leaves(kept[name]), jax.tree.leaves(found[name]), strict=True):
            np.testing.assert_array_equal(one, other, err_msg=name)
    work_off(again)
    before, after = learner.metrics(), again.metrics()
    for name in ("learner/updates", "learner/version", "learner/online_steps"):
        assert before[name] == after[name], f"{name}: none is made or counted twice"
    record(tmp_path / "online", 1, seed=7)
    work_off(again)
    assert again.metrics()["learner/online_steps"] == 36.0 and again.version > learner.version
    alone = loop(online=[feed(tmp_path / "another")], checkpoints=tmp_path / "kept")
    assert alone.restore()
    record(tmp_path / "another", 1)
    alone.poll()
    assert alone.metrics()["learner/online_steps"] == 36.0, "steps of a store that is new are all new"
    other = AloeLoop(card(), begun(card(), 1), DOMAIN, demos=(), online=(), config=QUICK, checkpoints=tmp_path / "kept")
    with pytest.raises(CheckpointError, match="it is not of the policy that"):
        other.restore()


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
    work_off(learner)
    assert [(one.shown, one.number) for one in learner._episodes] == [(True, 0), (False, 2), (False, 3)]


@pytest.mark.parametrize(("weight", "said"), [("advantage", "critic/"), ("return", "of the action expert")])
def test_what_is_not_finite_stops_it_and_is_undone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, weight: Any, said: str
) -> None:
    record(tmp_path / "online", 1)
    learner = loop(dataclasses.replace(QUICK, weight=weight), online=[feed(tmp_path / "online")])
    learner.poll()
    learner.step()
    before = learner.newest(), learner.metrics()["learner/updates"]
    learner._episodes[0].action[:] = np.nan
    while learner.step():
        assert all(np.isfinite(value).all() for value in unpack(learner.newest()).params.values())
    assert said in learner.halted and "the parameters before it are kept" in learner.halted
    assert learner.halted in caplog.text and learner.turned, "who acts is told"
    assert (learner.newest(), learner.metrics()["learner/updates"]) == before


def test_a_store_of_another_task_is_refused(tmp_path: Path) -> None:
    schema = dataclasses.replace(SCHEMA, task="another")
    EpisodeStore.create_or_open(tmp_path / "online", schema).close()
    with pytest.raises(StoreError, match="does not fit task 'reach'"):
        loop(online=[feed(tmp_path / "online")]).poll()


def test_demonstrations_are_half_of_a_minibatch() -> None:
    chance = chances(np.array([True, False, False, True, False]), 0.5)
    assert chance.tolist() == pytest.approx([0.25, 1 / 6, 1 / 6, 0.25, 1 / 6])
    assert chances(np.zeros(4, bool), 0.5).tolist() == [0.25] * 4


def test_a_policy_that_was_imitated_begins_as_it_is() -> None:
    made = card()
    found = begun(made)
    assert AloeLoop(made, found, DOMAIN, demos=(), online=(), config=QUICK).newest() == found


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
