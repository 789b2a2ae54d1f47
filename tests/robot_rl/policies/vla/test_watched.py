"""Windows of what a SmallVLA watched, by hand, at ends of all kinds."""

from __future__ import annotations

import numpy as np
import torch

from robot_rl.data.episode import Correction
from robot_rl.policies.vla.watched import Watched, contexts, table


def watched(steps: int, ended: bool = True, tokens: int = 3, shown: bool = False) -> Watched:
    """An episode that pays 1 with its last step; observations and actions are numbered."""
    reward = np.zeros(steps, np.float32)
    reward[-1] = float(ended)
    return Watched(
        store="s",
        number=0,
        shown=shown,
        tokens=torch.arange(steps + 1).half()[:, None, None].expand(-1, tokens, 2),
        counts=torch.ones(tokens, dtype=torch.bool),
        seen=np.arange(steps + 1, dtype=np.float32)[:, None],
        action=np.arange(steps, dtype=np.float32)[:, None] + 1.0,
        reward=reward,
        terminated=reward > 0.0,
        counted=np.ones(steps, bool),
        by_person=np.zeros(steps, bool),
        proposed=np.zeros((steps + 1, 2, 2), np.float32),
        age=np.full(steps + 1, -1),
    )


def test_windows_go_to_the_end_of_a_task_and_not_beyond() -> None:
    found = table([watched(3)], executed=2, horizon=3, discount=0.5)
    assert found.first.tolist() == [0, 1, 2] and found.last.tolist() == [2, 3, 3]
    assert found.mask.tolist() == [1.0, 0.0, 0.0]
    assert found.valid.tolist() == [[1, 1], [1, 1], [1, 0]]
    assert found.action[..., 0].tolist() == [[1, 2], [2, 3], [3, 0]]
    assert found.reward.tolist() == [[0, 0], [0, 1], [1, 0]]
    assert found.chunk[0, :, 0].tolist() == [1, 2, 3] and found.within[1].tolist() == [1, 1, 0]
    assert found.returned.tolist() == [0.25, 0.5, 1.0]
    assert found.then_seen[:, 0].tolist() == [2.0, 3.0, 3.0]


def test_a_time_limit_leaves_a_window_open_and_cuts_the_last_one_short() -> None:
    found = table([watched(3, ended=False)], executed=2, horizon=2, discount=0.5)
    assert found.mask.tolist() == [1.0, 1.0, 1.0]
    assert found.valid.tolist() == [[1, 1], [1, 1], [1, 0]]
    assert found.returned.tolist() == [0.0] * 3


def test_a_correction_moves_the_end_and_steps_behind_it_are_gone() -> None:
    one = watched(4)
    labels = {
        "reward": np.array([0.0, 1.0, 0.0, 1.0]),  # what the episode returned before is still there
        "terminated": np.array([False, True, False, False]),
        "truncated": np.zeros(4, bool),
        "counts": np.array([True, True, False, False]),
    }
    one.correct(Correction("s", 0, labels))
    found = table([one], executed=3, horizon=4, discount=0.5)
    assert found.first.tolist() == [0, 1] and found.last.tolist() == [2, 2]
    assert found.mask.tolist() == [0.0, 0.0]
    assert found.reward.tolist() == [[0, 1, 0], [1, 0, 0]]
    assert found.within.tolist() == [[1, 1, 0, 0], [1, 0, 0, 0]]
    assert found.returned.tolist() == [0.5, 1.0]


def test_what_a_person_drives_counts_as_shown() -> None:
    one, other = watched(3), watched(2, shown=True)
    one.by_person[1] = True
    found = table([one, other], executed=2, horizon=2, discount=0.9)
    assert found.shown.tolist() == [False, True, False, True, True]
    assert found.episode.tolist() == [0, 0, 0, 1, 1]


def test_contexts_of_episodes_with_more_and_fewer_words_stand_side_by_side() -> None:
    episodes = [watched(3), watched(2, tokens=5)]
    found = contexts(episodes, np.array([1, 0]), np.array([2, 3]))
    assert found.counts.tolist() == [[True] * 5, [True, True, True, False, False]]
    assert found.tokens[0].unique().tolist() == [2.0] and found.tokens[1, :3].unique().tolist() == [3.0]
