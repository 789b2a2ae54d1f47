"""The scene of a real arm: a person arranges it."""

from __future__ import annotations

from collections.abc import Callable

from controllers.spatial import Pose


class ManualScene:
    """`hardware.interfaces.SceneControl` where no machine can move the objects: it asks a person.

    Args:
        ask: called with what to do, in words. It hands the request on and returns at once; who waits for the person is
            whoever runs the scene.
        words: what to ask for, whatever the poses are; "" words the poses.
    """

    def __init__(self, ask: Callable[[str], None], words: str = "") -> None:
        self._ask = ask
        self._words = words

    def connect(self) -> None: ...

    def disconnect(self) -> None: ...

    def place(self, objects: dict[str, Pose]) -> None:
        """Ask for each object to be put at its pose in the base frame; without objects or words, for nothing."""
        if self._words:
            self._ask(self._words)
            return
        if not objects:
            return
        places = (
            f"{name} to x {pose.translation[0]:.3f}, y {pose.translation[1]:.3f}, z {pose.translation[2]:.3f} m"
            for name, pose in objects.items()
        )
        self._ask("Please bring " + "; ".join(places) + " (in the robot's base frame).")

    def objects(self) -> dict[str, Pose]:
        """Nothing is known about objects that no simulator keeps."""
        return {}
