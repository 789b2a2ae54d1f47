"""The state of a simulated arm as our own code derives it, against franky-sim, whose place that takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("franky_sim")

from hardware.scene import SceneSpec
from hardware.sim.fci.derived import Derived, pack_state
from hardware.sim.fci.robot import quicken
from hardware.sim.scene.model import start_simulator

SEEN_OF_OTHERS = {"robot_mode", "controller_mode", "motion_generator_mode", "tau_ext_hat_filtered"}


class Arm:
    """A simulated arm, with franky-sim's code or with ours."""

    def __init__(self, ours: bool) -> None:
        self.simulator = start_simulator(SceneSpec())
        self.robot: Any = self.simulator.robots[0]
        self.derived: Derived | None = None
        if ours:
            quicken(self.robot, self.simulator.data)
            self.derived = Derived(self.robot)
        else:
            self.robot._torque_control = self._exert_in_full

    def _exert_in_full(self, torques: np.ndarray) -> None:
        self.robot._applied_torques = torques.copy()
        self.simulator.data.qfrc_applied[self.robot._dof_addrs] = torques

    def begin_motion(self) -> None:
        for component in self.robot._tracked_state_components.values():
            for derivative in component.observers.values():
                derivative.clear()
        if self.derived is not None:
            self.derived.begin()


@pytest.fixture
def both() -> tuple[Arm, Arm]:
    return Arm(ours=False), Arm(ours=True)


def difference(name: str, one: Any, other: Any) -> float:
    return float(np.max(np.abs(np.array(getattr(one, name), float) - np.array(getattr(other, name), float))))


def test_it_is_franky_sims_while_the_arm_holds_moves_by_torques_and_holds_again(both: tuple[Arm, Arm]) -> None:
    theirs, ours = both
    rng = np.random.default_rng(0)
    for torques in (False, True, False, True):
        held = np.array(theirs.robot.inner_state.q) + 0.01
        if torques:
            theirs.begin_motion(), ours.begin_motion()
        for tick in range(60):
            wanted = rng.normal(scale=20.0, size=7)  # beyond the limits of the last joints
            if tick == 30:
                for arm in both:
                    arm.robot.set_hand_goal(0.01, 0.05, 20.0)
            for arm in both:
                if torques:
                    arm.robot.torque_control(wanted, has_new_command=tick % 3 > 0)
                else:
                    arm.robot.joint_position_control(held)
                arm.simulator.step()
            for name in theirs.robot.state.__dataclass_fields__:
                if torques or name != "O_T_EE":
                    assert difference(name, theirs.robot.state, ours.robot.state) < 1e-9, name
            assert theirs.simulator.data.qpos == pytest.approx(ours.simulator.data.qpos, abs=1e-12)
    assert np.abs(theirs.robot.state.dq).max() > 0.01


def test_the_pose_of_an_arm_that_holds_is_the_measured_one(both: tuple[Arm, Arm]) -> None:
    _, ours = both
    start = np.array(ours.robot.inner_state.q)
    for _ in range(20):
        ours.robot.joint_position_control(start + 0.02)
        ours.simulator.step()
    state = ours.robot.state
    measured = ours.robot.kinematics(np.array(state.q)).homogeneous.T.ravel()
    assert pytest.approx(measured, abs=1e-12) == state.O_T_EE
    assert np.abs(np.array(state.O_T_EE_d) - np.array(state.O_T_EE)).max() > 1e-3


def test_what_is_reported_is_the_state_and_what_is_sent_its_bytes() -> None:
    arm = Arm(ours=True)
    assert arm.derived is not None
    rng = np.random.default_rng(1)
    for load in (0.0, 0.3):
        arm.robot.set_load(load, (0.0, 0.01, 0.02), tuple(np.diag([1e-3] * 3).ravel()))
        for _ in range(5):
            arm.robot.torque_control(rng.normal(size=7))
            arm.simulator.step()
        reported = arm.derived.report(control_command_success_rate=1.0, tau_ext_hat_filtered=[0.5] * 7)
        state = arm.robot.state
        for name in state.__dataclass_fields__.keys() - SEEN_OF_OTHERS:
            assert difference(name, state, reported) < 1e-12, name
        assert pack_state(reported) == reported.pack_state()
        assert pack_state(state) == state.pack_state()


def test_after_its_end_franky_sim_derives_again(both: tuple[Arm, Arm]) -> None:
    for arm in both:
        arm.robot.joint_position_control(arm.robot.inner_state.q)
        arm.simulator.step()
        arm.begin_motion()
        if arm.derived is not None:
            arm.derived.end()
        for _ in range(20):
            arm.robot.joint_velocity_control(np.full(7, 0.1))
            arm.simulator.step()
    theirs, ours = (arm.robot.state for arm in both)
    for name in theirs.__dataclass_fields__:
        assert difference(name, theirs, ours) < 1e-9, name
    assert theirs.dq_d == pytest.approx([0.1] * 7)
