"""How fast a policy process acts, and starts: milliseconds from an observation to its actions. One JSON line a case.

Each case is an agent, without and with two cameras of 128² pixels, or a SmallVLA with them, that a process of its own
loads and serves, as a policy node does: one thread, next to nothing else imported. ``start_s`` is from the process's
start to its first action, imports and compilation included; ``second_ms`` is the action after that. ``cpu_ms`` is
processor time of an action and of making up its observation, for busy machines. ``--beside`` names a checkout of
another commit, whose process takes turns with this one's, so that other load on the machine hits both; ``ratio`` is
this one's figure to that one's.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from robot_rl.policies.base import ActorPolicy
    from robot_rl.tasks.base import Task

VLA = "vla"  # a SmallVLA, which acts by images alone
AGENTS = ("sac", "rlpd", "hil", "flash_sac", "chunked", "expo", "bc", "dsrl", "gorl", "rlt", "pa_rl", VLA)
CAMERAS = {"side": (128, 128), "wrist": (128, 128)}
TASK = "pick_cube"  # with a gripper: hil chooses between its options
THREADS = "--xla_cpu_multi_thread_eigen=false"
HERE = Path(__file__).resolve().parents[1]


class Served:
    """A policy process of the checkout at ``root``."""

    def __init__(self, root: Path, agent: str, images: bool, deterministic: bool, folder: Path) -> None:
        self._root, self._words = root, [agent, *(["--images"] if images else [])]
        file = folder / f"{agent}-{images}-{root.name}.params"
        subprocess.run(self._command("make", str(file)), cwd=root, env=self._environment, check=True)
        began = time.monotonic()
        words = [str(file), *(["--deterministic"] if deterministic else [])]
        self._process = subprocess.Popen(
            self._command("serve", *words), cwd=root, env=self._environment, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.first = self._read()  # "ready" by the same clock, load_s, peak_mb
        self.start = self.first["ready"] - began

    def act(self, count: int) -> dict[str, Any]:
        """Seconds of each of ``count`` actions: ``wall``, and ``cpu`` of the process in all."""
        print(count, file=self._process.stdin, flush=True)
        return self._read()

    def close(self) -> None:
        self._process.communicate()

    def _command(self, mode: str, *words: str) -> list[str]:
        return [sys.executable, "-m", "benchmarks.policy_serving", "--child", mode, *words, "--agents", *self._words]

    @property
    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(self._root), "XLA_FLAGS": THREADS, "OMP_NUM_THREADS": "1"}

    def _read(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise RuntimeError(f"the policy process of {self._root} ended")
        return json.loads(line)


def measure(agent: str, images: bool, arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The case's line."""
    roots = [HERE] if arguments.beside is None else [HERE, arguments.beside.resolve()]
    with ExitStack() as stack:
        served = []
        for root in roots:
            one = Served(root, agent, images, arguments.deterministic, folder)
            stack.callback(one.close)
            served.append(one)
        wall: list[list[float]] = [[] for _ in roots]
        cpu = [0.0 for _ in roots]
        for _ in range(arguments.turns):
            for i, one in enumerate(served):
                taken = one.act(arguments.calls)
                wall[i] += taken["wall"]
                cpu[i] += taken["cpu"] / arguments.turns / arguments.calls
        mine, *others = (figures(*taken) for taken in zip(served, wall, cpu, strict=True))
    line = {"benchmark": "policy_serving", "agent": agent, "images": len(CAMERAS) if images else 0, **mine}
    for other in others:
        line |= {"beside": other, "ratio": {name: round(mine[name] / other[name], 2) for name in mine if other[name]}}
    return line | {"load": [round(value, 2) for value in os.getloadavg()]}


def figures(served: Served, wall: list[float], cpu: float) -> dict[str, float]:
    """One process's figures, by name."""
    median, late = np.percentile(wall, (50, 95))
    return {
        "p50_ms": round(1e3 * median, 3),
        "p95_ms": round(1e3 * late, 3),
        "cpu_ms": round(1e3 * cpu, 3),
        "second_ms": round(1e3 * wall[0], 3),  # the first action came at the start
        "start_s": round(served.start, 2),
        "load_s": round(served.first["load_s"], 2),
        "peak_mb": round(served.first["peak_mb"]),
    }


