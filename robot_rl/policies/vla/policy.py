"""SmallVLA at work: it is told what to do when an episode begins, looks, and answers with a chunk of actions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from robot_rl.contract import FrameSize, Planned, Shaped
from robot_rl.data.parameters import ParameterError, unpack
from robot_rl.policies.base import ActorPolicy
from robot_rl.policies.vla.card import Card, check, shapes_differ
from robot_rl.policies.vla.examples import padded
from robot_rl.policies.vla.network import Seen, SmallVla
from robot_rl.policies.vla.seeing import cell_shape, cells_of


class VlaActor:
    """A SmallVLA; noise belongs to a flow, so it draws some in use too, by its own stream.

    Args:
        card: what it is made of.
        network: its network.
        seed: of the noise.
    """

    def __init__(self, card: Card, network: SmallVla, seed: int) -> None:
        self._card, self._network = card, network.eval()
        self._generator = torch.Generator().manual_seed(seed)
        self.executed = card.config.acted
        self.begin("")

    def load(self, params: Mapping[str, np.ndarray]) -> None:
        """Act by ``params`` from now on. Raises `ParameterError` when they do not fit; those before stay."""
        expected = {name: tuple(value.shape) for name, value in self._network.state_dict().items()}
        if wrong := shapes_differ(params, expected):
            raise ParameterError(f"they are not what a SmallVLA acts by in this task: {wrong}")
        self._network.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in params.items()})

    def begin(self, instruction: str) -> None:
        """Do from now on what ``instruction`` says."""
        self._words, self._read = padded([self._card.words.encode(instruction)])

    def act(
        self,
        state: np.ndarray,
        images: Mapping[str, np.ndarray],
        deterministic: bool,
        planned: Planned | None = None,
    ) -> np.ndarray:
        """Actions ``(executed, a)`` float32 in [−1, 1].

        One that learnt to continue a prefix begins with what is ``planned`` until its answer can act. Raises
        `ParameterError` when state or images are not of its sizes.
        """
        config, network = self._card.config, self._network
        with torch.inference_mode():
            context = network.context(self._seen(state, images))
            noise = torch.randn(1, config.horizon, network.actions, generator=self._generator)
            given = None
            if planned is not None and config.prefix and planned.delay:
                given = torch.from_numpy(planned.actions[None, : min(planned.delay, config.prefix)])
            chunk: np.ndarray = network.sample(context, noise, given)[0].numpy()
        return chunk[: self.executed]

    def features(self, state: np.ndarray, images: Mapping[str, np.ndarray]) -> np.ndarray:
        """A vector ``(width,)`` float32 of an observation and the instruction, for critics."""
        with torch.inference_mode():
            found: np.ndarray = self._network.features(self._seen(state, images))[0].numpy()
        return found

    def _seen(self, state: np.ndarray, images: Mapping[str, np.ndarray]) -> Seen:
        cells = {}
        for camera, size in self._card.images.items():
            if camera not in images or images[camera].shape != (size, size, 3):
                found = images[camera].shape if camera in images else "none"
                raise ParameterError(f"camera {camera}: the policy needs an image {(size, size, 3)}, not {found}")
            cells[camera] = torch.from_numpy(cells_of(self._card.encoder, images[camera][None])).float()
        needed = self._network.get_buffer("state_mean").shape
        if np.shape(state) != needed:
            raise ParameterError(f"state has shape {np.shape(state)}; the policy is for {tuple(needed)}")
        return Seen(cells, self._words, self._read, torch.from_numpy(np.asarray(state, np.float32))[None])


class VlaPolicy(ActorPolicy):
    """A SmallVLA as a policy."""

    def __init__(self, actor: VlaActor, version: int) -> None:
        super().__init__(actor, version, deterministic=True)
        self.vla, self.horizon = actor, actor.executed

    def begin(self, instruction: str) -> None:
        self.vla.begin(instruction)


class VlaLoader:
    """Makes a policy of each publication of a learner, one after the other; the first one's noise goes on.

    Args:
        task, seed, images, encoder: as of `load_vla`.
    """

    def __init__(self, task: Shaped, seed: int, images: Mapping[str, FrameSize], encoder: str = "") -> None:
        self._task, self._seed, self._images, self._encoder = task, seed, dict(images), encoder
        self._meta: Mapping[str, Any] | None = None
        self._actor: VlaActor | None = None

    def __call__(self, data: bytes) -> VlaPolicy:
        """The policy packed in ``data``. Raises `ParameterError` when it does not fit; the one before stays."""
        found = unpack(data)
        if self._actor is not None and found.meta == self._meta:
            self._actor.load(found.params)
            return VlaPolicy(self._actor, found.version)
        policy = load_vla(data, self._task, self._seed, self._images, self._encoder)
        self._actor, self._meta = policy.vla, found.meta
        return policy


def load_vla(
    data: bytes, task: Shaped, seed: int, images: Mapping[str, FrameSize], encoder: str = "", threads: int = 1
) -> VlaPolicy:
    """The policy packed in ``data``.

    Args:
        task, images, encoder: see `check`.
        seed: of its noise.
        threads: of the processor, of this whole process; 0: as many as torch takes.

    Raises `ParameterError` when it does not fit.
    """
    card, found = check(data, task, images, encoder)
    if threads:
        torch.set_num_threads(threads)
    cells = {name: cell_shape(card.encoder, size) for name, size in card.images.items()}
    network = SmallVla(card.config, cells, sum(field.size for field in task.fields), task.action.size)
    actor = VlaActor(card, network.requires_grad_(False), seed)
    actor.load(found.params)
    card.encoder.load()
    return VlaPolicy(actor, found.version)
