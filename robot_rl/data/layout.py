"""Names inside a store directory, and what reader and writer both do there."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from robot_rl.data.schema import StoreError, StoreSchema


class StoreLayout:
    """Names inside a store directory."""

    def __init__(self, path: str | Path) -> None:
        self.root = Path(path)
        self.schema = self.root / "schema.json"
        self.lock = self.root / "writer.lock"
        self.relabels = self.root / "relabels.log"
        self.journals = self.root / "journal"
        self.episodes = self.root / "episodes"

    def episode(self, index: int) -> Path:
        return self.episodes / f"{index:06d}.zarr"

    def journal(self, index: int) -> Path:
        return self.journals / f"{index:06d}.journal"

    def read_schema(self) -> StoreSchema:
        """Raises `StoreError` when there is none or it cannot be read."""
        try:
            return StoreSchema.from_json(self.schema.read_text())
        except FileNotFoundError as error:
            raise StoreError(f"{self.root}: no episode store here (schema.json is missing)") from error
        except ValueError as error:
            raise StoreError(f"{self.root}: schema.json cannot be read: {error}") from error

    def has_schema(self) -> bool:
        """Whether there is a store. Raises `StoreError` when there are episodes and nothing says what they are of."""
        if self.schema.exists():
            return True
        if count := len(self.all_indices()):
            raise StoreError(
                f"{self.root}: schema.json is missing, but there are {count} episodes; put back the schema.json of "
                "this store, or that of another store of the same task, cameras and control period"
            )
        return False

    def indices(self, suffix: str) -> list[int]:
        """Numbers of what ends in ``suffix``: .journal, .zarr or .corrupt."""
        names: list[str] = []
        for folder in (self.journals, self.episodes):
            if folder.is_dir():
                names += os.listdir(folder)
        return sorted({int(name[:6]) for name in names if name.endswith(suffix) and name[:6].isdigit()})

    def all_indices(self) -> list[int]:
        return sorted({*self.indices(".zarr"), *self.indices(".corrupt"), *self.indices(".journal")})

    def set_aside(self, path: Path) -> str:
        """Rename a damaged file or directory to ``*.corrupt``, over no earlier one; returns how that went."""
        target = self.corrupt_name(path)
        try:
            os.rename(path, target)
        except OSError as failure:
            return f"skipped ({path.name} could not be renamed: {failure.strerror})"
        return f"set aside as {target.name}"

    def corrupt_name(self, path: Path) -> Path:
        """A free name for what is damaged."""
        names = (path.with_suffix(f".{number}.corrupt" if number > 1 else ".corrupt") for number in itertools.count(1))
        return next(name for name in names if not name.exists())
