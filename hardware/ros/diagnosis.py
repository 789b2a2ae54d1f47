"""How an arm is, for ``/diagnostics``: the worst level of all there is to say, and all of it in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from diagnostic_msgs.msg import DiagnosticStatus

from controllers.ros import topics
from controllers.state import Mode

OF_MODE = {
    Mode.IDLE: (DiagnosticStatus.OK, f"idle: torque control begins with the service {topics.START}"),
    Mode.TRACK: (DiagnosticStatus.OK, ""),
    Mode.HOLD: (DiagnosticStatus.WARN, "holding its pose: no fresh setpoint comes"),
    Mode.DAMP: (DiagnosticStatus.WARN, "damping out: the motion is being ended"),
    Mode.FAULT: (DiagnosticStatus.ERROR, "stopped by a fault"),
    Mode.STOPPED: (DiagnosticStatus.ERROR, "stopped by a person"),
}
ERRORS = ("not the holder",)  # of refusals; others are warnings


class Diagnosis(NamedTuple):
    """A level of diagnostic_msgs/DiagnosticStatus, and why."""

    level: bytes
    message: str


def diagnose(mode: Mode, fault: str, complaints: Mapping[str, str], publishers: int) -> Diagnosis:
    """How an arm is.

    Args:
        mode, fault: of its latest reading; see `hardware.interfaces.ArmReading`.
        complaints: kinds of command that are being refused, with the latest reason; see `ArmCommands.complaints`.
        publishers: on ``target_pose``, of which there should be one.
    """
    level, words = OF_MODE[mode]
    found = [Diagnosis(level, f"{words}: {fault}" if fault else words)]
    if publishers > 1:
        words = f"more than one publisher on {topics.TARGET_POSE}: only one may command the arm"
        found.append(Diagnosis(DiagnosticStatus.ERROR, words))
    for kind, why in complaints.items():
        level = DiagnosticStatus.ERROR if kind in ERRORS else DiagnosticStatus.WARN
        found.append(Diagnosis(level, f"commands are refused ({kind}): {why}"))
    found.sort(key=lambda one: one.level, reverse=True)
    return Diagnosis(found[0].level, "; ".join(one.message for one in found if one.message) or "ok")
