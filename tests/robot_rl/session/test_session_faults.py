"""The session when the arm faults, reflexes or is stopped: what is recorded, and who recovers it."""

from __future__ import annotations

import numpy as np
import pytest

from controllers.state import Mode
from hardware.interfaces import TeleopCommand
from hardware.sim.fci.conformance import ERRORS
from robot_rl.contract import Ending, Outcome, Word
from robot_rl.session.config import SessionConfig
from robot_rl.session.directive import Phase
from robot_rl.session.errors import SessionError
from robot_rl.session.recovery import (
    DAMPED_ATTEMPTS,
    MOTION_ERRORS,
    RECOVERED_STEPS,
    RECOVERY_ATTEMPTS,
    RECOVERY_PATIENCE,
)
from tests.robot_rl.session_bench import STILL, Bench, constant


@pytest.mark.parametrize(
    ("mode", "fault", "reason", "recover", "start"),
    [
        (Mode.FAULT, "", "the robot stopped the motion", True, True),
        (Mode.IDLE, "", "not under control", False, True),
        (Mode.DAMP, "", "stale", False, False),
        (Mode.TRACK, "camera wrist lost", "camera wrist lost", False, False),
    ],
)
def test_a_fault_aborts_drops_the_step_in_flight_and_is_recovered(
    mode: Mode, fault: str, reason: str, recover: bool, start: bool
) -> None:
    bench = Bench()
    bench.until_running(STILL)
    bench.step(STILL)
    bench.arm.mode, bench.arm.fault = mode, fault
    directive = bench.step(STILL)
    assert directive.observation is None and directive.command is None and directive.step is None
    assert (directive.recover, directive.start) == (recover, start)
    assert directive.ended.ending is Ending.ABORTED
    assert reason in directive.ended.reason
    assert directive.ended.steps == 1
    (episode,) = bench.sink
    assert len(episode.steps) == 1, "the step in flight has no outcome that could be trusted"
    assert episode.outcome.truncated
    bench.arm.mode, bench.arm.fault = Mode.HOLD, ""
    assert bench.step(STILL).phase is Phase.RESET
    assert bench.until_ended(STILL).ended.ending is Ending.TIMEOUT


def test_recovery_is_tried_a_few_times_and_then_a_person_is_asked() -> None:
    bench = Bench()
    bench.until_running(STILL)
    bench.arm.mode = Mode.FAULT
    directives = [bench.step() for _ in range(RECOVERY_ATTEMPTS * RECOVERY_PATIENCE)]
    assert sum(directive.recover for directive in directives) == RECOVERY_ATTEMPTS
    assert [directive.ended is not None for directive in directives].count(True) == 1
    with pytest.raises(SessionError, match=rf"{RECOVERY_ATTEMPTS} attempts.*look at the arm"):
        bench.step()


@pytest.mark.parametrize(
    ("mode", "attempts"), [(Mode.IDLE, DAMPED_ATTEMPTS), (Mode.FAULT, RECOVERY_ATTEMPTS)], ids=["damped", "fault"]
)
def test_an_arm_that_damps_out_is_started_again_more_patiently_than_after_a_fault(mode: Mode, attempts: int) -> None:
    bench = Bench()
    bench.until_running(STILL)
    bench.arm.mode = mode
    directives = [bench.step() for _ in range(attempts * RECOVERY_PATIENCE)]
    assert sum(directive.start for directive in directives) == attempts
    with pytest.raises(SessionError, match=rf"^{attempts} attempts.*look at the arm"):
        bench.step()


def test_a_recovery_that_worked_does_not_count_against_the_next() -> None:
    bench = Bench(SessionConfig(horizon=2 * RECOVERED_STEPS))
    for _ in range(2 * RECOVERY_ATTEMPTS):
        bench.until_running(STILL)
        for _ in range(RECOVERED_STEPS):
            bench.step(STILL)
        bench.arm.mode = Mode.FAULT
        assert bench.step().recover
        bench.arm.mode = Mode.HOLD


