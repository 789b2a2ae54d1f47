"""The learner loop: data in, updates out, resumed as if nothing had happened."""

from __future__ import annotations

import dataclasses
import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robot_rl.contract import ActionSpec, AgentView
from robot_rl.data.parameters import unpack
from robot_rl.data.replay import Batch
from robot_rl.data.schema import StoreError, StoreSchema
from robot_rl.data.store import EpisodeStore
from robot_rl.learner import factory
from robot_rl.learner.agent import Agent
from robot_rl.learner.algorithms.rlpd import RlpdConfig, make_agent
from robot_rl.learner.checkpoint import CheckpointError, load
from robot_rl.learner.domain import TaskDomain
from robot_rl.learner.loop import LearnerLoop, LoopConfig
from robot_rl.learner.rehearsal import blank_batch
from tests.robot_rl.recording import DOMAIN, SCHEMA, TASK, Felt, reader, steps, transitions, with_columns

AGENT = make_agent(RlpdConfig(hidden=(8, 8), critics=3))
CONFIG = LoopConfig(utd=4.0, start_after=10, batch_size=8, capacity=500, demo_capacity=300)


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def loop(tmp_path, agent=AGENT, domain: TaskDomain = DOMAIN, config: LoopConfig = CONFIG) -> LearnerLoop:
    return LearnerLoop(
        agent,
        domain,
        demos=[reader(tmp_path / "demos", successes_only=True)],
        online=[reader(tmp_path / "online")],
        config=config,
        checkpoints=tmp_path / "checkpoints",
    )


def domain_of(**attributes) -> TaskDomain:
    """That of a task which differs by ``attributes``."""
    task = type("Other", (Felt,), attributes)()
    return TaskDomain(AgentView(task), StoreSchema.of(task))


def record(store: EpisodeStore, count: int, seed: int) -> None:
    writer = store.begin({"seed": seed})
    for step in steps(count, seed):
        writer.append(step)
    writer.finish()


def run_dry(learner: LearnerLoop) -> None:
    while learner.step():
        pass


@pytest.fixture
def stores(tmp_path):
    with (
        EpisodeStore.create_or_open(tmp_path / "demos", SCHEMA) as demos,
        EpisodeStore.create_or_open(tmp_path / "online", SCHEMA) as online,
    ):
        yield demos, online


def same(one, two) -> bool:
    return jax.tree.all(jax.tree.map(lambda x, y: bool((x == y).all()), one, two))


def test_updates_follow_the_data_and_demonstrations_earn_none(tmp_path, stores) -> None:
    demos, online = stores
    learner = loop(tmp_path)
    record(demos, 40, 0)
    run_dry(learner)
    assert (learner.metrics()["learner/demo_steps"], learner.version) == (40, 0)
    writer = online.begin()
    for number, step in enumerate(steps(20, 1), start=1):
        writer.append(step)  # read from the live journal
        run_dry(learner)
        assert learner.version == max(0, number - 10)
    writer.finish()
    assert not learner.step()
    metrics = learner.metrics()
    assert metrics["learner/utd"] == 4.0 and metrics["learner/updates"] == 40.0
    assert np.isfinite(metrics["critic/q_mean"])


@pytest.mark.parametrize("agent", ["rlpd_lagrangian", "hil", "flash_sac", "chunked"])
def test_what_is_compiled_before_there_is_data_is_the_update_itself(tmp_path, stores, agent: str) -> None:
    """By the shapes and types of what it is compiled for, of every kind of minibatch that an agent may ask for."""
    made = factory.make_agent(agent, {})
    learner = loop(tmp_path, made)
    blank = learner.sources.complete(blank_batch(made, DOMAIN.layout, CONFIG.batch_size))
    record(stores[0], 40, 0)
    learner.poll()
    drawn = learner.sources.sampler.sample(
        np.random.default_rng(1), made.updates_per_call, CONFIG.batch_size, made.horizon
    )
    kinds = [
        jax.tree.map(lambda x: (np.shape(x), np.asarray(x).dtype), batch)
        for batch in (blank, learner.sources.complete(drawn))
    ]
    assert kinds[0] == kinds[1]


