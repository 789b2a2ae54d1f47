"""Timing of the 1 kHz torque loop: beside the whole graph with its learner, and against pylibfranka's example loop.

Trains for a while on the simulated arm, then reads the last ten seconds of ticks that the arm driver wrote down. Prints
one JSON line: ``compute`` is from a state's arrival to the torque's dispatch, ``period`` between two arrivals, and
``missed_ticks`` are milliseconds of robot time that got no torque of their own. ``vs_pylibfranka_example`` is the
ratio of the two loops' p99 of the period (ours / the example's; below 1 ours is steadier), measured in turns on one
simulator next to a learner (`loop_comparison`); what both came to is in ``comparison``.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

from graph import device, errors_to_exit, loopback_address, trained_graph
from loop_comparison import compare, summary

from hardware.franka.telemetry import load_telemetry


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="peg_insertion")
    parser.add_argument("--seconds", type=float, default=40.0, help="of training with the learner at work")
    parser.add_argument("--turn", type=float, default=8.0, help="length of a turn of each loop [s], at most 10")
    parser.add_argument("--turns", type=int, default=4, help="of each loop; 0: no comparison")
    arguments = parser.parse_args()
    result: dict[str, object] = {"benchmark": "control_loop"}
    with errors_to_exit():
        with trained_graph(arguments.task, arguments.seconds) as measured:
            saved = load_telemetry(measured.run.logs / "telemetry.npz")
            result |= summary(saved.ticks) | {"not_granted": list(saved.refused)}
        result |= {"updates_per_s": measured.updates_per_s, "device": device()}
        if arguments.turns:
            with tempfile.TemporaryDirectory(prefix="robot-rl-benchmark-") as scratch:
                comparison = compare(loopback_address(), arguments.turn, arguments.turns, Path(scratch))
            result |= {"vs_pylibfranka_example": comparison["period_p99_ratio"], "comparison": comparison}
    print(json.dumps({**result, "load": [round(x, 2) for x in os.getloadavg()]}))


if __name__ == "__main__":
    main()
