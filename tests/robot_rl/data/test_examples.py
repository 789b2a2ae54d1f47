"""Examples: which windows a minibatch says are worth imitating, by rewards of any kind, as they are labelled now."""

from __future__ import annotations

import numpy as np
import pytest

from robot_rl.contract import Layout
from robot_rl.data.episode import Correction, Transitions
from robot_rl.data.replay import ReplayBuffer, Sampler
from tests.robot_rl.recording import transitions

COLUMNS = ("example",)
COUNT = 6  # steps of an episode


def episode(number: int, rewards: list[float], store: str = "online", terminated: bool = True) -> Transitions:
    """Its state tells its number."""
    made = transitions(
        len(rewards),
        episode=number,
        terminated=terminated,
        reward=np.float32(rewards),
        state=np.full((len(rewards) + 1, 5), number, np.float32),
    )
    return Transitions(store, number, 0, made.columns)


class Drawn:
    """A sampler over demonstrations and online steps."""

    def __init__(self) -> None:
        self.demos, self.online = (ReplayBuffer(500, Layout(5, 2), COLUMNS) for _ in range(2))
        self.sampler = Sampler((self.demos, self.online), (0.5, 0.5))

    def examples(self) -> dict[int, set[float]]:
        """Episode → what windows of two steps of it are said to be."""
        batch = self.sampler.sample(np.random.default_rng(0), 4, 64, 2)
        assert batch.columns["example"].shape == (4, 64) and batch.columns["example"].dtype == np.float32
        found: dict[int, set[float]] = {}
        for number, example in zip(batch.state[..., 0].ravel(), batch.columns["example"].ravel(), strict=True):
            found.setdefault(int(number), set()).add(float(example))
        return found


def sparse(success: bool, count: int = COUNT) -> list[float]:
    return [0.0] * (count - 1) + [float(success)]


@pytest.mark.parametrize("online", [False, True])
def test_success_is_an_example_and_failures_and_time_limits_are_not(online: bool) -> None:
    """Beside demonstrations, or with most online episodes a success."""
    drawn = Drawn()
    kept = drawn.online if online else drawn.demos
    for number in range(3):
        kept.add(episode(number, sparse(True), "online" if online else "demos"))
    drawn.online.add(episode(10, sparse(True, 20)))
    drawn.online.add(episode(11, sparse(False)))
    drawn.online.add(episode(12, sparse(False), terminated=False))
    successes = {number: {1.0} for number in (0, 1, 2, 10)}
    assert drawn.examples() == successes | {11: {0.0}, 12: {0.0}}


def test_of_dense_rewards_what_returns_as_much_as_the_median_demonstration() -> None:
    """Returns −30, −60 and −90 of the demonstrations, all of which are examples; −60 is the median."""
    drawn = Drawn()
    for number, each in enumerate((-10.0, -20.0, -30.0)):
        drawn.demos.add(episode(number, [each] * 3, "demos"))
    for number, total in ((10, -59.0), (11, -60.0), (12, -61.0), (13, 5.0)):
        drawn.online.add(episode(number, [total, 0.0]))
    expected = {0: 1, 1: 1, 2: 1, 10: 1, 11: 1, 12: 0, 13: 1}
    assert drawn.examples() == {number: {float(value)} for number, value in expected.items()}


def test_an_episode_is_none_until_it_has_ended() -> None:
    drawn, whole = Drawn(), episode(10, [1.0, 0.0, 0.0, 1.0])
    drawn.demos.add(episode(0, sparse(True), "demos"))
    drawn.online.add(whole.span(0, 3))
    assert drawn.examples()[10] == {0.0}
    drawn.online.add(whole.span(3, 4))
    assert drawn.examples()[10] == {1.0}


def test_the_parts_that_a_person_steered_are_examples_but_set_no_standard() -> None:
    """Corrections among the demonstrations: their return is no episode's."""
    drawn, steered = Drawn(), episode(10, [0.0] * 5 + [9.0])
    drawn.demos.add(episode(0, sparse(True), "demos"))
    for first, last in ((0, 2), (3, 6)):
        drawn.demos.add(steered.span(first, last))
    drawn.online.add(episode(11, sparse(True)))
    assert drawn.examples() == {0: {1.0}, 10: {1.0}, 11: {1.0}}
    assert drawn.demos.returns.known.tolist() == [1.0]


def test_a_corrected_label_makes_an_example_and_takes_it_back() -> None:
    drawn = Drawn()
    drawn.demos.add(episode(0, sparse(True), "demos"))
    drawn.online.add(episode(10, sparse(False)))

    def relabel(rewards: list[float], ended: bool = True, counts: int = COUNT) -> None:
        ends = np.arange(COUNT) == counts - 1
        columns = {"reward": np.float32(rewards), "terminated": ends & ended, "truncated": np.zeros(COUNT, bool)}
        drawn.online.correct(Correction("online", 10, columns | {"counts": np.arange(COUNT) < counts}))

    assert drawn.examples()[10] == {0.0}
    relabel(sparse(True))
    assert drawn.examples()[10] == {1.0}
    relabel(sparse(True), ended=False)  # it goes on
    assert drawn.examples()[10] == {0.0}
    relabel([0.0, 0.0, 1.0, 0.0, 0.0, 0.0], counts=3)  # a success, earlier
    assert drawn.examples()[10] == {1.0}
    relabel([0.0, 0.0, 0.0, 1.0, 0.0, 0.0], counts=3)  # the reward came after it had failed
    assert drawn.examples()[10] == {0.0}


def test_many_episodes_in_turns_keep_their_own_returns() -> None:
    buffer = ReplayBuffer(2000, Layout(5, 2), COLUMNS)
    for number in range(200):
        buffer.add(episode(number, [float(number), 1.0]))
    rows = np.flatnonzero(buffer.starts)
    assert np.array_equal(buffer.returns_at(rows), buffer.state[rows, 0] + 1.0)
