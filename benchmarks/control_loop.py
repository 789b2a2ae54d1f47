"""Timing of the 1 kHz torque loop while the whole graph runs beside it and the learner learns.

Trains for a while on the simulated arm, then reads the last ten seconds of ticks that the arm driver wrote down. Prints
one JSON line: ``compute`` is from a state's arrival to the torque's dispatch, ``period`` between two arrivals, and
``missed_ticks`` are milliseconds of robot time that got no torque of their own.
"""

from __future__ import annotations

import argparse
import json
import os

import numpy as np
from graph import device, errors_to_exit, trained_graph

TICK = 0.001  # [s]
QUANTILES = {"p50": 50.0, "p99": 99.0, "p999": 99.9}


def measure(telemetry: np.ndarray) -> dict[str, float | int]:
    """Percentiles of consecutive ticks, a structured array of `hardware.franka.mailbox.TELEMETRY`."""
    within = telemetry["period"][1:] > 0.0  # the first tick of a motion has no predecessor
    periods = telemetry["period"][1:][within] * 1e3
    compute = telemetry["compute"] * 1e6
    elapsed = np.diff(telemetry["time"])[within]
    return {
        **{f"compute_us_{name}": round(float(np.percentile(compute, q)), 1) for name, q in QUANTILES.items()},
        **{f"period_ms_{name}": round(float(np.percentile(periods, q)), 3) for name, q in QUANTILES.items()},
        "missed_ticks": int((np.round(elapsed / TICK) - 1).clip(0).sum()),
        "ticks": len(telemetry),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="peg_insertion")
    parser.add_argument("--seconds", type=float, default=40.0, help="of training with the learner at work")
    arguments = parser.parse_args()
    with errors_to_exit(), trained_graph(arguments.task, arguments.seconds) as measured:
        saved = np.load(measured.run.logs / "telemetry.npz")
        result = measure(saved["telemetry"]) | {"not_granted": saved["refused"].tolist()}
    result |= {"updates_per_s": measured.updates_per_s, "device": device()}
    print(json.dumps({"benchmark": "control_loop", **result, "load": [round(x, 2) for x in os.getloadavg()]}))


if __name__ == "__main__":
    main()
