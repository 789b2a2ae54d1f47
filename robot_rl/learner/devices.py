"""Data-parallel updates: each device takes its part of every minibatch, and all hold the same agent.

The compiled update is the same one: from where its arguments lie, XLA derives that gradients are summed over devices.
One device needs none of this, and nothing is moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "batch"


class DataParallel:
    """Places an agent's state and its batches on ``devices`` (default: all that JAX sees)."""

    def __init__(self, devices: Sequence[jax.Device] | None = None) -> None:
        self.devices = tuple(jax.devices() if devices is None else devices)
        mesh = Mesh(np.array(self.devices), (AXIS,))
        self._whole = NamedSharding(mesh, PartitionSpec())
        self._split = NamedSharding(mesh, PartitionSpec(None, AXIS))

    def check(self, batch_size: int) -> None:
        """Raises ValueError unless a minibatch can be shared out evenly."""
        if batch_size % len(self.devices):
            raise ValueError(
                f"a minibatch of {batch_size} cannot be shared out evenly over {len(self.devices)} devices; "
                f"choose a multiple of {len(self.devices)}"
            )

    def place_state(self, state: Any) -> Any:
        """``state``, a whole copy of it on every device."""
        return state if len(self.devices) == 1 else jax.device_put(state, self._whole)

    def place_batch(self, batch: Any) -> Any:
        """``batch`` with leading axes ``(updates, batch)``, split along the second where a column has one."""
        if len(self.devices) == 1:
            return batch
        return jax.tree.map(lambda x: jax.device_put(x, self._split if np.ndim(x) > 1 else self._whole), batch)
