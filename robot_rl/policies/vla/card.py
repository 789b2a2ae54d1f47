"""A SmallVLA as bytes, without its network: parameters like those of an agent, and what they fit.

The form is that of all parameters (`robot_rl.data.parameters`): checksum, safetensors, and as metadata the tasks that
it has learnt, the state's fields, the actions' axes, scales and period, the cameras and their sizes, the digests of
both encoders, and its settings. Loading refuses whatever differs from the run's.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from robot_rl.contract import ContractError, FrameSize, Shaped, differences, identity_of
from robot_rl.contract.settings import make_settings
from robot_rl.data.parameters import ParameterError, Parameters, pack, unpack
from robot_rl.perception.encoders import Encoder, make_encoder, missing
from robot_rl.policies.vla.config import VlaConfig
from robot_rl.policies.vla.words import Words, make_words

AGENT = "vla"  # in the place of an agent's name


class Card(NamedTuple):
    """Settings, encoders and camera → size of its square images [pixels]."""

    config: VlaConfig
    encoder: Encoder
    words: Words
    images: dict[str, int]


def is_vla(data: bytes) -> bool:
    """Whether ``data`` are parameters of a SmallVLA. Raises `ParameterError` where they are none at all."""
    return unpack(data).meta.get("agent") == AGENT


def digest_of(policy: bytes) -> str:
    """Tells the bytes of a policy from others."""
    return hashlib.sha256(policy).hexdigest()[:16]


def packed(
    params: Mapping[str, np.ndarray],
    shaped: Shaped,
    tasks: Sequence[str],
    images: Mapping[str, int],
    made: VlaConfig,
    version: int | None = None,
) -> bytes:
    """A SmallVLA as bytes.

    Args:
        params: of the network, by name.
        shaped: any of the ``tasks``, whose states and actions are alike.
        tasks: names of those that it has learnt.
        images: camera → size of its square images [pixels].
        made: its settings.
        version: of the parameters; None: the steps that it was imitated for.
    """
    shape = identity_of(shaped)
    del shape["task"]
    meta = {
        **shape,
        "agent": AGENT,
        "tasks": list(tasks),
        "images": dict(images),
        "encoder": make_encoder(made.encoder).digest,
        "words": make_words().digest,
        "settings": dataclasses.asdict(made),
    }
    return pack(params, made.steps if version is None else version, meta)


def check(data: bytes, task: Shaped, images: Mapping[str, FrameSize], encoder: str = "") -> tuple[Card, Parameters]:
    """Card and parameters of the SmallVLA in ``data``.

    Args:
        task: as the run's policy sees it.
        images: camera → size of the images that come with observations.
        encoder: digest of the one whose features come in their place; "" for none.

    Raises `ParameterError` where it does not fit the task or the images, or was made by other encoders.
    """
    found = unpack(data)
    meta = found.meta
    try:
        tasks, sizes, theirs = tuple(meta["tasks"]), dict(meta["images"]), dict(meta["settings"])
        words, seen_by = meta["words"], meta["encoder"]
        config = make_settings(VlaConfig, theirs)
    except (KeyError, TypeError, ValueError, ContractError) as error:
        raise ParameterError(f"no SmallVLA of this version acts by them: {error}") from error
    if task.name not in tasks:
        raise ParameterError(f"it has learnt the tasks {', '.join(tasks)}, but this run has task {task.name!r}")
    here = identity_of(task)
    del here["task"], here["encoder"]
    for key, there, mine in differences({**meta, "task": task.name}, here):
        raise ParameterError(f"it was trained with {key} {there!r}, but this run has {key} {mine!r}")
    if encoder:
        raise ParameterError(
            "it encodes images by itself, but this run has features in their place; leave out encoder="
        )
    for camera, size in sizes.items():
        if camera not in images:
            raise ParameterError(f"it needs images of {camera}; this run has cameras={sorted(images)}")
        if tuple(images[camera]) != (size, size):
            raise ParameterError(f"camera {camera}: it needs images of {(size, size)}, not {tuple(images[camera])}")
    try:
        made, read = make_encoder(config.encoder), make_words()
    except ContractError as error:
        raise ParameterError(str(error)) from error
    for kind, there, mine in (("image", seen_by, made.digest), ("text", words, read.digest)):
        if there != mine:
            raise ParameterError(f"it was trained by {kind} encoder {there}, and this computer's is {mine}: train anew")
    if importlib.util.find_spec("torch") is None:
        raise ParameterError(str(missing(config.encoder, "torch")))
    return Card(config, made, read, sizes), found


def shapes_differ(found: Mapping[str, Any], expected: Mapping[str, tuple[int, ...]]) -> str:
    """The parameters that are missing, unknown, of another shape or not finite, in words; "" when all fit."""
    wrong = [f"{name} is missing" for name in expected if name not in found]
    for name, value in found.items():
        if name not in expected:
            wrong.append(f"{name} is unknown")
        elif np.shape(value) != expected[name]:
            wrong.append(f"{name} is {np.shape(value)}, not {expected[name]}")
        elif not np.isfinite(value).all():
            wrong.append(f"{name} is not finite")
    return ", ".join(sorted(wrong))
