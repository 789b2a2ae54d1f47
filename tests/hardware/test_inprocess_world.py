from __future__ import annotations

import dataclasses

import mujoco
import numpy as np
import pytest

from controllers.core import Controller, ControllerConfig
from controllers.gains import ImpedanceGains
from controllers.spatial import Pose
from controllers.state import ArmState, EventKind, Mode, Setpoint, WrenchSetpoint
from hardware.franka.collision import CollisionThresholds
from hardware.franka.model import fr3_model
from hardware.interfaces import Arm, ArmFault, Gripper, HardwareError, SceneControl
from hardware.scene import HOME_Q, SceneError, SceneSpec
from hardware.sim.fci.protocol import SceneRobotServer
from hardware.sim.scene.model import start_simulator
from hardware.sim.scene.wrench import ContactTorques
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.tasks.peg_insertion import PEG_BELOW_TCP, PegInsertion, tip
from tests.hardware.simulated import unused_address

STIFFNESS = ControllerConfig().gains.translational_stiffness
# Up to two joints' friction (1.14 N·m each) carries no more than this at the tip, half a metre from the nearest axis.
STICTION = 5.0  # [N]
SINK = 0.0004  # [m] that the peg sinks into the walls under 20 N


class Driver:
    """Sends a world setpoints at 10 Hz."""

    def __init__(self, world: InProcessWorld) -> None:
        self.world = world
        self.seq = 0

    def go(self, pose: Pose, seconds: float = 0.1) -> None:
        for _ in range(round(seconds / 0.1)):
            self.seq += 1
            self.world.command(Setpoint(pose, self.seq, 0.1))
            self.world.advance(0.1)

    def follow(self, goal: Pose, steps: int) -> None:
        """To ``goal`` in a straight line, and a moment to settle there."""
        start = self.world.read().pose
        way = goal.difference(start)
        for i in range(steps):
            self.go(start.moved(way * (i + 1) / steps))
        self.go(goal, 0.5)


def peg_world(**change: object) -> InProcessWorld:
    return InProcessWorld(PegInsertion().scene(), ControllerConfig(**change))


def test_it_is_an_arm_a_scene_and_a_gripper() -> None:
    world = peg_world()
    assert isinstance(world, Arm)
    assert isinstance(world, SceneControl)
    assert isinstance(world.gripper, Gripper)


def test_it_says_when_it_is_not_connected() -> None:
    world = peg_world()
    for use in (world.read, world.start, world.objects, lambda: world.advance(0.1)):
        with pytest.raises(HardwareError, match="not connected"):
            use()


def test_the_same_commands_give_the_same_bits() -> None:
    ends = []
    for _ in range(2):
        with peg_world() as world:
            world.start()
            driver = Driver(world)
            for delta in np.random.default_rng(0).uniform(-0.01, 0.01, (20, 6)):
                driver.go(world.read().pose.moved(delta))
            reading = world.read()
            ends.append(np.concatenate((reading.state.q, reading.state.dq, reading.state.wrench, [reading.tank])))
    assert np.array_equal(*ends)


def test_time_is_robot_time_and_idle_arms_stay_where_they_are() -> None:
    with peg_world() as world:
        before = world.read()
        world.advance(0.25)
        after = world.read()
    assert (before.state.time, after.state.time) == (0.0, 0.25)
    assert after.seq - before.seq == 250
    assert after.mode is Mode.IDLE
    assert np.abs(after.pose.difference(before.pose)).max() < 1e-3
    assert np.abs(after.target.difference(after.pose)).max() < 1e-12


def test_a_motion_starts_goes_stale_and_ends() -> None:
    with peg_world() as world:
        world.start()
        driver = Driver(world)
        driver.go(world.read().pose)
        assert world.read().mode is Mode.TRACK
        world.advance(0.3)
        assert world.read().mode is Mode.HOLD
        world.stop()
        assert world.read().mode is Mode.IDLE
        kinds = [event.kind for event in world.events()]
        assert kinds[0] is EventKind.STARTED
        assert EventKind.SETPOINT_STALE in kinds
        assert kinds[-1] is EventKind.FINISHED
        assert world.events() == ()
        world.recover()
        world.start()
        world.advance(0.01)
        assert world.read().mode is Mode.HOLD


