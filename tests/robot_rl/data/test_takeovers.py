"""Cut at takeovers: what a person brings about after one is no reward of the policy's steps before it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.contract import Layout, Source
from robot_rl.data.episode import Correction, Transitions
from robot_rl.data.replay import Batch, ReplayBuffer, Sampler
from robot_rl.learner.algorithms import chunked, rlpd
from tests.robot_rl.recording import transitions

P, H = Source.POLICY, Source.PERSON
LAYOUT = Layout(5, 2)
#     step        0  1  2  3  4  5  6  7   the policy is taken over from after 1 and 5; the person lets go after 3
WHO = np.array([P, P, H, H, P, P, H, H], np.uint8)
REWARD = 2.0 ** np.arange(8, dtype=np.float32)
GAMMA, VALUE = 0.5, 1024.0  # of the targets by hand; Q̄ is the same everywhere


def episode(who: np.ndarray = WHO, number: int = 0, terminated: bool = True, **columns) -> Transitions:
    """Rewards of step k are 2^k."""
    rewards = {"reward": 2.0 ** np.arange(len(who), dtype=np.float32), "source": np.asarray(who, np.uint8)}
    return transitions(len(who), number, number, terminated, **(rewards | columns))


def held(part: Transitions, cut: bool = True, columns: tuple[str, ...] = ()) -> ReplayBuffer:
    buffer = ReplayBuffer(100, LAYOUT, columns, cut)
    buffer.add(part)
    return buffer


def windows(buffer: ReplayBuffer, horizon: int = 1) -> Batch:
    """Those from all steps, in order."""
    return buffer.read(np.flatnonzero(buffer.starts), horizon)


@pytest.mark.parametrize(("terminated", "end"), [(True, 0.0), (False, 1.0)])
def test_a_step_before_a_takeover_has_nothing_to_bootstrap_from(terminated: bool, end: float) -> None:
    """A person who lets go is no takeover, and a time limit that ends the person's own steps is none either."""
    part = episode(terminated=terminated)
    assert windows(held(part)).mask.tolist() == [1, 0, 1, 1, 1, 0, 1, end]
    assert windows(held(part, cut=False)).mask.tolist() == [1, 1, 1, 1, 1, 1, 1, end]


def test_it_is_known_once_the_person_s_first_step_is_there_however_steps_arrive() -> None:
    part, buffer = episode(), ReplayBuffer(100, LAYOUT, cut=True)
    masks = []
    for k in range(len(part)):
        buffer.add(part.span(k, k + 1))
        masks.append(windows(buffer).mask.tolist())
    assert masks[1] == [1, 1] and masks[2] == [1, 0, 1]
    assert masks[-1] == windows(held(part)).mask.tolist()


def test_a_run_that_begins_anew_is_no_takeover() -> None:
    """A person's correction among demonstrations follows on nothing, whatever lies before it in the buffer."""
    buffer = held(episode(np.array([P, P]), terminated=False))
    buffer.add(episode(np.array([H, H]), number=1))
    assert windows(buffer).mask.tolist() == [1, 1, 1, 0]


def test_chunks_end_at_a_takeover_that_they_straddle() -> None:
    """Windows of three steps, from each step on: how many of them count, and whether anything is behind."""
    whole = windows(held(episode()), 3)
    steps = whole.valid.sum(axis=1)
    #                            0: P P|H  1: P|H H  2: H H P  3: H P P|  4: P P|H  5: P|  6: H H.  7: H.
    assert steps.tolist() == [2, 1, 3, 3, 2, 1, 2, 1]
    assert whole.mask.tolist() == [0, 0, 1, 0, 0, 0, 0, 0]
    assert whole.reward.sum(axis=1).tolist() == [1 + 2, 2, 4 + 8 + 16, 8 + 16 + 32, 16 + 32, 32, 64 + 128, 128]
    assert not whole.action[whole.valid == 0.0].any()
    known = chunked.whole(jax.tree.map(jnp.asarray, whole))
    assert known.tolist() == [1] * 8, "the critics learn of windows that a takeover cuts as of those the task ends"
    limited = windows(held(episode(terminated=False)), 3)
    assert chunked.whole(jax.tree.map(jnp.asarray, limited)).tolist() == [1] * 6 + [0] * 2


def constant(members: int, inputs: int) -> dict[str, jax.Array]:
    """Critics that say `VALUE` of everything."""
    return {"w0": jnp.zeros((members, inputs, 1)), "b0": jnp.full((members, 1), VALUE)}


