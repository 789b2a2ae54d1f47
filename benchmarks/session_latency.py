"""From the observation's publication to the action's arrival back at the session, while the whole graph runs.

Trains for a while on the simulated arm with the learner at work; every recorded step carries the time of its decision,
late ones (answered by holding still) included. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os

import numpy as np
from graph import device, errors_to_exit, trained_graph

from robot_rl.data.store import StoreReader
from robot_rl.run import Run


def measure(run: Run) -> dict[str, float | int]:
    """Percentiles over the online steps of ``run``."""
    reader = StoreReader(run.online, images=False)
    episodes = [reader.load_episode(info.index) for info in reader.episodes()]
    decision = np.concatenate([episode["decision_ms"] for episode in episodes])
    period = np.concatenate([episode["period_ms"][1:] for episode in episodes])
    return {
        **{f"obs_to_action_ms_p{q}": round(float(np.percentile(decision, q)), 2) for q in (50, 95, 99)},
        **{f"robot_period_ms_p{q}": round(float(np.percentile(period, q)), 1) for q in (50, 95)},
        "steps": len(decision),
        "late": int(sum(episode["late"].sum() for episode in episodes)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="peg_insertion")
    parser.add_argument("--steps", type=int, default=320, help="online steps to train for, 10 a second")
    arguments = parser.parse_args()
    with errors_to_exit(), trained_graph(arguments.task, arguments.steps) as measured:
        result = measure(measured.run)
    result |= {"updates_per_s": measured.updates_per_s}
    line = {"benchmark": "session_latency", **result, "device": device()}
    print(json.dumps({**line, "load": [round(x, 2) for x in os.getloadavg()]}))


if __name__ == "__main__":
    main()
