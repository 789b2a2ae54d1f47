"""The driver of arms under CRISP, on a simulated arm that goes on following the last pose, as they do."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np
import pytest

pytest.importorskip("franky_sim")

from controllers.config import ControllerConfig
from controllers.gains import ImpedanceGains
from controllers.spatial import Pose
from controllers.state import EventKind, JointSetpoint, Mode, Setpoint, WrenchSetpoint
from controllers.workspace import Workspace
from hardware.crisp.driver import PERIOD, STATE_TIMEOUT, CrispArm, CrispConfig, CrispGripper, CrispState
from hardware.crisp.reference import PoseReference
from hardware.interfaces import ArmConnectionError, ArmFault, Gripper, HardwareError
from hardware.scene import SceneSpec
from hardware.sim.world.inprocess import InProcessWorld
from tests.contracts.arm_contract import ACCURACY, check_arm, distance, follow

DOWN = np.array([1.0, 0.0, 0.0, 0.0])
CENTRE = Pose(np.array([0.5, 0.0, 0.3]), DOWN)
CALM = np.zeros(7)


class Counterpart:
    """`hardware.crisp.driver.CrispTopics` of a simulated arm that goes on following the last pose it was given.

    Time is the world's, so that nothing depends on how busy the machine is.
    """

    def __init__(self, world: InProcessWorld) -> None:
        self.world = world
        self.others: tuple[str, ...] = ()
        self.stands_still = False  # as when ros2_control has died
        self.listens_to_stiffness = True
        self.poses: list[Pose] = []
        self.wrenches: list[np.ndarray] = []
        self.stiffnesses: list[np.ndarray] = []
        self.position: float | None = None
        self._state: CrispState | None = None
        self._each: Callable[[float], None] | None = None
        self._now = 0.0

    def open(self, each: Callable[[float], None]) -> None:
        self.close()
        self.world.connect()
        self.world.start()
        self._target, self._each, self._state = self.world.read().pose, each, None

    def close(self) -> None:
        self._each = None

    def wait(self) -> None:
        self._now += PERIOD
        if not self.stands_still:
            self.world.command(Setpoint(self._target, round(self._now / PERIOD), 0.0))
            self.world.advance(PERIOD)
            r = self.world.read()
            s = r.state
            self._state = CrispState(r.seq, s.time + 1e6, self._now, s.q, s.dq, s.tau_J, r.pose, r.twist, np.zeros(6))
        if self._each is not None:
            self._each(self._now)

    def advance(self, seconds: float) -> None:
        for _ in range(round(seconds / PERIOD)):
            self.wait()

    def state(self) -> CrispState | None:
        return self._state

    def silent(self, now: float) -> tuple[str, ...]:
        heard = self._state.received if self._state else -np.inf
        return ("/joint_states", "/current_pose") if now - heard > STATE_TIMEOUT else ()

    def rivals(self) -> tuple[str, ...]:
        return self.others

    def send_pose(self, pose: Pose) -> None:
        self.poses.append(pose)
        self._target = pose

    def send_wrench(self, wrench: np.ndarray) -> None:
        self.wrenches.append(wrench)

    def send_stiffness(self, stiffness: np.ndarray) -> bool:
        self.stiffnesses.append(stiffness)
        return self.listens_to_stiffness

    def send_gripper(self, position: float) -> None:
        self.position = position

    def gripper(self) -> float | None:
        return self.position


@pytest.fixture
def counterpart() -> Iterator[Counterpart]:
    world = InProcessWorld(SceneSpec(), ControllerConfig())
    yield Counterpart(world)
    world.disconnect()


@pytest.fixture
def arm(counterpart: Counterpart) -> Iterator[CrispArm]:
    with CrispArm(counterpart, CrispConfig(), ControllerConfig()) as arm:
        yield arm


def kinds(arm: CrispArm) -> list[EventKind]:
    return [event.kind for event in arm.events()]


def test_it_meets_the_arm_contract(counterpart: Counterpart) -> None:
    def fall_silent() -> None:
        counterpart.stands_still = True
        counterpart.advance(STATE_TIMEOUT + 0.1)
        counterpart.stands_still = False
        counterpart.wait()

    check_arm(CrispArm(counterpart, CrispConfig(), ControllerConfig()), counterpart.advance, fall_silent)


def test_nothing_is_sent_before_the_start_and_after_the_stop(counterpart: Counterpart, arm: CrispArm) -> None:
    counterpart.advance(0.2)
    arm.command(Setpoint(arm.read().pose, 0))
    counterpart.advance(0.2)
    assert not counterpart.poses
    assert kinds(arm) == [EventKind.SETPOINT_REJECTED]
    arm.start()
    counterpart.advance(0.1)
    assert len(counterpart.poses) == 10
    arm.stop()
    sent = len(counterpart.poses)
    counterpart.advance(0.2)
    assert len(counterpart.poses) == sent
    assert arm.read().mode is Mode.IDLE


def test_the_target_freezes_where_the_arm_is_when_its_sender_dies(counterpart: Counterpart, arm: CrispArm) -> None:
    """CRISP would go on to the last target; this side must not let it."""
    arm.start()
    far = arm.read().pose.moved(np.array([0.2, 0.0, 0.1, 0.0, 0.0, 0.0]))
    for seq in range(3):
        arm.command(Setpoint(far, seq, duration=5.0))
        counterpart.advance(0.1)
    counterpart.advance(0.25)
    assert arm.read().mode is Mode.HOLD
    assert EventKind.SETPOINT_STALE in kinds(arm)
    held = counterpart.poses[-1]
    assert distance(held, far) > 0.15
    counterpart.advance(0.5)
    assert distance(counterpart.poses[-1], held) == 0.0
    assert distance(arm.read().pose, held) < ACCURACY
    counterpart.advance(2.0)
    assert arm.read().mode is Mode.IDLE
    assert kinds(arm) == [EventKind.DAMPING, EventKind.FINISHED]
    assert distance(arm.read().pose, held) < 2 * ACCURACY


def test_a_lost_arm_is_a_fault_until_it_is_recovered(counterpart: Counterpart, arm: CrispArm) -> None:
    arm.start()
    target = arm.read().pose
    follow(arm, counterpart.advance, target, 0, 0.2)
    arm.events()
    counterpart.stands_still = True
    for seq in range(100, 120):  # the session is alive
        arm.command(Setpoint(target, seq))
        counterpart.advance(0.05)
    reading = arm.read()
    assert reading.mode is Mode.FAULT
    assert "/joint_states, /current_pose" in reading.fault
    sent = len(counterpart.poses)
    for action in (arm.start, arm.recover):
        with pytest.raises(ArmFault, match="/joint_states"):
            action()
    counterpart.stands_still = False
    counterpart.advance(0.2)
    assert arm.read().mode is Mode.FAULT, "recovery is explicit"
    assert len(counterpart.poses) == sent
    with pytest.raises(ArmFault, match="recover first"):
        arm.start()
    arm.recover()
    assert arm.read().mode is Mode.IDLE
    arm.start()
    counterpart.advance(0.1)
    assert distance(counterpart.poses[-1], arm.read().pose) < ACCURACY


def test_another_publisher_of_targets_stops_this_one(counterpart: Counterpart, arm: CrispArm) -> None:
    counterpart.others = ("/robot_client",)
    with pytest.raises(ArmFault, match=r"/robot_client also publishes target_pose.*end them"):
        arm.start()
    counterpart.others = ()
    arm.start()
    counterpart.advance(0.05)
    counterpart.others = ("/a", "/b")
    counterpart.advance(0.05)
    assert arm.read().mode is Mode.FAULT
    assert "/a, /b also publish target_pose" in arm.read().fault


def test_an_arm_that_is_not_there_is_named_by_its_topics() -> None:
    class Silence(Counterpart):
        def open(self, each: Callable[[float], None]) -> None: ...

        def wait(self) -> None: ...

    arm = CrispArm(Silence(InProcessWorld(SceneSpec(), ControllerConfig())), CrispConfig("left"), ControllerConfig())
    with pytest.raises(ArmConnectionError, match=r"/joint_states, /current_pose.*ros2_control.*crisp.namespace='left'"):
        arm.connect()
    for action in (arm.read, arm.start, arm.stop, arm.recover, arm.begin_episode):
        with pytest.raises(ArmFault, match="connect"):
            action()


def test_joint_targets_are_refused_and_say_why(arm: CrispArm) -> None:
    arm.start()
    arm.events()
    arm.command(JointSetpoint(np.zeros(7), 0))
    (event,) = arm.events()
    assert event.kind is EventKind.SETPOINT_REJECTED
    assert "send poses" in event.detail


@pytest.mark.parametrize("local", [True, False])
def test_a_wrench_arrives_in_crisps_axes_and_fades(counterpart: Counterpart, local: bool) -> None:
    with CrispArm(counterpart, CrispConfig(local_wrench=local), ControllerConfig()) as arm:
        arm.start()
        wanted = np.array([1.0, 2.0, -8.0, 0.0, 0.0, 0.5])
        arm.command(WrenchSetpoint(wanted, 0))
        arm.command(WrenchSetpoint(-wanted, 0))  # has been used
        arm.command(WrenchSetpoint(np.full(6, np.nan), 1))
        arm.command(WrenchSetpoint(100.0 * wanted, 1))
        assert kinds(arm) == [EventKind.STARTED, *[EventKind.SETPOINT_REJECTED] * 3]
        counterpart.advance(PERIOD)
        rotation = arm.read().pose.rotation if local else np.eye(3)
        sent = counterpart.wrenches[-1]
        np.testing.assert_allclose(np.concatenate((rotation @ sent[:3], rotation @ sent[3:])), wanted, atol=1e-3)
        counterpart.advance(1.0)
        norms = np.linalg.norm(counterpart.wrenches, axis=1)
        assert norms[0] > 0.0 and norms[-1] == 0.0
        assert (np.diff(norms) < 1e-9).all()
        count = len(counterpart.wrenches)
        counterpart.advance(0.2)
        assert len(counterpart.wrenches) == count, "nothing is sent once it is gone"


def test_stiffness_is_asked_for_and_a_deaf_crisp_is_reported(counterpart: Counterpart, arm: CrispArm) -> None:
    gains = ImpedanceGains(translational_stiffness=400.0, rotational_stiffness=20.0)
    arm.change_gains(gains)
    np.testing.assert_array_equal(counterpart.stiffnesses, [[400.0] * 3 + [20.0] * 3])
    arm.change_gains(ImpedanceGains(translational_stiffness=(200.0, 300.0, 400.0), rotational_stiffness=20.0))
    np.testing.assert_array_equal(counterpart.stiffnesses[-1], [200.0, 300.0, 400.0, 20.0, 20.0, 20.0])
    counterpart.listens_to_stiffness = False
    arm.change_gains(gains)
    _, changed, refused = arm.events()
    assert changed.kind is EventKind.GAINS_CHANGED
    assert refused.kind is EventKind.SETPOINT_REJECTED and "target_stiffness" in refused.detail


def test_a_tank_that_cannot_act_is_constant(counterpart: Counterpart, arm: CrispArm) -> None:
    arm.start()
    before = arm.read()
    follow(arm, counterpart.advance, before.pose.moved(np.array([0.0, 0.05, 0.0, 0.0, 0.0, 0.0])), 0, 1.0)
    after = arm.read()
    tank = ControllerConfig().tank
    assert (before.tank, before.budget, before.activity) == (tank.capacity, tank.episode_budget, 0.0)
    assert (after.tank, after.budget, after.activity) == (tank.capacity, tank.episode_budget, 0.0)


def test_the_gripper_goes_to_its_positions_on_the_topic(counterpart: Counterpart) -> None:
    gripper = CrispGripper(counterpart, CrispConfig(gripper_command="g", gripper_closed=0.2, gripper_open=1.4))
    assert isinstance(gripper, Gripper)
    assert gripper.read().width == 1.0
    gripper.command(0.25)
    assert counterpart.position == pytest.approx(0.5)
    assert gripper.read().width == pytest.approx(0.25)
    counterpart.position = 9.0
    assert gripper.read().width == 1.0
    with pytest.raises(HardwareError, match="outside 0"):
        gripper.command(1.1)


def test_a_configuration_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="1 to 7 names, not 8"):
        CrispConfig(joint_names=("j",) * 8)
    with pytest.raises(ValueError, match="must differ"):
        CrispConfig(gripper_open=0.0)


def reference(**changes: object) -> PoseReference:
    reference = PoseReference(ControllerConfig(**changes))  # type: ignore[arg-type]
    reference.start(CENTRE, 0.0)
    return reference


def path(reference: PoseReference, seconds: float, dt: float = 0.01) -> list[Pose]:
    poses = []
    for i in range(round(seconds / dt)):
        reference.tick(CENTRE, CALM, i * dt)
        poses.append(reference.pose)
    return poses


@pytest.mark.parametrize(
    "way", [np.array([0.1, 0.2, -0.1, 0, 0, 0]), np.array([0, 0, 0, 0.0, 1.5, 0.0]), np.array([0.3, 0, 0, 0.0, 0, 3.0])]
)
def test_the_reference_is_never_faster_than_the_limits_and_arrives(way: np.ndarray) -> None:
    moving = reference(hold_after=50.0, damp_after=60.0)
    moving.command(Setpoint(CENTRE.moved(way), 0, duration=0.0), CENTRE, 0.0)
    poses = path(moving, 4.0)
    steps = np.array([b.difference(a) for a, b in itertools.pairwise(poses)]) / 0.01
    assert np.linalg.norm(steps[:, :3], axis=1).max() <= moving.config.max_speed * (1 + 1e-6)
    assert np.linalg.norm(steps[:, 3:], axis=1).max() <= moving.config.max_turn_speed * (1 + 1e-6)
    np.testing.assert_allclose(poses[-1].difference(CENTRE.moved(way)), 0.0, atol=1e-9)


def test_targets_outside_the_workspace_are_clipped_and_said_once() -> None:
    moving = reference(workspace=Workspace(np.array([0.4, -0.1, 0.2]), np.array([0.6, 0.1, 0.4])))
    outside = CENTRE.moved(np.array([0.0, 0.3, 0.0, 0.0, 0.0, 0.0]))
    assert [e.kind for e in moving.command(Setpoint(outside, 0), CENTRE, 0.0)] == [EventKind.SETPOINT_CLIPPED]
    assert moving.command(Setpoint(outside, 1), CENTRE, 0.01) == ()
    moving.tick(CENTRE, CALM, 0.24)
    np.testing.assert_allclose(moving.pose.translation, [0.5, 0.1, 0.3])


@pytest.mark.parametrize(
    ("setpoint", "reason"),
    [
        (Setpoint(CENTRE, -1), "number -1 was taken before"),
        (Setpoint(CENTRE, 0, duration=float("nan")), "duration nan"),
        (Setpoint(CENTRE, 0, duration=-1.0), "duration -1"),
        (Setpoint(CENTRE.moved(np.array([0.0, 0.0, 0.6, 0, 0, 0])), 0), "0.600 m away"),
    ],
)
def test_what_the_gate_refuses_moves_nothing(setpoint: Setpoint, reason: str) -> None:
    still = reference()
    (event,) = still.command(setpoint, CENTRE, 0.0)
    assert event.kind is EventKind.SETPOINT_REJECTED and reason in event.detail
    still.tick(CENTRE, CALM, 0.1)
    assert still.mode is Mode.HOLD
    np.testing.assert_allclose(still.pose.difference(CENTRE), 0.0, atol=1e-12)