def test_warming_up_compiles_the_update_and_changes_nothing(tmp_path, stores) -> None:
    traced = []

    def update(state, batch):
        traced.append(batch)
        return AGENT.update(state, batch)

    counted = AGENT._replace(update=jax.jit(update))
    warm, cold = loop(tmp_path, counted), loop(tmp_path)
    warm.warm_up()
    assert len(traced) == 1
    record(stores[1], 30, 1)
    for learner in (warm, cold):
        run_dry(learner)
    assert warm.version == cold.version == 20
    assert len(traced) == 1, "it was compiled before there was anything to learn"
    assert same(warm.state, cold.state)


def test_interventions_are_demonstrations_too(tmp_path, stores) -> None:
    _, online = stores
    record(online, 9, 0)  # steps 3, 4, 5 were a person's
    with_them, without = loop(tmp_path), loop(tmp_path, config=LoopConfig(interventions_to_demos=False))
    for learner in (with_them, without):
        learner.poll()
        assert len(learner.sources.online_buffers[0]) == 9
    assert (len(with_them.sources.demo_buffer), len(without.sources.demo_buffer)) == (3, 0)
    demos, (own,) = with_them.sources.demo_buffer, with_them.sources.online_buffers
    assert np.array_equal(demos.action[demos.starts], own.action[3:6])


def test_a_resumed_learner_goes_on_bit_for_bit(tmp_path, stores, caplog) -> None:
    demos, online = stores
    first = loop(tmp_path)
    assert first.restore() is False
    record(demos, 10, 0)
    record(online, 8, 1)
    run_dry(first)
    record(demos, 6, 2)  # arrives in the midst: the order in the demo buffer is its own
    record(online, 9, 3)
    writer = online.begin()
    rest = list(steps(12, 4))
    for step in rest[:5]:
        writer.append(step)
    run_dry(first)
    first.checkpoint()
    for step in rest[5:]:
        writer.append(step)
    writer.finish()  # the live episode moved to Zarr meanwhile
    second = loop(tmp_path)
    assert second.restore() is True
    assert warnings_of(caplog) == []
    for mine, theirs in zip(first.sources.sampler.buffers, second.sources.sampler.buffers, strict=True):
        for array in ("state", "action", "reward", "mask", "starts"):
            assert np.array_equal(getattr(mine, array), getattr(theirs, array)), array
    assert first.governor == second.governor
    assert first.metrics() == second.metrics()
    assert first.parameters() == second.parameters()
    for learner in (first, second):
        run_dry(learner)
    assert first.version == second.version > 12
    assert same(first.state, second.state)
    assert first.parameters() == second.parameters()


def test_a_resumed_learner_has_seen_the_same_images(tmp_path, caplog) -> None:
    schema = dataclasses.replace(SCHEMA, images={"wrist": (16, 16)})
    with (
        EpisodeStore.create_or_open(tmp_path / "demos", schema) as demos,
        EpisodeStore.create_or_open(tmp_path / "online", schema) as online,
    ):
        for seed, store in enumerate((demos, online)):
            writer = store.begin({"seed": seed})
            for step in steps(13, seed, schema=schema):
                writer.append(step)
            writer.finish()
    domain = TaskDomain(DOMAIN.view, schema)
    first = loop(tmp_path, domain=domain)
    run_dry(first)
    first.checkpoint()
    second = loop(tmp_path, domain=domain)
    assert second.restore() and warnings_of(caplog) == []
    for mine, theirs in zip(first.sources.sampler.buffers, second.sources.sampler.buffers, strict=True):
        assert np.array_equal(mine.images["wrist"], theirs.images["wrist"]) and mine.images["wrist"].any()
    assert first.version == second.version == 3 and first.parameters() == second.parameters()