def test_the_gate_stands_between_setpoints_and_the_arm() -> None:
    with peg_world(workspace=PegInsertion.workspace) as world:
        world.start()
        world.events()
        pose = world.read().pose
        world.command(Setpoint(pose.moved(np.array([0.2, 0, 0, 0, 0, 0])), 1))
        world.command(Setpoint(pose, 1))
        kinds = [event.kind for event in world.events()]
        assert kinds == [EventKind.SETPOINT_CLIPPED, EventKind.SETPOINT_REJECTED]


@pytest.mark.parametrize("depth", [0.004, 0.008])
def test_pressing_down_pushes_back_up(depth: float) -> None:
    with peg_world() as world:
        world.start()
        driver = Driver(world)
        above = PegInsertion.nominal.moved(np.array([0.03, 0.0, 0.0, 0.0, 0.0, 0.0]))
        driver.follow(above, 12)
        driver.follow(above.moved(np.array([0.0, 0.0, -depth, 0.0, 0.0, 0.0])), 2)
        reading = world.read()
        force, moment = reading.state.wrench[:3], reading.state.wrench[3:]
        spring = STIFFNESS * (reading.target.translation - reading.pose.translation)
        assert np.abs(force + spring).max() < STICTION
        assert force[2] > 2.0
        # The block pushes somewhere on the peg's bottom: the moment at the TCP is that of a force within 8 mm of it.
        lever = np.array([0.0, 0.0, -PEG_BELOW_TCP])
        assert np.abs(moment - np.cross(lever, force)).max() < 0.009 * np.linalg.norm(force)


def test_walls_hold_against_the_largest_force() -> None:
    task = PegInsertion()
    deep = task.nominal.moved(np.array([0.0, 0.0, -0.012, 0.0, 0.0, 0.0]))
    inside = dataclasses.replace(task.scene(), start_q=tuple(fr3_model().inverse_kinematics(deep, HOME_Q)))
    with InProcessWorld(inside, ControllerConfig()) as world:
        world.start()
        driver = Driver(world)
        for push in np.array([[0.05, 0.0], [-0.05, 0.0], [0.0, 0.05], [0.0, -0.05], [0.05, 0.05]]):
            driver.go(deep.moved(np.array([*push, 0.0, 0.0, 0.0, 0.0])), 1.0)
            reading = world.read()
            assert np.linalg.norm(reading.state.wrench[:2]) > 10.0
            aside = tip(reading.pose).translation[:2] - tip(task.nominal).translation[:2]
            assert np.abs(aside).max() < 0.5 * task.clearance + SINK


@pytest.mark.parametrize("turn", [10.0, -10.0])
def test_a_turned_peg_does_not_go_in(turn: float) -> None:
    task = PegInsertion()
    turned = task.nominal.moved(np.array([0.0, 0.0, 0.0, 0.0, 0.0, np.radians(turn)]))
    with peg_world() as world:
        world.start()
        driver = Driver(world)
        driver.follow(turned, 12)
        for aside in np.random.default_rng(1).uniform(-0.001, 0.001, (10, 2)):
            driver.go(turned.moved(np.array([*aside, -0.009, 0.0, 0.0, 0.0])), 0.3)
            assert world.read().state.wrench[2] > 5.0
            assert world.read().pose.translation[2] > task.nominal.translation[2] - 0.001


def test_the_gripper_opens_closes_and_feels_what_it_holds() -> None:
    cube = '<body name="cube" pos="0.5 0 0.3"><geom type="box" size="0.02 0.02 0.02"/></body>'
    start_q = (0.0, -0.0418, 0.0, -2.3343, 0.0, 2.2925, 0.785398)
    for worldbody, width, grasped in (("", 0.0, False), (cube.replace("0.3", "0.25"), 0.5, True)):
        with InProcessWorld(SceneSpec(worldbody, start_q=start_q), ControllerConfig()) as world:
            assert world.gripper.read().width == pytest.approx(1.0, abs=0.01)
            world.gripper.command(0.0)
            world.advance(1.5)
            reading = world.gripper.read()
            assert reading.width == pytest.approx(width, abs=0.03)
            assert reading.grasped is grasped
            with pytest.raises(HardwareError, match=r"1\.2"):
                world.gripper.command(1.2)


