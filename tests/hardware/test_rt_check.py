from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from controllers.core import ControllerConfig
from hardware.franka.telemetry import TELEMETRY
from hardware.interfaces import ArmConnectionError, HardwareError
from tests.hardware.simulated import SimulatedServer, unused_address

pytest.importorskip("franky_sim")
pytest.importorskip("pylibfranka")

from hardware.franka.arm import FrankaArm
from hardware.franka.rt_check import (
    CheckSettings,
    Finding,
    Level,
    RealtimeReport,
    arrival,
    check,
    governor,
    granted,
    histogram,
    hold,
    kernel,
    loop_findings,
)
from robot_rl.jobs.cli import main


def made_up_ticks(periods: np.ndarray, compute: float = 50e-6) -> np.ndarray:
    """Ticks of a loop that took its states ``periods`` [s] apart, on a robot whose clock never waits."""
    ticks = np.zeros(len(periods), dtype=TELEMETRY)
    ticks["period"], ticks["compute"] = periods, compute
    ticks["time"] = np.round(np.cumsum(periods), 3)
    return ticks


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


def test_kernel_and_governor_are_read_from_the_system(tmp_path: Path) -> None:
    assert kernel(tmp_path).level is Level.CAVEAT
    write(tmp_path / "proc/sys/kernel/osrelease", "6.1.0-rt")
    write(tmp_path / "proc/sys/kernel/version", "#1 SMP PREEMPT_DYNAMIC")
    assert (kernel(tmp_path).level, kernel(tmp_path).found) == (Level.CAVEAT, "6.1.0-rt, not PREEMPT_RT")
    write(tmp_path / "proc/sys/kernel/version", "#1 SMP PREEMPT_RT")
    assert (kernel(tmp_path).level, kernel(tmp_path).advice) == (Level.GOOD, "")
    assert governor(tmp_path).level is Level.GOOD
    for core, name in enumerate(("performance", "powersave")):
        write(tmp_path / f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor", name)
    assert governor(tmp_path).level is Level.CAVEAT
    assert "powersave" in governor(tmp_path).found


def test_what_the_system_refuses_is_a_caveat_with_advice() -> None:
    assert {finding.level for finding in granted(("no core of its own: the machine has 1",))} == {Level.GOOD}
    scheduling, memory = granted(
        ("SCHED_FIFO priority 80: Operation not permitted", "mlockall: RLIMIT_MEMLOCK is finite")
    )
    for finding, word in ((scheduling, "rtprio"), (memory, "memlock")):
        assert finding.level is Level.CAVEAT
        assert word in finding.advice


@pytest.mark.parametrize(
    ("late", "length", "level"), [(0, 0.001, Level.GOOD), (20, 0.002, Level.CAVEAT), (1, 0.025, Level.BAD)]
)
def test_regularity_of_the_loop(late: int, length: float, level: Level) -> None:
    periods = np.full(10_000, 0.001)
    periods[5000 : 5000 + late] = length
    compute, loop = loop_findings(made_up_ticks(periods), "timer loop")
    assert compute.level is Level.GOOD
    assert loop.level is level
    missed = round(late * (length - 0.001) * 1e3)
    assert f"{missed} of {10_000 + missed} ticks missed" in loop.found


@pytest.mark.parametrize(("compute", "level"), [(1e-4, Level.GOOD), (4e-4, Level.CAVEAT), (9e-4, Level.BAD)])
def test_compute_time_against_what_the_robot_allows(compute: float, level: Level) -> None:
    finding, _ = loop_findings(made_up_ticks(np.full(1000, 0.001), compute), "timer loop")
    assert finding.level is level
    assert f"p99 {compute * 1e6:.0f}" in finding.found


def test_lost_states_are_counted_by_the_robots_clock() -> None:
    steps = np.full(1000, 0.001)
    assert arrival(steps, steps).level is Level.GOOD
    lossy = steps.copy()
    lossy[::50] = 0.003
    assert arrival(steps, lossy).level is Level.BAD
    assert "40 of 1040 lost" in arrival(steps, lossy).found


def test_verdict_is_that_of_the_worst_finding() -> None:
    good, caveat, bad = (Finding("x", level, "") for level in Level)
    ticks = np.zeros(0, dtype=TELEMETRY)
    verdicts = [RealtimeReport(found, ticks).verdict for found in ((good,), (good, caveat), (bad, caveat), ())]
    assert verdicts == ["ready", "works with a caveat", "not ready", "ready"]
    assert loop_findings(ticks, "timer loop")[0].level is Level.BAD


def test_histogram_counts_every_value_once() -> None:
    lines = histogram(np.array([0.0001, 0.0009, 0.0009, 0.1]))
    assert [int(line.split("ms")[1].split()[0]) for line in lines] == [1, 2, 1]


def test_arm_that_does_not_answer_is_not_measured_and_cannot_be_held() -> None:
    address = unused_address()
    report = check(CheckSettings(address, seconds=0.05))
    (network,) = (finding for finding in report.findings if finding.name == "network")
    assert network.level is Level.CAVEAT
    assert address in network.found and "states" not in {finding.name for finding in report.findings}
    assert len(report.ticks) == 50
    with pytest.raises(ArmConnectionError, match=f"{address}.*no arm to hold"):
        check(CheckSettings(address, move=True))


@pytest.mark.parametrize(
    ("seconds", "move"), [(0.0, False), (-1.0, False), (np.nan, False), (np.inf, True), (10.5, True)]
)
def test_length_of_the_loop_is_checked(seconds: float, move: bool) -> None:
    with pytest.raises(HardwareError, match=f"seconds={seconds}"):
        CheckSettings("127.0.0.1", move=move, seconds=seconds)
    assert CheckSettings("127.0.0.1", seconds=10.5).seconds == 10.5


def recover(address: str) -> None:
    """Clear what another test, which left in the middle of a motion, has left behind."""
    with FrankaArm(address) as arm:
        if arm.read().fault:
            arm.recover()


def test_arm_that_is_not_held_to_the_end_is_an_error(robot: SimulatedServer) -> None:
    """A watchdog that ends the motion between two setpoints leaves no fault behind, and a loop that was not held."""
    recover(robot.address)
    impatient = ControllerConfig(hold_after=0.005, damp_after=0.01)
    with pytest.raises(HardwareError, match=r"went to (DAMP|IDLE) while held"):
        hold(CheckSettings(robot.address, impatient, move=True, seconds=1.0))


@pytest.mark.parametrize("move", [False, True])
def test_check_of_a_simulated_arm(robot: SimulatedServer, move: bool, capsys: pytest.CaptureFixture[str]) -> None:
    recover(robot.address)
    arguments = ["rt-check", f"robot_ip={robot.address}", "--seconds", "0.5", *(["--move"] if move else [])]
    assert main(arguments) in (0, 1)
    output = capsys.readouterr().out
    for name in ("kernel", "scheduling", "memory lock", "network", "states", "compute", "verdict"):
        assert f"{name}: " in output
    assert ("torque loop: " in output) == move
