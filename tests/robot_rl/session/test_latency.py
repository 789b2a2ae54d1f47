"""A policy that takes its time and is spliced: what acts, when it is asked, and that no control period is stretched."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from controllers.core import ControllerConfig
from hardware.interfaces import TeleopCommand
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.contract import ActionChunk, ContractError, Ending, Observation, Policy, Reading, Source
from robot_rl.session.config import SessionConfig
from robot_rl.session.directive import EpisodeSummary, Phase
from robot_rl.session.in_process import Rollout
from robot_rl.session.session import Session
from robot_rl.tasks.base import Task, check_rate, expert_of
from robot_rl.tasks.reach import Reach
from tests.robot_rl.acting import Decides
from tests.robot_rl.session.slow import Bench
from tests.robot_rl.session_bench import UP, Recorded


class Clock(Policy):
    """Says of each action when it is due: the robot time [s] since the episode's first observation, over ten."""

    def __init__(self, rows: int, period: float) -> None:
        self._rows, self._period = rows, period
        self._first = 0

    def begin(self, instruction: str) -> None:
        self._first = 0

    def act(self, observations: Sequence[Observation]) -> ActionChunk:
        stamp = observations[-1].stamp_ns
        self._first = self._first or stamp
        actions = np.zeros((self._rows, 3), np.float32)
        actions[:, 0] = 0.1 * ((stamp - self._first) * 1e-9 + self._period * np.arange(self._rows))
        return ActionChunk(stamp, actions, version=1)


class FastReach(Reach):
    rate: ClassVar[float] = 20.0
    horizon: ClassVar[int] = 100
    instruction: ClassVar[str] = "reach the ball"


@pytest.fixture
def bench() -> Iterator[type]:
    made: list[Bench] = []

    def make(latency: float | Iterator[float], config: SessionConfig, task: Task | None = None, person=None) -> Bench:
        made.append(Bench(latency, replace(config, chunks="splice"), task, person))
        return made[-1]

    yield make
    for each in made:
        each.world.disconnect()


def check_timing(episode: Recorded, period: float) -> list[bool]:
    """Which steps were late; the others acted at their time, and all steps lie on the grid of robot time."""
    stamps = [step.reading.stamp_ns for step in episode.steps]
    assert np.diff(stamps).tolist() == [round(period * 1e9)] * (len(stamps) - 1)
    late = [step.timing.late for step in episode.steps]
    for step, is_late in zip(episode.steps, late, strict=True):
        assert step.timing.version == (-1 if is_late else 1)
        if not is_late and step.source is Source.POLICY:
            due = (step.reading.stamp_ns - stamps[0]) * 1e-9
            assert 10.0 * step.policy_action[0] == pytest.approx(due, abs=1e-4)
    return late


@pytest.mark.parametrize(("latency", "held"), [(0.0, 0), (0.05, 0), (0.07, 1), (0.3, 3), (0.7, 7)])
def test_only_the_beginning_waits_for_a_slow_policy(bench, latency: float, held: int) -> None:
    only_the_beginning_waits(bench, Reach(), latency, held)


@pytest.mark.parametrize(("latency", "held"), [(0.0, 0), (0.049, 0), (0.05, 1), (0.07, 1), (0.3, 6), (0.7, 14)])
def test_at_20_hz_too(bench, latency: float, held: int) -> None:
    only_the_beginning_waits(bench, FastReach(), latency, held)


def only_the_beginning_waits(bench, task: Task, latency: float, held: int) -> None:
    running = bench(latency, SessionConfig(horizon=60), task)
    episodes = running.run(Clock(40, task.control_period), 2)
    for episode in episodes:
        late = check_timing(episode, task.control_period)
        assert np.flatnonzero(late).tolist() == list(range(held))
        assert len(late) == 60
    assert all(ended.duration == pytest.approx(60 * task.control_period) for ended in running.ended)
    assert running.session.policy.dropped_answers <= 2, "of requests that the end of an episode has overtaken"
    assert (running.session.policy.late_actions > 0) == (held > 0)


@pytest.mark.parametrize("seed", range(5))
def test_latencies_of_all_sizes_make_no_action_act_at_a_wrong_time(bench, seed: int) -> None:
    rng = np.random.default_rng(seed)
    latencies = (float(rng.uniform(0.0, 2.0)) for _ in itertools.count())
    running = bench(latencies, SessionConfig(horizon=80, late_limit=10.0))
    for episode in running.run(Clock(int(rng.integers(5, 60)), 0.1), 2):
        assert not all(check_timing(episode, 0.1))


def test_a_chunk_too_short_for_its_latency_acts_between_holds(bench) -> None:
    running = bench(0.7, SessionConfig(horizon=50, late_limit=1.0))
    (episode, *_) = running.run(Clock(10, 0.1), 1)
    late = check_timing(episode, 0.1)
    assert late[:7] == [True] * 7
    assert late[7:14] == [False] * 3 + [True] * 4
    assert running.ended[0].ending is Ending.TIMEOUT


def test_a_first_inference_of_five_seconds_aborts_what_runs_meanwhile_and_is_got_over(bench) -> None:
    running = bench(itertools.chain([5.0], itertools.repeat(0.004)), SessionConfig(horizon=30))
    _, *episodes = running.run(Clock(1, 0.1), 4)
    assert [ended.ending for ended in running.ended] == [*[Ending.ABORTED] * 2, *[Ending.TIMEOUT] * 2]
    assert "no policy answer in time for 20 steps in a row" in running.ended[0].reason
    assert check_timing(episodes[0], 0.1) == [True] * 20
    for episode in episodes[1:]:
        assert not any(check_timing(episode, 0.1))


