"""Replay: what comes out was put in, uniformly, and half of it is demonstrations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.data.replay import ReplayBuffer, SymmetricSampler
from tests.robot_rl.recording import transitions


def rows(buffer: ReplayBuffer) -> set[tuple]:
    """Every transition in a buffer, as comparable values."""
    starts = np.flatnonzero(buffer.starts)
    after = (starts + 1) % buffer.capacity
    return {
        (*buffer.state[i], *buffer.action[i], buffer.reward[i], buffer.mask[i], *buffer.state[j], buffer.cost[i])
        for i, j in zip(starts, after, strict=True)
    }


def expected(part) -> list[tuple]:
    mask = np.float32(1) - part.terminated
    return [
        (*part.state[i], *part.action[i], part.reward[i], mask[i], *part.state[i + 1], part.cost[i])
        for i in range(len(part))
    ]


@settings(deadline=None)
@given(st.integers(2, 40), st.lists(st.tuples(st.integers(1, 25), st.integers(0, 25)), min_size=1, max_size=12))
def test_the_ring_holds_the_newest_transitions_whole(capacity: int, episodes) -> None:
    buffer = ReplayBuffer(capacity, 5, 2)
    added: list[tuple] = []
    for number, (count, cut) in enumerate(episodes):
        part = transitions(count, seed=number, episode=number)
        for piece in (part.span(0, min(cut, count)), part.span(min(cut, count), count)):
            buffer.add(piece)
        added += expected(part)
    held = rows(buffer)
    assert len(held) == len(buffer) >= min(len(added), capacity // 2)
    assert held == set(added[len(added) - len(held) :])
    assert buffer.added == len(added)
    batch = buffer.sample(np.random.default_rng(0), 50)
    assert {(*s, *a, r, m, *n, c) for s, a, r, m, n, c in zip(*batch[:-1], strict=True)} <= held


def test_only_termination_masks() -> None:
    buffer = ReplayBuffer(20, 5, 2)
    buffer.add(transitions(4, episode=0, terminated=True))
    buffer.add(transitions(4, episode=1, terminated=False))
    assert buffer.mask[buffer.starts].tolist() == [1, 1, 1, 0, 1, 1, 1, 1]


def test_digest_does_not_depend_on_how_steps_arrive_but_on_their_order() -> None:
    whole, pieces, swapped = (ReplayBuffer(50, 5, 2) for _ in range(3))
    first, second = transitions(6, 0, 0), transitions(5, 1, 1)
    whole.add(first)
    whole.add(second)
    for piece in (first.span(0, 1), first.span(1, 4), first.span(4, 6), second.span(0, 5)):
        pieces.add(piece)
    swapped.add(second)
    swapped.add(first)
    assert whole.digests == pieces.digests != swapped.digests
    for name in ("state", "action", "reward", "mask", "cost", "starts"):
        assert np.array_equal(getattr(whole, name), getattr(pieces, name))


def test_sampling_is_uniform() -> None:
    buffer = ReplayBuffer(100, 5, 2)
    for number in range(5):
        buffer.add(transitions(4, number, number))
    draws = 20_000
    drawn = np.bincount(buffer.sample_rows(np.random.default_rng(0), draws), minlength=25)[buffer.starts[:25]]
    statistic = ((drawn - draws / 20) ** 2 / (draws / 20)).sum()
    assert len(drawn) == 20
    assert statistic < 43.8  # χ² with 19 degrees of freedom: 1 in 1000


def test_every_update_is_half_demonstrations() -> None:
    demo, online = ReplayBuffer(50, 5, 2), ReplayBuffer(50, 5, 2)
    sampler = SymmetricSampler(demo, online)
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="empty replay buffer"):
        sampler.sample(rng, 1, 4)
    demo.add(transitions(10, 0))
    assert sampler.sample(rng, 3, 8).state.shape == (3, 8, 5)
    online.add(transitions(10, 1))
    batch = sampler.sample(rng, 3, 8)
    assert [column.shape for column in batch] == [(3, 8, 5), (3, 8, 2), (3, 8), (3, 8), (3, 8, 5), (3, 8), (3,)]
    from_demo = (batch.state[:, :, None] == demo.state[:10]).all(-1).any(-1)
    assert from_demo.sum(axis=1).tolist() == [4, 4, 4]
    only_online = SymmetricSampler(ReplayBuffer(5, 5, 2), online).sample(rng, 2, 7)
    assert only_online.reward.shape == (2, 7)


def test_the_recent_cost_is_that_of_the_newest_steps_whatever_their_episodes() -> None:
    buffer = ReplayBuffer(30, 5, 2)
    assert buffer.recent_cost(4) == 0.0
    costs: list[float] = []
    for number in range(12):  # round the ring more than once, episodes of one step among them
        part = transitions(1 + number % 4, number, number)
        buffer.add(part)
        costs += part.cost.tolist()
        for count in (1, 3, 7):
            assert buffer.recent_cost(count) == pytest.approx(np.mean(costs[-count:]), rel=1e-6)
    online = SymmetricSampler(ReplayBuffer(5, 5, 2), buffer)
    assert (
        online.sample(np.random.default_rng(0), 2, 4).recent_cost.tolist() == [np.float32(buffer.recent_cost(256))] * 2
    )


def test_images_are_stored_once_per_observation() -> None:
    import dataclasses

    part = transitions(5)
    images = np.arange(6 * 2 * 3 * 3, dtype=np.uint8).reshape(6, 2, 3, 3)
    buffer = ReplayBuffer(6, 5, 2, {"wrist": (2, 3)})
    buffer.add(dataclasses.replace(part, images={"wrist": images}))
    assert np.array_equal(buffer.images["wrist"], images)


def test_a_sequence_of_draws_is_reproducible() -> None:
    buffer = ReplayBuffer(50, 5, 2)
    buffer.add(transitions(20))
    one, two = (buffer.sample(np.random.default_rng(3), 16) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
