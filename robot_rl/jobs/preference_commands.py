"""``robot-rl reward prefer`` and ``rank``: their arguments, and who does them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from robot_rl.jobs.job import job_of
from robot_rl.rewards.answers import FILE

PREFERRING = PREFER, RANK = ("prefer", "rank")  # actions whose settings are a `PreferenceConfig`
FOLDER = "preference"  # of the run, where what is learnt is by default
SHOWN = job_of("record").records  # store that is asked about by default


def add_preference_parsers(actions: Any) -> None:
    """Add both commands to ``actions``, what `argparse.ArgumentParser.add_subparsers` returns."""
    text = "say which of two snippets of episodes is the better one, or how good one is"
    _add(
        actions,
        PREFER,
        text,
        f"Answers go to DIR/{FILE}, each at once.",
        "answers=60 length=10 ask=scores by=MODULE:FUNCTION",
    )
    text = "learn what a person prefers from their answers, for preference=DIR"
    rank = _add(actions, RANK, text, f"It goes to DIR/{FOLDER}, and one that is there is set aside.", "fields=force")
    rank.add_argument("--out", type=Path, metavar="DIR", help=f"folder of it; default DIR/{FOLDER}")


def _add(actions: Any, name: str, text: str, more: str, example: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=text, description=f"{text}. {more}")
    parser.add_argument("--run", type=Path, required=True, metavar="DIR", help="folder of the run")
    parser.add_argument(
        "--stores",
        nargs="+",
        default=[SHOWN],
        metavar="STORE",
        help=f"episode stores, relative to DIR or absolute (default: {SHOWN})",
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help=f"settings, e.g. {example}")
    parser.set_defaults(work=prefer_or_rank)
    return parser


def prefer_or_rank(arguments: argparse.Namespace) -> int:
    """Do one of `PREFERRING`; returns the exit status. Raises the errors of `robot_rl.jobs.errors`."""
    from robot_rl.contract.settings import nested, put_over
    from robot_rl.jobs.reward_snippets import Recorded
    from robot_rl.jobs.run import Run
    from robot_rl.rewards.config import PreferenceConfig
    from robot_rl.tasks import make_task

    run, of_run = Run.open(arguments.run)
    settings, task = put_over(PreferenceConfig(), nested(arguments.overrides)), make_task(of_run.task)
    recorded = Recorded(run.root, arguments.stores, task)
    if arguments.action == PREFER:
        from robot_rl.jobs.reward_prefer import prefer

        return prefer(run.root, recorded, settings)
    from robot_rl.jobs.reward_rank import rank

    out = arguments.out.absolute() if arguments.out is not None else run.root / FOLDER
    return rank(run.root, out, recorded, task, settings)
