"""Correct what a recorded step came to: ``python -m demos.relabel runs/<run>/online 12 47 success``.

An ending makes the step the last of its episode that counts; ``running`` takes one back. Nothing that was recorded is
changed: the correction is kept beside it, and a learner that follows the store hears of it.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from robot_rl.contract import Ending, Outcome, Relabel
from robot_rl.data.schema import StoreError
from robot_rl.data.store import EpisodeStore

BY = "person"
REWARDS = {Ending.SUCCESS: 1.0}  # of the endings; all others 0


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 2 when there is no such step, or another process writes to the store."""
    parser = argparse.ArgumentParser(prog="python -m demos.relabel", description=__doc__.split(":", 1)[0] + ".")
    parser.add_argument("store", type=Path)
    parser.add_argument("episode", type=int)
    parser.add_argument("step", type=int, help="counted from 0")
    parser.add_argument("ending", choices=[ending.value for ending in Ending])
    parser.add_argument("--reward", type=float, help="default: 1 of a success, otherwise 0")
    parser.add_argument("--reason", default="", help="e.g. what went wrong")
    arguments = parser.parse_args(argv)
    logging.basicConfig(format="demos.relabel: %(message)s")
    ending = Ending(arguments.ending)
    reward = REWARDS.get(ending, 0.0) if arguments.reward is None else arguments.reward
    outcome = Outcome(reward, ending, arguments.reason)
    try:
        with EpisodeStore.open(arguments.store) as store:
            store.relabel(Relabel(arguments.episode, arguments.step, outcome, BY))
            known = {info.index: info for info in store.episodes()}
    except StoreError as error:
        sys.stderr.write(f"demos.relabel: {error}\n")
        return 2
    info = known[arguments.episode]
    sys.stdout.write(f"episode {info.index}: {info.ending.value} after {info.steps} steps\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
