"""Drive a recorded episode's targets on the simulated arm in process: ``python -m demos.replay runs/<run>/demos 3``.

The arm is brought to where the episode began, the objects are put where they were, and then the targets that were
executed are commanded again, one a control period. Contacts and friction are not those of the recording; how far apart
the two end says how much a policy, or a person, had to correct.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from controllers.core import ControllerConfig
from controllers.spatial import Pose
from controllers.state import Setpoint
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.contract import ContractError, Ending, Reading
from robot_rl.data.columns import columns_to_readings, row_to_pose
from robot_rl.data.episode import Episode
from robot_rl.data.schema import StoreError, StoreSchema
from robot_rl.data.store import StoreReader
from robot_rl.session.config import SessionConfig
from robot_rl.session.errors import ResetError
from robot_rl.session.in_process import Rollout
from robot_rl.session.reset import ResetMotion
from robot_rl.session.session import Session
from robot_rl.tasks import make_task
from robot_rl.tasks.base import Start, Task, scene_of


@dataclass(frozen=True)
class Deviation:
    """Distance of a replay's end from that of its recording.

    Attributes:
        position, angle: of the TCP [m], [rad].
        objects: name → distance [m].
        recorded, replayed: how the episode ended, and what the task says of the replay's end.
    """

    position: float
    angle: float
    objects: Mapping[str, float]
    recorded: Ending
    replayed: Ending

    def __str__(self) -> str:
        objects = "".join(f", {name} {1000 * away:.1f} mm" for name, away in self.objects.items())
        return (
            f"ends {1000 * self.position:.1f} mm and {np.degrees(self.angle):.1f}° from the recording{objects}; "
            f"recorded as {self.recorded.value}, now {self.replayed.value}"
        )


def replay(task: Task, schema: StoreSchema, episode: Episode) -> Deviation:
    """Replay ``episode``. Raises `StoreError` when the arm cannot be brought to its start."""
    recorded = list(columns_to_readings(episode.columns))
    first, last = recorded[0], recorded[-1]
    with InProcessWorld(scene_of(task), task.bound(ControllerConfig())) as world:
        world.start()
        rollout = Rollout(Session(task, SessionConfig(), None, seed=0), world)
        numbers = itertools.count(1)  # of setpoints: the gate takes none that is not newer than the last
        _reset(task, schema, rollout, world, first, numbers)
        world.begin_episode()
        for target, action in zip(episode["target"], episode["action"], strict=True):
            world.command(Setpoint(row_to_pose(target), next(numbers), schema.control_period))
            opening = task.action.gripper(action)
            if opening is not None:
                world.gripper.command(opening)
            world.advance(schema.control_period)
        reached = rollout.reading()
    apart = reached.pose.difference(last.pose)
    return Deviation(
        position=float(np.linalg.norm(apart[:3])),
        angle=float(np.linalg.norm(apart[3:])),
        objects={name: _distance(reached.objects[name], last.objects[name]) for name in _common(reached, last)},
        recorded=episode.info.ending,
        replayed=task.outcome(reached).ending,
    )


def _reset(
    task: Task,
    schema: StoreSchema,
    rollout: Rollout,
    world: InProcessWorld,
    first: Reading,
    numbers: Iterator[int],
) -> None:
    """Bring arm and objects to where the episode began."""
    movable = {name: first.objects[name] for name in _common(rollout.reading(), first)}
    motion = ResetMotion(task, Start(first.pose, first.gripper, movable))
    while not (step := motion.step(rollout.reading())).done:
        if step.failure:
            raise StoreError(f"the arm does not get to the start of the episode: {step.failure}")
        if step.place:
            world.place(step.place)
        world.command(Setpoint(step.target, next(numbers), schema.control_period))
        world.gripper.command(step.gripper)
        world.advance(schema.control_period)


def _common(one: Reading, other: Reading) -> list[str]:
    """Objects that both know."""
    return [name for name in one.objects if name in other.objects]


def _distance(one: Pose, other: Pose) -> float:
    return float(np.linalg.norm(one.translation - other.translation))


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 2 when there is nothing to replay."""
    parser = argparse.ArgumentParser(prog="python -m demos.replay", description=__doc__.split("\n", 1)[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("episode", type=int)
    arguments = parser.parse_args(argv)
    try:
        reader = StoreReader(arguments.store, images=False)
        episode = reader.load_episode(arguments.episode)
        schema = reader.schema
        if schema is None:
            raise StoreError(f"{arguments.store} is not an episode store")
        deviation = replay(make_task(schema.task), schema, episode)
    except (StoreError, ContractError, ResetError) as error:
        sys.stderr.write(f"demos.replay: {error}\n")
        return 2
    sys.stdout.write(f"episode {arguments.episode}, {episode.info.steps} steps: {deviation}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
