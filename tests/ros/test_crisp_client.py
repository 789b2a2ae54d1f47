"""Our arm node, driven by crisp_py's own client over the topics of CRISP."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("franky_sim")
if importlib.util.find_spec("crisp_py") is None:
    pytest.skip("crisp_py is not installed (scripts/setup.sh does)", allow_module_level=True)

from controllers.spatial import Pose
from tests.contracts.arm_contract import ACCURACY
from tests.hardware.simulated import environment
from tests.ros.counterpart import Counterpart, counterpart

CLIENT = Path(__file__).with_name("crisp_client.py")
NAMESPACE = "left"


@pytest.fixture
def served() -> Iterator[Counterpart]:
    with counterpart(NAMESPACE) as served:
        yield served


@pytest.mark.timeout(300)
def test_a_client_of_crisp_drives_the_arm_node(served: Counterpart) -> None:
    before = served.world.read()
    client = subprocess.run(
        [sys.executable, str(CLIENT), NAMESPACE], capture_output=True, text=True, env=environment(), timeout=280
    )
    assert client.returncode == 0, client.stderr[-2000:]
    said = [json.loads(line) for line in client.stdout.splitlines() if line.startswith("{")]
    seen = {line["what"]: line for line in said}

    ready = seen["ready"]
    pose = Pose(np.array(ready["position"]), np.array(ready["quat_xyzw"]))
    assert np.abs(pose.difference(before.pose)).max() < ACCURACY
    np.testing.assert_allclose(ready["joints"], before.state.q, atol=0.02)
    assert np.abs(ready["twist"]).max() < 0.02, "it holds still until a target comes"
    for what in ("move_to", "set_target"):
        reached = np.linalg.norm(np.subtract(seen[what]["position"], seen[what]["target"]))
        assert reached < ACCURACY, what
    moved = np.subtract(seen["move_to"]["position"], ready["position"])
    assert np.linalg.norm(moved) > 0.03
    joints = seen["set_target_joint"]
    np.testing.assert_allclose(joints["joints"], joints["target"], atol=0.03)
    assert abs(joints["joints"][6] - seen["set_target"]["joints"][6]) > 0.1
