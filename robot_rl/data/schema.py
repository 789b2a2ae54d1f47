"""Schema of a store: the task by name, the meaning of its actions, its cameras, its encoder, the time between steps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from robot_rl.contract import ActionSpec, Encoding, FrameSize, Shaped

FAMILY = "robot_rl-episodes-"
FORMAT = f"{FAMILY}2"


class StoreError(RuntimeError):
    """A store that cannot be used as asked. The message names the store, what it holds and what to do."""


@dataclass(frozen=True)
class StoreSchema:
    """The layout that every episode of a store has.

    Fields and scales of the task's state are not part of it: states are derived from readings when these are read.

    Attributes:
        task: name of the task.
        action: axes and scale of the actions, which define what an action means.
        images: camera name → (height, width) of its uint8 RGB images.
        control_period: robot time between steps [s].
        force_sensor: whether a force–torque sensor measured the wrench, not the arm alone.
        features: camera name → (rows, columns, channels) of its float16 grids of features; each of ``images``, or none.
        encoder: digest of the encoder whose features these are; "" without.
    """

    task: str
    action: ActionSpec
    images: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    control_period: float = 0.1
    force_sensor: bool = False
    features: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    encoder: str = ""

    @staticmethod
    def of(
        task: Shaped,
        images: Mapping[str, tuple[int, int]] | None = None,
        period: float = 0.1,
        force_sensor: bool = False,
    ) -> StoreSchema:
        """The schema of a task's episodes, recorded with ``images`` (camera name → (height, width)) if any."""
        return StoreSchema(task.name, task.action, dict(images or {}), period, force_sensor)

    @property
    def action_size(self) -> int:
        return self.action.size

    @property
    def seen(self) -> Mapping[str, FrameSize]:
        """Camera → size of what an agent sees of it, see `robot_rl.contract.Layout`: features where there are some."""
        return self.features or self.images

    @property
    def encoding(self) -> Encoding:
        return Encoding(self.encoder, self.features)

    def to_json(self) -> str:
        encoding = {"encoder": self.encoder, "features": {name: list(size) for name, size in self.features.items()}}
        return json.dumps(
            {
                "format": FORMAT,
                "task": self.task,
                "action_axes": list(self.action.axes),
                "action_scale": list(self.action.scale),
                "images": {name: list(size) for name, size in self.images.items()},
                "control_period": self.control_period,
                "force_sensor": self.force_sensor,
                **(encoding if self.encoder else {}),
            },
            indent=1,
        )

    @staticmethod
    def from_json(text: str) -> StoreSchema:
        """Raises ValueError when the text is not a schema of this format."""
        try:
            values: dict[str, Any] = json.loads(text)
            _check_format(values["format"])
            return StoreSchema(
                values["task"],
                ActionSpec(tuple(values["action_axes"]), tuple(values["action_scale"])),
                {name: (height, width) for name, (height, width) in values["images"].items()},
                values["control_period"],
                values.get("force_sensor", False),
                {
                    name: (rows, columns, channels)
                    for name, (rows, columns, channels) in values.get("features", {}).items()
                },
                values.get("encoder", ""),
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"not an episode store's schema: {error!r}") from error

    def difference(self, other: StoreSchema) -> str:
        """The differences of this schema from ``other`` in words, features aside; empty when there are none.

        Features can be made anew from images; see `encoding_difference`.
        """
        pairs = (
            ("task", self.task, other.task),
            ("action axes", self.action.axes, other.action.axes),
            ("action scale", self.action.scale, other.action.scale),
            ("images", dict(self.images), dict(other.images)),
            ("control period", self.control_period, other.control_period),
            ("force sensor", self.force_sensor, other.force_sensor),
        )
        return "; ".join(f"{name} {mine} instead of {theirs}" for name, mine, theirs in pairs if mine != theirs)

    def encoding_difference(self, other: StoreSchema) -> str:
        """The difference of this schema's features from those of ``other``, in words; empty when there is none."""
        if self.encoder == other.encoder:
            return ""
        mine, theirs = (f"features of encoder {one.encoder}" if one.encoder else "no features" for one in (self, other))
        return f"{mine} instead of {theirs}"


def _check_format(found: str) -> None:
    """Raises ValueError, which says what to do, unless ``found`` is the format of this version."""
    if found == FORMAT:
        return
    if found == f"{FAMILY}1":
        raise ValueError(
            f"format is {found!r}, which kept observations in place of readings and cannot be read any more; "
            "record anew into another directory"
        )
    later = " (of a later version of robot_rl: upgrade it)" if str(found).startswith(FAMILY) else ""
    raise ValueError(f"format is {found!r}{later}; this version reads {FORMAT!r}")
