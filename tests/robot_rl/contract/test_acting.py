"""The attributes of a policy are checked, and it is warm before it acts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from robot_rl.contract import ActionChunk, ContractError, Memory, Observation, Policy, check_policy, warm_up
from tests.robot_rl.acting import Decides


def seen(seq: int) -> Observation:
    return Observation(100 * seq, seq, np.zeros(2, np.float32))


def still(observation: Observation) -> ActionChunk:
    return ActionChunk(observation.stamp_ns, np.zeros((1, 2)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"history": 0}, "history=0 must be from 1"),
        ({"history": 33}, "history=33 must be"),
        ({"horizon": 0}, "horizon=0"),
        ({"horizon": 101}, "horizon=101 must be from 1 to 100"),
        ({"rate": 1.0}, "rate=1.0 must be from 2 to 100 Hz"),
        ({"rate": float("nan")}, "rate=nan"),
    ],
)
def test_a_policy_out_of_bounds_is_refused_by_name(changes: dict, words: str) -> None:
    class Wrong(Policy):
        def act(self, observations: Sequence[Observation]) -> ActionChunk:
            return still(observations[-1])

    policy = Wrong()
    check_policy(policy)
    policy.__dict__.update(changes)
    with pytest.raises(ContractError, match=f"policy Wrong: {words}"):
        check_policy(policy)


def test_a_policy_begins_with_each_episode_and_with_another_policy() -> None:
    memory, one, two = Memory(), Decides(still), Decides(still, history=2)
    for seq, episode in ((1, 0), (2, 0), (3, 1)):
        memory.see(one, seen(seq), episode, "do it")
    assert one.began == ["do it"] * 2
    memory.see(two, seen(4), 1, "do it")
    memory.ask(two)
    assert two.began == ["do it"]
    assert [each.seq for each in two.handed[-1]] == [3, 4], "what was seen of the episode remains"
    memory.see(two, seen(1), 1, "again")
    assert two.began == ["do it", "again"], "numbers that begin anew are another session's"


def test_a_policy_is_warm_before_it_acts() -> None:
    policy = Decides(still, history=3)
    warm_up(policy, 2, {"wrist": (4, 6)}, "do it")
    ((first, _, last),) = policy.handed
    assert policy.began == ["do it"]
    assert first.state.tolist() == last.state.tolist() == [0.0, 0.0]
    assert last.images["wrist"].shape == (4, 6, 3) and last.images["wrist"].dtype == np.uint8