def test_objects_are_placed_and_known() -> None:
    scene = SceneSpec('<body name="goal" mocap="true"/>', objects=("goal",))
    goal = Pose.from_rotvec(np.array([0.4, 0.1, 0.3]), np.array([0.0, 0.0, 0.4]))
    with InProcessWorld(scene, ControllerConfig()) as world:
        world.place({"goal": goal})
        assert np.abs(world.objects()["goal"].difference(goal)).max() < 1e-12
        with pytest.raises(SceneError, match="'gaol'"):
            world.place({"gaol": goal})


def test_a_collision_is_a_reflex_that_must_be_recovered_from() -> None:
    """Pressed onto the block harder than its collision threshold, the arm stops, holds, and says why."""
    block = '<geom name="block" type="box" pos="0.5 0 0.1" size="0.3 0.3 0.1"/>'
    gentle = CollisionThresholds(force=(8.0,) * 3 + (30.0,) * 3)
    with InProcessWorld(SceneSpec(block), ControllerConfig(), gentle) as world:
        world.start()
        driver = Driver(world)
        while world.read().mode is not Mode.FAULT:
            here = world.read().pose
            driver.go(here.moved(np.array([0.0, 0.0, -0.02, 0.0, 0.0, 0.0])))
            assert world.time < 10.0
        reading = world.read()
        assert "cartesian_reflex" in reading.fault and "threshold 8" in reading.fault
        assert reading.success_rate == 0.0
        (reflex,) = [event for event in world.events() if event.kind is EventKind.REFLEX]
        assert reflex.detail == reading.fault
        world.advance(0.5)
        held = world.read()
        assert np.linalg.norm(held.pose.translation - reading.pose.translation) < 0.002
        assert np.abs(held.state.dq).max() < 0.01
        with pytest.raises(ArmFault, match=r"cartesian_reflex.*recover"):
            world.start()
        world.recover()
        world.start()
        assert world.read().mode is Mode.HOLD


PATIENT = ControllerConfig(hold_after=5.0, damp_after=6.0)
NO_REFLEX = CollisionThresholds(torque=(1e3,) * 7, force=(1e4,) * 6)


def falls_on_the_block(height: float) -> tuple[SceneSpec, Pose]:
    """The peg above the block, aside of the hole, and the pose far below that it is sent to."""
    task = PegInsertion()
    above = task.nominal.moved(np.array([0.03, 0.0, height, 0.0, 0.0, 0.0]))
    start_q = tuple(fr3_model().inverse_kinematics(above, HOME_Q))
    below = above.moved(np.array([0.0, 0.0, -0.2, 0.0, 0.0, 0.0]))
    return dataclasses.replace(task.scene(), start_q=start_q), below


def test_an_impact_is_the_same_in_both_worlds_and_in_every_millisecond() -> None:
    """The filtered wrench of a blow must depend neither on when the blow falls nor on who simulates it."""
    estimates = []
    for height in (0.02, 0.0201, 0.0202, 0.0203, 0.0204):
        scene, below = falls_on_the_block(height)
        with InProcessWorld(scene, PATIENT, NO_REFLEX) as world:
            world.start()
            world.command(Setpoint(below, 0, 1.5))
            felt = []
            for _ in range(400):
                world.advance(0.001)
                felt.append(float(world.read().state.wrench[2]))
        estimates.append(max(felt))
    assert 40.0 < max(estimates) < 1.1 * min(estimates)

    simulator = start_simulator(scene)
    robot = simulator.robots[0]
    server = SceneRobotServer(robot, unused_address(), simulator.model, simulator.data)
    controller, torque, wrench = Controller(fr3_model(), PATIENT), np.zeros(7), np.zeros(6)
    also = []
    for tick in range(401):
        joints = robot.inner_state
        q, dq = np.array(joints.q), np.array(joints.dq)
        state = ArmState(tick * 0.001, q, dq, torque, torque, wrench)
        if tick == 0:
            controller.start(state)
            controller.command(Setpoint(below, 0, 1.5), 0.0)
        torque = controller.tick(state).torque.copy()
        robot.torque_control(torque)
        server.advance(simulator.step)
        wrench = np.array(server.robot_state.O_F_ext_hat_K)
        also.append(float(wrench[2]))
    assert max(also) == pytest.approx(estimates[-1], rel=0.05)


