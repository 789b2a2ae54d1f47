"""How fast the learners update: against the fastest this machine multiplies matrices, and against other libraries.

A JSON line for each agent. An update is what a learner does for it: replay sampling, transfer, the compiled call, the
look at what came of it. Updates, the roofline's matrix products and, with ``--peers``, the train calls of
Stable-Baselines3 and sbx at the same sizes take turns, so that other load on the machine hits all of them; medians of
each. Algorithms are by themselves, without the clone and the scaled inputs of a run. A peer that is not installed is
left out; ``--peer-python`` names an interpreter that has it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np

from robot_rl.contract import FrameSize, Layout, frame_spec
from robot_rl.data.episode import Transitions, frame_column
from robot_rl.learner.agent import Agent
from robot_rl.learner.algorithms import flash_sac
from robot_rl.learner.factory import make_algorithm
from robot_rl.learner.loop import LearnerLoop, LoopConfig

ROOFLINE_SIZE = 1024
EPISODE = 100  # steps
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}  # the same in peers.py, which runs without robot_rl
CAMERAS = {"side": (128, 128), "wrist": (128, 128)}


@dataclass(frozen=True)
class Case:
    """An agent at a size; ``critics`` and ``layer_norm`` are what peers are asked for, None where they have no such."""

    agent: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    images: Mapping[str, FrameSize] = field(default_factory=dict)
    steps: int = 20_000  # in the buffer
    critics: int | None = None
    layer_norm: bool = False


CASES = {
    "sac": Case("sac", critics=2),
    "rlpd": Case("rlpd", critics=10, layer_norm=True),
    "rlpd_utd20": Case("rlpd", {"critic_steps": 20}, critics=10, layer_norm=True),
    "flash_sac": Case("flash_sac"),
    "flash_sac_published": Case("flash_sac", asdict(flash_sac.published())),
    "chunked": Case("chunked", {"horizon": 5, "hidden": (512, 512, 512, 512)}),
    "rlpd_images": Case("rlpd", images=CAMERAS, steps=1_000),
}


@dataclass(frozen=True)
class Domain:
    """The domain of a `LearnerLoop`: sizes, and no stores."""

    layout: Layout

    @property
    def identity(self) -> Mapping[str, Any]:
        return {}

    def misfit(self, store: object) -> str:
        return "the benchmark takes no stores"


def matmul_flops(jaxpr: Any, share: float = 1.0) -> float:
    """Floating-point operations of the matrix products and convolutions in ``jaxpr``; all else is overhead by it.

    A scan's body counts as often as it runs. A branch is taken in ``share`` of the cases, the cheaper one otherwise.
    Zeros that a strided convolution's gradient is padded with are not counted.
    """
    total = 0.0
    for equation in jaxpr.eqns:
        match equation.primitive.name:
            case "dot_general":
                (contracted, _), _ = equation.params["dimension_numbers"]
                left, out = equation.invars[0].aval, equation.outvars[0].aval
                total += 2.0 * out.size * np.prod([left.shape[axis] for axis in contracted])
            case "conv_general_dilated":
                kernel, out = equation.invars[1].aval, equation.outvars[0].aval
                outputs = kernel.shape[equation.params["dimension_numbers"].rhs_spec[0]]
                dilation = np.prod(equation.params["lhs_dilation"])
                total += 2.0 * out.size * kernel.size / outputs / dilation
            case "scan":
                total += equation.params["length"] * matmul_flops(equation.params["jaxpr"], share)
            case "cond":
                costs = sorted(matmul_flops(branch, share) for branch in equation.params["branches"])
                total += share * costs[-1] + (1.0 - share) * costs[0]
            case _:
                total += sum(matmul_flops(inner, share) for inner in _inner(equation.params.values()))
    return float(total)


def _inner(values: Any) -> Iterator[Any]:
    for value in values:
        if hasattr(value, "eqns"):
            yield value
        elif isinstance(value, tuple | list):
            yield from _inner(value)


def filled(agent: Agent, case: Case, layout: Layout, batch_size: int) -> LearnerLoop:
    """A learner with a buffer of noise, which is owed more updates than it can ever make."""
    config = LoopConfig(utd=1e6, start_after=0, batch_size=batch_size, demo_share=None, capacity=2 * case.steps)
    learner = LearnerLoop(agent, Domain(layout), config=config)
    rng = np.random.default_rng(0)
    for episode in range(case.steps // EPISODE):
        ends = np.arange(EPISODE) == EPISODE - 1
        learner.add(
            Transitions(
                "benchmark",
                episode,
                0,
                {
                    "state": rng.normal(size=(EPISODE + 1, layout.state_size)).astype(np.float32),
                    **{frame_column(name, size): _frames(rng, size) for name, size in layout.images.items()},
                    "action": rng.uniform(-1.0, 1.0, (EPISODE, layout.action_size)).astype(np.float32),
                    "reward": ends.astype(np.float32),
                    "terminated": ends,
                    "truncated": np.zeros(EPISODE, bool),
                    "source": np.zeros(EPISODE, np.uint8),
                    "version": np.zeros(EPISODE, np.int64),
                    "cost": np.zeros(EPISODE, np.float32),
                },
            )
        )
    return learner


def _frames(rng: np.random.Generator, size: FrameSize) -> np.ndarray:
    """An episode of noise, in place of images or of features."""
    shape, kind = frame_spec(size)
    many = EPISODE + 1, *shape
    return rng.integers(0, 256, many, np.uint8) if kind is np.uint8 else rng.normal(size=many).astype(kind)


class Peer:
    """Another library's learner in its own process; ``name`` is None where it is not installed."""

    def __init__(self, python: str, peer: str, clock: str, sizes: Mapping[str, int], layer_norm: bool) -> None:
        command = [python, str(Path(__file__).with_name("peers.py")), peer, "--clock", clock]
        command += [word for name, value in sizes.items() for word in (f"--{name}", str(value))]
        command += ["--layer-norm"] if layer_norm else []
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        answer = self._read()
        self.name = answer.removeprefix("ready ") if answer.startswith("ready ") else None

    def train(self, calls: int) -> float:
        """Seconds that ``calls`` train calls take."""
        print(calls, file=self._process.stdin, flush=True)
        return float(self._read())

    def close(self) -> None:
        self._process.communicate()

    def _read(self) -> str:
        return self._process.stdout.readline().strip() if self._process.stdout else ""


