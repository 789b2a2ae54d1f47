"""``python -m demos.passivity --out DIR``: what the passivity filter does to policies that destabilise the arm."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from demos.passivity import figures
from demos.passivity.attacks import POLICIES, REGIMES, SECONDS, attack


def show(out: Path, seconds: float) -> None:
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


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m demos.passivity", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures and the table")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="robot time of each attack")
    arguments = parser.parse_args(argv)
    show(arguments.out, arguments.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
