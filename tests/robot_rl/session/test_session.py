"""The episode state machine, driven by readings made by hand; no physics, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from controllers.lease import Priority
from controllers.spatial import Pose
from controllers.state import Mode
from hardware.interfaces import TeleopCommand
from robot_rl.contract import Ending, Source, Word
from robot_rl.session.config import SessionConfig
from robot_rl.session.directive import Phase
from robot_rl.session.errors import SessionError
from robot_rl.session.judge import make_judge
from robot_rl.session.recovery import RECOVERY_ATTEMPTS, RECOVERY_PATIENCE
from robot_rl.session.session import Session
from robot_rl.tasks.base import TOOL_DOWN
from robot_rl.tasks.pick_cube import PickCube
from robot_rl.tasks.reach import Reach
from tests.robot_rl.readings import FAR, PerfectArm
from tests.robot_rl.session_bench import ALONG_X, SHORT, STILL, TASK, UP, Bench, constant

LOST = (
    0.05  # [s] after which an answer that has not come is taken for lost: the policy is asked anew in the next period
)


def test_phases_of_an_episode() -> None:
    bench = Bench()
    phases = [bench.step(STILL).phase]
    while len(bench.sink) < 2:
        phases.append(bench.step(STILL).phase)
    changes = [phase for i, phase in enumerate(phases) if i == 0 or phase is not phases[i - 1]]
    assert changes == [Phase.RESET, Phase.READY, Phase.RUNNING, Phase.RESET, Phase.READY, Phase.RUNNING]


def test_time_limit_truncates_after_the_horizon() -> None:
    bench = Bench()
    ended = bench.until_ended(STILL).ended
    assert (ended.ending, ended.steps, ended.index) == (Ending.TIMEOUT, 8, 0)
    assert ended.duration == pytest.approx(8 * TASK.control_period)
    (episode,) = bench.sink
    assert len(episode.steps) == 8
    last = episode.steps[-1].outcome
    assert last.truncated and not last.terminated
    assert episode.outcome == last
    assert not any(step.outcome.done for step in episode.steps[:-1])


def test_the_tasks_horizon_holds_without_another() -> None:
    bench = Bench(SessionConfig())
    assert bench.until_ended(STILL).ended.steps == TASK.horizon


def test_success_terminates_with_the_tasks_reward() -> None:
    bench = Bench()
    bench.until_running(STILL)
    bench.arm.objects = {"goal": bench.arm.pose}
    ended = bench.step(STILL).ended
    assert (ended.ending, ended.steps, ended.reward) == (Ending.SUCCESS, 1, 1.0)
    assert bench.sink[0].steps[-1].outcome.terminated


@pytest.mark.parametrize(
    ("label", "ending", "reward"), [(Word.SUCCESS, Ending.SUCCESS, 1.0), (Word.FAILURE, Ending.FAILURE, 0.0)]
)
def test_the_person_labels_the_end(label: Word, ending: Ending, reward: float) -> None:
    bench = Bench()
    bench.until_running(STILL)
    bench.step(STILL)
    teleop = TeleopCommand(np.zeros(6), engaged=False, words=(label,))
    ended = bench.step(STILL, person=lambda reading: teleop).ended
    assert (ended.ending, ended.reward, ended.interventions) == (ending, reward, 0)
    assert bench.sink[0].steps[-1].outcome.terminated


def test_each_step_continues_where_the_last_one_ended() -> None:
    bench = Bench()
    bench.until_ended(ALONG_X)
    steps = bench.sink[0].steps
    for one, two in pairwise(steps):
        assert one.next_reading is two.reading
    stamps = [step.reading.stamp_ns for step in steps]
    assert np.diff(stamps).tolist() == [round(TASK.control_period * 1e9)] * (len(steps) - 1)
    for step in steps:
        np.testing.assert_allclose(step.reading.q, step.reading.stamp_ns * 1e-9)  # as made by `PerfectArm`
        np.testing.assert_array_equal(step.target.translation, step.next_reading.pose.translation)
        assert step.timing.period_ms == pytest.approx(100.0)
        assert step.timing.version == 7
        assert set(step.reading.objects) == {"goal"}


def test_intervention_is_executed_and_recorded_beside_what_the_policy_wanted() -> None:
    bench = Bench()
    bench.until_running(ALONG_X)
    bench.step(ALONG_X, person=lambda reading: TeleopCommand(UP))
    before = bench.reading.pose
    np.testing.assert_allclose(bench.commands[-1].target.difference(before)[:3], [0.0, 0.0, 0.005], atol=1e-9)
    ended = bench.until_ended(ALONG_X).ended
    assert ended.interventions == 1
    step = bench.sink[0].steps[1]
    assert step.source is Source.PERSON
    np.testing.assert_allclose(step.action, [0.0, 0.0, 0.5], atol=1e-6)
    np.testing.assert_allclose(step.policy_action, [1.0, 0.0, 0.0])
    assert step.timing.version == -1
    assert [s.source for s in bench.sink[0].steps].count(Source.PERSON) == 1


def test_workspace_limits_show_in_the_recorded_action() -> None:
    bench = Bench(SessionConfig(horizon=30))
    bench.until_ended(ALONG_X)
    for command in bench.commands:
        assert TASK.workspace.contains(command.target)
    steps = bench.sink[0].steps
    edge = TASK.workspace.upper[0]
    assert bench.arm.pose.translation[0] <= edge
    assert steps[0].action[0] == 1.0
    assert steps[-1].action[0] == pytest.approx(0.0, abs=1e-6), "at the edge nothing is left to execute"
    assert all(step.policy_action[0] == 1.0 for step in steps)
    travelled = sum(float(step.action[0]) for step in steps) * TASK.action.scale[0]
    start = steps[0].reading.objects["goal"].translation[0]
    assert start == FAR.translation[0]
    first = bench.commands[[c.gripper is None for c in bench.commands].index(True)]
    assert first.target.translation[0] - TASK.action.scale[0] + travelled == pytest.approx(edge, abs=1e-6)


def test_a_late_policy_means_holding_still() -> None:
    bench = Bench(replace(SHORT, policy_timeout=LOST))
    bench.until_running(STILL)
    bench.step(lambda observation: None)
    assert np.abs(bench.commands[-1].target.difference(bench.reading.pose)).max() < 1e-9
    bench.until_ended(ALONG_X)
    late = [step.timing.late for step in bench.sink[0].steps]
    assert late == [False, True] + [False] * 6
    assert bench.sink[0].steps[1].timing.version == -1


def test_what_is_held_stays_held_by_a_late_policy_and_a_person_who_does_not_mention_the_gripper() -> None:
    bench = Bench(task=PickCube())
    bench.arm.objects = {"cube": FAR}
    bench.until_running(constant((0.0, 0.0, 0.0, -1.0)))
    for person in (lambda reading: None, lambda reading: TeleopCommand(UP)):
        bench.arm.gripper = 0.5  # the object keeps it open
        bench.step(lambda observation: None, person)
        assert bench.commands[-1].gripper == 0.0


def test_too_many_late_answers_in_a_row_abort() -> None:
    bench = Bench(SessionConfig(horizon=50, late_limit=0.3, policy_timeout=LOST))
    bench.until_running(STILL)
    for policy in (None, None, STILL, None, None, None):  # one answer in between: the count starts again
        assert bench.step(policy).ended is None
    ended = bench.step(STILL).ended
    assert (ended.ending, ended.steps) == (Ending.ABORTED, 7)
    assert "3 steps in a row" in ended.reason
    assert bench.sink[0].steps[-1].outcome.truncated


def test_nobody_is_late_when_only_a_person_drives() -> None:
    bench = Bench(SessionConfig(ask_policy=False, horizon=20, late_limit=0.3))
    assert bench.until_ended().ended.ending is Ending.TIMEOUT
    assert not any(bench.asked)
    assert not any(step.timing.late for step in bench.sink[0].steps)
    assert all(not step.policy_action.any() for step in bench.sink[0].steps)


def test_a_chunk_is_executed_open_loop_before_the_policy_is_asked_again() -> None:
    bench = Bench()
    bench.until_ended(constant((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))
    actions = np.array([step.action for step in bench.sink[0].steps])
    np.testing.assert_array_equal(actions, np.eye(3)[[0, 1, 2, 0, 1, 2, 0, 1]])
    assert bench.asked == [True, False, False, True, False, False, True, False]
    assert {step.timing.version for step in bench.sink[0].steps} == {7}


def test_an_intervention_drops_the_rest_of_the_chunk() -> None:
    bench = Bench()
    chunk = constant((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    bench.until_running(chunk)
    bench.step(chunk, person=lambda reading: TeleopCommand(UP))
    bench.step(chunk)
    assert bench.asked == [True, False, True]
    np.testing.assert_array_equal(bench.commands[-1].target.difference(bench.reading.pose)[:3].round(9), [0.01, 0, 0])


def test_the_end_of_an_episode_drops_the_rest_of_the_chunk() -> None:
    bench = Bench()
    chunk = constant(*[(1.0, 0.0, 0.0)] * 20)
    bench.until_ended(chunk)
    asked = len(bench.asked)
    bench.until_running(STILL)
    assert bench.asked[asked:] == [True]


def test_waits_for_the_person_and_holds_still_meanwhile() -> None:
    bench = Bench(SessionConfig(ask_policy=False, wait_for_person=True, horizon=4))
    bench.until(lambda directive: directive.phase is Phase.READY)
    for _ in range(5):
        directive = bench.step()
        assert directive.phase is Phase.READY
        assert np.abs(directive.command.target.difference(bench.reading.pose)).max() < 1e-9
    label = TeleopCommand(np.zeros(6), engaged=False, words=(Word.SUCCESS,))
    assert bench.step(person=lambda reading: label).phase is Phase.READY, "a label is no motion"
    assert not bench.sink
    assert bench.step(person=lambda reading: TeleopCommand(UP)).phase is Phase.RUNNING
    assert bench.until_ended(person=lambda reading: TeleopCommand(UP)).ended.interventions == 4


def test_a_budget_is_asked_for_at_each_reset_and_each_episode() -> None:
    bench = Bench()
    asked = []
    while len(bench.sink) < 3:
        directive = bench.step(STILL)
        if directive.begin_episode:
            asked.append(directive.phase)
        if directive.phase is Phase.RUNNING:
            asked.append(directive.phase)
    changes = [phase for i, phase in enumerate(asked) if i == 0 or phase is not asked[i - 1]]
    assert changes == [Phase.RESET, Phase.READY, Phase.RUNNING] * 3
    assert [asked.count(phase) for phase in (Phase.RESET, Phase.READY)] == [3, 3]


def test_a_step_costs_the_share_of_it_that_was_held_back() -> None:
    bench = Bench(SessionConfig(horizon=5))
    bench.until_running(STILL)
    for held_back in (0.05, 0.0, -7.0, 0.3):  # −7: the counter began anew; 0.3: more than the step is long
        bench.arm.activity += held_back
        bench.step(STILL)
    assert [step.cost for step in bench.sink[0].steps] == pytest.approx([0.5, 0.0, 0.0, 1.0])


def test_commands_say_on_whose_behalf_they_are() -> None:
    bench = Bench()
    bench.until_running(STILL)
    assert {command.priority for command in bench.commands[:-1]} == {Priority.RESET}
    bench.step(STILL)
    assert bench.commands[-1].priority is Priority.POLICY
    bench.step(STILL, lambda reading: TeleopCommand(UP))
    assert bench.commands[-1].priority is Priority.PERSON
    waiting = Bench(SessionConfig(ask_policy=False, wait_for_person=True))
    waiting.until(lambda directive: directive.phase is Phase.READY)
    waiting.step()
    assert waiting.commands[-1].priority is Priority.RESET


def test_where_only_the_person_judges_neither_the_task_nor_its_time_limit_ends_an_episode() -> None:
    bench = Bench(SessionConfig(), judge=make_judge("person", TASK))
    bench.until_running(STILL)
    bench.arm.objects = {"goal": bench.arm.pose}  # reached, by the task
    for _ in range(TASK.horizon + 5):
        assert bench.step(STILL).ended is None
    bench.say(Word.SUCCESS)
    assert bench.step(STILL).ended.ending is Ending.SUCCESS
    limited = Bench(SessionConfig(horizon=3), judge=make_judge("person", TASK))
    assert limited.until_ended(STILL).ended.ending is Ending.TIMEOUT, "a limit that is set holds"


def test_an_interrupted_job_goes_on_with_the_next_start() -> None:
    bench = Bench()
    bench.session = Session(TASK, SHORT, bench.sink, 4, first=7)
    bench.until_ended(STILL)
    assert bench.sink[0].meta == {"seed": 4, "start": 7}


def test_a_sensor_that_is_not_there_yet_is_waited_for() -> None:
    bench = Bench()
    bench.arm.mode, bench.arm.fault = Mode.IDLE, "camera wrist has not sent an image yet"
    for _ in range(2 * RECOVERY_ATTEMPTS * RECOVERY_PATIENCE):
        directive = bench.step()
        assert not (directive.start or directive.recover)
    bench.arm.fault = ""
    assert bench.step().start


def test_abort_from_outside_leads_to_a_reset() -> None:
    bench = Bench()
    assert bench.session.abort("stalled") is None
    bench.until_running(STILL)
    ended = bench.session.abort("no state of the arm for 0.50 s")
    assert (ended.ending, ended.reason) == (Ending.ABORTED, "no state of the arm for 0.50 s")
    assert bench.session.abort("again") is None
    assert bench.step(STILL).phase is Phase.RESET
    assert bench.session.episodes == 1


def test_a_blocked_reset_stops_the_session() -> None:
    bench = Bench()
    stuck = PerfectArm(Pose(np.array([0.5, 0.0, 0.15]), TOOL_DOWN))
    with pytest.raises(SessionError, match=r"reset stage lift.*in the way"):
        for _ in range(100):
            bench.session.advance(stuck.reading())


def test_act_needs_an_observation() -> None:
    with pytest.raises(SessionError, match=r"advance\(\) first"):
        Bench().session.act(None)


def starts(seed: int, horizon: int) -> list[np.ndarray]:
    bench = Bench(SessionConfig(horizon=horizon), seed)
    found = []
    for _ in range(4):
        bench.until_running(ALONG_X)
        found.append(bench.reading.pose.translation)
        bench.until_ended(ALONG_X)
    assert [episode.meta for episode in bench.sink] == [{"seed": seed, "start": i} for i in range(4)]
    return found


def test_starts_depend_on_the_seed_only() -> None:
    one, longer, other = starts(5, 3), starts(5, 7), starts(6, 3)
    np.testing.assert_allclose(one, longer, atol=0.006)  # the reset's tolerance
    assert np.abs(np.subtract(one, other)).max() > 0.02
    assert np.abs(one[0] - one[1]).max() > 0.006


def test_a_session_without_a_sink_records_nothing_and_goes_on() -> None:
    bench = Bench()
    bench.session = Session(TASK, SessionConfig(horizon=3), None, 0)
    assert bench.until_ended(STILL).ended.steps == 3


class Told(Reach):
    """Says where its goal is."""

    def words(self, objects: Mapping[str, Pose]) -> str:
        return f"reach {objects['goal'].translation[0]:.4f}"


def test_each_episode_has_words_that_are_known_while_the_arm_goes_to_its_start() -> None:
    bench = Bench(task=Told())
    said: list[str] = []
    while len(bench.sink) < 2:
        before = bench.session.phase
        directive = bench.step(STILL)
        if before is Phase.RESET and directive.phase is Phase.RESET:
            said.append(bench.session.instruction)
    assert [episode.meta["instruction"] for episode in bench.sink] == list(dict.fromkeys(said))
    assert len(set(said)) == 2
    told = Bench(SessionConfig(instruction="rest"), task=Told())
    told.until_ended(STILL)
    assert told.sink[0].meta["instruction"] == told.session.instruction == "rest"
    plain = Bench()
    plain.until_ended(STILL)
    assert "instruction" not in plain.sink[0].meta
