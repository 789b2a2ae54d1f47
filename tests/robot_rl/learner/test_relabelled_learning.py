"""A running learner is told of corrected labels: its next minibatch has them, and so has a learner that is resumed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.contract import DISCARDED, Outcome, Relabel, Source
from robot_rl.data.replay import Batch, ReplayBuffer
from robot_rl.data.returns import ReturnStatistics
from robot_rl.data.store import EpisodeStore
from robot_rl.learner.algorithms.flash_sac import FlashConfig, make_agent
from robot_rl.learner.loop import LearnerLoop, LoopConfig
from tests.robot_rl.recording import DOMAIN, SCHEMA, TASK, reader, steps, transitions

AGENT = make_agent(FlashConfig(actor_width=4, critic_width=4, blocks=1, bins=11, critic_steps=2))
CONFIG = LoopConfig(utd=2.0, start_after=5, batch_size=64, capacity=500, demo_capacity=300, demo_share=0.5)
OUTCOMES = (Outcome.running(), Outcome.running(0.5), Outcome.success(2.0), Outcome.failure("fell"), Outcome.timeout())


class Watched(LearnerLoop):
    """Keeps the minibatches that its agent is given."""

    def __init__(self, root: Path, config: LoopConfig = CONFIG) -> None:
        self.batches: list[Batch] = []
        demos, online = [reader(root / "demos", successes_only=True)], [reader(root / "online")]
        agent = AGENT._replace(update=self._watch)
        super().__init__(agent, DOMAIN, demos=demos, online=online, config=config, checkpoints=root / "checkpoints")

    def _watch(self, state, batch: Batch):
        self.batches.append(batch)
        return AGENT.update(state, batch)

    def next_labels(self) -> dict[bytes, set[tuple[float, float]]]:
        """State → rewards and masks that the next minibatch shows for it."""
        self.sources.poll()  # at the beginning of `step`, too
        self.governor.receive(1)  # so that a call is due
        made = len(self.batches)
        assert self.step() and len(self.batches) == made + 1
        batch = self.batches[-1]
        found: dict[bytes, set[tuple[float, float]]] = {}
        for state, reward, mask in zip(
            batch.state.reshape(-1, 5), batch.reward.ravel(), batch.mask.ravel(), strict=True
        ):
            found.setdefault(state.tobytes(), set()).add((float(reward), float(mask)))
        return found


@pytest.fixture
def stores(tmp_path):
    with (
        EpisodeStore.create_or_open(tmp_path / "demos", SCHEMA) as demos,
        EpisodeStore.create_or_open(tmp_path / "online", SCHEMA) as online,
    ):
        yield demos, online


def record(store: EpisodeStore, count: int, seed: int, ending: Outcome | None = None) -> list[bytes]:
    """An episode by the policy alone; returns the states that its steps start from."""
    writer = store.begin({"seed": seed})
    states = []
    for step in steps(count, seed, ending):
        object.__setattr__(step, "source", Source.POLICY)
        writer.append(step)
        states.append(TASK.state(step.reading).tobytes())
    writer.finish()
    return states


def relabel(store: EpisodeStore, episode: int, step: int, outcome: Outcome) -> None:
    store.relabel(Relabel(episode, step, outcome, by="person"))


def test_a_running_learner_forgets_an_episode_that_a_person_discards(tmp_path, stores) -> None:
    _, online = stores
    thrown, kept = record(online, 8, 1, Outcome.timeout(0.0)), record(online, 8, 2, Outcome.timeout(0.0))
    learner = Watched(tmp_path)
    learner.poll()
    assert learner.next_labels().keys() == {*thrown, *kept}
    relabel(online, 0, 7, Outcome.aborted(DISCARDED))
    assert learner.next_labels().keys() == {*kept}
    relabel(online, 0, 7, Outcome.failure("taken back"))
    assert learner.next_labels().keys() == {*thrown, *kept}


def test_the_next_minibatch_of_a_running_learner_has_the_corrected_label(tmp_path, stores) -> None:
    _, online = stores
    states = record(online, 8, 1, Outcome.timeout(0.0))
    learner = Watched(tmp_path)
    while learner.step():
        pass
    before = learner.next_labels()
    assert before.keys() == set(states) and before[states[4]] == {(0.5, 1.0)} and before[states[7]] == {(0.0, 1.0)}
    relabel(online, 0, 4, Outcome.success(1.0))
    after = learner.next_labels()
    assert after.keys() == set(states[:5]), "what came after the success does not count"
    assert after[states[4]] == {(1.0, 0.0)} and after[states[3]] == before[states[3]]
    relabel(online, 0, 4, Outcome.running(-1.0))
    again = learner.next_labels()
    assert again.keys() == set(states) and again[states[4]] == {(-1.0, 1.0)}
    assert learner.sources.largest_reward == 1.0


def test_a_step_of_the_episode_under_way_is_corrected_as_well(tmp_path, stores) -> None:
    _, online = stores
    writer, states = online.begin(), []
    for step in list(steps(9, 3))[:8]:
        writer.append(step)
        states.append(TASK.state(step.reading).tobytes())
    learner = Watched(tmp_path)
    learner.poll()
    relabel(online, 0, 6, Outcome.failure("dropped", -2.0))
    labels = learner.next_labels()
    assert labels[states[6]] == {(-2.0, 0.0)} and states[7] not in labels


def test_demonstrations_enter_and_leave_the_replay_with_their_label(tmp_path, stores) -> None:
    demos, online = stores
    first, second = record(demos, 6, 1), record(demos, 6, 2, Outcome.timeout())
    record(online, 8, 3)
    learner = Watched(tmp_path)
    learner.poll()
    assert set(first) <= learner.next_labels().keys()
    relabel(demos, 0, 5, Outcome.failure("scratched it"))
    relabel(demos, 1, 3, Outcome.success())
    labels = learner.next_labels()
    assert not set(first) & labels.keys() and set(second[:4]) <= labels.keys() and not set(second[4:]) & labels.keys()


def test_a_correction_reaches_a_persons_steps_among_the_demonstrations(tmp_path, stores) -> None:
    _, online = stores
    writer, states = online.begin(), []
    for step in steps(8, 1):  # a person decides 3, 4 and 5
        writer.append(step)
        states.append(TASK.state(step.reading).tobytes())
    writer.finish()
    learner = Watched(tmp_path)
    learner.poll()
    assert len(learner.sources.demo_buffer) == 3
    relabel(online, 0, 4, Outcome.success(5.0))
    labels = learner.next_labels()
    assert len(learner.sources.demo_buffer) == 2 and labels[states[4]] == {(5.0, 0.0)} and states[5] not in labels


@pytest.mark.parametrize("late", [False, True])
def test_a_resumed_learner_is_the_one_that_was_told(tmp_path, stores, late) -> None:
    """Whether the last labels were corrected before the checkpoint or after it."""
    demos, online = stores
    record(demos, 6, 1)
    record(demos, 6, 2, Outcome.timeout())
    record(online, 9, 3)
    first = Watched(tmp_path)
    while first.step():
        pass
    relabel(demos, 1, 4, Outcome.success())
    relabel(online, 0, 5, Outcome.success(3.0))
    first.poll()
    writer = online.begin()
    for step in list(steps(9, 4))[:5]:
        writer.append(step)
    while first.step():
        pass
    relabels = lambda: [relabel(demos, 0, 5, Outcome.failure("")), relabel(online, 1, 2, Outcome.running(7.0))]  # noqa: E731
    if not late:
        relabels()
        first.poll()
    first.checkpoint()
    if late:
        relabels()
    second = Watched(tmp_path)
    assert second.restore()
    for learner in (first, second):
        learner.poll()
    record_rest(writer)
    for learner in (first, second):
        while learner.step():
            pass
    assert first.version == second.version > 10
    assert first.sources.digests == second.sources.digests
    assert first.sources.arrivals == second.sources.arrivals
    assert first.sources.returns.deviation == second.sources.returns.deviation > 0.0
    assert first.parameters() == second.parameters()


def record_rest(writer) -> None:
    for step in list(steps(9, 4))[5:]:
        writer.append(step)
    writer.finish()


def test_resuming_says_nothing_of_labels_that_were_corrected_since(tmp_path, stores, caplog) -> None:
    caplog.set_level("INFO")
    _, online = stores
    record(online, 9, 3)
    first = Watched(tmp_path)
    first.poll()
    first.checkpoint()
    relabel(online, 0, 5, Outcome.success())
    second = Watched(tmp_path)
    assert second.restore() and caplog.messages == ["going on after 0 update calls"]
    assert len(second.sources.online_buffers[0]) == 9
    second.poll()
    assert len(second.sources.online_buffers[0]) == 6


EPISODES = st.lists(st.integers(1, 9), min_size=1, max_size=5)
LABELS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 8), st.sampled_from(OUTCOMES)), max_size=8)


@settings(max_examples=10, deadline=None)
@given(EPISODES, LABELS, st.integers(0, 8), st.integers(6, 60))
def test_when_a_label_was_corrected_makes_no_difference(tmp_path_factory, lengths, labels, early, capacity) -> None:
    """To the rows of a ring, however often it went round, nor to the statistics of returns, which are exact."""
    path = tmp_path_factory.mktemp("store")
    live = reader(path)
    watched, fresh = (ReplayBuffer(capacity, DOMAIN.layout) for _ in range(2))
    counted, recounted = ReturnStatistics(0.9), ReturnStatistics(0.9)
    with EpisodeStore.create_or_open(path, SCHEMA) as store:
        for seed, length in enumerate(lengths):
            record(store, length, seed, Outcome.timeout())
        known = [label for label in labels if label[0] < len(lengths) and label[1] < lengths[label[0]]]
        for number, label in enumerate(known):
            if number == min(early, len(known) - 1):
                take(live, watched, counted)
            relabel(store, *label)
    take(live, watched, counted)
    take(reader(path), fresh, recounted)
    assert watched.digests == fresh.digests and len(watched) == len(fresh)
    for name in ("state", "action", "reward", "mask", "starts", "held"):
        assert np.array_equal(getattr(watched, name), getattr(fresh, name)), name
    assert (counted.count, counted.deviation, counted.largest) == (
        recounted.count,
        recounted.deviation,
        recounted.largest,
    )
    if len(fresh):
        drawn = [buffer.sample(np.random.default_rng(0), 20, 3) for buffer in (watched, fresh)]
        assert np.array_equal(drawn[0].reward, drawn[1].reward) and np.array_equal(drawn[0].state, drawn[1].state)


def take(source, buffer: ReplayBuffer, statistics: ReturnStatistics) -> None:
    polled = source.poll()
    for correction in polled.corrected:
        buffer.correct(correction)
        statistics.correct(correction)
    for part in polled.new:
        buffer.add(part)
        statistics.add(part)


def test_few_that_count_among_many_are_drawn_uniformly() -> None:
    buffer = ReplayBuffer(1000, DOMAIN.layout)
    counts = np.zeros(900, bool)
    counts[[5, 77, 600]] = True
    part = transitions(900, counts=counts)
    buffer.add(part)
    drawn = np.bincount(buffer.sample_rows(np.random.default_rng(0), 3000), minlength=900)
    assert np.flatnonzero(drawn).tolist() == [5, 77, 600] and drawn.max() - drawn[drawn > 0].min() < 200
