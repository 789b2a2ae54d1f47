"""``robot-rl calibrate``: what has to be known of sensors before they can be believed."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardware.force import FORCE_SENSORS
from robot_rl.jobs.calibrate_camera import add_camera_parser

if TYPE_CHECKING:
    from hardware.force.tool import StaticPose, ToolEstimate

SURVEY = "survey"  # the job, see `robot_rl.jobs.job`
ARM = "arm"  # the arm's own estimate, in the place of a sensor
SURE_MASS, SURE_CENTRE = 0.05, 0.003  # share of the mass, [m]: two standard deviations beyond them are a caveat


@dataclass(frozen=True)
class SensorChoice:
    """The sensor to identify a tool on.

    Attributes:
        sensor: of `FORCE_SENSORS`, or `ARM`.
        device: see `hardware.force.make_force_sensor`.
        frame: name of its frame.
        mount: rotation ``(3, 3)`` of the sensor in the axes of the hand.
    """

    sensor: str
    device: str
    frame: str
    mount: list[list[float]]


def add_calibrate_parser(commands: Any) -> None:
    """Add the command to ``commands``, what `argparse.ArgumentParser.add_subparsers` returns."""
    text = "identify what has to be known of a sensor"
    actions = commands.add_parser("calibrate", help=text, description=text).add_subparsers(
        dest="action", required=True, metavar="WHAT"
    )
    add_camera_parser(actions)
    text = "mass, centre of mass and bias of the tool on a force sensor"
    tool = actions.add_parser(
        "tool",
        help=text,
        description=f"{text}, from readings at rest. The arm tilts its hand by 30° in six directions where it stands, "
        "in half a minute: leave 20 cm free around the hand and what it holds, which must touch nothing. With "
        "--readings no arm moves. Exit status: 0 when the tool is known well enough, 1 with a caveat, 2 when it cannot "
        "be identified.",
    )
    tool.add_argument("--out", type=Path, required=True, metavar="FILE", help="the file to write, e.g. tool.yaml")
    tool.add_argument(
        "--sensor",
        default=ARM,
        metavar="NAME",
        help=f"{FORCE_SENSORS.listed(ARM)}; {ARM} (default) is the arm's own estimate",
    )
    tool.add_argument("--device", default="", metavar="TEXT", help="address (ati), or the vendor's JSON file (bota)")
    tool.add_argument("--frame", default="", metavar="NAME", help="of the sensor; default: fr3_hand_tcp, or wrist_ft")
    tool.add_argument(
        "--mount",
        type=float,
        nargs=3,
        default=(0.0, 0.0, 0.0),
        metavar=("ROLL", "PITCH", "YAW"),
        help="of the sensor in the axes of the hand, in degrees, about fixed axes (default 0 0 0)",
    )
    tool.add_argument(
        "--readings",
        type=Path,
        metavar="FILE",
        help="identify from a CSV file (qx,qy,qz,qw,fx,fy,fz,tx,ty,tz: rotation of the sensor in the base, wrench)",
    )
    tool.add_argument("--yes", action="store_true", help="a real arm moves without waiting for Enter")
    tool.add_argument("overrides", nargs="*", metavar="key=value", help="settings, e.g. arm=fr3 robot_ip=172.16.0.2")


def calibrate_tool(arguments: argparse.Namespace) -> int:
    """Identify a tool, write its file and say how well it is known; returns the exit status.

    Raises `ConfigError`, or `ToolError` when the readings do not tell.
    """
    from hardware.force.tool import identify
    from hardware.force.tool_file import read_readings, text_of
    from robot_rl.contract.files import write_atomically
    from robot_rl.contract.settings import ConfigError
    from robot_rl.jobs.logs import tell

    out: Path = arguments.out
    if out.exists():
        raise ConfigError(f"{out} exists; name another file with --out, or move it away")
    choice = _choice(arguments)
    if arguments.readings is not None:
        if arguments.overrides:
            raise ConfigError("--readings moves no arm, so that it takes no settings")
        readings = read_readings(arguments.readings)
    else:
        readings = _survey(arguments, choice)
    estimate = identify(readings, choice.frame, correction=choice.sensor == ARM)
    write_atomically(out, text_of(estimate).encode())
    tell("\n".join(described(estimate)))
    found = list(caveats(estimate))
    tell("\n".join([*found, f"written: {out}"]))
    return 1 if found else 0


def described(estimate: ToolEstimate) -> Iterator[str]:
    """The tool in words, line by line."""
    tool = estimate.tool
    yield f"tool on {tool.frame}: mass {tool.mass:.3f} ± {estimate.mass_std:.3f} kg"
    if tool.centre is not None:
        yield f"centre of mass {_mm(tool.centre)} ± {_mm(estimate.centre_std)} mm"
    yield f"bias {', '.join(f'{value:.2f}' for value in tool.bias[:3])} N"
    yield f"bias {', '.join(f'{value:.3f}' for value in tool.bias[3:])} N·m"
    force, torque = estimate.residual
    index, worst = estimate.worst
    yield f"not explained: {force:.2f} N, {torque:.3f} N·m; at most {worst:.2f} N, at reading {index + 1}"


def caveats(estimate: ToolEstimate) -> Iterator[str]:
    """Why the tool is not known as well as it should be, and what to do, line by line."""
    tool = estimate.tool
    if tool.centre is None:
        return  # nothing hangs on the sensor that it does not know of
    again = "touch nothing, hang cables up, tilt further, take more readings"
    if 2.0 * estimate.mass_std > SURE_MASS * abs(tool.mass):
        yield f"caveat: the mass is not known within {SURE_MASS:.0%}; {again}"
    if 2.0 * float(estimate.centre_std.max()) > SURE_CENTRE:
        yield f"caveat: the centre of mass is not known within {1000 * SURE_CENTRE:g} mm; {again}"


def _choice(arguments: argparse.Namespace) -> SensorChoice:
    """The sensor that is asked for. Raises `ForceError` when there is none of that name."""
    from hardware.force.arm import FRAME
    from hardware.interfaces import ForceError
    from hardware.registry import meant
    from robot_rl.contract.ranges import shown
    from robot_rl.tasks.keys import rotation_of

    if arguments.sensor != ARM and arguments.sensor not in FORCE_SENSORS:
        names = FORCE_SENSORS.listed(ARM)
        hint = meant(arguments.sensor, (ARM, *FORCE_SENSORS.names()))
        raise ForceError(f"unknown force sensor {shown(arguments.sensor)}; choose from {names}{hint}")
    frame = arguments.frame or (FRAME if arguments.sensor == ARM else "wrist_ft")
    return SensorChoice(arguments.sensor, arguments.device, frame, rotation_of(tuple(arguments.mount)).tolist())


def _survey(arguments: argparse.Namespace, choice: SensorChoice) -> list[StaticPose]:
    """Have the arm tilt its hand, and the sensor read. Raises `ConfigError`."""
    from hardware.force.tool_file import read_readings
    from robot_rl.contract.settings import ConfigError
    from robot_rl.jobs.bringup import node_names, specs
    from robot_rl.jobs.config import load_config
    from robot_rl.jobs.locks import RunLock, ros_domain
    from robot_rl.jobs.logs import tell
    from robot_rl.jobs.run import Run
    from robot_rl.jobs.said import Said
    from robot_rl.jobs.supervisor import Supervisor
    from robot_rl.tasks.teaching import free_task, text_of

    config = load_config(None, arguments.overrides)
    if config.remote:
        raise ConfigError("arm=remote: a tool is identified on the computer of the arm")
    node_names(SURVEY, config)
    if config.arm != "sim" and not arguments.yes:
        tell("The arm is about to tilt its hand by 30° where it stands: leave 20 cm free around it. Enter begins")
        if not sys.stdin.readline():
            raise ConfigError("nobody pressed Enter; --yes begins without")
    with contextlib.ExitStack() as stack:
        lock = stack.enter_context(RunLock(SURVEY))
        file = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "calibrate.yaml"
        file.write_text(text_of(free_task("calibrate")), encoding="utf-8")
        run = Run.create(dataclasses.replace(config, task=str(file)), take=lock.take)
        _, config = Run.open(run.root)
        run.say("choice", dataclasses.asdict(choice))
        domain = stack.enter_context(ros_domain(config, SURVEY))
        tell(f"calibrate: {choice.sensor} in {choice.frame}, run {run.root}")
        tell(f"ROS_DOMAIN_ID={domain.number}, logs in {run.logs}; Ctrl-C gives up")
        held = (*domain.descriptors, *lock.descriptors)
        nodes = specs(SURVEY, run, config)
        Supervisor(run, SURVEY, nodes, domain.number, held).run(Said(run, SURVEY).update)
    if not run.tool_readings.exists():
        raise ConfigError(f"it ended before all was measured; logs in {run.logs}")
    return read_readings(run.tool_readings)


def _mm(values: Any) -> str:
    return ", ".join(f"{1000.0 * value:.1f}" for value in values)
