"""Cost of an answer that takes its time: `pick_cube` in process with a policy of chunks, at several latencies.

The policy is the task's script, rolled out ahead in a model of the arm that was fitted to 160 of the script's steps
(moved = 0.45 × asked for + 0.27 × moved before; residual 1.3 mm a step): it sees the observation only, and its plans
are as wrong as such a model is. It stands for a policy that imitates the script; it is none that was learnt. One that
``ignores`` its latency plans as if its answer were there at once; one that ``continues`` begins each plan with what its
last one does until this one can act, as real-time chunking does. One JSON line for each row of `CASES`: success, and
duration of the episodes that succeeded, over the same starts.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence

import numpy as np

from controllers.core import ControllerConfig
from controllers.spatial import Pose
from controllers.state import Mode
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.contract import ActionChunk, Ending, Observation, Policy, Reading
from robot_rl.session.config import SessionConfig
from robot_rl.session.directive import EpisodeSummary
from robot_rl.session.in_process import Rollout
from robot_rl.session.session import Session
from robot_rl.tasks.base import TOOL_DOWN
from robot_rl.tasks.pick_cube import CUBE_WIDTH, HELD, PickCube

CASES = (  # actions in a chunk, latency [s], how the plan meets the last one
    *((1, 0.0, "ignores"), (1, 0.07, "ignores"), (16, 0.0, "ignores")),
    *((16, 0.07, "continues"), (16, 0.3, "continues"), (16, 0.7, "continues")),
    *((16, 0.07, "ignores"), (16, 0.3, "ignores"), (16, 0.7, "ignores")),
)
FOLLOWS, GLIDES = 0.45, 0.27  # of the way asked for, and of the last step's, an arm makes in a control period
CLOSES = 0.25  # of the gripper's stroke in a control period
TASK = PickCube()


class ScriptAhead(Policy):
    """The script's next ``rows`` actions, as a model of the arm has them.

    The first ``delay`` of them are those of its last answer, or stand still where it has none.
    """

    def __init__(self, rows: int, delay: int) -> None:
        self.horizon = rows
        self._delay = delay
        self._last: ActionChunk | None = None

    def begin(self, instruction: str) -> None:
        self._last = None

    def act(self, observations: Sequence[Observation]) -> ActionChunk:
        seen = _unpacked(observations[-1].state)
        tcp = np.array([0.0, 0.0, float(seen["height"][0])])
        cube = tcp + seen["to_cube"]
        moved = seen["linear_velocity"] * TASK.control_period
        opening = float(seen["gripper"][0])
        actions = []
        for row in range(self.horizon or 1):
            if row < self._delay:
                action = self._planned(observations[-1].stamp_ns, row, opening)
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
        self._last = ActionChunk(observations[-1].stamp_ns, np.array(actions))
        return self._last

    def _planned(self, stamp_ns: int, row: int, opening: float) -> np.ndarray:
        """The last answer's action for ``row`` control periods after ``stamp_ns``; standing still beyond its end."""
        if self._last is not None:
            index = round((stamp_ns - self._last.stamp_ns) * 1e-9 / TASK.control_period) + row
            if index < len(self._last.actions):
                return self._last.actions[index]
        return TASK.action.from_delta(np.zeros(6), 1.0 if opening > 0.9 else 0.0)


def measure(rows: int, latency: float, plans: str, episodes: int, seed: int) -> dict[str, object]:
    """Episodes with a policy of ``rows`` actions whose answers take ``latency`` [s] of robot time."""
    delay = math.ceil(latency / TASK.control_period - 1e-9) if plans == "continues" else 0
    ended: list[EpisodeSummary] = []
    held = 0
    with InProcessWorld(TASK.scene(), TASK.bound(ControllerConfig())) as world:
        world.start()
        session = Session(TASK, SessionConfig(), None, seed)
        rollout, policy = Rollout(session, world, latency=latency), ScriptAhead(rows, delay)
        while len(ended) < episodes:
            directive = rollout.step(policy)
            held += directive.step is not None and directive.step.timing.late
            if directive.ended is not None:
                ended.append(directive.ended)
    lasted = [each.duration for each in ended if each.ending is Ending.SUCCESS]
    return {
        "benchmark": "policy_latency",
        "task": TASK.name,
        "rows": rows,
        "latency_s": latency,
        "plan": plans,
        "episodes": episodes,
        "seed": seed,
        "successes": len(lasted),
        "aborted": sum(each.ending is Ending.ABORTED for each in ended),
        "duration_s_mean": round(float(np.mean(lasted)), 2) if lasted else None,
        "duration_s_std": round(float(np.std(lasted)), 2) if lasted else None,
        "held_s_mean": round(held * TASK.control_period / episodes, 2),
    }


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
    parser.add_argument("--episodes", type=int, default=50, help="starts of each case")
    parser.add_argument("--seed", type=int, default=0, help="of the starts")
    arguments = parser.parse_args()
    for rows, latency, plans in CASES:
        print(json.dumps(measure(rows, latency, plans, arguments.episodes, arguments.seed)), flush=True)


if __name__ == "__main__":
    main()
