"""Where chunks meet: jumps of what is commanded are measured, and bounded whatever policy and latency do."""

from __future__ import annotations

import itertools
import typing
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from controllers.spatial import Pose
from controllers.state import TICK, EventKind
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.contract import ActionChunk, Observation, Step
from robot_rl.session.borders import Borders, Jump
from robot_rl.session.config import Joining, SessionConfig
from tests.robot_rl.acting import Decides
from tests.robot_rl.session.slow import Bench

PERIOD = 0.1
ROUNDING = 1e-9


def at(x: float, turn: float = 0.0) -> Pose:
    return Pose.from_rotvec(np.array([x, 0.0, 0.5]), np.array([0.0, 0.0, turn]))


def test_only_where_another_chunk_takes_over_is_a_border() -> None:
    borders = Borders(PERIOD)
    for x, chunk in ((0.0, None), (0.0, None), (0.01, 1), (0.03, 1), (0.05, 1)):
        borders.commanded(at(x), chunk)
    assert borders.count == 1 and borders.last is None
    np.testing.assert_allclose(borders.largest, Jump(0.01, 0.0, 0.1, 0.0), atol=1e-9)
    borders.commanded(at(0.04, turn=0.2), 2)
    assert borders.count == 2 and borders.last == pytest.approx(Jump(0.01, 0.2, 0.3, 2.0))
    assert borders.largest == pytest.approx(Jump(0.01, 0.2, 0.3, 2.0))
    borders.commanded(at(0.04, turn=0.2), None)
    assert borders.count == 3, "to hold is one, too"


def test_after_a_person_or_at_an_episodes_begin_there_is_none() -> None:
    borders = Borders(PERIOD)
    borders.commanded(at(0.0), 1)
    borders.interrupt()
    borders.commanded(at(0.5), 2)
    assert borders.count == 0 and borders.largest == Jump()


class Traced:
    """The commands of ``world`` in each millisecond of the episodes: the controller's reference."""

    def __init__(self, running: Bench) -> None:
        self.turns: list[float] = []
        self.ways: list[float] = []
        self._world, self._session = running.world, running.session
        self._advance = running.world.advance
        self._last: Pose | None = None
        running.world.advance = self._each_tick  # type: ignore[method-assign]

    def _each_tick(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK)):
            self._advance(TICK)
            target = self._world.read().target
            if self._last is not None and self._session.running:
                moved = target.difference(self._last)
                self.ways.append(float(np.linalg.norm(moved[:3])))
                self.turns.append(float(np.linalg.norm(moved[3:])))
            self._last = target


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(latencies: Iterator[float], config: SessionConfig) -> Bench:
        made.append(Bench(latencies, config))
        return made[-1]

    yield make
    for each in made:
        each.world.disconnect()


def wilful(rng: np.random.Generator) -> Decides:
    """Each of its chunks pushes as hard as it can into another corner."""

    def decide(seen: Observation) -> ActionChunk:
        corner = np.where(rng.uniform(size=3) < 0.5, -1.0, 1.0)
        return ActionChunk(seen.stamp_ns, np.tile(corner, (int(rng.integers(1, 40)), 1)), version=1)

    return Decides(decide)


def commands_of(world: InProcessWorld) -> list[EventKind]:
    return [event.kind for event in world.events()]


@pytest.mark.parametrize(("seed", "chunks"), list(enumerate(typing.get_args(Joining))))
def test_neither_a_first_inference_of_five_seconds_nor_jitter_makes_the_command_jump(
    bench, seed: int, chunks: Joining
) -> None:
    rng = np.random.default_rng(seed)
    latencies = itertools.chain([5.0], (float(rng.uniform(0.0, 2.0)) for _ in itertools.count()))
    running = bench(latencies, SessionConfig(chunks=chunks, horizon=120, late_limit=30.0))
    traced, controller = Traced(running), running.world.config
    episodes = running.run(wilful(rng), 2)
    assert all(len(episode.steps) == 120 for episode in episodes)
    assert EventKind.SETPOINT_REJECTED not in commands_of(running.world)

    acted = [step for episode in episodes for step in episode.steps if not step.timing.late]
    assert len(acted) > 40
    scale = np.linalg.norm(running.task.action.scale)
    for step in acted:
        assert np.abs(step.policy_action).max() <= 1.0
        outside = running.task.workspace.clip(step.reading.pose).difference(step.reading.pose)
        reach = scale + np.linalg.norm(outside[:3])
        assert np.linalg.norm(step.target.difference(step.reading.pose)[:3]) <= reach + ROUNDING

    assert max(traced.ways) <= controller.max_speed * TICK + ROUNDING, "the reference goes, and never jumps"
    assert max(traced.turns) <= controller.max_turn_speed * TICK + ROUNDING
    borders = running.session.policy.borders
    assert borders.count >= 8
    ways = [way for episode in episodes for way in ways_of(episode.steps)]
    assert borders.largest.way <= max(ways) + ROUNDING
    assert borders.largest.speed <= 2.0 * max(ways) / PERIOD + ROUNDING
    steps = [step for episode in episodes for step in episode.steps]
    leads = max(np.linalg.norm(step.target.difference(step.reading.pose)[:3]) for step in steps)
    moved = max(np.linalg.norm(step.next_reading.pose.difference(step.reading.pose)[:3]) for step in steps)
    assert max(ways) <= 2.0 * leads + moved + ROUNDING


def ways_of(steps: list[Step]) -> list[float]:
    """From each target to the next [m]."""
    pairs = itertools.pairwise(step.target for step in steps)
    return [float(np.linalg.norm(after.difference(before)[:3])) for before, after in pairs]
