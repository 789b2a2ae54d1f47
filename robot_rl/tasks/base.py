"""Tasks: a start distribution, a state, an outcome; and, where there is one, a scene and a scripted expert.

One file a task. Everything is a function of a `Reading` (and of a seeded generator), so that the same task runs in
process, on the simulated arm and on a real one.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from controllers.config import ControllerConfig
from controllers.spatial import Pose
from controllers.workspace import Workspace
from hardware.interfaces import TeleopCommand
from hardware.scene import SceneSpec
from robot_rl.contract import ActionSpec, ContractError, Ending, Field, Outcome, Reading, View, lead_of

RATES = (5.0, 50.0)  # [Hz] at which a session can act
READY_Q = (0.0, -0.785398, 0.0, -2.356194, 0.0, 1.570796, 0.785398)  # an FR3's own ready pose, straight down
TOOL_DOWN = np.array([1.0, 0.0, 0.0, 0.0])  # quat_xyzw of a TCP whose z axis points straight down


@dataclass(frozen=True, eq=False)
class Start:
    """Beginning of an episode: TCP ``pose``, ``gripper`` opening 0–1, and the poses of the movable ``objects``."""

    pose: Pose
    gripper: float
    objects: dict[str, Pose] = field(default_factory=dict)


def check_rate(task: str, rate: float) -> None:
    """Raises `ContractError` when ``task`` cannot act ``rate`` times a second."""
    lowest, highest = RATES
    if not lowest <= rate <= highest:
        raise ContractError(f"task {task}: rate={rate} is out of range; it must be from {lowest:g} to {highest:g} Hz")


class Task(ABC):
    """A task. Subclasses fill in the attributes and the three abstract methods; the others are optional.

    Attributes:
        name: as in ``--task``; stores and policies carry it.
        action: the axes the policy drives.
        fields: layout of the state vector.
        horizon: steps until the time limit.
        rate: actions a second of robot time [Hz], within `RATES`.
        workspace: where the TCP may go during an episode *and* during resets.
        impact_energy: with which the arm may hit something, in episodes and resets (`controllers.impact`) [J].
        retreat_height: z [m] of the TCP at which it is safe to move sideways during a reset.
        nominal: TCP pose that undriven axes keep.
        goal: TCP pose at which it is done, where that is one fixed pose.
        table: z [m] of the table, or whatever else the hand must keep above; for `robot-rl task check`.
        needs: objects whose poses its state or outcome takes; only a simulator knows them, and elsewhere it is refused.
        cameras: camera → what of its picture belongs to the observation; ``cameras=`` chooses others.
        instruction: what is to be done, in words, for policies that read.
        judge: who says what a step came to, see `robot_rl.session.judge`: ``task`` asks `outcome`, ``person`` leaves it
            to the person's labels.
        stages: names of those that `stage` tells apart, in their order, the last one being the success; empty: success
            alone.
        reset_words: what the person is asked to do before each episode on a real arm; "" names the objects' poses.

    A subclass with a rate that is out of range raises `ContractError` when it is defined.
    """

    name: str
    action: ActionSpec
    fields: tuple[Field, ...]
    horizon: int
    rate: float = 10.0
    workspace: Workspace
    impact_energy: float = 0.05
    retreat_height: float
    nominal: Pose
    goal: Pose | None = None
    table: float = 0.0
    needs: tuple[str, ...] = ()
    cameras: Mapping[str, View] = MappingProxyType({})
    instruction: str = ""
    judge: str = "task"
    stages: tuple[str, ...] = ()
    reset_words: str = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_rate(cls.__name__, cls.rate)

    @property
    def control_period(self) -> float:
        """Robot time between actions [s]."""
        return 1.0 / self.rate

    def bound(self, controller: ControllerConfig) -> ControllerConfig:
        """``controller`` with this task's workspace, and the lower of the two impact energies."""
        energy = min(controller.impact_energy, self.impact_energy)
        return dataclasses.replace(controller, workspace=self.workspace, impact_energy=energy)

    @property
    def state_size(self) -> int:
        return sum(f.size for f in self.fields)

    @property
    def has_expert(self) -> bool:
        """Whether `expert` is there to be asked."""
        return type(self).expert is not Task.expert

    def views(self, cameras: Sequence[str] = ()) -> dict[str, View]:
        """The views of the observation by ``cameras``, by name; by the task's own when none is named."""
        return {name: self.cameras.get(name, View()) for name in cameras or self.cameras}

    def words(self, objects: Mapping[str, Pose]) -> str:
        """The task in words, for an episode that begins with ``objects``; `instruction` where it is always the same."""
        return self.instruction

    def scene(self) -> SceneSpec | None:
        """The surroundings of the simulated arm; None for the bare arm above its table."""
        return None

    def target(self, objects: Mapping[str, Pose]) -> Pose:
        """Pose that a person brings the TCP to, for the distance that they are shown: the goal, else the first of the
        scene's ``objects``, else the nominal pose."""
        return self.goal or next(iter(objects.values()), self.nominal)

    @abstractmethod
    def sample_start(self, rng: np.random.Generator) -> Start:
        """Draw the start of an episode."""

    @abstractmethod
    def state(self, reading: Reading) -> np.ndarray:
        """State vector ``(state_size,)`` float32, each field times its scale."""

    @abstractmethod
    def outcome(self, reading: Reading) -> Outcome:
        """Reward and ending at this reading; time limits, reflexes and aborts are the session's business.

        A reflex is a failure with reward 0: where rewards are negative, crashing would pay.
        """

    def stage(self, reading: Reading) -> int:
        """Number of stages that are reached at this reading, for a script in the place of a person who marks them."""
        return int(self.outcome(reading).ending is Ending.SUCCESS)

    def expert(self, reading: Reading) -> TeleopCommand | None:
        """A scripted expert's wish; None for none.

        Its twist makes the displacement from the *measured* pose that it wishes for within one control period;
        `expert_of` turns it into what a person's device would say. It may look at ``reading.objects``.
        """
        return None


def scene_of(task: Task) -> SceneSpec:
    """The surroundings of the simulated arm: the task's scene, or the bare arm, with the workspace in the picture."""
    scene = task.scene()
    if scene is not None:
        return scene
    x, y, z = 0.5 * (task.workspace.lower + task.workspace.upper)
    return SceneSpec(start_q=READY_Q, look_at=(float(x), float(y), float(z)))


def expert_of(task: Task) -> Callable[[Reading], TeleopCommand | None]:
    """The task's script, as somebody who drives by a device. Raises `ContractError` when it has none."""
    if not task.has_expert:
        raise ContractError(
            f"the task {task.name!r} has no script that could drive it; drive it yourself: source=keyboard, "
            "spacemouse, gamepad or topic"
        )

    def drive(reading: Reading) -> TeleopCommand | None:
        command = task.expert(reading)
        if command is None:
            return None
        wish = task.action.delta(task.action.from_delta(command.twist * task.control_period, reading.gripper))
        return replace(command, twist=(wish - lead_of(reading.target, reading.pose)) / task.control_period)

    return drive
