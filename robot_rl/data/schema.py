"""What a store holds: the task, the layout of its state vector, its action axes and images."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from robot_rl.contract import ActionSpec, Field, Layout, Shaped

FORMAT = "robot_rl-episodes-1"


class StoreError(RuntimeError):
    """A store that cannot be used as asked. The message names the store, what it holds and what to do."""


@dataclass(frozen=True)
class StoreSchema:
    """The layout that every episode of a store has.

    Attributes:
        task: name of the task.
        fields: parts of the state vector, in order.
        action: axes and scale of the actions.
        images: camera name → (height, width) of its uint8 RGB images.
        control_period: robot time between steps [s].
    """

    task: str
    fields: tuple[Field, ...]
    action: ActionSpec
    images: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    control_period: float = 0.1

    @staticmethod
    def of(task: Shaped, images: Mapping[str, tuple[int, int]] | None = None, period: float = 0.1) -> StoreSchema:
        """The schema of a task's episodes, recorded with ``images`` (camera name → (height, width)) if any."""
        return StoreSchema(task.name, tuple(task.fields), task.action, dict(images or {}), period)

    @property
    def state_size(self) -> int:
        return sum(part.size for part in self.fields)

    @property
    def action_size(self) -> int:
        return self.action.size

    @property
    def layout(self) -> Layout:
        """The sizes, for an agent. A gripper is open or closed: its axis has two values."""
        options = 2 if self.action.axes[-1] == "gripper" else 0
        return Layout(self.state_size, self.action_size, self.images, options)

    @property
    def identity(self) -> dict[str, Any]:
        """What must be the same for parameters and checkpoints to make sense; JSON values."""
        return {
            "task": self.task,
            "state_size": self.state_size,
            "axes": list(self.action.axes),
            "scale": list(self.action.scale),
        }

    def to_json(self) -> str:
        return json.dumps(
            {
                "format": FORMAT,
                "task": self.task,
                "state_size": self.state_size,
                "fields": [[part.name, part.size, part.scale] for part in self.fields],
                "action_axes": list(self.action.axes),
                "action_scale": list(self.action.scale),
                "images": {name: list(size) for name, size in self.images.items()},
                "control_period": self.control_period,
            },
            indent=1,
        )

    @staticmethod
    def from_json(text: str) -> StoreSchema:
        """Raises ValueError when the text is not a schema of this format."""
        try:
            values: dict[str, Any] = json.loads(text)
            if values["format"] != FORMAT:
                raise ValueError(f"format is {values['format']!r}, this version reads {FORMAT!r}")
            return StoreSchema(
                values["task"],
                tuple(Field(name, size, scale) for name, size, scale in values["fields"]),
                ActionSpec(tuple(values["action_axes"]), tuple(values["action_scale"])),
                {name: (height, width) for name, (height, width) in values["images"].items()},
                values["control_period"],
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not an episode store's schema: {error!r}") from error

    def misfit(self, store: StoreSchema) -> str:
        """Why steps of ``store`` cannot be learnt from here, in words; empty when they can."""
        difference = store.difference(self)
        return f"does not fit task {self.task!r}: it has {difference}" if difference else ""

    def difference(self, other: StoreSchema) -> str:
        """What tells this schema from ``other``, in words; empty when nothing does."""
        pairs = (
            ("task", self.task, other.task),
            ("state size", self.state_size, other.state_size),
            ("fields", [tuple(vars(f).values()) for f in self.fields], [tuple(vars(f).values()) for f in other.fields]),
            ("action axes", self.action.axes, other.action.axes),
            ("action scale", self.action.scale, other.action.scale),
            ("images", dict(self.images), dict(other.images)),
            ("control period", self.control_period, other.control_period),
        )
        return "; ".join(f"{name} {mine} instead of {theirs}" for name, mine, theirs in pairs if mine != theirs)
