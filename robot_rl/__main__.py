"""``robot-rl``, also as ``python -m robot_rl``."""

import sys

from robot_rl.jobs.interrupt import quits_at_once


def main() -> int:
    """Run the command line; returns the exit status."""
    with quits_at_once():
        from robot_rl.jobs.cli import main as run_command
    return run_command()


if __name__ == "__main__":
    sys.exit(main())
