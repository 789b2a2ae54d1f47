"""Ways to join the chunks of a slow policy: `pick_cube` in process, each way at several latencies of the answers.

``--policy script``: the task's script, rolled out ahead in a model of the arm that was fitted to 160 of the script's
steps (moved = 0.45 × asked for + 0.27 × moved before; residual 1.3 mm a step). It sees the observation only, and its
plans are as wrong as such a model is. It stands for a policy that imitates the script; it is none that was learnt.
Where it is handed the plan that goes on meanwhile (``session.chunks=rtc``), its own begins with that; else it plans as
if its answer were there at once. ``--policy FILE``: published parameters, say of ``robot-rl pretrain``.

One JSON line for each way and latency, over the same starts: success, duration of the episodes that succeeded, time
without an action, and the jumps of the commanded pose where chunks meet (`robot_rl.session.borders`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from controllers.core import ControllerConfig
from controllers.spatial import Pose
from controllers.state import Mode
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.contract import ActionChunk, Ending, Observation, Policy, Reading
from robot_rl.learner.networks.guidance import Method
from robot_rl.session.borders import Jump
from robot_rl.session.config import Joining, SessionConfig
from robot_rl.session.directive import EpisodeSummary
from robot_rl.session.in_process import Rollout
from robot_rl.session.session import Session
from robot_rl.tasks.base import TOOL_DOWN
from robot_rl.tasks.pick_cube import CUBE_WIDTH, HELD, PickCube

LATENCIES = (0.0, 0.1, 0.3, 0.6)  # [s]
SCRIPT = "script"
ROWS = 16  # of a chunk of the script
FOLLOWS, GLIDES = 0.45, 0.27  # of the way asked for, and of the last step's, an arm makes in a control period
CLOSES = 0.25  # of the gripper's stroke in a control period
TASK = PickCube()


class Way(NamedTuple):
    """``session.chunks``, and how a learnt flow is guided there."""

    chunks: Joining
    guidance: Method | None = None


WAYS = {
    "splice": Way("splice"),
    "wait": Way("wait"),
    "ensemble": Way("ensemble"),
    "rtc": Way("rtc", "jacobian"),
    "rtc-identity": Way("rtc", "identity"),
}


class ScriptAhead(Policy):
    """The script's next `ROWS` actions, as a model of the arm has them.

    Where a plan goes on while it thinks, they begin with its actions.
    """

    horizon = ROWS

    def act(self, observations: Sequence[Observation]) -> ActionChunk:
        planned = observations[-1].planned
        first = [] if planned is None else list(planned.actions[: planned.delay])
        seen = _unpacked(observations[-1].state)
        tcp = np.array([0.0, 0.0, float(seen["height"][0])])
        cube = tcp + seen["to_cube"]
        moved = seen["linear_velocity"] * TASK.control_period
        opening = float(seen["gripper"][0])
        actions = []
        for row in range(ROWS):
            if row < len(first):
                action = first[row]
            else:
                command = TASK.expert(_reading(tcp, cube, opening))
                action = TASK.action.from_delta(command.twist * TASK.control_period, command.gripper)
            actions.append(action)
            moved = FOLLOWS * TASK.action.delta(action)[:3] + GLIDES * moved
            held = bool(np.abs(cube - tcp).max() < 0.025 and HELD[0] < opening < HELD[1])
            tcp = tcp + moved
            cube = cube + moved if held else cube
            goal = TASK.action.gripper(action)
            narrowest = 0.5 if np.abs(cube - tcp).max() < 0.5 * CUBE_WIDTH else 0.0
            opening = float(np.clip(goal, max(opening - CLOSES, narrowest), opening + CLOSES))
        return ActionChunk(observations[-1].stamp_ns, np.array(actions))


def make_policy(name: str, guidance: Method | None) -> Policy:
    """The script, or the policy in the file ``name``."""
    if name == SCRIPT:
        return ScriptAhead()
    from robot_rl.policies.loading import load_actor

    return load_actor(Path(name).read_bytes(), TASK, seed=0, deterministic=True, guidance=guidance)


def measure(policy: str, way: str, latency: float, ask_ahead: int, episodes: int, seed: int) -> dict[str, object]:
    """Episodes with ``policy``, whose answers take ``latency`` [s] of robot time and are joined as `WAYS` says."""
    ended: list[EpisodeSummary] = []
    jumps: list[Jump] = []
    held = 0
    config = SessionConfig(chunks=WAYS[way].chunks, ask_ahead=ask_ahead)
    with InProcessWorld(TASK.scene(), TASK.bound(ControllerConfig())) as world:
        world.start()
        session = Session(TASK, config, None, seed)
        rollout, acting = Rollout(session, world, latency=latency), make_policy(policy, WAYS[way].guidance)
        borders = session.policy.borders
        while len(ended) < episodes:
            before = borders.count
            directive = rollout.step(acting)
            held += directive.step is not None and directive.step.timing.late
            if borders.count > before and borders.last is not None:
                jumps.append(borders.last)
            if directive.ended is not None:
                ended.append(directive.ended)
    lasted = [each.duration for each in ended if each.ending is Ending.SUCCESS]
    return {
        "benchmark": "policy_modes",
        "task": TASK.name,
        "policy": policy,
        "chunks": way,
        "latency_s": latency,
        "ask_ahead": ask_ahead,
        "episodes": episodes,
        "seed": seed,
        "successes": len(lasted),
        "aborted": sum(each.ending is Ending.ABORTED for each in ended),
        "duration_s_mean": round(float(np.mean(lasted)), 2) if lasted else None,
        "duration_s_std": round(float(np.std(lasted)), 2) if lasted else None,
        "held_s_mean": round(held * TASK.control_period / episodes, 2),
        "late_actions": session.policy.late_actions,
        "dropped_answers": session.policy.dropped_answers,
        "borders": borders.count,
        **jump_figures(jumps),
    }


def jump_figures(jumps: Sequence[Jump]) -> dict[str, float | None]:
    """Median, 95th percentile and maximum of the jumps of position [mm], and of velocity [m/s]."""
    figures: dict[str, float | None] = {}
    for name, values, digits in (
        ("jump_mm", [1000.0 * jump.way for jump in jumps], 1),
        ("jump_m_s", [jump.speed for jump in jumps], 3),
    ):
        for label, share in (("p50", 50), ("p95", 95), ("max", 100)):
            figures[f"{name}_{label}"] = round(float(np.percentile(values, share)), digits) if values else None
    return figures


def _unpacked(state: np.ndarray) -> dict[str, np.ndarray]:
    """The state's fields by name, unscaled."""
    sizes = [item.size for item in TASK.fields]
    parts = np.split(state.astype(float), np.cumsum(sizes)[:-1])
    return {item.name: part / item.scale for item, part in zip(TASK.fields, parts, strict=True)}


def _reading(tcp: np.ndarray, cube: np.ndarray, opening: float) -> Reading:
    """The reading that the script looks at, of an arm at rest."""
    pose, rest = Pose(tcp, TOOL_DOWN), np.zeros(6)
    objects = {"cube": Pose(cube, TOOL_DOWN)}
    return Reading(0, 0.0, np.zeros(7), pose, rest, rest, pose, opening, 1.0, Mode.TRACK, {}, objects)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policy", default=SCRIPT, help="script, or a file of parameters for pick_cube")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=[way for way in WAYS if way != "rtc-identity"])
    parser.add_argument("--latencies", nargs="+", type=float, default=LATENCIES, help="[s] of robot time")
    parser.add_argument("--ask-ahead", type=int, default=0, help="session.ask_ahead")
    parser.add_argument("--episodes", type=int, default=20, help="starts of each line")
    parser.add_argument("--seed", type=int, default=0, help="of the starts")
    given = parser.parse_args()
    for latency in given.latencies:
        for way in given.ways:
            line = measure(given.policy, way, latency, given.ask_ahead, given.episodes, given.seed)
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
