"""A learner process killed with SIGKILL at random instants, and resumed, is the learner that was never killed.

First on a store that is complete: what it has learnt in the end must be bit for bit what an undisturbed process learns
from the same store. Then on one that grows meanwhile: whatever the kills do to when its steps arrive, in the end all of
them have, each once, and have earned their updates.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from robot_rl.contract import Outcome
from robot_rl.data.store import EpisodeStore
from robot_rl.jobs.config import load_config
from robot_rl.jobs.learning import make_learner
from robot_rl.jobs.progress import schema_of
from robot_rl.jobs.run import Run
from robot_rl.tasks import make_task
from tests.processes.learning import LearnerProcess
from tests.robot_rl.recording import steps

pytestmark = pytest.mark.timeout(900)
START_AFTER, DEMOS, RECORDED, LIVE = 20, 30, 100, 24
CHECKPOINT = 4  # calls; divides every number of calls after which all is done
CONFIG = load_config(
    None,
    [
        "task=reach",
        f"learner.start_after={START_AFTER}",
        f"learner.checkpoint_every={CHECKPOINT}",
        "learner.publish_every=1",
        "learner.batch_size=8",
        "learner.imitate=50",
        "learner.settings.actor_width=8",
        "learner.settings.critic_width=8",
    ],
)


def run_with_stores(root: Path) -> Run:
    """Demonstrations and online episodes, both of them complete."""
    run = Run.create(CONFIG, root)
    record(run.demos, DEMOS, 10)
    record(run.online, RECORDED, 25)
    return run


def record(path: Path, count: int, length: int) -> None:
    schema = schema_of(make_task("reach"), CONFIG)
    with EpisodeStore.create_or_open(path, schema) as store:
        for seed in range(count // length):
            writer = store.begin()
            for step in steps(length, seed, schema=schema):
                writer.append(step)
            writer.finish()


@pytest.fixture
def learners(tmp_path: Path) -> Iterator[tuple[LearnerProcess, LearnerProcess]]:
    run = run_with_stores(tmp_path / "killed")
    shutil.copytree(run.root, tmp_path / "undisturbed")
    both = LearnerProcess(run), LearnerProcess(Run(tmp_path / "undisturbed"))
    yield both
    for learner in both:
        learner.end()


def test_a_learner_killed_at_random_instants_is_the_learner_that_was_not(
    learners: tuple[LearnerProcess, LearnerProcess],
) -> None:
    killed, undisturbed = learners
    rng = random.Random(0)
    calls = RECORDED - START_AFTER  # each step earns four critic updates: one call
    points = sorted(rng.sample(range(2, calls), 3))

    undisturbed.start()
    seen = []
    for number, point in enumerate(points):
        killed.start()  # it may have gone beyond the point before
        killed.wait(lambda number=number, point=point: len(killed.resumed) > number and killed.newest >= point)
        time.sleep(rng.uniform(0.0, 0.05))  # so that it is killed anywhere between two checkpoints
        seen.append(killed.newest)
        killed.kill()
    killed.start()
    for learner in (undisturbed, killed):
        learner.wait(lambda learner=learner: learner.newest == calls)
    undisturbed.end()
    ours, theirs = killed.checkpoint(), undisturbed.checkpoint()
    assert ours.meta == theirs.meta  # counters, arrivals, digests of the buffers, random state
    assert ours.leaves.keys() == theirs.leaves.keys()
    for name, leaf in ours.leaves.items():
        assert np.array_equal(leaf, theirs.leaves[name]), name
    assert killed.resumed[0] == 0
    assert all(now >= then for now, then in zip(killed.resumed[1:], seen, strict=True)), "nothing checkpointed is lost"

    total = RECORDED
    schema = schema_of(make_task("reach"), CONFIG)
    with EpisodeStore.create_or_open(killed.run.online, schema) as store:
        for part in range(3):
            writer, point = store.begin(), rng.randrange(2, 6)
            for number, step in enumerate(steps(LIVE // 3, 100 + part, Outcome.timeout(), schema)):
                writer.append(step)
                total += 1
                if part < 2 and number == point:
                    killed.kill()  # in the midst of an episode
                    killed.start()
            writer.finish()
            killed.wait(lambda total=total: killed.newest == total - START_AFTER)
    killed.end()
    found = killed.checkpoint()
    updates = 4 * (total - START_AFTER)
    assert found.meta["governor"] == {"received": total, "made": updates, "earned": updates}
    assert np.isfinite(list(found.meta["info"].values())).all()
    weights = [name for name, leaf in ours.leaves.items() if "actor" in name and leaf.ndim == 2]
    assert weights
    for name in weights:
        assert not np.array_equal(found.leaves[name], ours.leaves[name]), f"{name} learns on"
    afresh = make_learner(killed.run, CONFIG)
    afresh.poll()  # demonstrations, then all online steps in their order
    assert found.meta["digests"] == afresh.sources.digests
    assert found.meta["arrivals"] == afresh.sources.arrivals
    for kind, count in (("demo", DEMOS), ("online", total)):
        assert sum(steps for name, _, _, _, steps in found.meta["arrivals"] if name == kind) == count
