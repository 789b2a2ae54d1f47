"""Our torque loop against a plain pylibfranka loop, in turns on one simulated arm, with a learner on the other cores.

The plain loop is joint impedance as Franka's own examples have it: read the state, compute, write the torques, in an
ordinary process without real-time scheduling (their kEnforce refuses to run on kernels without PREEMPT_RT).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from controllers.state import Setpoint
from hardware.franka.arm import FrankaArm
from hardware.franka.telemetry import TELEMETRY, missed_ticks, percentiles
from hardware.interfaces import HardwareError
from hardware.sim.channel.channel import SCENE_PORT
from hardware.sim.channel.client import SceneClient

EXAMPLE_STIFFNESS = np.array([600.0, 600.0, 600.0, 600.0, 250.0, 150.0, 50.0])  # [N·m/rad], as in libfranka's example
EXAMPLE_DAMPING = np.array([50.0, 50.0, 50.0, 50.0, 30.0, 25.0, 15.0])  # [N·m·s/rad]
SETPOINT_PERIOD = 0.1  # [s]
SWING = 0.02  # [m] that our loop moves the arm up and down
SEPARATE_CORES = 4  # from so many on, the learner leaves the last one to the loop
READY = "ready"


def summary(ticks: np.ndarray) -> dict[str, float | int]:
    """Period and compute of ticks of `hardware.franka.telemetry.TELEMETRY`, of one or more motions."""
    periods = ticks["period"][ticks["period"] > 0.0] * 1e3
    names = ("p50", "p99", "p999", "max")
    return {
        **{f"period_ms_{n}": round(v, 3) for n, v in zip(names, percentiles(periods), strict=True)},
        **{f"compute_us_{n}": round(v, 1) for n, v in zip(names, percentiles(ticks["compute"] * 1e6), strict=True)},
        "missed_ticks": missed_ticks(ticks),
        "ticks": len(ticks),
    }


def our_loop(address: str, seconds: float) -> np.ndarray:
    """Ticks of our driver while it moves the arm up and down."""
    with FrankaArm(address) as arm:
        if arm.read().fault:
            arm.recover()
        arm.start()
        home, began, seq = arm.read().pose, time.monotonic(), 0
        while time.monotonic() - began < seconds:
            height = SWING * np.sin(2.0 * (time.monotonic() - began))
            arm.command(Setpoint(home.moved(np.array([0.0, 0.0, height, 0.0, 0.0, 0.0])), seq))
            seq += 1
            time.sleep(SETPOINT_PERIOD)
        arm.stop()
        return arm.telemetry()


def example_loop(address: str, seconds: float, file: Path) -> None:
    """The plain loop, holding the arm; its ticks go to ``file``."""
    import pylibfranka

    robot = pylibfranka.Robot(address, pylibfranka.RealtimeConfig.kIgnore)
    robot.automatic_error_recovery()
    robot.set_collision_behavior([100.0] * 7, [100.0] * 7, [100.0] * 6, [100.0] * 6)
    model = robot.load_model()
    control = robot.start_torque_control()
    state, _ = control.readOnce()
    home = np.array(state.q)
    rows = []
    arrival = before = began = time.perf_counter()
    finished = False
    while not finished:
        coriolis = np.array(model.coriolis(state))
        torque = EXAMPLE_STIFFNESS * (home - np.array(state.q)) - EXAMPLE_DAMPING * np.array(state.dq) + coriolis
        command = pylibfranka.Torques(torque.tolist())
        finished = arrival - began > seconds
        command.motion_finished = finished
        ready = time.perf_counter()
        control.writeOnce(command)  # the last one returns only when the robot has confirmed the end
        dispatched = ready if finished else time.perf_counter()
        rows.append((state.time.to_sec(), arrival - before, dispatched - arrival))
        if not finished:
            state, _ = control.readOnce()
            before, arrival = arrival, time.perf_counter()
    ticks = np.zeros(len(rows), dtype=TELEMETRY)
    for name, values in zip(("time", "period", "compute"), np.array(rows).T, strict=True):
        ticks[name] = values
    np.save(file, ticks)


def learner_load() -> None:
    """Update the default learner, on noise, for ever."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) >= SEPARATE_CORES:
        os.sched_setaffinity(0, set(cores[:-1]))
    from learner_throughput import Case, filled

    from robot_rl.contract import Layout
    from robot_rl.learner.config import LearnerConfig
    from robot_rl.learner.factory import make_agent

    case = Case(LearnerConfig().agent)
    learner = filled(make_agent(case.agent, {}), case, Layout(25, 4), LearnerConfig().batch_size)
    while learner.update():
        if learner.version == 3:
            _ = learner.state  # has been computed
            sys.stdout.write(f"{READY}\n")
            sys.stdout.flush()
    sys.exit(f"the load halted: {learner.halted}")


@contextlib.contextmanager
def running(arguments: list[str], ready: str) -> Iterator[subprocess.Popen[str]]:
    """A child that says ``ready`` when it is; ended afterwards. Raises `HardwareError` when it ends by itself."""
    child = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        if child.stdout is None or ready not in child.stdout.readline():
            raise HardwareError(f"{' '.join(arguments)} ended before it was ready")
        yield child
        if child.poll() is not None:
            raise HardwareError(f"{' '.join(arguments)} ended with status {child.returncode} while it was needed")
    finally:
        child.terminate()
        try:
            child.wait(10.0)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def compare(address: str, seconds: float, rounds: int, scratch: Path) -> dict[str, object]:
    """Both loops in turns, ``rounds`` times each for ``seconds``, the order changing every time."""
    here = str(Path(__file__).resolve())
    ticks: dict[str, list[np.ndarray]] = {"ours": [], "example": []}
    missed = dict.fromkeys(ticks, 0.0)
    stopped = 0
    simulator = ["-m", "robot_rl", "sim", f"robot_ip={address}"]
    with running(simulator, address), running([here, "load"], READY), SceneClient(address, SCENE_PORT) as scene:
        for turn in range(rounds):
            for name in ("ours", "example") if turn % 2 == 0 else ("example", "ours"):
                before = scene.statistics()["missed"]
                if name == "ours":
                    ticks[name].append(our_loop(address, seconds))
                else:
                    file = scratch / "example.npy"
                    arguments = [here, "example", "--address", address, "--seconds", str(seconds), "--file", str(file)]
                    child = subprocess.run([sys.executable, *arguments], check=False, capture_output=True, text=True)
                    if child.returncode == 0:
                        ticks[name].append(np.load(file))
                    else:
                        stopped += 1
                missed[name] += scene.statistics()["missed"] - before
    both = {
        name: summary(np.concatenate(parts)) | {"missed_commands": int(missed[name])}
        for name, parts in ticks.items()
        if parts
    }
    ratio = round(both["ours"]["period_ms_p99"] / both["example"]["period_ms_p99"], 3) if len(both) == 2 else None
    return {"period_p99_ratio": ratio, **both, "example_stopped_by_the_robot": stopped, "turns": rounds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=("load", "example"))
    parser.add_argument("--address")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--file", type=Path)
    arguments = parser.parse_args()
    if arguments.role == "load":
        learner_load()
    else:
        example_loop(arguments.address, arguments.seconds, arguments.file)


if __name__ == "__main__":
    main()
