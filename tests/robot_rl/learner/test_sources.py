"""Where a minibatch comes from: demonstrations, one arm or several, in the shares that were asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from robot_rl.contract import Source
from robot_rl.data.replay import ReplayBuffer, Sampler
from robot_rl.data.store import EpisodeStore
from robot_rl.learner.checkpoint import CheckpointError
from robot_rl.learner.sources import Mixture, Sources
from tests.robot_rl.recording import DOMAIN, SCHEMA, reader, steps, transitions


def sources(root: Path, demos: int = 1, online: int = 2, mixture: Mixture | None = None, **changes) -> Sources:
    settings = {"capacity": 400, "demo_capacity": 300, "interventions": True, "columns": ("recent_cost",)} | changes
    return Sources(
        DOMAIN,
        [reader(root / f"demos{i}") for i in range(demos)],
        [reader(root / f"online{i}") for i in range(online)],
        discount=0.9,
        mixture=mixture or Mixture(0.5),
        **settings,
    )


def record(root: Path, name: str, count: int, seed: int) -> None:
    with EpisodeStore.create_or_open(root / name, SCHEMA) as store:
        writer = store.begin()
        for step in steps(count, seed):
            writer.append(step)
        writer.finish()


@pytest.mark.parametrize(
    ("demo_share", "online", "sizes", "shares"),
    [
        (0.5, (), (10, 90), [0.5, 0.5]),  # RLPD
        (None, (), (10, 90), [0.1, 0.9]),  # uniform over all steps
        (0.5, (), (10, 60, 30), [0.5, 1 / 3, 1 / 6]),
        (None, (), (10, 60, 30), [0.1, 0.6, 0.3]),
        (0.2, (3.0, 1.0), (10, 5, 500), [0.2, 0.6, 0.2]),
        (None, (3.0, 1.0), (20, 40, 40), [0.2, 0.6, 0.2]),
        (0.5, (), (10, 0, 30), [0.5, 0.0, 0.5]),  # the share of an empty arm goes to the other, not to demonstrations
        (0.5, (3.0, 1.0), (10, 0, 30), [0.5, 0.0, 0.5]),
        (0.5, (), (0, 60, 30), [0.0, 2 / 3, 1 / 3]),
        (0.5, (3.0, 1.0), (10, 0, 0), [1.0, 0.0, 0.0]),
        (1.0, (), (0, 5), [0.0, 1.0]),
        (0.0, (), (5, 0), [1.0, 0.0]),
        (0.5, (), (0, 0), [0.0, 0.0]),
    ],
)
def test_shares_of_a_minibatch(demo_share, online, sizes, shares) -> None:
    assert Mixture(demo_share, online)(sizes) == pytest.approx(shares)


def test_shares_that_make_no_sense_are_refused(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"demo_share 1\.5 must be from 0 to 1"):
        Mixture(1.5)
    with pytest.raises(ValueError, match="positive weights"):
        Mixture(0.5, (1.0, 0.0))
    with pytest.raises(ValueError, match=r"2 online sources need as many weights, not \[1.0\]"):
        sources(tmp_path, mixture=Mixture(0.5, (1.0,)))


def test_a_share_smaller_than_a_transition_is_met_on_average() -> None:
    """30 of 1030 steps are demonstrations; in minibatches of 16 that is 0.47 of a transition."""
    few, many = ReplayBuffer(100, DOMAIN.layout), ReplayBuffer(2000, DOMAIN.layout)
    few.add(transitions(30, 0))
    many.add(transitions(1000, 1))
    sampler, rng = Sampler((few, many), Mixture(None)), np.random.default_rng(0)
    counts = []
    for _ in range(2000):
        state = sampler.sample(rng, 1, 16).state[0]
        counts.append(int((state[:, None] == few.state[:31]).all(-1).any(-1).sum()))
    assert set(counts) == {0, 1}
    expected = 16 * 30 / 1030
    assert abs(np.mean(counts) - expected) < 4 * np.sqrt(expected * (1 - expected) / 2000)


def test_every_arm_has_a_buffer_of_its_own_and_corrections_are_demonstrations_too(tmp_path) -> None:
    record(tmp_path, "demos0", 10, 0)
    record(tmp_path, "online0", 9, 1)
    record(tmp_path, "online1", 7, 2)  # of each, steps 3, 4 and 5 were a person's
    both = sources(tmp_path)
    count, online = both.poll()
    assert (count, sum(map(len, online)), both.demo_steps) == (26, 16, 10)
    assert [len(buffer) for buffer in both.sampler.buffers] == [16, 9, 7]
    assert both.arrivals == [["demo", 0, 0, 0, 10], ["online", 0, 0, 0, 9], ["online", 1, 0, 0, 7]]
    assert [buffer.capacity for buffer in both.online_buffers] == [200, 200]
    corrected = both.demo_buffer.action[both.demo_buffer.starts][10:]
    assert np.array_equal(corrected, np.concatenate([b.action[3:6] for b in both.online_buffers]))
    alone = sources(tmp_path, interventions=False)
    alone.poll()
    assert [len(buffer) for buffer in alone.sampler.buffers] == [10, 9, 7]


def test_the_recent_cost_is_that_of_the_policies_of_all_arms_and_of_no_person(tmp_path) -> None:
    record(tmp_path, "demos0", 30, 0)
    record(tmp_path, "online1", 8, 2)  # costs 0 … 7/8, of a person 3/8 to 5/8
    both = sources(tmp_path)
    both.poll()
    rng = np.random.default_rng(0)
    assert both.sampler.sample(rng, 1, 4).columns["recent_cost"].tolist() == [pytest.approx(0.4)]
    record(tmp_path, "online0", 4, 2)  # costs 0 … 3/4, of a person 3/4
    both.poll()
    assert both.sampler.sample(rng, 1, 4).columns["recent_cost"].tolist() == [pytest.approx((0.4 + 0.25) / 2)]


def test_demonstrations_that_do_not_fit_are_dropped_and_it_is_said_once(tmp_path, caplog) -> None:
    for number in range(3):
        record(tmp_path, "demos0", 20, number)
    small = sources(tmp_path, demo_capacity=50)
    small.poll()
    record(tmp_path, "demos0", 20, 4)
    small.poll()
    assert small.demo_steps == 80 and len(small.demo_buffer) < 50
    (message,) = caplog.messages
    assert "demo_capacity=50" in message


def test_the_largest_reward_is_of_either_sign_and_from_anywhere(tmp_path) -> None:
    both = sources(tmp_path)
    for handed, reward, largest in ((both.add, 0.25, 0.25), (both.add_demonstration, -3.0, 3.0), (both.add, 2.0, 3.0)):
        handed(transitions(3, reward=np.array([0.0, reward, 0.0], np.float32)))
        assert both.largest_reward == largest


def test_buffers_are_refilled_in_the_order_of_arrival_also_with_an_arm_more(tmp_path, caplog) -> None:
    first = sources(tmp_path)
    for number, name in enumerate(("online1", "demos0", "online0", "online1", "online0")):
        record(tmp_path, name, 8 + number, number)
        first.poll()
    assert [kind for kind, *_ in first.arrivals] == ["online", "demo", "online", "online", "online"]
    for arms in (2, 3):
        again = sources(tmp_path, online=arms)
        again.refill(tmp_path, first.arrivals, first.digests, first.relabels)
        assert caplog.messages == [] and again.arrivals == first.arrivals
        assert again.digests[:3] == first.digests
    fewer = sources(tmp_path, online=1)
    with pytest.raises(CheckpointError, match="online store number 2 of it is not given to this learner"):
        fewer.refill(tmp_path, first.arrivals, first.digests, first.relabels)


def test_steps_that_are_handed_over_are_the_first_arms(tmp_path) -> None:
    part = transitions(12)
    both = sources(tmp_path, online=0)
    both.add(part)
    assert len(both.online_buffers[0]) == 12
    assert len(both.demo_buffer) == int((part["source"] == Source.PERSON).sum()) > 0
