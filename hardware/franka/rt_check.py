"""Is this computer fit to control an arm at 1 kHz? Looks and measures; needs no rights beyond a user's."""

from __future__ import annotations

import enum
import math
import os
import resource
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from controllers.core import ControllerConfig
from controllers.state import TICK, Mode, Setpoint
from hardware.franka.arm import FrankaArm
from hardware.franka.mailbox import TELEMETRY_CAPACITY
from hardware.franka.process import CORES, PROBE_TIMEOUT, ROBOT_PORT, ChildProcess
from hardware.franka.realtime import RealtimeSettings
from hardware.franka.rt_probe import ProbeReport, ProbeSettings
from hardware.franka.telemetry import missed_ticks, percentiles
from hardware.interfaces import ArmConnectionError, HardwareError

LISTEN_SECONDS = 2.0
SETPOINT_PERIOD = 0.05  # [s]
CONNECTIONS = 10
CONNECTION_PAUSE = 0.05  # [s]; the arm serves one at a time
PROBE_PATIENCE = 30.0  # [s] beyond what is measured: the child imports, connects and warms up

# The robot's time limits: round trip, our computing and its own processing fit into 1 ms; Franka's manual leaves
# 0.3 ms of it to the program. 20 commands missed in a row stop the motion.
COMPUTE_BUDGET = 300e-6  # [s]
COMPUTE_LIMIT = 700e-6  # [s]
LATENCY_BUDGET = 500e-6  # [s] to open a connection: a round trip and the robot's answer
MISSED_BUDGET = 0.001  # share of the ticks
MISSED_LIMIT = 0.02
LONGEST_GAP = 0.02  # [s]
LONGEST_HOLD = TELEMETRY_CAPACITY * TICK  # [s]; of more, the first ticks would be lost to the verdict


class Level(enum.IntEnum):
    """Bearing of a finding on the verdict."""

    GOOD = 0
    CAVEAT = 1
    BAD = 2


