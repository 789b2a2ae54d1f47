"""Effects of the passivity filter on policies that destabilise the arm, and on policies that learn with it in mind.

``python -m benchmarks.experiments.passivity`` with ``--out DIR`` runs the first and draws them, with ``compare --out
DIR`` trains and deploys the second, with ``evaluate --policy FILE`` deploys a policy with the default tank, without the
filter and with it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.experiments.passivity import figures
from benchmarks.experiments.passivity.attacks import POLICIES, REGIMES, SECONDS, attack
from controllers.passivity import TankConfig
from robot_rl.data.parameters import ParameterError


def show_attacks(out: Path, seconds: float) -> None:
    """Every policy under every regime, off and on: pictures and ``table.md`` in ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    attacks = []
    for key, regime in REGIMES.items():
        for policy in POLICIES:
            off, on = (attack(policy, regime, filtered, seconds) for filtered in (False, True))
            attacks += [off, on]
            figures.draw(off, on, out / f"passivity-{policy.replace(' ', '-')}-{key}.png")
    text = figures.table(attacks)
    (out / "table.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)


def show_evaluation(policy: Path, episodes: int) -> None:
    """A JSON line for the filter off and one for on, with the default tank."""
    from benchmarks.experiments.passivity.compare import evaluate

    for filtered in (False, True):
        result = evaluate(policy.read_bytes(), dataclasses.replace(TankConfig(), filter=filtered), episodes)
        sys.stdout.write(json.dumps({"filter": filtered, "episodes": episodes, **result}) + "\n")
        sys.stdout.flush()


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 2 when a file cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.experiments.passivity", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("what", nargs="?", choices=("attacks", "compare", "evaluate"), default="attacks")
    parser.add_argument("--out", type=Path, default=Path("runs/passivity"), help="folder for what comes of it")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="attacks: robot time of each")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="compare: one training of each agent")
    parser.add_argument("--steps", type=int, default=3000, help="compare: online steps of a training")
    parser.add_argument("--policy", type=Path, help="evaluate: parameter file, e.g. runs/<run>/policy.params")
    parser.add_argument("--episodes", type=int, default=100, help="compare, evaluate: starts for each deployment")
    arguments = parser.parse_args(argv)
    if arguments.what == "attacks":
        show_attacks(arguments.out, arguments.seconds)
    elif arguments.what == "compare":
        from benchmarks.experiments.passivity.compare import compare

        sys.stdout.write(compare(arguments.out, arguments.seeds, arguments.steps, arguments.episodes))
    else:
        if arguments.policy is None:
            parser.error("evaluate needs --policy FILE")
        try:
            show_evaluation(arguments.policy, arguments.episodes)
        except (OSError, ParameterError) as error:
            sys.stderr.write(f"benchmarks.experiments.passivity: {arguments.policy}: {error}\n")
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
