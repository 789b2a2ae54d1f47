"""A writer killed with SIGKILL at random instants loses at most the step in flight.

The child writes one byte to a pipe after each `append` returned. Whatever the parent counted there must be in the
store afterwards, and at most one step more. A reader follows all the while and must see each step once.
"""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys

import numpy as np
import pytest

from robot_rl.contract import Ending
from robot_rl.data.store import EpisodeStore, StoreReader
from tests.robot_rl.recording import PIXELS

pytestmark = pytest.mark.timeout(600)
KILLS = 5
PATIENCE = 300.0  # [s] before the test gives up waiting; never what it measures
WRITER = """
import itertools, os, sys
from robot_rl.contract import Outcome
from robot_rl.data.store import EpisodeStore
from tests.robot_rl.recording import PIXELS, steps
store = EpisodeStore.create_or_open(sys.argv[1], PIXELS)
for seed in itertools.count(int(sys.argv[2])):
    writer = store.begin({"seed": seed})
    for step in steps(12, seed, Outcome.timeout(), PIXELS):
        writer.append(step)
        os.write(1, b".")
    writer.finish()
"""


def test_a_killed_writer_loses_at_most_the_step_in_flight(tmp_path) -> None:
    rng = random.Random(0)
    reader = StoreReader(tmp_path)
    acknowledged = stored = delivered = 0
    for run in range(KILLS):
        acknowledged += killed_writer(str(tmp_path), 1000 * run, rng.randint(1, 60), reader_of(reader, counts := []))
        delivered += sum(counts)
        with EpisodeStore.create_or_open(tmp_path, PIXELS) as store:
            infos = store.episodes()
            stored = sum(info.steps for info in infos)
            assert acknowledged <= stored <= acknowledged + 1, "a kill may lose the acknowledgement of one"
            acknowledged = stored
            assert all(info.ending in (Ending.TIMEOUT, Ending.ABORTED) for info in infos)
            for info in infos[-2:]:
                episode = store.load_episode(info.index)
                assert episode["truncated"][-1] and not episode["truncated"][:-1].any()
        delivered += sum(map(len, reader.poll().new))
        assert delivered == stored
    assert not [name for name in os.listdir(tmp_path / "episodes") if not name.endswith(".zarr")]


def reader_of(reader: StoreReader, counts: list[int]):
    """A function that polls and checks that steps arrive gaplessly."""
    expected = {"episode": -1, "next": 0}

    def poll() -> None:
        for part in reader.poll().new:
            if part.start:
                assert expected["episode"] in (-1, part.episode)
                assert expected["episode"] == -1 or part.start == expected["next"]
            expected.update(episode=part.episode, next=part.start + len(part))
            assert np.isfinite(part["pose"]).all()
            counts.append(len(part))

    return poll


def killed_writer(path: str, seed: int, kill_after: int, poll) -> int:
    """Run a writer until it has acknowledged ``kill_after`` steps, kill it, return how many it acknowledged."""
    child = subprocess.Popen([sys.executable, "-c", WRITER, path, str(seed)], stdout=subprocess.PIPE)
    try:
        count = 0
        while count < kill_after:
            ready, _, _ = select.select([child.stdout], [], [], PATIENCE)
            assert ready, f"the writer wrote nothing for {PATIENCE:g} s"
            data = os.read(child.stdout.fileno(), kill_after - count)
            assert data, f"the writer ended by itself with {child.wait()}"
            count += len(data)
            poll()
        child.send_signal(signal.SIGKILL)
        child.wait(PATIENCE)
        return count + len(child.stdout.read())  # what it acknowledged before the signal reached it
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