@pytest.mark.parametrize(("terminated", "end"), [(True, 0.0), (False, VALUE)])
def test_targets_of_single_steps_by_hand(terminated: bool, end: float) -> None:
    """y = r at a takeover and at the task's end, r + γ Q̄ elsewhere, at a time limit too."""
    config = rlpd.RlpdConfig(hidden=(4,), critics=2, discount=GAMMA)
    batch = windows(held(episode(terminated=terminated)))
    behind = np.array([VALUE, 0, VALUE, VALUE, VALUE, 0, VALUE, end])

    def target_of(batch: Batch) -> jax.Array:
        state = rlpd.create(jax.random.PRNGKey(0), LAYOUT, config)._replace(target_critics=constant(2, 7))
        return rlpd.critic_target(jax.random.PRNGKey(1), state, batch, config)

    target = jax.jit(target_of)(batch)
    np.testing.assert_allclose(target, REWARD + GAMMA * behind, rtol=1e-6)


def test_targets_of_chunks_by_hand() -> None:
    """y = Σ γ^k r up to the takeover and nothing behind it; γ³ Q̄ behind a window that no takeover cuts."""
    config = chunked.ChunkedConfig(horizon=3, hidden=(4,), discount=GAMMA, extraction="aloe", flow_steps=1)

    def target_of(batch: Batch) -> jax.Array:
        state = chunked.create(jax.random.PRNGKey(0), LAYOUT, config)
        state = state._replace(target_values=state.target_values._replace(critics=constant(2, 5 + 3 * 2)))
        return chunked.critic_target(jax.random.PRNGKey(1), state, batch, config)

    target = jax.jit(target_of)(windows(held(episode()), 3))
    expected = [1 + 1, 2, 4 + 4 + 4 + VALUE / 8, 8 + 8 + 8, 16 + 16, 32, 64 + 64, 128]
    np.testing.assert_allclose(target, expected, rtol=1e-6)


def test_the_policy_s_steps_before_a_takeover_are_no_examples() -> None:
    """The return of an episode that a person rescued is theirs, and the policy's after they have let go."""
    columns = ("example",)
    for cut, expected in ((True, [0, 0, 1, 1, 1]), (False, [1, 1, 1, 1, 1])):
        demos = held(episode(np.array([H, H, H]), number=7), cut, columns)
        online = held(episode(np.array([P, P, H, H, P]), number=0), cut, columns)
        batch = Sampler((demos, online), (0.5, 0.5)).sample(np.random.default_rng(0), 1, 200)
        example, step = batch.columns["example"][0], np.log2(batch.reward[0])
        assert [example[100:][step[100:] == k].mean() for k in range(5)] == expected
        assert example[:100].all()


def test_a_correction_that_ends_the_episode_before_the_takeover_undoes_it() -> None:
    """Success is said of step 1, so the person's steps do not count, and step 1 earned it by itself."""
    buffer = held(episode(np.array([P, P, H, H])), columns=("example",))
    assert buffer.rescued(np.flatnonzero(buffer.starts)).tolist() == [True, True, False, False]
    labels = {
        "reward": np.float32([0, 1, 0, 0]),
        "terminated": np.array([0, 1, 0, 0], bool),
        "truncated": np.zeros(4, bool),
        "counts": np.array([1, 1, 0, 0], bool),
    }
    buffer.correct(Correction("made up", 0, labels))
    rows = np.flatnonzero(buffer.starts)
    assert windows(buffer).mask.tolist() == [1, 0] and windows(buffer).reward.tolist() == [0, 1]
    assert buffer.rescued(rows).tolist() == [False, False]


@settings(deadline=None, max_examples=60)
@given(st.integers(4, 40), st.lists(st.integers(1, 12), min_size=1, max_size=6), st.integers(1, 5))
def test_only_takeovers_are_cut(capacity: int, lengths: list[int], horizon: int) -> None:
    """Whoever drove: windows are as without cuts, but that they end where a person takes over and bootstrap nothing."""
    cut, plain = (ReplayBuffer(capacity, LAYOUT, ("source",), cut=cut) for cut in (True, False))
    for number, count in enumerate(lengths):
        for buffer in (cut, plain):
            buffer.add(transitions(count, number, number, terminated=bool(number % 2)))
    rows = np.flatnonzero(cut.starts)
    got, as_were = cut.read(rows, horizon), plain.read(rows, horizon)
    for k, row in enumerate(rows):
        steps = int(np.atleast_1d(as_were.valid[k]).sum())
        who = plain.columns["source"][(row + np.arange(steps + 1)) % capacity]
        there = plain.starts[(row + np.arange(steps + 1)) % capacity]
        takeovers = [j for j in range(steps) if who[j] == P and there[j + 1] and who[j + 1] == H]
        kept = takeovers[0] + 1 if takeovers else steps
        assert np.atleast_1d(got.valid[k]).sum() == kept
        assert got.mask[k] == (0.0 if takeovers else as_were.mask[k])
        assert np.array_equal(np.atleast_1d(got.reward[k])[:kept], np.atleast_1d(as_were.reward[k])[:kept])
