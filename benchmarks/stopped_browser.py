"""The operator's page while its browser stands still: how timely the session is, and how much memory it takes.

Evaluates a policy that acts at random on the simulated arm, with the page open in a headless Chromium, which is stopped
(SIGSTOP) after a while. Prints one JSON line: before, while it was stopped, and after.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from graph import MeasurementOver, device, errors_to_exit, loopback_address

from robot_rl.contract.settings import ConfigError
from robot_rl.data.store import StoreReader
from robot_rl.jobs.bringup import prepare, specs
from robot_rl.jobs.config import load_config
from robot_rl.jobs.display import page_address
from robot_rl.jobs.locks import ros_domain
from robot_rl.jobs.run import Run
from robot_rl.jobs.supervisor import Supervisor

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-first-run")
OF_WHEELS = ("LD_LIBRARY_PATH", "_ROS_WHEELS_BOOTSTRAP_COMPLETE")  # set by the ROS wheels, and not for other programs
SETTLING = 60.0  # [s] for a browser to draw the page for the first time, which is not measured
PROCESSES = ("console", "session")


class Experiment:
    """Called often while the job of ``run`` goes on: opens the browser, stops it, and raises `MeasurementOver`.

    Args:
        before, stopped: for so long [s].
    """

    def __init__(self, run: Run, before: float, stopped: float) -> None:
        self._run, self._durations = run, {"settling": SETTLING, "before": before, "stopped": stopped, "after": before}
        self._phases: list[str] = []
        self._until = 0.0
        self._browser: subprocess.Popen[bytes] | None = None
        self.episodes: dict[str, int] = {}  # phase → how many there were when it began
        self.memory: dict[str, dict[str, float]] = {}  # phase → process → MiB when it ended

    def look(self) -> None:
        now = time.monotonic()
        if self._browser is None:
            if page_address(self._run) and self._count():
                self._browser = _open(page_address(self._run), self._run.root / "browser")
                self._begin("settling", now)
            return
        if now < self._until:
            return
        ended = self._phases[-1]
        self.memory[ended] = {name: _resident_mib(self._run, name) for name in PROCESSES}
        names = list(self._durations)
        if ended == names[-1]:
            self.episodes["end"] = self._count()
            raise MeasurementOver
        following = names[names.index(ended) + 1]
        if following == "stopped":
            os.killpg(self._browser.pid, signal.SIGSTOP)
        elif following == "after":
            os.killpg(self._browser.pid, signal.SIGCONT)
        self._begin(following, now)

    def close(self) -> None:
        """End the browser."""
        if self._browser is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._browser.pid, signal.SIGKILL)
            self._browser.wait()

    def result(self) -> Iterator[tuple[str, dict[str, float | int]]]:
        """Each phase that is measured, with what it came to."""
        reader = StoreReader(self._run.evaluation, images=False)
        numbers = [info.index for info in reader.episodes()]
        edges = [*self.episodes.values()]
        for phase, first, last in zip(self._phases, edges, edges[1:], strict=False):
            if phase == "settling":
                continue
            steps = [reader.load_episode(number, ("decision_ms", "late")) for number in numbers[first:last]]
            decision, late = (np.concatenate([step[name] for step in steps]) for name in ("decision_ms", "late"))
            yield (
                phase,
                {
                    **{f"obs_to_action_ms_p{q}": round(float(np.percentile(decision, q)), 2) for q in (50, 95)},
                    "steps": len(decision),
                    "late": int(late.sum()),
                    **{f"{name}_mib": round(self.memory[phase][name], 1) for name in PROCESSES},
                },
            )

    def _begin(self, phase: str, now: float) -> None:
        self._phases.append(phase)
        self._until = now + self._durations[phase]
        self.episodes[phase] = self._count()

    def _count(self) -> int:
        return int(self._run.status_of("session").get("episodes", 0))


def _open(address: str, profile: Path) -> subprocess.Popen[bytes]:
    """A browser at ``address``, in a process group of its own. Raises `ConfigError` where there is none."""
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        raise ConfigError("no browser: install Chromium, e.g. apt-get install chromium")
    environment = {name: value for name, value in os.environ.items() if name not in OF_WHEELS}
    words = [path, *FLAGS, f"--user-data-dir={profile}", "--window-size=1280,800", "--remote-debugging-port=0", address]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(words, env=environment, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)


def _resident_mib(run: Run, name: str) -> float:
    """Resident memory of the node ``name`` of ``run`` [MiB]; NaN when it is not there."""
    mark = f"\0node\0{name}\0--run\0{run.root}\0".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (folder / "cmdline").read_bytes():
                found = re.search(r"VmRSS:\s+(\d+) kB", (folder / "status").read_text())
                return int(found[1]) / 1024 if found else float("nan")
    return float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="reach")
    parser.add_argument("--before", type=float, default=120.0, help="seconds with the browser running, and again after")
    parser.add_argument("--stopped", type=float, default=600.0, help="seconds with it stopped")
    arguments = parser.parse_args()
    settings = [f"task={arguments.task}", "policy=random", "episodes=1000000", "console.show=always"]
    with errors_to_exit(), tempfile.TemporaryDirectory(prefix="robot-rl-benchmark-") as folder:
        config = load_config(None, [*settings, f"robot_ip={loopback_address()}"])
        run = prepare("eval", config, Path(folder))
        experiment = Experiment(run, arguments.before, arguments.stopped)
        with contextlib.closing(experiment), contextlib.suppress(MeasurementOver), ros_domain(config) as domain:
            Supervisor(run, "eval", specs("eval", run, config), domain.number, domain.descriptors).run(experiment.look)
        result = dict(experiment.result())
    line = {"benchmark": "stopped_browser", **result, "device": device()}
    print(json.dumps({**line, "load": [round(x, 2) for x in os.getloadavg()]}))


if __name__ == "__main__":
    main()
