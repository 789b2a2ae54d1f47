"""Whole sessions in process when things go wrong: reflex, user stop, and the energy that each episode gets."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from controllers.core import ControllerConfig
from controllers.state import Event, EventKind, Mode, Setpoint
from hardware.franka.collision import CollisionThresholds
from hardware.interfaces import ArmFault, TeleopCommand
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.contract import ActionChunk, Ending, Observation, Reading, Word
from robot_rl.session.config import SessionConfig
from robot_rl.session.directive import Directive, Phase
from robot_rl.session.errors import SessionError
from robot_rl.session.in_process import Rollout
from robot_rl.session.recovery import RECOVERY_ATTEMPTS, RECOVERY_PATIENCE
from robot_rl.session.session import Session
from robot_rl.tasks.peg_insertion import CONTACT_HEIGHT, PegInsertion
from robot_rl.tasks.reach import Reach
from tests.robot_rl.acting import Decides

DOWN = np.array([0.0, 0.0, -1.0, 0.0])
LIGHT = CollisionThresholds(force=(8.0,) * 6)  # a peg that is pressed onto the block feels 20 N


class Bench:
    """A session on a world, driven by a policy that always does the same."""

    def __init__(self, world: InProcessWorld, action: np.ndarray, task: PegInsertion | Reach) -> None:
        self.world, self.action = world, action
        self.events: list[Event] = []
        self.policy = Decides(self.decide)
        self.rollout = Rollout(Session(task, SessionConfig(horizon=40), None, seed=2), world)

    def decide(self, observation: Observation) -> ActionChunk:
        return ActionChunk(observation.stamp_ns, self.action[None])

    def step(self) -> Directive:
        directive = self.rollout.step(self.policy)
        self.events += self.world.events()
        return directive

    def until(self, condition) -> Directive:
        for _ in range(600):
            directive = self.step()
            if condition(directive):
                return directive
        raise AssertionError("what the test waits for does not happen")

    def kinds(self) -> list[EventKind]:
        return [event.kind for event in self.events]


@pytest.fixture
def pressing() -> Iterator[Bench]:
    task = PegInsertion()
    with InProcessWorld(task.scene(), task.bound(ControllerConfig()), LIGHT) as world:
        yield Bench(world, DOWN, task)


@pytest.fixture
def reaching() -> Iterator[Bench]:
    task = Reach()
    with InProcessWorld(task.scene(), task.bound(ControllerConfig())) as world:
        yield Bench(world, np.zeros(3), task)


def test_a_reflex_ends_the_episode_in_the_robots_words_and_is_recovered_from(pressing: Bench) -> None:
    ended = pressing.until(lambda directive: directive.ended).ended
    assert ended.ending is Ending.FAILURE
    assert ended.reason.startswith("the robot stopped the motion: cartesian_reflex")
    assert EventKind.REFLEX in pressing.kinds()
    assert EventKind.RECOVERED in pressing.kinds()
    again = pressing.until(lambda directive: directive.ended).ended
    assert (again.index, again.ending) == (1, Ending.FAILURE)
    assert again.steps > 3, "it got back to a start above the block"


def test_after_a_recovery_the_arm_does_not_move_towards_an_old_target(pressing: Bench) -> None:
    pressing.until(lambda directive: directive.phase is Phase.RUNNING)
    world, session = pressing.world, pressing.rollout.session
    below = world.read().pose.moved(np.array([0.0, 0.0, -0.2, 0.0, 0.0, 0.0]))
    for seq in range(10**6, 10**6 + 100):
        world.command(Setpoint(below, seq))
        world.advance(0.05)
        if world.read().mode is Mode.FAULT:
            break
    stopped = world.read()
    assert stopped.mode is Mode.FAULT and "cartesian_reflex" in stopped.fault
    world.recover()
    world.start()
    started = world.read()
    assert started.mode is Mode.HOLD
    np.testing.assert_allclose(started.target.translation, started.pose.translation, atol=1e-9)
    heights = []
    for _ in range(20):
        world.advance(0.01)
        heights.append(world.read().pose.translation[2])
    assert session.phase is Phase.RUNNING, "nobody has sent a setpoint"
    assert min(heights) > started.pose.translation[2] - 1e-4
    assert world.read().target.translation[2] > CONTACT_HEIGHT - 0.002


def test_a_user_stop_is_waited_for_and_then_begins_with_a_reset(reaching: Bench) -> None:
    reaching.until(lambda directive: directive.phase is Phase.RUNNING)
    reaching.world.user_stop(True)
    ended = reaching.step().ended
    assert ended.reason.startswith("stopped by a person: ")
    before = reaching.world.read().pose
    for _ in range(2 * RECOVERY_ATTEMPTS * RECOVERY_PATIENCE):
        assert reaching.step().phase is Phase.STOPPED
    assert np.abs(reaching.world.read().pose.difference(before)).max() < 0.003, "its brakes hold it"
    reaching.world.user_stop(False)
    phases = [reaching.step().phase for _ in range(3)]
    assert Phase.RUNNING not in phases and Phase.STOPPED not in phases
    assert reaching.until(lambda directive: directive.ended).ended.ending is Ending.TIMEOUT
    assert reaching.kinds().count(EventKind.STOPPED) == 1


def test_in_process_too_a_person_labels_pauses_and_stops() -> None:
    task = Reach()
    said: list[Word] = []

    def person(reading: Reading) -> TeleopCommand:
        words, said[:] = tuple(said), []
        return TeleopCommand(np.zeros(6), engaged=False, words=words)

    with InProcessWorld(task.scene(), task.bound(ControllerConfig())) as world:
        world.start()
        rollout = Rollout(Session(task, SessionConfig(ask_policy=False), None, seed=2), world, person)

        def until(phase: Phase) -> Directive:
            for _ in range(200):
                directive = rollout.step()
                if directive.phase is phase:
                    return directive
            raise AssertionError(f"the session does not come to {phase}")

        until(Phase.RUNNING)
        said.append(Word.PAUSE)
        for _ in range(20):
            assert rollout.step().phase is Phase.PAUSED
        resting = world.read().pose
        for _ in range(20):
            rollout.step()
        assert np.abs(world.read().pose.difference(resting)).max() < 1e-3
        said.extend([Word.RESUME, Word.SUCCESS])
        assert rollout.step().ended.ending is Ending.SUCCESS
        assert [answer.accepted for answer in rollout.session.answers()] == [True, True, True]
        until(Phase.RUNNING)
        said.append(Word.STOP)
        until(Phase.STOPPED)
        assert world.read().mode is Mode.STOPPED


class BrokenArm(InProcessWorld):
    """An arm that a reflex stops for good."""

    def recover(self) -> None:
        raise ArmFault("the arm cannot recover: a joint is outside its limits")


def test_an_arm_that_refuses_to_recover_is_left_to_a_person() -> None:
    task = PegInsertion()
    with BrokenArm(task.scene(), task.bound(ControllerConfig()), LIGHT) as world:
        pressing = Bench(world, DOWN, task)
        with pytest.raises(SessionError, match=r"3 attempts to recover the arm.*cartesian_reflex"):
            pressing.until(lambda directive: False)


def test_each_reset_and_each_episode_has_a_budget_of_its_own(reaching: Bench) -> None:
    budgets: list[float] = []
    while reaching.rollout.session.episodes < 2:
        directive = reaching.step()
        if directive.observation is not None:
            budgets.append(float(directive.observation.state[-1]) / Reach.fields[-1].scale)
    assert Reach.fields[-1].name == "budget"
    assert reaching.kinds().count(EventKind.BUDGET_GRANTED) == 5, "the end of an episode begins the next reset"
    full = ControllerConfig().tank.episode_budget
    assert budgets[0] == pytest.approx(full, abs=1.0), "the first observation has the budget of its episode"
    assert min(budgets) > 0.5 * full
