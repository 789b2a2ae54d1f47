"""Destabilising policies on the simulated arm: the bound holds with the filter, and is worth something without it."""

from __future__ import annotations

from dataclasses import replace

import mujoco
import numpy as np
import pytest

from benchmarks.experiments.passivity import figures
from benchmarks.experiments.passivity.__main__ import main
from benchmarks.experiments.passivity.attacks import REGIMES, Attack, attack, scene
from benchmarks.experiments.passivity.record import RecordedWorld, Trace
from controllers.core import ControllerConfig
from controllers.passivity import TankConfig
from controllers.state import Setpoint
from hardware.franka.model import fr3_model
from hardware.sim.world.inprocess import InProcessWorld

STRICT = REGIMES["strict"]


@pytest.mark.parametrize(("policy", "seconds"), [("anti-damping", 0.5), ("square wave", 1.0)])
def test_what_breaks_the_bound_without_the_filter_keeps_it_with_it(policy: str, seconds: float) -> None:
    off, on = (attack(policy, STRICT, filtered, seconds) for filtered in (False, True))
    assert off.violations > 0
    assert off.trace.delivered.max() > 1.5 * on.bound.max()
    assert on.violations == 0
    assert on.trace.delivered.max() > 0.3  # J: it was allowed to do something
    assert on.trace.tank.min() >= 0.0 > off.trace.tank.min()
    assert on.trace.activity[-1] > 0.0


def test_the_recorded_energy_is_what_the_physics_gained_and_lost() -> None:
    """Delivered = kinetic energy of the arm + what friction in the joints took + weight that is not compensated for.

    All three from MuJoCo's own mass matrix, forces and velocities; nothing is touched. Trapezoids of 1 ms: 2 %.
    """
    with RecordedWorld(scene(), ControllerConfig()) as world:
        model, data = world.physics
        still, compensation = mujoco.MjData(model), fr3_model()
        world.start()
        pose = world.read().pose
        taken = 0.0
        for number in range(400):
            if number % 10 == 0:
                world.command(Setpoint(pose.moved(np.array([0.0, 0.0, 0.05, 0.0, 0.0, 0.0])), number, 0.4))
            still.qpos[:], before = data.qpos, data.qvel.copy()
            mujoco.mj_forward(model, still)  # at rest: its bias force is the weight
            compensation.update(data.qpos[:7].copy(), np.zeros(7))
            world.advance(0.001)
            resisting = -(data.qfrc_passive + data.qfrc_constraint)
            resisting[:7] += still.qfrc_bias[:7] - compensation.gravity
            taken += float(resisting @ (before + data.qvel)) * 0.0005
        mass = np.zeros((model.nv, model.nv))
        mujoco.mj_fullM(model, mass, data.qM)
        kinetic = 0.5 * data.qvel @ mass @ data.qvel
        trace = world.take()
    assert trace.force.max() == 0.0
    assert trace.delivered[-1] > 0.1
    assert trace.delivered[-1] == pytest.approx(kinetic + taken, rel=0.02)


def test_recording_changes_nothing() -> None:
    joints = []
    for kind in (InProcessWorld, RecordedWorld):
        with kind(scene(), ControllerConfig()) as world:
            world.start()
            world.command(Setpoint(world.read().pose.moved(np.array([0.02, 0.0, -0.03, 0.0, 0.0, 0.1])), 1, 0.1))
            world.advance(0.2)
            joints.append(world.read().state.q)
    assert np.array_equal(*joints)


def made_up(force: list[float], delivered: list[float]) -> Trace:
    n = len(force)
    zeros = np.zeros(n)
    time = 3.0 + 0.001 * np.arange(n)
    return Trace(time, np.array(delivered), zeros, zeros, np.array(force), zeros, np.zeros((n, 3)))


def test_figures_of_a_trace_by_hand() -> None:
    trace = made_up([0.0] * 5 + [50.0] + [0.0] * 14, list(np.linspace(0.0, 19.0, 20)))
    assert trace.felt.max() == pytest.approx(5.0)  # one blow of 50 N for 1 ms is 5 N over 10 ms
    assert len(trace.felt) == 20
    assert trace.elapsed[0] == pytest.approx(0.001)
    tank = replace(TankConfig(), capacity=2.0, budget=1000.0, episode_budget=5.0)
    made = Attack("square wave", replace(STRICT, tank=tank), True, trace, "")
    np.testing.assert_allclose(made.bound[:7], [3.0, 4.0, 5.0, 6.0, 7.0, 7.0, 7.0])  # 1 J a ms, 5 J in all
    assert made.violations == 12  # 8 … 19 J
    assert figures.row(made).split("|")[3:6] == [" 19.00 ", " 7.00 ", " 12 "]


def test_the_demo_draws_and_tells(tmp_path, monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("benchmarks.experiments.passivity.__main__.REGIMES", {"strict": STRICT})
    assert main(["--out", str(tmp_path), "--seconds", "0.05"]) == 0
    assert len(list(tmp_path.glob("*.png"))) == 2
    text = capsys.readouterr().out
    assert (tmp_path / "table.md").read_text() == text
    assert text.count("| square wave | off |") == 1


def test_a_policy_that_cannot_be_read_is_named(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "policy.params"
    path.write_bytes(b"nonsense")
    for wrong in (path, tmp_path / "missing.params"):
        assert main(["evaluate", "--policy", str(wrong)]) == 2
        assert str(wrong) in capsys.readouterr().err
