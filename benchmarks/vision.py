"""The price of seeing: an encoder's milliseconds, and a learner's updates on its features, on pixels and on the state.

JSON lines. ``draw``: milliseconds of a drawn picture of 128² by each camera of the simulated scene, and of both.
``encode``: milliseconds of a call with so many pictures of 128², and of each. ``updates``: an agent by itself, on the
state alone, with two cameras' features, and with two cameras' pixels; the three take turns, so that other load on the
machine hits all of them. ``cost`` is the time of an update in that of one on the state, the median of the turns.
``act``: the milliseconds of an action, compiled, on each of the three.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from benchmarks.learner_throughput import CLOCKS, Case, filled, timed
from hardware.sim.scene.render import SceneRenderer
from robot_rl.contract import FrameSize, Layout, frame_spec
from robot_rl.learner.factory import make_algorithm
from robot_rl.learner.loop import LearnerLoop
from robot_rl.perception.encoders import make_encoder
from robot_rl.policies.serving import AgentActor
from robot_rl.tasks import make_task
from robot_rl.tasks.base import scene_of

SIZE = 128  # pixels
CAMERAS = ("front", "wrist")
DRAWN = "pick_cube_images"  # the task whose scene is drawn
STATE, ACTION = 40, 7
STEPS = 1000  # in the buffer


def encoding(name: str, batches: list[int], turns: int, clock: Callable[[], float]) -> Iterator[dict[str, Any]]:
    """A line for each size of a batch."""
    encoder = make_encoder(name)
    encoder.load()
    for count in batches:
        pictures = np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)
        encoder.encode(pictures)
        times = [timed(lambda given=pictures: encoder.encode(given), clock) for _ in range(turns)]
        second = statistics.median(times)
        yield {
            "benchmark": "encode",
            "encoder": name,
            "grid": list(encoder.shape(SIZE)),
            "batch": count,
            "ms": round(1e3 * second, 2),
            "ms_each": round(1e3 * second / count, 2),
        }


def drawing(turns: int, clock: Callable[[], float]) -> Iterator[dict[str, Any]]:
    """A line for each camera, and for both."""
    scene = scene_of(make_task(DRAWN))
    for cameras in ((CAMERAS[0],), (CAMERAS[1],), CAMERAS):
        with SceneRenderer(scene, SIZE, SIZE, cameras) as renderer:
            poses = [np.array(scene.start_q) + 0.01 * i for i in range(turns + 1)]
            renderer.render(poses[-1], 1.0, {})
            times = [timed(lambda q=q, by=renderer: by.render(q, 1.0, {}), clock) for q in poses[:-1]]
        yield {"benchmark": "draw", "cameras": list(cameras), "ms": round(1e3 * statistics.median(times), 2)}


def seen(encoder: str) -> dict[str, dict[str, FrameSize]]:
    """State, features and pixels: what an agent sees beside its state."""
    grid = make_encoder(encoder).shape(SIZE)
    return {"state": {}, "features": dict.fromkeys(CAMERAS, grid), "pixels": dict.fromkeys(CAMERAS, (SIZE, SIZE))}


def updates(
    agent: str, inputs: Mapping[str, Mapping[str, FrameSize]], arguments: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """A line for each of ``inputs``; the first is what the others are compared with."""
    learners = {name: _learner(agent, images, arguments.batch) for name, images in inputs.items()}
    clock = CLOCKS[arguments.clock]
    for learner in learners.values():
        _update(learner, 3)  # compile
    times: dict[str, list[float]] = {name: [] for name in learners}
    for _ in range(arguments.turns):
        for name, learner in learners.items():
            times[name].append(timed(lambda made=learner: _update(made, arguments.calls), clock) / arguments.calls)
    first = times[next(iter(times))]
    for name, found in times.items():
        yield {
            "benchmark": "updates",
            "agent": agent,
            "seen": name,
            "batch": arguments.batch,
            "updates_per_s": round(learners[name].agent.updates_per_call / statistics.median(found), 2),
            "cost": round(statistics.median(one / other for one, other in zip(found, first, strict=True)), 2),
            "clock": arguments.clock,
        }


def acting(agent: str, inputs: Mapping[str, Mapping[str, FrameSize]], turns: int) -> Iterator[dict[str, Any]]:
    """A line for each of ``inputs``."""
    for name, images in inputs.items():
        layout, made = Layout(STATE, ACTION, images), make_algorithm(agent, {})
        params = made.actor(made.create(jax.random.PRNGKey(0), layout))
        actor = AgentActor(made, layout, params, (0,))
        actor.warm_up(deterministic=True)
        frames: dict[str, np.ndarray] = {camera: np.zeros(*frame_spec(size)) for camera, size in images.items()}
        state = np.zeros(STATE, np.float32)
        act: Callable[[], object] = lambda on=actor, with_=frames, of=state: on.act(of, with_, True)  # noqa: E731
        times = [timed(act, time.perf_counter) for _ in range(turns)]
        yield {"benchmark": "act", "agent": agent, "seen": name, "ms": round(1e3 * statistics.median(times), 2)}


def _learner(agent: str, images: Mapping[str, FrameSize], batch: int) -> LearnerLoop:
    case = Case(agent, images=images, steps=STEPS)
    return filled(make_algorithm(agent, {}), case, Layout(STATE, ACTION, images), batch)


def _update(learner: LearnerLoop, calls: int) -> None:
    for _ in range(calls):
        learner.update()
    jax.block_until_ready(learner.state)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", default="efficientnet_lite0")
    parser.add_argument("--agents", nargs="*", default=["rlpd"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 2, 32], help="pictures that are encoded together")
    parser.add_argument("--batch", type=int, default=256, help="steps in a minibatch")
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--calls", type=int, default=2, help="update calls a turn")
    parser.add_argument(
        "--clock", choices=list(CLOCKS), default="wall", help="cpu: processor time, on a busy machine, with one thread"
    )
    arguments = parser.parse_args()
    machine = {"cores": len(os.sched_getaffinity(0))}
    inputs = seen(arguments.encoder)
    clock = CLOCKS[arguments.clock]
    for line in (
        *drawing(arguments.turns, clock),
        *encoding(arguments.encoder, arguments.batches, arguments.turns, clock),
    ):
        print(json.dumps(line | machine | {"load": round(os.getloadavg()[0], 2)}), flush=True)
    for agent in arguments.agents:
        for line in (*updates(agent, inputs, arguments), *acting(agent, inputs, arguments.turns)):
            print(json.dumps(line | machine | {"load": round(os.getloadavg()[0], 2)}), flush=True)


if __name__ == "__main__":
    main()