def test_a_damaged_checkpoint_is_told_of_and_the_one_before_it_taken(tmp_path, stores, caplog) -> None:
    _, online = stores
    record(online, 12, 1)
    first = loop(tmp_path)
    first.step()
    first.checkpoint()
    run_dry(first)
    newest = first.checkpoint()
    newest.write_bytes(newest.read_bytes()[:-1])
    second = loop(tmp_path)
    assert second.restore() and second.version == 1
    (message,) = warnings_of(caplog)
    assert newest.name in message


def test_changed_stores_are_noticed_on_resume(tmp_path, stores, caplog) -> None:
    _, online = stores
    record(online, 12, 1)
    first = loop(tmp_path)
    run_dry(first)
    first.checkpoint()
    next((tmp_path / "online" / "episodes").glob("*.zarr")).rename(tmp_path / "moved.zarr")
    second = loop(tmp_path)
    assert second.restore()
    assert any("12 steps that the checkpoint had seen are gone" in m for m in warnings_of(caplog))
    assert any("replay buffers are not what they were" in m for m in warnings_of(caplog))


@pytest.mark.parametrize(
    ("agent", "domain", "named"),
    [
        (make_agent(RlpdConfig(hidden=(8, 9), critics=3)), DOMAIN, r"\.actor\['b1'\] is float32 \(8,\)"),
        (AGENT, domain_of(name="peg"), "task is 'reach', this learner's is 'peg'"),
        (AGENT, domain_of(action=ActionSpec(("x", "z"), (0.01, 0.01))), "axes is"),
        (
            AGENT,
            TaskDomain(AgentView(TASK, ["force"]), SCHEMA),
            r"fields is \[\['position', 3, 10.0\], \['fo",
        ),
    ],
)
def test_a_checkpoint_that_does_not_fit_says_where(tmp_path, stores, agent, domain, named) -> None:
    first = loop(tmp_path)
    first.checkpoint()
    with pytest.raises(CheckpointError, match=named):
        loop(tmp_path, agent, domain).restore()


def test_a_store_of_another_task_is_refused(tmp_path, stores) -> None:
    learner = loop(tmp_path, domain=domain_of(name="peg"))
    with pytest.raises(StoreError, match=r"demos does not fit task 'peg': it has task reach instead of peg"):
        learner.step()


def test_steps_handed_over_without_a_store() -> None:
    learner = LearnerLoop(AGENT, DOMAIN, config=CONFIG)
    learner.add(transitions(15))
    run_dry(learner)
    assert learner.version == 5
    with pytest.raises(CheckpointError, match="no directory"):
        learner.checkpoint()


def test_parameters_are_the_actor_with_its_version(tmp_path) -> None:
    learner = LearnerLoop(AGENT, DOMAIN, config=CONFIG)
    learner.add(transitions(12))
    run_dry(learner)
    params, version, meta = unpack(learner.parameters())
    assert version == 2
    assert (meta["task"], meta["axes"]) == ("reach", ["x", "y"])
    assert meta["fields"] == [["position", 3, 10.0], ["force", 2, 0.1]]
    assert meta["agent"] == "rlpd" and make_agent(RlpdConfig(**meta["settings"])).config.critics == 3
    actor = AGENT.actor(learner.state)
    assert params.keys() == actor.keys() and all(np.array_equal(params[name], actor[name]) for name in actor)
    assert (params["actor/w0"].shape[0], params["actor/b2"].shape[0]) == (5, 2 * 2)


