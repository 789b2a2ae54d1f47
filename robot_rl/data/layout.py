"""Names inside a store directory, and what reader and writer both do there."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from robot_rl.data.episode import Episode, read_episode
from robot_rl.data.schema import StoreError, StoreSchema


class StoreLayout:
    """Names inside a store directory."""

    def __init__(self, path: str | Path) -> None:
        self.root = Path(path)
        self.schema = self.root / "schema.json"
        self.lock = self.root / "writer.lock"
        self.journals = self.root / "journal"
        self.episodes = self.root / "episodes"

    def episode(self, index: int) -> Path:
        return self.episodes / f"{index:06d}.zarr"

    def journal(self, index: int) -> Path:
        return self.journals / f"{index:06d}.journal"

    def read_schema(self) -> StoreSchema:
        try:
            return StoreSchema.from_json(self.schema.read_text())
        except FileNotFoundError as error:
            raise StoreError(f"{self.root}: no episode store here (schema.json is missing)") from error
        except ValueError as error:
            raise StoreError(f"{self.root}: schema.json cannot be read: {error}") from error

    def indices(self, suffix: str) -> list[int]:
        folder = self.journals if suffix == ".journal" else self.episodes
        try:
            names = os.listdir(folder)
        except FileNotFoundError:
            return []
        return sorted(int(name[:6]) for name in names if name.endswith(suffix) and name[:6].isdigit())

    def all_indices(self) -> list[int]:
        return sorted({*self.indices(".zarr"), *self.indices(".corrupt"), *self.indices(".journal")})

    def set_aside(self, path: Path, error: Exception) -> str:
        """Rename a damaged file or directory out of the way; returns what to tell the operator."""
        target = path.with_suffix(".corrupt")
        try:
            os.rename(path, target)
        except OSError as failure:
            return f"{error}; skipped ({path.name} could not be renamed: {failure.strerror})"
        return f"{error}; set aside as {target.name}"

    def load(self, schema: StoreSchema, index: int, names: Iterable[str] | None = None) -> Episode:
        """A finished episode, or only its arrays ``names``.

        Raises `StoreError` when there is none of that number or it is damaged.
        """
        path = self.episode(index)
        if not path.exists():
            known = self.indices(".zarr")
            span = f"{known[0]} to {known[-1]}" if known else "none"
            raise StoreError(f"{self.root} has no finished episode {index} (it has {len(known)}: {span})")
        return read_episode(path, schema, names)
