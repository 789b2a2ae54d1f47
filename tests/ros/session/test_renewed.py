"""A policy that is another than before: new parameters, another process, and one that is not there yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot_rl.contract import ActionChunk, Observation, Policy
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.processes import policy as process
from robot_rl.jobs.run import Run
from robot_rl.ros.parameter_node import ParameterNode
from robot_rl.ros.policy_node import PolicyNode
from robot_rl.session.config import SessionConfig
from tests.robot_rl.acting import Counted, Decides
from tests.ros.session.graph import TASK, Graph, patient

ROWS = 4


def still(version: int, rows: int = ROWS) -> Decides:
    return Decides(lambda seen: ActionChunk(seen.stamp_ns, np.zeros((rows, 3)), version))


@pytest.mark.parametrize("chunks", ["splice", "wait", "rtc"])
def test_new_parameters_act_from_the_next_chunk_on(
    ros: Any, graph: Callable[[SessionConfig], Graph], chunks: str
) -> None:
    learner = ParameterNode()
    ros.add(learner)
    policies: list[Decides] = []

    def load(data: bytes) -> Policy:
        policies.append(still(int(data)))
        return policies[-1]

    ros.add(PolicyNode(TASK, still(0), (), load, planned=chunks == "rtc"))
    learner.publish(b"1")
    ros.spin_until(lambda: policies)
    first, renewed = policies[0], False
    act = first.act

    def noted(observations: Sequence[Observation]) -> ActionChunk:
        nonlocal renewed
        chunk = act(observations)
        if len(first.handed) == 2:
            learner.publish(b"2")
            renewed = True
        return chunk

    first.act = noted  # type: ignore[method-assign]
    running = graph(patient(chunks=chunks, horizon=16))
    running.awaits = lambda: renewed and len(policies) < 2
    _, episode = running.run_episode()
    stamps, versions = episode["stamp_ns"].tolist(), episode["version"].tolist()
    asked = [handed[-1].stamp_ns for policy in policies for handed in policy.handed]
    borders = {stamps.index(stamp) for stamp in asked if stamp in stamps}
    changed = [step for step in range(1, len(versions)) if versions[step] != versions[step - 1]]
    assert versions == sorted(versions) and set(versions) == {1, 2}
    assert set(changed) <= borders, "not in the midst of one"


def test_the_first_answer_of_another_process_is_not_timed(ros: Any, graph: Callable[[SessionConfig], Graph]) -> None:
    running = graph(patient(horizon=5))
    node = PolicyNode(TASK, still(1, rows=1), (), None)
    ros.add(node)
    running.run_episode()
    assert running.session.timing()["answers"] == 4
    ros.end(node)
    ros.spin_until(lambda: not running.session.ready)
    later = running.world.time + 1.0
    ros.spin_until(lambda: running.world.time > later)
    ros.add(PolicyNode(TASK, still(1, rows=1), (), None))
    before = len(running.ended)
    ros.spin_until(lambda: len(running.ended) > before)
    ended = [episode.steps for episode in running.ended]
    assert running.session.timing()["answers"] == sum(ended) - 2


def test_a_policy_has_been_asked_before_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = RunConfig(task="reach", policy="tests.robot_rl.acting:Counted")
    asked: list[int] = []

    def made(*arguments: Any) -> PolicyNode:
        asked.append(Counted.asked)
        return PolicyNode(*arguments)

    monkeypatch.setattr(process, "PolicyNode", made)
    monkeypatch.setattr(process, "spin", lambda node, stop: None)
    monkeypatch.setattr(Counted, "asked", 0)
    assert process.main(Run.create(config, tmp_path), config, "eval") == 0
    assert asked == [1]