@pytest.mark.parametrize("periods", [RECOVERED_STEPS, 1])
def test_an_arm_that_is_held_for_the_learners_sake_has_recovered(periods: int) -> None:
    """A computer that compiles may keep the session from commanding now and then, for longer than an arm holds."""
    bench = Bench()
    bench.until(lambda directive: directive.phase is Phase.READY)

    def hold_and_lose() -> None:
        for _ in range(2 * DAMPED_ATTEMPTS):
            bench.until(lambda directive: directive.phase is Phase.READY)
            for _ in range(periods):
                assert bench.session.advance(bench.arm.reading(), wait=True).phase is Phase.READY
            bench.arm.mode = Mode.IDLE
            assert bench.session.advance(bench.arm.reading(), wait=True).start
            bench.arm.mode = Mode.HOLD

    if periods == RECOVERED_STEPS:
        hold_and_lose()
    else:
        with pytest.raises(SessionError, match="look at the arm"):
            hold_and_lose()


def test_a_short_episode_that_ends_as_it_should_shows_that_the_arm_has_recovered() -> None:
    bench = Bench(SessionConfig(horizon=2))
    for _ in range(2 * RECOVERY_ATTEMPTS):
        bench.until_ended(STILL)
        bench.arm.mode = Mode.FAULT
        assert bench.step().recover
        bench.arm.mode = Mode.HOLD


@pytest.mark.parametrize("fault", ["", "cartesian_reflex"])
def test_an_arm_that_reflexes_at_the_begin_of_every_episode_is_left_to_a_person(fault: str) -> None:
    bench = Bench()
    recovered = 0
    with pytest.raises(SessionError, match="look at the arm"):
        for _ in range(2 * RECOVERY_ATTEMPTS):
            bench.until_running(STILL)
            bench.step(STILL)
            bench.arm.mode, bench.arm.fault = Mode.FAULT, fault
            recovered += bench.step(STILL).recover
            bench.arm.mode, bench.arm.fault = Mode.HOLD, ""
    assert recovered == RECOVERY_ATTEMPTS


def test_an_arm_that_reflexes_at_every_try_to_reset_is_left_to_a_person() -> None:
    bench = Bench()
    with pytest.raises(SessionError, match="look at the arm"):
        for _ in range(RECOVERY_ATTEMPTS + 1):
            bench.arm.mode = Mode.FAULT
            bench.step()
            bench.arm.mode = Mode.HOLD
            bench.step()


def test_the_robots_own_words_say_why_an_episode_ended() -> None:
    bench = Bench()
    bench.until_running(STILL)
    bench.arm.mode, bench.arm.fault = Mode.FAULT, "cartesian_reflex at 24 N"
    assert bench.step(STILL).ended.reason == "the robot stopped the motion: cartesian_reflex at 24 N"


def test_a_reflex_is_a_failure_that_the_step_which_led_to_it_ends_with() -> None:
    """A learner that never saw that step, or took the ending for a time limit, would not learn to avoid it."""
    bench = Bench()
    bench.until_running(constant((0.0, 0.0, -1.0)))
    bench.arm.mode, bench.arm.fault = Mode.FAULT, 'libfranka: motion aborted by reflex! ["cartesian_reflex"]'
    directive = bench.step()
    assert (directive.ended.ending, directive.ended.steps, directive.recover) == (Ending.FAILURE, 1, True)
    (episode,) = bench.sink
    (step,) = episode.steps
    assert step is directive.step and step.action.tolist() == [0.0, 0.0, -1.0]
    assert step.outcome == episode.outcome == Outcome.failure(f"the robot stopped the motion: {bench.arm.fault}")
    assert step.outcome.terminated and step.next_reading.stamp_ns > step.reading.stamp_ns