def test_the_user_stop_holds_the_arm_until_it_is_released() -> None:
    with peg_world() as world:
        world.start()
        world.advance(0.1)
        world.user_stop(True)
        world.advance(0.1)
        assert (world.read().mode, world.read().fault) == (Mode.STOPPED, "the user stop is pressed")
        for refused in (world.start, world.recover):
            with pytest.raises(ArmFault, match="release it"):
                refused()
        world.user_stop(False)
        assert (world.read().mode, world.read().fault) == (Mode.IDLE, "")
        kinds = [event.kind for event in world.events()]
        assert kinds == [EventKind.STARTED, EventKind.STOPPED, EventKind.RECOVERED]
        world.start()


def test_a_contact_loads_the_joints_as_its_force_does() -> None:
    """The reported joint torques against Σ Jᵀ f over the contacts, each contact's force taken by itself."""
    block = '<geom name="block" type="box" pos="0.5 0 0.1" size="0.3 0.3 0.1"/>'
    with InProcessWorld(SceneSpec(block), ControllerConfig()) as world:
        world.start()
        driver = Driver(world)
        down = world.read().pose.moved(np.array([0.02, 0.01, -0.4, 0.0, 0.0, 0.0]))
        driver.follow(down, 40)
        model, data = world.physics
        loads = ContactTorques(model, data, dt=1e9)  # without the filter
        mujoco.mj_forward(model, data)
        expected, first = np.zeros(7), int(model.joint("robot0_fr3_joint1").dofadr[0])
        for i in range(data.ncon):
            contact, force, jacobian = data.contact[i], np.zeros(6), np.zeros((3, model.nv))
            mujoco.mj_contactForce(model, data, i, force)
            mujoco.mj_jac(model, data, jacobian, None, contact.pos, model.geom_bodyid[contact.geom2])
            other = np.zeros((3, model.nv))
            mujoco.mj_jac(model, data, other, None, contact.pos, model.geom_bodyid[contact.geom1])
            push = contact.frame.reshape(3, 3).T @ force[:3]
            expected += ((jacobian - other).T @ push)[first : first + 7]
        assert np.abs(expected).max() > 3.0
        np.testing.assert_allclose(loads.update(), expected, rtol=0.01, atol=0.05)


STRETCHED_Q = (0.0, 1.3, 0.0, -0.4, 0.0, 1.7, 0.785398)  # gravity pulls at joint 2 with 57 N·m


def test_what_is_accepted_is_realised_however_much_gravity_comes_on_top() -> None:
    """A wrench that lifts the stretched-out arm asks more of joint 2, with gravity, than its 87 N·m."""
    config = ControllerConfig(
        max_force=80.0, gains=ImpedanceGains(translational_stiffness=100.0, translational_damping=10.0)
    )
    model, highest = fr3_model(), 0.0
    with InProcessWorld(SceneSpec(start_q=STRETCHED_Q), config) as world:
        world.start()
        world.command(WrenchSetpoint(np.array([0.0, 0.0, 60.0, 0.0, 0.0, 0.0]), 0))
        for _ in range(100):
            model.update(world.read().state.q, np.zeros(7))
            world.advance(0.001)
            state = world.read().state
            np.testing.assert_allclose(state.tau_J - model.gravity, state.tau_J_d, atol=1e-9)
            highest = max(highest, abs(float(state.tau_J[1])))
        assert world.read().fault == ""
    assert highest > 90.0


def test_both_simulated_arms_realise_what_they_report() -> None:
    simulator = start_simulator(SceneSpec(start_q=STRETCHED_Q))
    robot, data = simulator.robots[0], simulator.data
    server = SceneRobotServer(robot, unused_address(), simulator.model, data)
    command = np.array([0.0, -60.0, 0.0, 50.0, 0.0, 11.0, 0.0])
    robot.torque_control(command)
    model = fr3_model()
    model.update(np.array(STRETCHED_Q), np.zeros(7))
    np.testing.assert_allclose(data.qfrc_applied[:7] - model.gravity, command, atol=1e-6)
    simulator.step()
    np.testing.assert_allclose(server.robot_state.tau_J_d, command)


def test_an_idle_arm_comes_to_rest_after_a_knock_at_any_joint() -> None:
    with InProcessWorld(SceneSpec(), ControllerConfig()) as world:
        world.advance(0.1)
        before = world.read().state.q
        _, data = world.physics
        for joint in range(7):
            data.qvel[joint] = 1.0
            world.advance(1.5)
            assert np.abs(world.read().state.dq).max() < 1e-3, f"joint {joint + 1}"
        np.testing.assert_allclose(world.read().state.q, before, atol=2e-3)