def make(file: Path, agent: str, images: bool) -> None:
    """Parameters of a learner that has learnt nothing, as it publishes them."""
    from robot_rl.contract import AgentView
    from robot_rl.data.schema import StoreSchema
    from robot_rl.learner.domain import TaskDomain
    from robot_rl.learner.factory import make_agent
    from robot_rl.learner.loop import LearnerLoop, LoopConfig
    from robot_rl.tasks import make_task

    task = make_task(TASK)
    if agent == VLA:
        file.write_bytes(make_vla(task))
        return
    domain = TaskDomain(AgentView(task), StoreSchema.of(task, CAMERAS if images else {}))
    learner = LearnerLoop(make_agent(agent, {}), domain, config=LoopConfig(capacity=2, demo_capacity=2))
    file.write_bytes(learner.parameters())


def make_vla(task: Task) -> bytes:
    """A SmallVLA that has learnt nothing."""
    from robot_rl.perception.encoders import make_encoder
    from robot_rl.policies.vla.card import packed
    from robot_rl.policies.vla.config import VlaConfig
    from robot_rl.policies.vla.network import SmallVla
    from robot_rl.policies.vla.seeing import cell_shape

    config, sizes = VlaConfig(), {name: height for name, (height, _) in CAMERAS.items()}
    encoder = make_encoder(config.encoder)
    cells = {name: cell_shape(encoder, size) for name, size in sizes.items()}
    network = SmallVla(config, cells, task.state_size, task.action.size)
    params = {name: value.numpy() for name, value in network.state_dict().items()}
    return packed(params, task, [task.name], sizes, config)


def serve(file: Path, images: bool, deterministic: bool) -> None:
    """Load a policy, act once, and then as many times as each line asks for."""
    from robot_rl.contract import Observation
    from robot_rl.policies.vla.card import is_vla
    from robot_rl.tasks import make_task

    task, rng = make_task(TASK), np.random.default_rng(0)
    pictures, data = CAMERAS if images else {}, file.read_bytes()
    began = time.monotonic()
    policy: ActorPolicy
    if is_vla(data):
        from robot_rl.policies.vla.policy import load_vla

        policy = load_vla(data, task, 0, pictures)
        policy.begin("pick up the red cube, please")
    else:
        from robot_rl.policies.loading import ActorLoader

        policy = ActorLoader(task, 0, deterministic, pictures)(data)

    def act() -> float:
        state = rng.normal(size=task.state_size).astype(np.float32)
        seen = {name: rng.integers(0, 256, (*size, 3), np.uint8) for name, size in pictures.items()}
        began = time.perf_counter()
        policy.act([Observation(0, 0, state, seen)])
        return time.perf_counter() - began

    act()
    ready = time.monotonic()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"ready": ready, "load_s": ready - began, "peak_mb": peak}), flush=True)
    for line in sys.stdin:
        cpu = time.process_time()
        wall = [act() for _ in range(int(line))]
        print(json.dumps({"wall": wall, "cpu": time.process_time() - cpu}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", nargs="+", choices=AGENTS, default=list(AGENTS))
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--calls", type=int, default=40, help="actions a turn")
    parser.add_argument("--deterministic", action="store_true", help="as in an evaluation; otherwise with noise")
    parser.add_argument("--beside", type=Path, help="checkout of another commit to compare with")
    parser.add_argument("--json", type=Path, help="also append the lines to this file")
    parser.add_argument("--child", nargs=2, metavar=("MODE", "FILE"), help=argparse.SUPPRESS)
    parser.add_argument("--images", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child is not None:
        mode, file = arguments.child[0], Path(arguments.child[1])
        if mode == "make":
            make(file, arguments.agents[0], arguments.images)
        else:
            serve(file, arguments.images, arguments.deterministic)
        return
    with tempfile.TemporaryDirectory() as folder:
        for agent in arguments.agents:
            for images in (True,) if agent == VLA else (False, True):
                text = json.dumps(measure(agent, images, arguments, Path(folder)))
                print(text, flush=True)
                if arguments.json:
                    with arguments.json.open("a") as file:
                        file.write(text + "\n")


if __name__ == "__main__":
    main()
