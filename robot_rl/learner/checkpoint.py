"""Checkpoints: everything a learner is, in one file that is either whole or not there.

The bytes are those of `robot_rl.contract.tensors`, written under another name, synced and renamed. Leaves of a pytree
are stored by their path, so a misfit is named.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np

from robot_rl.contract.files import write_atomically
from robot_rl.contract.tensors import TensorError, pack_tensors, unpack_tensors

MAGIC = b"RRC2"
SUFFIX = ".checkpoint"
Tree = TypeVar("Tree")


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be written, read, or that does not fit. The message says which file or leaf."""


class Checkpoint(NamedTuple):
    """``meta``: JSON values; ``leaves``: path → array; ``skipped``: why newer ones were passed over."""

    path: Path
    meta: dict[str, Any]
    leaves: dict[str, np.ndarray]
    skipped: tuple[str, ...]


def tree_to_leaves(tree: Any) -> dict[str, np.ndarray]:
    """Leaves of a pytree by path, copied to the host. bfloat16 becomes float32, which is exact."""
    paths = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): np.array(leaf, _stored_dtype(leaf)) for path, leaf in paths}


def leaves_to_tree(template: Tree, leaves: Mapping[str, np.ndarray]) -> Tree:
    """A pytree like ``template`` with the stored leaves. Raises `CheckpointError` naming the first that differs."""
    paths, structure = jax.tree_util.tree_flatten_with_path(template)
    names = [jax.tree_util.keystr(path) for path, _ in paths]
    for name in leaves:
        if name not in names:
            raise CheckpointError(f"the checkpoint has {name}, which this agent has not; was the config changed?")
    restored = []
    for name, (_, leaf) in zip(names, paths, strict=True):
        if name not in leaves:
            raise CheckpointError(f"the checkpoint lacks {name}, which this agent has; was the config changed?")
        stored = leaves[name]
        if stored.shape != np.shape(leaf) or stored.dtype != _stored_dtype(leaf):
            raise CheckpointError(
                f"{name} is {stored.dtype} {stored.shape} in the checkpoint, "
                f"{leaf.dtype} {np.shape(leaf)} in this agent; use the config it was trained with"
            )
        restored.append(jax.numpy.array(stored, leaf.dtype))
    tree: Tree = jax.tree_util.tree_unflatten(structure, restored)
    return tree


def save(directory: str | Path, number: int, tree: Any, meta: Mapping[str, Any], keep: int = 3) -> Path:
    """Write checkpoint ``number`` and remove all but the newest ``keep``. Raises `CheckpointError`.

    Those of a higher number go as well: they are damaged, or the learner fell back behind them.
    """
    folder = Path(directory)
    path = folder / f"{number:012d}{SUFFIX}"
    try:
        write_atomically(path, pack_tensors(MAGIC, meta, tree_to_leaves(tree)), durable=True)
        known = _newest_first(folder)
        place = known.index(path)
        torn = folder.glob(f".*{SUFFIX}.*")  # of writers that were killed
        for old in (*known[:place], *known[place + max(1, keep) :], *torn):
            old.unlink(missing_ok=True)
    except (OSError, TensorError) as error:
        raise CheckpointError(f"{path}: checkpoint not written: {error}") from error
    return path


def load(path: str | Path) -> Checkpoint:
    """Read one checkpoint. Raises `CheckpointError` unless every byte is as it was written."""
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        meta, leaves = unpack_tensors(MAGIC, data)
    except TensorError as error:
        raise CheckpointError(f"{path}: not a whole checkpoint of this version: {error}") from error
    return Checkpoint(path, meta, leaves, ())


def load_latest(directory: str | Path) -> Checkpoint | None:
    """The newest checkpoint that is whole, or None when there is none at all.

    Damaged ones are passed over and named in ``skipped``. Raises `CheckpointError` when all are damaged.
    """
    skipped: list[str] = []
    for path in _newest_first(Path(directory)):
        try:
            return load(path)._replace(skipped=tuple(skipped))
        except CheckpointError as error:
            skipped.append(f"{error}; falling back to the one before")
    if skipped:
        raise CheckpointError("no checkpoint can be read: " + "; ".join(skipped))
    return None


def _stored_dtype(leaf: Any) -> np.dtype:
    dtype = leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype
    return np.dtype(np.float32) if dtype == jax.numpy.bfloat16 else dtype


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{SUFFIX}"), reverse=True)
