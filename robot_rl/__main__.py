"""``python -m robot_rl`` is ``robot-rl``."""

import sys

from robot_rl.jobs.cli import main

sys.exit(main())
