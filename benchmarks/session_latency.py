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
from robot_rl.jobs.run import Run
from robot_rl.jobs.supervisor import JobFailed


def measure(run: Run) -> dict[str, float | int]:
    """Percentiles over the online steps of ``run``, from the first one that updated parameters decided."""
    reader = StoreReader(run.online, images=False)
    timing = ("decision_ms", "period_ms", "late")
    episodes = [reader.load_episode(info.index, (*timing, "version")) for info in reader.episodes()]
    columns = {name: np.concatenate([e[name] for e in episodes]) for name in timing}
    learning = np.maximum.accumulate(np.concatenate([e["version"] for e in episodes])) > 0
    if not learning.any():
        raise JobFailed("no step was decided by parameters that the learner had updated; measure for longer")
    decision, period, late = (column[learning] for column in columns.values())
    return {
        **{f"obs_to_action_ms_p{q}": round(float(np.percentile(decision, q)), 2) for q in (50, 95, 99)},
        **{f"robot_period_ms_p{q}": round(float(np.percentile(period, q)), 1) for q in (50, 95)},
        "steps": len(decision),
        "late": int(late.sum()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="peg_insertion")
    parser.add_argument("--seconds", type=float, default=40.0, help="of training with the learner at work")
    arguments = parser.parse_args()
    with errors_to_exit(), trained_graph(arguments.task, arguments.seconds) as measured:
        result = measure(measured.run)
    result |= {"updates_per_s": measured.updates_per_s}
    line = {"benchmark": "session_latency", **result, "device": device()}
    print(json.dumps({**line, "load": [round(x, 2) for x in os.getloadavg()]}))


if __name__ == "__main__":
    main()
