"""How rclpy is started: what messages travel by."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from hardware.ros.runtime import PROFILES

NODE = """
from pathlib import Path
from rclpy.node import Node
from hardware.ros.runtime import ros
with ros():
    node = Node("one")
    print("fastdds_port" in Path("/proc/self/maps").read_text())
    node.destroy_node()
"""


@pytest.mark.parametrize(("chosen", "shared"), [(None, "False"), ("", "True")])
def test_no_message_comes_by_shared_memory_unless_the_environment_says_so(chosen: str | None, shared: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != PROFILES}
    if chosen is not None:
        environment[PROFILES] = chosen
    told = subprocess.run([sys.executable, "-c", NODE], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.split() == [shared]