def measure(case: Case, arguments: argparse.Namespace, peers: list[Peer]) -> list[dict[str, Any]]:
    """The case's line; with peers, one for each."""
    layout = Layout(arguments.state, arguments.action, case.images)
    agent = make_algorithm(case.agent, case.settings)
    learner = filled(agent, case, layout, arguments.batch)
    batch = learner.sources.sampler.sample(
        np.random.default_rng(0), agent.updates_per_call, arguments.batch, agent.horizon
    )
    batch = learner.sources.returns.put_into(batch)
    share = 1.0 / getattr(agent.config, "actor_every", 1)
    flops = matmul_flops(jax.make_jaxpr(agent.update)(learner.state, batch), share)
    square = jax.numpy.asarray(np.random.default_rng(0).normal(size=(ROOFLINE_SIZE, ROOFLINE_SIZE)).astype(np.float32))
    multiply = jax.jit(jax.numpy.matmul)

    clock = CLOCKS[arguments.clock]

    def call(count: int) -> None:
        for _ in range(count):
            learner.update()
        jax.block_until_ready(learner.state)

    def sample() -> None:
        rng = np.random.default_rng(1)
        for _ in range(arguments.calls):
            learner.sources.sampler.sample(rng, agent.updates_per_call, arguments.batch, agent.horizon)

    call(3)  # compile
    jax.block_until_ready(multiply(square, square))
    for peer in peers:
        peer.train(3)
    ours, products, samples, theirs = [], [], [], [[] for _ in peers]
    for _ in range(arguments.turns):
        ours.append(timed(lambda: call(arguments.calls), clock) / arguments.calls)
        products.append(timed(lambda: jax.block_until_ready(multiply(square, square)), clock))
        samples.append(timed(sample, clock) / arguments.calls)
        for times, peer in zip(theirs, peers, strict=True):
            times.append(peer.train(arguments.calls) / arguments.calls)
    second = statistics.median(ours)
    gflops, roofline = flops / second / 1e9, 2 * ROOFLINE_SIZE**3 / statistics.median(products) / 1e9
    line = {
        "benchmark": "learner_throughput",
        "agent": case.agent,
        "config": {
            **vars(agent.config),
            "state": arguments.state,
            "action": arguments.action,
            "batch": arguments.batch,
            "images": {name: list(size) for name, size in case.images.items()},
        },
        "updates_per_s": round(agent.updates_per_call / second, 1),
        "updates_per_s_best": round(agent.updates_per_call / min(ours), 1),
        "call_ms": round(1e3 * second, 3),
        "mflop_per_update": round(flops / agent.updates_per_call / 1e6, 1),
        "gflops": round(gflops, 1),
        "roofline_gflops": round(roofline, 1),
        "roofline_fraction": round(gflops / roofline, 3),
        "sample_share": round(statistics.median(samples) / second, 4),
        "device": jax.devices()[0].platform,
        "clock": arguments.clock,
        "cores": len(os.sched_getaffinity(0)),
        "load": [round(value, 2) for value in os.getloadavg()],
    }
    if not peers:
        return [line]
    return [
        line
        | {
            "peer": peer.name,
            "peer_updates_per_s": round(agent.updates_per_call / statistics.median(times), 1),
            "ratio": round(statistics.median(t / o for t, o in zip(times, ours, strict=True)), 3),
        }
        for peer, times in zip(peers, theirs, strict=True)
    ]


def timed(function: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    function()
    return clock() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--state", type=int, default=40)
    parser.add_argument("--action", type=int, default=7)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--calls", type=int, default=5, help="update calls a turn")
    parser.add_argument("--peers", nargs="*", choices=("sb3", "sbx"), help="compare with these; default: both")
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter that has them")
    parser.add_argument(
        "--clock", choices=list(CLOCKS), default="wall", help="cpu: processor time, on a busy machine, with one thread"
    )
    parser.add_argument("--json", type=Path, help="also append the lines to this file")
    arguments = parser.parse_args()
    names = () if arguments.peers is None else arguments.peers or ("sb3", "sbx")
    for name in arguments.cases:
        case = CASES[name]
        for line in compared(case, arguments, names):
            text = json.dumps(line)
            print(text, flush=True)
            if arguments.json:
                with arguments.json.open("a") as file:
                    file.write(text + "\n")


def compared(case: Case, arguments: argparse.Namespace, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """`measure` with those of the peers that know the case and are installed."""
    updates = make_algorithm(case.agent, case.settings).updates_per_call
    sizes = {"state": arguments.state, "action": arguments.action, "batch": arguments.batch, "updates": updates}
    started = []
    try:
        if case.critics is not None:
            for name in names:
                given = {**sizes, "critics": case.critics}
                peer = Peer(arguments.peer_python, name, arguments.clock, given, case.layer_norm)
                started.append(peer)
                if peer.name is None:
                    print(f"{name} is not installed in {arguments.peer_python}", file=sys.stderr)
        return measure(case, arguments, [peer for peer in started if peer.name])
    finally:
        for peer in started:
            peer.close()


if __name__ == "__main__":
    main()
