"""Domains of learning: a task as an agent sees it, or whatever else has a layout and a name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from robot_rl.contract import AgentView, Layout, Reading, identity_of
from robot_rl.data.schema import StoreSchema


class Domain(Protocol):
    """The subject of learning, as a learner has to know it."""

    @property
    def layout(self) -> Layout:
        """The sizes, for an agent."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """The JSON values that must be the same for parameters and checkpoints to make sense."""

    def misfit(self, store: StoreSchema) -> str:
        """Why steps of ``store`` cannot be learnt from here, in words; empty when they can."""


class TaskDomain:
    """A task, seen by ``view``, whose episodes are recorded with ``schema``.

    Its stores are read by ``StoreReader(path, observe=domain.observe)``.
    """

    def __init__(self, view: AgentView, schema: StoreSchema) -> None:
        self.view = view
        self.schema = schema

    @property
    def layout(self) -> Layout:
        return self.view.layout(self.schema.seen)

    @property
    def identity(self) -> Mapping[str, Any]:
        return identity_of(self.view, self.schema.encoder)

    def observe(self, reading: Reading) -> np.ndarray:
        """State ``(d,)`` float32."""
        return self.view.state(reading)

    def misfit(self, store: StoreSchema) -> str:
        difference = store.difference(self.schema)
        return f"does not fit task {self.schema.task!r}: it has {difference}" if difference else ""
