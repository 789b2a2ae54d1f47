"""Small files that people keep beside a device: YAML with named keys, CSV with named columns."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from hardware.registry import meant


def read_keys(path: Path, what: str, keys: Sequence[str], error: type[Exception]) -> dict[str, Any]:
    """The mapping in a YAML file that is ``what``. Raises ``error`` for another, or a key not of ``keys``."""
    try:
        held = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as cause:
        raise error(f"{path} cannot be read: {' '.join(str(cause).split())}") from cause
    if not isinstance(held, dict):
        raise error(f"{path} is no {what}; it needs the keys {', '.join(keys)}")
    for key in held:
        if key not in keys:
            raise error(f"{path}: unknown key {key!r}; choose from {', '.join(keys)}{meant(str(key), keys)}")
    return held


def read_rows(path: Path, columns: Sequence[str], error: type[Exception]) -> list[list[str]]:
    """The rows under the line of ``columns`` in a CSV file. Raises ``error`` where it does not begin with that line."""
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as cause:
        raise error(f"{path} cannot be read: {cause}") from cause
    if not rows or tuple(name.strip() for name in rows[0]) != tuple(columns):
        raise error(f"{path} must begin with the line {','.join(columns)}")
    return rows[1:]


def numbers(path: Path, held: Mapping[str, Any], key: str, size: int, error: type[Exception]) -> np.ndarray:
    """The ``size`` finite numbers ``(size,)`` under ``key``. Raises ``error`` for others."""
    value = held.get(key)
    try:
        found = np.atleast_1d(np.array(value, dtype=np.float64))
    except (TypeError, ValueError):
        found = np.array([])
    if found.shape != (size,) or not np.isfinite(found).all():
        wanted = "a finite number" if size == 1 else f"{size} finite numbers"
        raise error(f"{path}: {key}={value!r} must be {wanted}")
    return found
