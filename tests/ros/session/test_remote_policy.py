"""The arm on the graph driven by an openpi server, through our policy node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot_rl.contract import Ending
from robot_rl.policies import Served
from robot_rl.policies.wire.remote import make_remote
from robot_rl.ros.policy_node import PolicyNode
from robot_rl.session.config import SessionConfig
from tests.robot_rl.policies.wire.reaching import ROWS, straight, written
from tests.robot_rl.policies.wire.serving import openpi_server
from tests.ros.session.graph import TASK, Graph, patient


def asking(folder: Path, address: str) -> Any:
    return make_remote(Served("openpi", written(folder, address)), TASK, TASK.control_period, {})


def test_a_server_drives_the_arm_and_hears_what_to_do(
    ros: Any, graph: Callable[[SessionConfig], Graph], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(TASK), "instruction", "reach the ball")
    with openpi_server(straight) as server:
        running, policy = graph(patient()), asking(tmp_path, server.address)
        ros.add(PolicyNode(TASK, policy, (), None))
        ended, episode = running.run_episode()
        policy.close()
    assert ended.ending is Ending.SUCCESS
    assert not episode["late"].any()
    assert len(server.asked) == -(-ended.steps // ROWS), "one answer for so many control periods"
    assert {asked["prompt"] for asked in server.asked} == {"reach the ball"}


def test_an_answer_that_is_refused_leaves_the_arm_where_it_is(
    ros: Any, graph: Callable[[SessionConfig], Graph], tmp_path: Path
) -> None:
    """The second answer is none: the arm goes on with its plan to the end of it, holds, and asks anew."""

    def answer(asked: dict[str, Any]) -> Any:
        return {"actions": np.full((ROWS, 4), np.nan)} if len(server.asked) == 2 else straight(asked)

    with openpi_server(answer) as server:
        running = graph(patient(policy_wait=SessionConfig.policy_wait, policy_timeout=0.2))
        policy = asking(tmp_path, server.address)
        ros.add(PolicyNode(TASK, policy, (), None))
        ended, episode = running.run_episode()
        policy.close()
    assert ended.ending is Ending.SUCCESS
    held = np.flatnonzero(episode["late"])
    assert held.size
    assert not episode["action"][held].any()
