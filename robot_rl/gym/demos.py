"""Demonstrations for an environment: an episode store of ours, or robomimic's HDF5."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from robot_rl.contract import Source
from robot_rl.data.encoding import encode_all
from robot_rl.data.episode import Transitions, frame_column
from robot_rl.data.importing.robomimic import SUFFIXES, RobomimicDemo, observation_shapes, read_demos
from robot_rl.data.reader import StoreReader
from robot_rl.data.schema import StoreError
from robot_rl.gym.spaces import Actions, EnvDomain, Observations


def load_demos(
    path: Path,
    domain: EnvDomain,
    observations: Observations,
    actions: Actions,
    keys: Sequence[str] = (),
) -> list[Transitions]:
    """The demonstrations at ``path``: of a store the episodes that succeeded, of an HDF5 file all.

    Args:
        keys: of the HDF5 file's observations, for an environment whose observation is one vector: they are
            concatenated in this order. Default: all, alphabetically.

    Raises `StoreError` when there are none, or they do not fit the environment.
    """
    if path.is_dir():
        if keys:
            raise StoreError(f"{path} is an episode store, whose state has one order; --demo-keys is for HDF5 files")
        return _from_store(path, domain)
    if not path.exists():
        raise StoreError(f"{path}: no such file or folder; --demos takes an episode store or a robomimic HDF5 file")
    if path.suffix not in SUFFIXES:
        raise StoreError(
            f"{path}: --demos takes a folder (an episode store) or a file ending in {' or '.join(SUFFIXES)}"
        )
    return _from_robomimic(path, observations, actions, keys)


def _from_store(path: Path, domain: EnvDomain) -> list[Transitions]:
    schema = StoreReader(path).schema
    if schema is None:
        raise StoreError(f"{path} is no episode store; `robot-rl record` makes one, in demos/ of its run")
    if misfit := domain.misfit(schema):
        raise StoreError(f"{path} {misfit}")
    images, observe = bool(domain.layout.images), domain.view_of(schema).state
    reader = StoreReader(path, observe=observe, images=images, successes_only=True, encoder=domain.encoder)
    found = reader.poll().new
    if not found:
        raise StoreError(f"{path} has no episode that succeeded, so nothing to learn from")
    return found


def _from_robomimic(path: Path, observations: Observations, actions: Actions, keys: Sequence[str]) -> list[Transitions]:
    stored = observation_shapes(path)
    state_keys = _state_keys(path, stored, observations, keys)
    for name, size in observations.pictures.items():
        if stored.get(name) != (*size, 3):
            raise StoreError(
                f"{path}: the environment has an image {name!r} of shape {(*size, 3)}, this file has {_listed(stored)}"
            )
    found = [
        _transitions(path, number, demo, state_keys, observations, actions)
        for number, demo in enumerate(read_demos(path, (*state_keys, *observations.images)))
    ]
    if not found:
        raise StoreError(f"{path}: its demonstrations have no steps")
    return found


def _transitions(
    path: Path, number: int, demo: RobomimicDemo, keys: Sequence[str], observations: Observations, actions: Actions
) -> Transitions:
    count = len(demo.reward)
    parts = [np.asarray(demo.observations[key], np.float32).reshape(count + 1, -1) for key in keys]
    state = np.concatenate(parts, axis=1) if parts else np.zeros((count + 1, 0), np.float32)
    if not (np.isfinite(state).all() and np.isfinite(demo.reward).all()):
        raise StoreError(f"{path}: {demo.name} has observations or rewards that are too large")
    try:
        action = actions.encode(demo.action.reshape(count, -1))
    except ValueError as error:
        raise StoreError(f"{path}: {demo.name}/actions: {error}") from error
    for name in observations.images:
        if (kind := demo.observations[name].dtype) != np.uint8:
            raise StoreError(f"{path}: {demo.name}/obs/{name} holds {kind}; images are uint8")
    last = np.arange(count) == count - 1
    return Transitions(
        str(path),
        number,
        0,
        {
            "state": state,
            **{
                frame_column(name, size): _seen(demo.observations[name], observations)
                for name, size in observations.images.items()
            },
            "action": action,
            "policy_action": action,
            "reward": demo.reward,
            "terminated": last & demo.terminated,
            "truncated": last & (not demo.terminated),
            "source": np.full(count, Source.PERSON, np.uint8),
            "version": np.full(count, -1, np.int64),
            "cost": np.zeros(count, np.float32),
        },
    )


def _seen(pictures: np.ndarray, observations: Observations) -> np.ndarray:
    """Images or features that an agent sees of the images ``pictures (n, h, w, 3)``."""
    return pictures if observations.encoder is None else encode_all(observations.encoder, pictures)


def _state_keys(
    path: Path, stored: dict[str, tuple[int, ...]], observations: Observations, keys: Sequence[str]
) -> list[str]:
    """The file's keys that make the state, in order."""
    sizes = {key: int(np.prod(shape)) for key, shape in stored.items()}
    if list(observations.sizes) != [""]:
        if keys:
            raise StoreError("--demo-keys is for an environment with one vector; this one's observations have names")
        missing = [name for name, size in observations.sizes.items() if sizes.get(name) != size]
        if missing:
            wanted = ", ".join(f"{name} ({observations.sizes[name]})" for name in missing)
            raise StoreError(f"{path}: the environment observes {wanted}; this file has {_listed(stored)}")
        return list(observations.sizes)
    chosen = list(keys) or sorted(stored)
    if unknown := [key for key in chosen if key not in stored]:
        raise StoreError(f"{path}: no observation {', '.join(unknown)}; this file has {_listed(stored)}")
    total = sum(sizes[key] for key in chosen)
    if total != observations.state_size:
        raise StoreError(
            f"{path}: {', '.join(chosen)} make {total} numbers, but the environment's state has "
            f"{observations.state_size}; choose with --demo-keys from {_listed(stored)}"
        )
    return chosen


def _listed(stored: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{key} {shape}" for key, shape in stored.items()) or "no observations"
