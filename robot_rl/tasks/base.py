"""What a task is: a scene, a start distribution, a state, an outcome and a scripted expert.

One file a task. Everything is a function of a `Reading` (and of a seeded generator), so that the same task runs in
process, on the simulated arm and on a real one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from controllers.spatial import Pose
from controllers.workspace import Workspace
from hardware.interfaces import TeleopCommand
from hardware.sim.scene import SceneSpec
from robot_rl.contract import ActionSpec, ContractError, Field, Outcome, Reading

RATES = (5.0, 50.0)  # [Hz] at which a session can act
IMAGE_SIZE = 128  # [pixels] height and width of the images in an observation
TOOL_DOWN = np.array([1.0, 0.0, 0.0, 0.0])  # quat_xyzw of a TCP whose z axis points straight down


@dataclass(frozen=True, eq=False)
class Start:
    """Where an episode begins: TCP ``pose``, ``gripper`` opening 0–1, and the poses of the movable ``objects``."""

    pose: Pose
    gripper: float
    objects: dict[str, Pose] = field(default_factory=dict)


def check_rate(task: str, rate: float) -> None:
    """Raises `ContractError` when ``task`` cannot act ``rate`` times a second."""
    lowest, highest = RATES
    if not lowest <= rate <= highest:
        raise ContractError(f"task {task}: rate={rate} is out of range; it must be from {lowest:g} to {highest:g} Hz")


class Task(ABC):
    """A task. Subclasses fill in the class attributes and the five methods.

    Attributes:
        name: as in ``--task``.
        action: the axes the policy drives.
        fields: layout of the state vector.
        horizon: steps until the time limit.
        workspace: where the TCP may go during an episode *and* during resets.
        retreat_height: z [m] of the TCP at which it is safe to move sideways during a reset.
        nominal: TCP pose that undriven axes keep.
        rate: actions a second of robot time [Hz], within `RATES`.
        instruction: what is to be done, in words, for policies that read.

    A subclass with a rate that is out of range raises `ContractError` when it is defined.
    """

    name: ClassVar[str]
    action: ClassVar[ActionSpec]
    fields: ClassVar[tuple[Field, ...]]
    horizon: ClassVar[int]
    workspace: ClassVar[Workspace]
    retreat_height: ClassVar[float]
    nominal: ClassVar[Pose]
    rate: ClassVar[float] = 10.0
    instruction: ClassVar[str] = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_rate(cls.__name__, cls.rate)

    @property
    def control_period(self) -> float:
        """Robot time between actions [s]."""
        return 1.0 / self.rate

    @property
    def state_size(self) -> int:
        return sum(f.size for f in self.fields)

    @abstractmethod
    def scene(self) -> SceneSpec:
        """What stands around the arm in the simulator."""

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

    @abstractmethod
    def expert(self, reading: Reading) -> TeleopCommand:
        """What a scripted expert would do, as the person's device would say it. It may look at ``reading.objects``."""