def test_one_action_at_a_time_that_always_comes_too_late_ends_the_episode(bench) -> None:
    running = bench(0.07, SessionConfig(horizon=50))
    (episode, *_) = running.run(Clock(1, 0.1), 1)
    assert running.ended[0].ending is Ending.ABORTED
    assert all(check_timing(episode, 0.1))
    assert running.session.policy.late_actions == 20


def test_a_policy_may_stamp_its_actions_for_the_time_at_which_they_will_be_there(bench) -> None:
    def ahead(seen: Observation) -> ActionChunk:
        return ActionChunk(seen.stamp_ns, np.full((1, 3), 0.1), 1, times=np.array([0.1]))

    running = bench(0.07, SessionConfig(horizon=20))
    (episode, *_) = running.run(Decides(ahead), 1)
    assert [step.timing.late for step in episode.steps] == [True] + [False] * 19


@pytest.mark.parametrize(("latency", "delay"), [(0.0, 0), (0.3, 3)])
def test_after_a_person_lets_go_nothing_from_before_acts(bench, latency: float, delay: int) -> None:
    driven = range(12, 17)
    ticks: list[float] = []

    def person(reading: Reading) -> TeleopCommand | None:
        if running.session.phase is Phase.RUNNING:
            ticks.append(reading.robot_time)
        return TeleopCommand(UP) if len(ticks) in driven else None

    running = bench(latency, SessionConfig(horizon=40), person=person)
    policy = Decides(lambda seen: Clock(30, 0.1).act([seen]))
    (episode, *_) = running.run(policy, 1)
    steps = episode.steps
    taken = [index for index, step in enumerate(steps) if step.source is Source.PERSON]
    assert taken == list(range(taken[0], taken[0] + len(driven)))
    after = taken[-1] + 1
    late = [step.timing.late for step in steps]
    assert late[after : after + delay] == [True] * delay and not any(late[after + delay :])
    asked = [handed[-1].stamp_ns for handed in policy.handed]
    assert steps[after].reading.stamp_ns in asked
    stamps = {step.reading.stamp_ns: index for index, step in enumerate(steps)}
    during = [stamps[stamp] for stamp in asked if stamps.get(stamp) in taken]
    assert during == (taken[1:] if delay == 0 else []), "a slow one is left in peace"
    # `Clock` was made anew for each answer, so that each chunk begins with 0 at its own observation
    first = steps[after + delay]
    assert 10.0 * first.policy_action[0] == pytest.approx(0.1 * delay, abs=1e-4)


def test_a_policy_is_handed_what_it_looks_back_at(bench) -> None:
    policy = Decides(lambda seen: ActionChunk(seen.stamp_ns, np.zeros((4, 3))), history=3)
    running = bench(0.0, SessionConfig(horizon=10), FastReach())
    episodes = running.run(policy, 2)
    assert policy.began == ["reach the ball"] * len(policy.began) and len(policy.began) == 2
    for number, episode in enumerate(episodes):
        stamps = [step.reading.stamp_ns for step in episode.steps]
        handed = [[seen.stamp_ns for seen in each] for each in policy.handed[3 * number : 3 * number + 3]]
        assert handed == [[stamps[0]] * 3, stamps[2:5], stamps[6:9]], "one a control period, asked or not"


def test_a_policys_own_rate_and_horizon_count(bench) -> None:
    policy = Decides(lambda seen: ActionChunk(seen.stamp_ns, np.linspace(0.1, 0.4, 4)[:, None] * np.ones(3), 1))
    policy.rate, policy.horizon = 5.0, 4
    running = bench(0.0, SessionConfig(horizon=8))
    (episode, *_) = running.run(policy, 1)
    acted = [float(step.policy_action[0]) for step in episode.steps]
    assert acted == pytest.approx([0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.4])
    policy.horizon = 3
    with pytest.raises(ContractError, match=r"answers with 4 actions.*horizon is 3"):
        running.run(policy, 3)


def test_a_policy_that_is_asked_ahead_answers_anew_before_its_chunk_is_used_up(bench) -> None:
    policy = Decides(lambda seen: ActionChunk(seen.stamp_ns, np.zeros((4, 3))))
    running = bench(0.0, SessionConfig(horizon=9, ask_ahead=2, chunks="splice"))
    (episode, *_) = running.run(policy, 1)
    stamps = [step.reading.stamp_ns for step in episode.steps]
    assert [stamps.index(handed[-1].stamp_ns) for handed in policy.handed] == [0, 2, 4, 6, 8]


def test_an_answer_with_other_axes_is_an_error_in_process(bench) -> None:
    running = bench(0.0, SessionConfig())
    with pytest.raises(ContractError, match="2 axes does not fit this task's x, y, z"):
        running.run(Decides(lambda seen: ActionChunk(seen.stamp_ns, np.zeros((1, 2)))), 1)


def test_the_fast_task_reaches_its_goal_by_its_script() -> None:
    task = FastReach()
    with InProcessWorld(task.scene(), task.bound(ControllerConfig())) as world:
        world.start()
        session = Session(task, SessionConfig(ask_policy=False), None, seed=7)
        rollout = Rollout(session, world, expert_of(task))
        ended: list[EpisodeSummary] = []
        while len(ended) < 5:
            directive = rollout.step()
            ended += [directive.ended] if directive.ended is not None else []
    assert all(each.ending is Ending.SUCCESS for each in ended)


@pytest.mark.parametrize("rate", [0.0, 4.9, 51.0, float("nan")])
def test_a_task_that_is_too_slow_or_too_fast_is_refused_when_it_is_defined(rate: float) -> None:
    with pytest.raises(ContractError, match=rf"task Wrong: rate={rate} is out of range; .*from 5 to 50 Hz"):
        type("Wrong", (Reach,), {"rate": rate})
    check_rate("right", 5.0)
    check_rate("right", 50.0)
