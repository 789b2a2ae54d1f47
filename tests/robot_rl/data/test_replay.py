"""Replay: what comes out was put in, uniformly, and half of it is demonstrations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.contract import Layout, Source
from robot_rl.data.replay import ReplayBuffer, Sampler
from tests.robot_rl.recording import transitions, with_columns

LAYOUT = Layout(5, 2)
EVERY = ("cost", "recent_cost", "previous_action")


def rows(buffer: ReplayBuffer) -> set[tuple]:
    """Every transition in a buffer, as comparable values."""
    starts = np.flatnonzero(buffer.starts)
    after = (starts + 1) % buffer.capacity
    return {
        (
            *buffer.state[i],
            *buffer.action[i],
            buffer.reward[i],
            buffer.mask[i],
            *buffer.state[j],
            buffer.columns["cost"][i],
        )
        for i, j in zip(starts, after, strict=True)
    }


def expected(part) -> list[tuple]:
    mask, state = np.float32(1) - part["terminated"], part["state"]
    return [
        (*state[i], *part["action"][i], part["reward"][i], mask[i], *state[i + 1], part["cost"][i])
        for i in range(len(part))
    ]


@settings(deadline=None)
@given(st.integers(2, 40), st.lists(st.tuples(st.integers(1, 25), st.integers(0, 25)), min_size=1, max_size=12))
def test_the_ring_holds_the_newest_transitions_whole(capacity: int, episodes) -> None:
    buffer = ReplayBuffer(capacity, LAYOUT, ("cost",))
    added: list[tuple] = []
    for number, (count, cut) in enumerate(episodes):
        part = transitions(count, seed=number, episode=number)
        for piece in (part.span(0, min(cut, count)), part.span(min(cut, count), count)):
            buffer.add(piece)
        added += expected(part)
    held = rows(buffer)
    assert len(held) == len(buffer) >= min(len(added), capacity // 2)
    assert held == set(added[len(added) - len(held) :])
    assert buffer.dropped == len(added) - len(buffer)
    batch = buffer.sample(np.random.default_rng(0), 50)
    drawn = zip(*batch[:5], batch.columns["cost"], strict=True)
    assert {(*s, *a, r, m, *n, c) for s, a, r, m, n, c in drawn} <= held


def test_only_termination_masks() -> None:
    buffer = ReplayBuffer(20, LAYOUT)
    buffer.add(transitions(4, episode=0, terminated=True))
    buffer.add(transitions(4, episode=1, terminated=False))
    assert buffer.mask[buffer.starts].tolist() == [1, 1, 1, 0, 1, 1, 1, 1]


def test_digest_does_not_depend_on_how_steps_arrive_but_on_their_order() -> None:
    whole, pieces, swapped = (ReplayBuffer(50, LAYOUT, ("cost",)) for _ in range(3))
    first, second = transitions(6, 0, 0), transitions(5, 1, 1)
    whole.add(first)
    whole.add(second)
    for piece in (first.span(0, 1), first.span(1, 4), first.span(4, 6), second.span(0, 5)):
        pieces.add(piece)
    swapped.add(second)
    swapped.add(first)
    assert whole.digests == pieces.digests != swapped.digests
    for name in ("state", "action", "reward", "mask", "starts"):
        assert np.array_equal(getattr(whole, name), getattr(pieces, name))
    assert np.array_equal(whole.columns["cost"], pieces.columns["cost"])


def test_sampling_is_uniform() -> None:
    buffer = ReplayBuffer(100, LAYOUT)
    for number in range(5):
        buffer.add(transitions(4, number, number))
    draws = 20_000
    drawn = np.bincount(buffer.sample_rows(np.random.default_rng(0), draws), minlength=25)[buffer.starts[:25]]
    statistic = ((drawn - draws / 20) ** 2 / (draws / 20)).sum()
    assert len(drawn) == 20
    assert statistic < 43.8  # χ² with 19 degrees of freedom: 1 in 1000


def test_every_update_is_half_demonstrations() -> None:
    demo, online = (ReplayBuffer(50, LAYOUT, EVERY) for _ in range(2))
    sampler = Sampler((demo, online), (0.5, 0.5))
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="empty replay buffer"):
        sampler.sample(rng, 1, 4)
    demo.add(transitions(10, 0))
    assert sampler.sample(rng, 3, 8).state.shape == (3, 8, 5)
    online.add(transitions(10, 1))
    batch = sampler.sample(rng, 3, 8)
    shapes = [(3, 8, 5), (3, 8, 2), (3, 8), (3, 8), (3, 8, 5), (3, 8)]
    assert [column.shape for column in batch[:-1] if column is not None] == shapes
    more = {"cost": (3, 8), "recent_cost": (3,), "previous_action": (3, 8, 2)}
    assert {name: column.shape for name, column in batch.columns.items()} == more
    from_demo = (batch.state[:, :, None] == demo.state[:10]).all(-1).any(-1)
    assert from_demo.sum(axis=1).tolist() == [4, 4, 4]
    only_online = Sampler((ReplayBuffer(5, LAYOUT, EVERY), online), (0.5, 0.5)).sample(rng, 2, 7)
    assert only_online.reward.shape == (2, 7)


def test_the_recent_cost_is_that_of_the_newest_steps_of_a_policy_whatever_their_episodes() -> None:
    buffer = ReplayBuffer(400, LAYOUT, ("recent_cost",))
    assert np.isnan(buffer.recent_cost)
    costs: list[float] = []
    for number in range(24):  # round the ring, episodes of one step among them
        part = transitions(1 + 10 * (number % 4), number, number)
        buffer.add(part)
        costs += part["cost"][part["source"] == Source.POLICY].tolist()
        assert buffer.recent_cost == pytest.approx(np.mean(costs[-256:]) if costs else np.nan, rel=1e-6, nan_ok=True)
    assert len(costs) > 256
    online = Sampler((ReplayBuffer(5, LAYOUT, ("recent_cost",)), buffer), (0.5, 0.5))
    batch = online.sample(np.random.default_rng(0), 2, 4)
    assert batch.columns["recent_cost"].tolist() == [np.float32(buffer.recent_cost)] * 2


def test_images_are_stored_once_per_observation() -> None:
    part = transitions(5)
    images = np.arange(6 * 2 * 3 * 3, dtype=np.uint8).reshape(6, 2, 3, 3)
    buffer = ReplayBuffer(6, Layout(5, 2, {"wrist": (2, 3)}))
    buffer.add(with_columns(part, **{"image/wrist": images}))
    assert np.array_equal(buffer.images["wrist"], images)


def test_a_sequence_of_draws_is_reproducible() -> None:
    buffer = ReplayBuffer(50, LAYOUT)
    buffer.add(transitions(20))
    one, two = (buffer.sample(np.random.default_rng(3), 16) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(one[:-1], two[:-1], strict=True))


@settings(deadline=None)
@given(st.integers(4, 40), st.lists(st.integers(1, 12), min_size=1, max_size=8), st.integers(2, 6))
def test_windows_stop_where_their_run_stops(capacity: int, lengths: list[int], horizon: int) -> None:
    buffer = ReplayBuffer(capacity, LAYOUT, ("previous_action",))
    runs = [transitions(n, seed=i, episode=i, terminated=bool(i % 2)) for i, n in enumerate(lengths)]
    for run in runs:
        buffer.add(run)
    batch = buffer.sample(np.random.default_rng(0), 60, horizon)
    for k in range(60):
        found = [
            (run, int(at[0])) for run in runs if len(at := np.flatnonzero((run["state"][:-1] == batch.state[k]).all(1)))
        ]
        ((run, first),) = found
        steps = min(horizon, len(run) - first)
        end = first + steps
        assert batch.valid[k].tolist() == [1.0] * steps + [0.0] * (horizon - steps)
        assert np.array_equal(batch.action[k, :steps], run["action"][first:end]) and not batch.action[k, steps:].any()
        assert np.array_equal(batch.reward[k, :steps], run["reward"][first:end]) and not batch.reward[k, steps:].any()
        assert np.array_equal(batch.next_state[k], run["state"][end])
        assert batch.mask[k] == 1.0 - run["terminated"][end - 1]
        known = [run["action"][first]] + [run["action"][first - 1]] * (first > 0)  # the step before may be overwritten
        assert any(np.array_equal(batch.columns["previous_action"][k], action) for action in known)


def test_the_previous_action_is_the_one_before_in_the_same_run() -> None:
    buffer = ReplayBuffer(50, LAYOUT, ("previous_action",))
    runs = [transitions(5, seed=i, episode=i) for i in range(2)]
    for run in runs:
        buffer.add(run)
    batch = buffer.sample(np.random.default_rng(0), 100)
    for run in runs:
        for k in range(5):
            drawn = (batch.state == run["state"][k]).all(axis=1)
            assert drawn.any() and (batch.columns["previous_action"][drawn] == run["action"][max(k - 1, 0)]).all()


def test_shares_follow_the_weights() -> None:
    buffers = [ReplayBuffer(50, LAYOUT) for _ in range(3)]
    for number in (0, 2):
        buffers[number].add(transitions(10, number))
    batch = Sampler(buffers, (3.0, 5.0, 1.0)).sample(np.random.default_rng(0), 2, 16)
    counts = [(batch.state[:, :, None] == buffer.state[:10]).all(-1).any(-1).sum(axis=1).tolist() for buffer in buffers]
    assert counts == [[12, 12], [0, 0], [4, 4]], "the share of the empty one goes to the others"
    with pytest.raises(ValueError, match="positive weights"):
        Sampler(buffers, (1.0, 0.0, 1.0))