def test_a_loss_that_is_not_finite_stops_updates_and_keeps_the_last_good_parameters(caplog) -> None:
    learner = LearnerLoop(AGENT, DOMAIN, config=CONFIG)
    learner.add(transitions(12))
    run_dry(learner)
    good = learner.parameters()
    poisoned = transitions(12, 1, 1)
    poisoned["reward"][:] = np.inf
    learner.add(poisoned)
    run_dry(learner)
    assert "not finite" in learner.halted and learner.halted in warnings_of(caplog)
    assert learner.metrics()["learner/halted"] == 1.0
    assert jnp.isfinite(learner.state.actor["w0"]).all()
    params, version, _ = unpack(learner.parameters())
    assert version == learner.version >= unpack(good).version
    assert all(np.isfinite(value).all() for value in params.values())
    assert learner.step() is False


@jax.jit
def doubled(state: dict, batch: Batch) -> tuple[dict, dict]:
    q = 2.0 * state["q"]
    return {"q": q}, {"critic/q_mean": q}


DOUBLING = Agent(  # Q doubles with every call
    name="doubling",
    config=RlpdConfig(discount=0.5),
    updates_per_call=4,
    create=lambda key, layout: {"q": jnp.float32(-1.0)},
    update=doubled,
    actor=lambda state: state,
    act=lambda params, carry, state, images, key, deterministic: (jnp.zeros((1, 2)), carry),
)


def test_a_value_that_explodes_stops_updates_once_and_keeps_the_parameters_before_it(caplog) -> None:
    learner = LearnerLoop(DOUBLING, DOMAIN, config=CONFIG)
    learner.add(transitions(200, reward=np.full(200, -3.0, np.float32)))
    run_dry(learner)
    # The limit is ten times 3/(1 − ½) = 60: Q was −32 after five calls, −64 after six.
    assert learner.halted == (
        "update 5 gave critic/q_mean -64: it explodes (the limit is 60), "
        "far beyond what rewards of up to 3 can add up to; updates stopped, the parameters before it are kept"
    )
    assert warnings_of(caplog) == [learner.halted]
    metrics = learner.metrics()
    assert (metrics["critic/q_mean"], metrics["learner/updates"], learner.version) == (-32.0, 20.0, 5)
    last = learner.parameters()
    assert unpack(last).params["q"] == -32.0
    learner.add(transitions(50, 1, 1))
    assert not learner.step() and learner.parameters() == last and len(warnings_of(caplog)) == 1


def test_staleness_is_how_many_versions_the_acting_parameters_were_behind() -> None:
    learner = LearnerLoop(AGENT, DOMAIN, config=CONFIG)
    by_policy = transitions(30, source=np.zeros(30, np.uint8))
    learner.add(by_policy)
    run_dry(learner)
    assert learner.version == 20
    acted = np.array([-1, 18, 14, 20, 25, 3], np.int64)  # none, …, from a future that was lost, a person's
    source = np.array([0, 0, 0, 0, 0, 1], np.uint8)
    learner = LearnerLoop(AGENT, DOMAIN, config=CONFIG)
    learner.add(with_columns(by_policy, version=np.full(30, -1, np.int64)))
    assert learner.metrics()["learner/staleness"] == learner.metrics()["learner/staleness_max"] == 0.0
    run_dry(learner)
    learner.add(transitions(6, 1, 1, version=acted, source=source))
    metrics = learner.metrics()
    assert metrics["learner/staleness"] == pytest.approx((2 + 6 + 0 + 0) / 4)
    assert metrics["learner/staleness_max"] == 6.0


def test_when_an_update_is_looked_at_makes_no_difference(tmp_path, stores) -> None:
    """Looked at, published and checkpointed after every call, or never: the same learner."""
    demos, online = stores
    record(demos, 20, 0)
    record(online, 30, 1)
    often, never = loop(tmp_path), loop(tmp_path)
    while often.step():
        often.metrics(), often.parameters(), often.checkpoint()
    run_dry(never)
    record(online, 10, 2)
    resumed = loop(tmp_path)
    assert resumed.restore()
    for learner in (often, never, resumed):
        run_dry(learner)
        assert learner.version == 30
    assert same(often.state, never.state) and same(often.state, resumed.state)
    assert often.metrics() == never.metrics() == resumed.metrics()


