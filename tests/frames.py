"""A tree of frames as tf keeps it, for tests: what tf2's buffer answers."""

from __future__ import annotations

from collections.abc import Mapping

from controllers.spatial import Pose


def placed(tree: Mapping[str, tuple[str, Pose]], parent: str, child: str) -> Pose:
    """Pose of the frame ``child`` in ``parent``, above it; ``tree``: child → (parent, pose in it)."""
    if child == parent:
        return Pose.identity()
    if child not in tree:
        raise LookupError(f"no frame {parent!r} above {child!r}; there are {sorted(tree)}")
    above, pose = tree[child]
    return placed(tree, parent, above).compose(pose)