VERDICTS = {Level.GOOD: "ready", Level.CAVEAT: "works with a caveat", Level.BAD: "not ready"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: its name, what was found, and what to change ("" when nothing)."""

    name: str
    level: Level
    found: str
    advice: str = ""


@dataclass(frozen=True, eq=False)
class RealtimeReport:
    """All findings and the ticks of the measured loop (see `hardware.franka.telemetry.TELEMETRY`)."""

    findings: tuple[Finding, ...]
    ticks: np.ndarray

    @property
    def level(self) -> Level:
        return max((finding.level for finding in self.findings), default=Level.GOOD)

    @property
    def verdict(self) -> str:
        """``ready``, ``works with a caveat`` or ``not ready``."""
        return VERDICTS[self.level]


@dataclass(frozen=True)
class CheckSettings:
    """The subject of a check.

    Attributes:
        address: of the arm.
        controller: the control law to run.
        move: whether the arm may be held by torque control; it stays where it is, but its brakes open.
        seconds: length of the measured loop [s]; with ``move`` at most `LONGEST_HOLD`.
        root: of the file system with /proc and /sys.

    Raises:
        HardwareError: ``seconds`` is out of range.
    """

    address: str
    controller: ControllerConfig = field(default_factory=ControllerConfig)
    move: bool = False
    seconds: float = 10.0
    root: Path = Path("/")

    def __post_init__(self) -> None:
        if not (math.isfinite(self.seconds) and self.seconds > 0.0):
            raise HardwareError(f"seconds={self.seconds}: a loop is measured for a finite time above 0 s")
        if self.move and self.seconds > LONGEST_HOLD:
            raise HardwareError(f"seconds={self.seconds}: an arm is held for at most {LONGEST_HOLD:g} s (--move)")


def check(settings: CheckSettings, tell: Callable[[str], None] = lambda _: None) -> RealtimeReport:
    """Look at the computer, listen to the arm, measure the loop; ``tell`` hears what takes a while.

    Raises:
        HardwareError: the arm shall be held and none answers, or it refuses.
    """
    findings = [kernel(settings.root), cores(settings.root), governor(settings.root)]
    network, arm_answers = connection(settings.address)
    if settings.move and not arm_answers:
        raise ArmConnectionError(f"{network.found}: there is no arm to hold; {network.advice}")
    listen_for = LISTEN_SECONDS if arm_answers else 0.0
    loop = 0.0 if settings.move else settings.seconds
    tell(f"measuring for {listen_for + settings.seconds:.0f} s")
    report = probe_loop(RealtimeSettings(settings.address, settings.controller), listen_for, loop)
    findings += [*granted(report.refused), network]
    if arm_answers:
        findings.append(arrival(report.arrivals, report.robot_steps))
    ticks = hold(settings) if settings.move else report.ticks
    findings += loop_findings(ticks, "torque loop" if settings.move else "timer loop")
    return RealtimeReport(tuple(findings), ticks)


def probe_loop(realtime: RealtimeSettings, listen: float, loop: float) -> ProbeReport:
    """Measure in a process like the real-time one. Raises `ArmConnectionError`."""
    child = ChildProcess("hardware.franka.rt_probe", ProbeSettings(realtime, listen, loop))
    try:
        refused = child.wait_ready(listen + loop + PROBE_PATIENCE, f"the check of the arm at {realtime.address}")
        return ProbeReport(tuple(refused), **child.pipe.receive_arrays())
    finally:
        child.end(patience=1.0)


def hold(settings: CheckSettings) -> np.ndarray:
    """Hold the arm where it is by torque control for as long as asked; returns the ticks. Raises `HardwareError`."""
    with FrankaArm(settings.address, settings.controller) as arm:
        arm.start()
        pose = arm.read().pose
        end = time.monotonic() + settings.seconds
        seq = 0
        while time.monotonic() < end:
            reading = arm.read()
            if reading.mode not in (Mode.HOLD, Mode.TRACK):
                why = reading.fault or "; ".join(event.detail for event in arm.events()[-3:])
                raise HardwareError(f"the arm at {settings.address} went to {reading.mode.name} while held: {why}")
            arm.command(Setpoint(pose, seq))
            seq += 1
            time.sleep(SETPOINT_PERIOD)
        arm.stop()
        return arm.telemetry()


# The single checks.


def kernel(root: Path) -> Finding:
    """Whether the kernel is fully preemptible."""
    release, version = (_read(root / f"proc/sys/kernel/{name}") for name in ("osrelease", "version"))
    if "PREEMPT_RT" in version or _read(root / "sys/kernel/realtime") == "1":
        return Finding("kernel", Level.GOOD, f"{release}, PREEMPT_RT")
    advice = "install a kernel with PREEMPT_RT (Ubuntu: pro enable realtime-kernel; Debian: linux-image-rt-amd64)"
    return Finding("kernel", Level.CAVEAT, f"{release or 'unknown'}, not PREEMPT_RT", advice)


def cores(root: Path) -> Finding:
    """How many cores there are, and whether one is set aside."""
    count = len(os.sched_getaffinity(0))
    isolated = _read(root / "sys/devices/system/cpu/isolated")
    if count < CORES:
        advice = f"use a computer with at least {CORES} cores, so that one is left to the loop"
        return Finding("cores", Level.CAVEAT, f"{count} usable: the loop has none of its own", advice)
    if not isolated:
        advice = f"if the loop below is late, keep core {count - 1} free: isolcpus={count - 1} nohz_full={count - 1}"
        return Finding("cores", Level.GOOD, f"{count} usable, none isolated; the loop takes the last", advice)
    return Finding("cores", Level.GOOD, f"{count} usable, isolated: {isolated}")


def governor(root: Path) -> Finding:
    """Whether the cores stay at full speed when the loop sleeps between two ticks."""
    governors = {_read(path) for path in root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")} - {""}
    if not governors:
        return Finding("governor", Level.GOOD, "not visible here (a virtual machine sets none)")
    if governors == {"performance"}:
        return Finding("governor", Level.GOOD, "performance")
    advice = "sudo cpupower frequency-set --governor performance"
    return Finding("governor", Level.CAVEAT, f"{', '.join(sorted(governors))}: slow to wake up", advice)


def granted(refused: tuple[str, ...]) -> list[Finding]:
    """Scheduling and memory lock, from what the system refused to a process that asked."""
    findings = []
    rtprio = resource.getrlimit(resource.RLIMIT_RTPRIO)[0]
    for name, mark, advice in (
        (
            "scheduling",
            "SCHED_FIFO",
            "add '@realtime - rtprio 99' to /etc/security/limits.d/, join the group, log in anew",
        ),
        (
            "memory lock",
            "mlockall",
            "add '@realtime - memlock unlimited' to /etc/security/limits.d/, join the group, log in anew",
        ),
    ):
        why = next((reason for reason in refused if reason.startswith(mark)), "")
        if why:
            found = f"{why} (rtprio limit {rtprio})" if mark == "SCHED_FIFO" else why
            findings.append(Finding(name, Level.CAVEAT, f"refused: {found}", advice))
        else:
            findings.append(Finding(name, Level.GOOD, f"{mark} is granted"))
    pinning = next((reason for reason in refused if reason.startswith("pinning")), "")
    if pinning:
        findings.append(Finding("affinity", Level.CAVEAT, f"refused: {pinning}", "allow that core to this process"))
    return findings


def connection(address: str) -> tuple[Finding, bool]:
    """How long it takes to open a connection to the arm, and whether there is one."""
    times = []
    try:
        for _ in range(CONNECTIONS):
            start = time.perf_counter()
            socket.create_connection((address, ROBOT_PORT), timeout=PROBE_TIMEOUT).close()
            times.append(time.perf_counter() - start)
            time.sleep(CONNECTION_PAUSE)
    except OSError as error:
        advice = "give robot_ip=ADDRESS, unlock the joints and activate FCI in Desk; simulated: robot-rl sim"
        found = f"no arm answers at {address}:{ROBOT_PORT} ({error.strerror or error}), so it is not measured"
        return Finding("network", Level.CAVEAT, found, advice), False
    median, longest = float(np.median(times)), max(times)
    found = f"connection to {address} in {median * 1e3:.2f} ms (median), {longest * 1e3:.2f} ms (longest)"
    if median <= LATENCY_BUDGET:
        return Finding("network", Level.GOOD, found), True
    return Finding(
        "network", Level.CAVEAT, found, "connect the arm by a cable of its own, without switch or Wi-Fi"
    ), True


def arrival(arrivals: np.ndarray, robot_steps: np.ndarray) -> Finding:
    """How regularly the arm's states arrive: wall time ``(n,)`` and robot time ``(n,)`` between them [s]."""
    lost = int((np.round(robot_steps / TICK) - 1).clip(0).sum())
    share = lost / max(len(robot_steps) + lost, 1)
    p50, p99, longest = percentiles(arrivals * 1e3, (50.0, 99.0))
    found = f"a state every {p50:.2f} ms (p99 {p99:.2f}, longest {longest:.2f}), {lost} of {len(arrivals) + lost} lost"
    level = _level(share, MISSED_BUDGET, MISSED_LIMIT)
    advice = "see that nothing else uses the network port, and that its driver does not bundle interrupts (ethtool -C)"
    return Finding("states", level, found, advice if level else "")


def loop_findings(ticks: np.ndarray, name: str) -> list[Finding]:
    """Findings about the compute time and regularity of the measured loop (`hardware.franka.telemetry.TELEMETRY`)."""
    if len(ticks) < 2:
        return [Finding(name, Level.BAD, "no tick was measured", "run the check again")]
    p50, p99, p999, longest = percentiles(ticks["compute"] * 1e6)
    level = _level(p99 * 1e-6, COMPUTE_BUDGET, COMPUTE_LIMIT)
    found = f"p50 {p50:.0f}, p99 {p99:.0f}, p99.9 {p999:.0f}, longest {longest:.0f} µs"
    advice = "end other programs, or use a faster core" if level else ""
    findings = [Finding("compute", level, found, advice)]

    periods = ticks["period"][1:]
    p50, p99, p999, longest = percentiles(periods[periods > 0.0] * 1e3)
    missed = missed_ticks(ticks)
    share = missed / (len(ticks) + missed)
    level = Level.BAD if longest * 1e-3 >= LONGEST_GAP else _level(share, MISSED_BUDGET, MISSED_LIMIT)
    found = (
        f"period p50 {p50:.2f}, p99 {p99:.2f}, p99.9 {p999:.2f}, longest {longest:.2f} ms; "
        f"{missed} of {len(ticks) + missed} ticks missed"
    )
    advice = "end other programs, and put right what is refused above; then check again" if level else ""
    return [*findings, Finding(name, level, found, advice)]


def _level(value: float, budget: float, limit: float) -> Level:
    return Level.GOOD if value <= budget else Level.CAVEAT if value <= limit else Level.BAD


def histogram(values: np.ndarray, width: int = 40) -> list[str]:
    """Lines of a histogram of ``values (n,)`` [s] over bins that double, from 0.125 ms on."""
    edges = [0.0, *(0.000125 * 2.0**k for k in range(8)), np.inf]
    counts, _ = np.histogram(values, edges)
    lines = []
    for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True):
        if count:
            bar = "#" * max(1, round(width * count / len(values)))
            until = f"{high * 1e3:6.3f}" if np.isfinite(high) else "     …"
            lines.append(f"{low * 1e3:6.3f} – {until} ms  {count:6d}  {bar}")
    return lines


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
