"""A task as one agent sees it: fields of the state and cameras may be hidden."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from hardware.registry import meant
from robot_rl.contract.errors import ContractError
from robot_rl.contract.layout import FrameSize, Layout, Shaped
from robot_rl.contract.reading import Reading
from robot_rl.contract.values import JsonValue


class Observed(Shaped, Protocol):
    """A task that makes a state of a reading."""

    def state(self, reading: Reading) -> np.ndarray:
        """State vector ``(d,)`` float32: each of ``fields`` times its scale."""


class AgentView:
    """Name, actions, state and images of a task, without the fields and cameras that are hidden from the agent.

    Whatever derives an observation for an agent (session, store reader, environment) does it by the same view, so that
    hiding a field changes no task and no demonstration.

    Args:
        task: seen.
        without: names of the fields and cameras that are hidden.
        cameras: names of the cameras that there are.

    Raises `ContractError` for a name that is neither, or when nothing is left of the state.
    """

    def __init__(self, task: Observed, without: Sequence[str] = (), cameras: Iterable[str] = ()) -> None:
        fields = [field.name for field in task.fields]
        known = [*fields, *cameras]
        for name in without:
            if name not in known:
                kinds = "field or camera" if len(known) > len(fields) else "field"
                raise ContractError(
                    f"the state of task {task.name!r} has no {kinds} {name!r}; choose from {', '.join(known)}"
                    f"{meant(name, known)}"
                )
        self._task = task
        self.name = task.name
        self.action = task.action
        self.control_period = task.control_period
        self.without = tuple(name for name in known if name in without)
        self.fields = tuple(field for field in task.fields if field.name not in without)
        if fields and not self.fields:
            raise ContractError(f"nothing is left of the state of task {task.name!r} without {', '.join(fields)}")
        self._kept = np.array([field.name not in without for field in task.fields for _ in range(field.size)], bool)

    @property
    def state_size(self) -> int:
        return sum(field.size for field in self.fields)

    def state(self, reading: Reading) -> np.ndarray:
        """State vector ``(state_size,)`` float32."""
        whole = self._task.state(reading)
        return whole[self._kept] if self.without else whole

    def images(self, there: Mapping[str, FrameSize]) -> dict[str, FrameSize]:
        """Those of the images ``there`` (camera → size, see `Layout`) that the agent sees."""
        return {name: size for name, size in there.items() if name not in self.without}

    def layout(self, there: Mapping[str, FrameSize] | None = None) -> Layout:
        """The sizes, for an agent that sees its part of the images ``there`` (camera → size, see `Layout`) too."""
        return layout_of(self, self.images(there or {}))


ENCODER = "encoder"  # of an identity: whose features are seen
PERIOD = "control_period"  # of an identity: robot time between actions [s], for which their scale holds
LEAST_SPREAD = 1.0  # of a state whose fields are scaled to order 1


def layout_of(task: Shaped, images: Mapping[str, FrameSize] | None = None) -> Layout:
    """The sizes of states, actions and ``images`` (camera → size, see `Layout`) of a task.

    A gripper is open or closed: its axis has two values.
    """
    options = 2 if task.action.axes[-1] == "gripper" else 0
    return Layout(sum(field.size for field in task.fields), task.action.size, dict(images or {}), options, LEAST_SPREAD)


def identity_of(task: Shaped, encoder: str = "") -> dict[str, JsonValue]:
    """The values that must be the same for an agent's parameters to make sense.

    ``encoder``: digest of the one whose features it sees; "" for pixels, or no cameras.
    """
    return {
        "task": task.name,
        "fields": [[field.name, field.size, float(field.scale)] for field in task.fields],
        "axes": list(task.action.axes),
        "scale": list(task.action.scale),
        PERIOD: task.control_period,
        ENCODER: encoder,
    }


class Difference(NamedTuple):
    """A value that is another one there than here."""

    name: str
    there: JsonValue
    here: JsonValue


def differences(there: Mapping[str, JsonValue], here: Mapping[str, JsonValue]) -> list[Difference]:
    """The values of an identity that are not the same ``there``, where earlier versions may have written it."""
    found: dict[str, JsonValue] = {ENCODER: "", PERIOD: here.get(PERIOD), **there}
    return [Difference(name, found.get(name), value) for name, value in here.items() if found.get(name) != value]
