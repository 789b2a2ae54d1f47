"""``ros2 launch`` as a process, for tests: the real one, with this checkout as the package ``robot_rl``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import require_job_mark

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 600.0  # [s] before a test gives up waiting; never what it measures
ROS2 = "import sys; from ros2cli.cli import main; sys.exit(main())"
EXECUTABLE = """#!{python}
import sys
from robot_rl.__main__ import main
sys.exit(main())
"""
# Ends with the statuses of its plan, one after the other, then lasts until it is asked to stop.
ACTOR = """#!{python}
import json, os, signal, sys, threading
from pathlib import Path
name = sys.argv[2]
plan = json.loads({plan!r})
starts = Path({folder!r}, name)
number = starts.stat().st_size if starts.exists() else 0
with starts.open("ab") as file:
    file.write(b".")
statuses = plan.get(name, [])
if number < len(statuses):
    sys.stderr.write(f"{{name}} ends with {{statuses[number]}}\\n")
    sys.exit(statuses[number])
signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
sys.stderr.write(f"{{name}} lasts\\n")
signal.pause()
"""


class Workspace:
    """An installation of the package, as colcon leaves one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        share, binaries = folder / "share", folder / "lib" / "robot_rl"
        index = share / "ament_index" / "resource_index" / "packages"
        for made in (index, share / "robot_rl" / "launch", binaries):
            made.mkdir(parents=True)
        (index / "robot_rl").touch()
        for file in (ROOT / "launch").glob("*.launch.py"):
            (share / "robot_rl" / "launch" / file.name).write_bytes(file.read_bytes())
        self._binary = binaries / "robot-rl"
        self._install(EXECUTABLE.format(python=sys.executable))

    def act(self, **plan: list[int]) -> None:
        """Have actors in place of the processes: each ends with its exit statuses in turn, and lasts afterwards."""
        self._install(ACTOR.format(python=sys.executable, plan=json.dumps(plan), folder=str(self.folder)))

    def starts(self, name: str) -> int:
        """How often the actor of this name was started."""
        file = self.folder / name
        return file.stat().st_size if file.exists() else 0

    def _install(self, text: str) -> None:
        self._binary.write_text(text)
        self._binary.chmod(0o755)

    def launch_file(self, job: str) -> Path:
        return self.folder / "share" / "robot_rl" / "launch" / f"{job}.launch.py"

    def launch(self, *arguments: str) -> subprocess.Popen[str]:
        """``ros2 launch ARGUMENTS``, in a process group of its own, as a terminal starts it."""
        require_job_mark()
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "AMENT_PREFIX_PATH": os.pathsep.join(
                [str(self.folder), *filter(None, [os.environ.get("AMENT_PREFIX_PATH")])]
            ),
            "ROS_HOME": str(self.folder / "home"),
        }
        words = [sys.executable, "-c", ROS2, "launch", *arguments]
        return subprocess.Popen(
            words,
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        """Exit status and output of a launch that ends by itself."""
        process = self.launch(*arguments)
        try:
            output, _ = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
        return process.returncode, output


def in_front(folder: Path, variable: str) -> str:
    """The search path in an environment variable, with ``folder`` before all others."""
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get(variable)])])
