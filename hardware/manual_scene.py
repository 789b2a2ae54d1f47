"""The scene of a real arm: a person arranges it."""

from __future__ import annotations

from collections.abc import Callable

from controllers.spatial import Pose


class ManualScene:
    """`hardware.interfaces.SceneControl` where no machine can move the objects: it asks a person.

    ``ask`` is called with what to do, in words, and returns when the person has done it; without it, the objects are
    left as they are.
    """

    def __init__(self, ask: Callable[[str], None] | None = None) -> None:
        self._ask = ask

    def connect(self) -> None: ...

    def disconnect(self) -> None: ...

    def place(self, objects: dict[str, Pose]) -> None:
        """Ask for each object to be put at its pose in the base frame."""
        if self._ask is None or not objects:
            return
        places = (
            f"{name} to x {pose.translation[0]:.3f}, y {pose.translation[1]:.3f}, z {pose.translation[2]:.3f} m"
            for name, pose in objects.items()
        )
        self._ask("Please bring " + "; ".join(places) + " (in the robot's base frame).")

    def objects(self) -> dict[str, Pose]:
        """Nothing is known about objects that no simulator keeps."""
        return {}