@pytest.mark.parametrize(
    ("mode", "fault"),
    [
        (Mode.FAULT, 'motion aborted by reflex! ["communication_constraints_violation"]'),
        (Mode.FAULT, 'by reflex! ["joint_velocity_violation", "communication_constraints_violation"]'),
        (Mode.FAULT, "connection lost"),
        (Mode.STOPPED, "cartesian_reflex, then the user stop"),
        (Mode.HOLD, "the camera wrist has been silent for 0.4 s"),
    ],
)
def test_what_the_motion_did_not_bring_about_is_not_held_against_the_policy(mode: Mode, fault: str) -> None:
    bench = Bench()
    bench.until_running(STILL)
    bench.arm.mode, bench.arm.fault = mode, fault
    directive = bench.step()
    assert (directive.ended.ending, directive.step) == (Ending.ABORTED, None)
    (episode,) = bench.sink
    assert (episode.steps, episode.outcome.terminated) == ([], False)


@pytest.mark.parametrize("name", MOTION_ERRORS)
def test_only_the_persons_label_counts_more_than_a_reflex(name: str) -> None:
    assert name in ERRORS, "the robot has no such error"
    for words, ending in (((Word.SUCCESS,), Ending.SUCCESS), ((), Ending.FAILURE)):
        bench = Bench()
        bench.until_running(STILL)
        bench.arm.objects = {"goal": bench.arm.pose}  # reached, by the task
        bench.arm.mode, bench.arm.fault = Mode.FAULT, name
        command = TeleopCommand(np.zeros(6), words=words, engaged=False)
        assert bench.step(person=lambda reading, command=command: command).ended.ending is ending


def test_the_step_that_a_reflex_ends_does_not_show_that_the_arm_has_recovered() -> None:
    bench = Bench(SessionConfig(horizon=2 * RECOVERED_STEPS))
    with pytest.raises(SessionError, match="look at the arm"):
        for _ in range(RECOVERY_ATTEMPTS + 1):
            bench.until_running(STILL)
            for _ in range(RECOVERED_STEPS - 1):
                bench.step(STILL)
            bench.arm.mode, bench.arm.fault = Mode.FAULT, "cartesian_reflex"
            bench.step()
            bench.arm.mode, bench.arm.fault = Mode.HOLD, ""


def test_a_reflex_that_not_all_cameras_saw_cannot_be_recorded_and_aborts() -> None:
    bench = Bench()
    bench.arm.images = {"wrist": np.zeros((2, 2, 3), np.uint8)}
    bench.until_running(STILL)
    bench.arm.mode, bench.arm.fault, bench.arm.images = Mode.FAULT, "cartesian_reflex", {}
    assert bench.step().ended.ending is Ending.ABORTED
    assert bench.sink[0].steps == []


def test_a_person_who_stops_the_arm_is_waited_for() -> None:
    bench = Bench()
    bench.until_running(STILL)
    bench.step(STILL)
    bench.arm.mode, bench.arm.fault = Mode.STOPPED, "emergency stop"
    directive = bench.step(STILL)
    assert directive.ended.reason == "stopped by a person: emergency stop"
    assert (directive.ended.ending, directive.ended.steps) == (Ending.ABORTED, 1)
    for _ in range(2 * RECOVERY_ATTEMPTS * RECOVERY_PATIENCE):
        directive = bench.step(STILL)
        assert directive.phase is bench.session.phase is Phase.STOPPED
        assert not (directive.start or directive.recover or directive.begin_episode)
        assert directive.command is None and directive.observation is None
    bench.arm.mode, bench.arm.fault = Mode.IDLE, ""
    released = bench.step(STILL)
    assert released.start and released.phase is Phase.RESET
    bench.arm.mode = Mode.HOLD
    assert bench.step(STILL).phase is Phase.RESET
    assert bench.until_ended(STILL).ended.ending is Ending.TIMEOUT


def test_a_stop_gives_recovery_its_attempts_back() -> None:
    bench = Bench()
    for _ in range(2 * RECOVERY_ATTEMPTS):
        bench.arm.mode = Mode.FAULT
        assert bench.step().recover
        bench.arm.mode = Mode.STOPPED
        bench.step()