def test_a_checkpoint_while_an_update_is_computed_holds_what_it_comes_to(tmp_path, stores) -> None:
    _, online = stores
    record(online, 30, 1)
    first = loop(tmp_path)
    for _ in range(4):
        first.step()
    path = first.checkpoint()
    assert load(path).meta["governor"]["made"] == 16
    second = loop(tmp_path)
    assert second.restore() and second.version == first.version == 4
    assert same(first.state, second.state)
    for learner in (first, second):
        run_dry(learner)
    assert first.version == second.version == 20 and first.parameters() == second.parameters()


def test_updates_that_a_checkpoint_does_not_know_of_are_owed_however_many(tmp_path, stores) -> None:
    _, online = stores
    config = dataclasses.replace(CONFIG, utd=400.0)
    record(online, 30, 1)
    first = loop(tmp_path, config=config)
    first.step()
    first.checkpoint()
    first.step()
    record(online, 30, 2)
    second = loop(tmp_path, config=config)
    second.restore()
    second.poll()
    assert second.due == 400 * (60 - config.start_after) - 4


def test_several_arms_feed_one_learner_and_all_their_steps_earn_updates(tmp_path, caplog) -> None:
    def arms(config: LoopConfig) -> LearnerLoop:
        online = [reader(tmp_path / name) for name in ("left", "right")]
        return LearnerLoop(AGENT, DOMAIN, online=online, config=config, checkpoints=tmp_path / "checkpoints")

    with (
        EpisodeStore.create_or_open(tmp_path / "left", SCHEMA) as left,
        EpisodeStore.create_or_open(tmp_path / "right", SCHEMA) as right,
    ):
        config = dataclasses.replace(CONFIG, online_weights=(3.0, 1.0))
        first = arms(config)
        record(left, 12, 0)
        run_dry(first)
        assert first.version == 2
        record(right, 20, 1)
        record(left, 8, 2)
        run_dry(first)
        assert first.version == 30 and first.governor.received == 40
        first.checkpoint()
        second = arms(config)
        assert second.restore() and warnings_of(caplog) == []
        for learner in (first, second):
            assert learner.sources.sampler.weights([0, 20, 20]) == [0.0, 0.75, 0.25]
        record(right, 5, 3)
        for learner in (first, second):
            run_dry(learner)
            assert learner.version == 35
        assert same(first.state, second.state)


def test_corrections_are_no_demonstrations_to_pretrain_on(tmp_path, stores) -> None:
    demos, online = stores
    learner = loop(tmp_path, config=dataclasses.replace(CONFIG, pretrain=3))
    record(online, 9, 1)  # a person decides three of them; below start_after
    learner.step()
    assert len(learner.sources.demo_buffer) == 3 and learner.due == 0
    record(demos, 20, 0)
    learner.poll()
    assert learner.due == 3 * AGENT.updates_per_call


def test_pretraining_comes_first_sees_demonstrations_alone_and_survives_a_restart(tmp_path, stores) -> None:
    demos, online = stores
    config = dataclasses.replace(CONFIG, pretrain=3, interventions_to_demos=False)
    learner = loop(tmp_path, config=config)
    record(online, 9, 1)  # below start_after: they earn no updates
    learner.step()
    assert learner.version == 0 and learner.due == 0  # nothing to pre-train on
    record(demos, 20, 0)
    learner.poll()
    assert learner.due == 3 * AGENT.updates_per_call
    broken = learner.sources.online_buffers[0]
    broken.reward[:] = np.nan  # would halt the learner if it were looked at
    assert learner.update() and learner.update()
    learner.checkpoint()
    again = loop(tmp_path, config=config)
    assert again.restore() and again.due == AGENT.updates_per_call
    assert learner.update() and not learner.update()
    assert not learner.halted and learner.version == 3
    assert learner.governor.made == 0 and learner.due == 0
    assert learner.metrics()["learner/utd"] == 0.0
