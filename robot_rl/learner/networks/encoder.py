"""Features: the state, and of each camera's image a few numbers that a small convolutional network finds.

    f(s, images) = s, tanh(LayerNorm(W flatten(ReLU(conv(… ReLU(conv(x/255 − ½))))))), …   one such part for each camera
    f(s, grids)  = s, tanh(LayerNorm(W flatten(ReLU(P x + q)))), …            where grids of a frozen encoder are seen

The convolutions are `LAYERS`. Departures from SERL, which takes a pretrained network: the
first layer cuts the image into patches of 4×4 pixels, as vision transformers do, which costs a quarter of what four
layers of 3×3 windows do and finds a dot in as many updates; and a dense layer reads where things are from all positions
at once, where SERL's spatial embeddings are such a layer of low rank, which finds the dot later. Grids of features
x (rows, columns, channels) keep their places too: P makes `GRID_CHANNELS` numbers of each cell, W reads all cells at
once. SERL's spatial embeddings find a cube no better and take longer (`benchmarks/experiments/heads.py`). Without
cameras there is nothing to learn, and the features are the state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from robot_rl.contract import Layout
from robot_rl.data.replay import Batch
from robot_rl.learner.networks import initial
from robot_rl.learner.networks.mlp import Params, head, layer_norm
from robot_rl.learner.networks.parts import part

NAME = "encoder"  # of its parameters among those that are published, see `parts`


class Convolution(NamedTuple):
    """``kernel`` × ``kernel`` windows, ``stride`` pixels apart, to ``channels`` numbers each."""

    kernel: int
    stride: int
    channels: int


LAYERS = (Convolution(4, 4, 32), Convolution(3, 2, 32))
GRID_CHANNELS = 16  # numbers for each cell of a grid
EMBEDDING = 64  # numbers that stand for an image
S = TypeVar("S", bound=Any)
SHIFT = 1 / 32  # share of a shorter side by which `shift` moves it at most: 4 pixels of 128 (SERL), a cell of a grid


def create(key: jax.Array, layout: Layout) -> Params:
    """Parameters ``<camera>/k0 (4, 4, 3, 32), /b0, …, /w, /b, /g, /c``; empty without cameras.

    Of grids ``<camera>/p (channels, 16), /q, /w, /b, /g, /c``. Weights are Glorot-uniform, as all others; ``g, c``:
    scale and offset of the LayerNorm.
    """
    params: Params = {}
    for name, (height, width, *channels) in sorted(layout.images.items()):
        inputs = 3
        for i, (kernel, stride, outputs) in enumerate(() if channels else LAYERS):
            key, subkey = jax.random.split(key)
            bound = (6.0 / (kernel**2 * (inputs + outputs))) ** 0.5
            shape = kernel, kernel, inputs, outputs
            params[f"{name}/k{i}"] = initial.uniform(subkey, shape, bound)
            params[f"{name}/b{i}"] = initial.zeros(outputs)
            inputs, height, width = outputs, -(-height // stride), -(-width // stride)
        if channels:
            key, subkey = jax.random.split(key)
            params[f"{name}/p"] = initial.glorot(subkey, (*channels, GRID_CHANNELS))
            params[f"{name}/q"] = initial.zeros(GRID_CHANNELS)
            inputs = GRID_CHANNELS
        key, subkey = jax.random.split(key)
        params[f"{name}/w"] = initial.glorot(subkey, (height * width * inputs, EMBEDDING))
        params[f"{name}/b"] = initial.zeros(EMBEDDING)
        params[f"{name}/g"], params[f"{name}/c"] = initial.ones(EMBEDDING), initial.zeros(EMBEDDING)
    return params


def size(layout: Layout) -> int:
    """f: how many features there are."""
    return layout.state_size + EMBEDDING * len(layout.images)


def features(params: Params, state: jax.Array, images: Mapping[str, jax.Array] | None) -> jax.Array:
    """``(n, f)``: ``state (n, d)`` and the embeddings of ``images``, by name.

    ``images``: camera → ``(n, h, w, 3)`` uint8, or ``(n, rows, columns, channels)`` float16.
    """
    if not images:
        return state
    return jnp.concatenate((state, *(_embed(params, name, images[name]) for name in sorted(images))), axis=-1)


def shift(key: jax.Array, images: Mapping[str, jax.Array] | None) -> Mapping[str, jax.Array] | None:
    """Each image ``(n, h, w, c)`` moved by up to `SHIFT`, at least a pixel, its edge repeated (DrQ's augmentation)."""
    if images is None:
        return None
    moved = {}
    for name, image in sorted(images.items()):
        key, subkey = jax.random.split(key)
        pad = max(1, round(SHIFT * min(image.shape[1:3])))
        offsets = jax.random.randint(subkey, (len(image), 2), 0, 2 * pad + 1)
        padded = jnp.pad(image, ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode="edge")
        crop = jax.vmap(lambda one, at, shape=image.shape[1:]: jax.lax.dynamic_slice(one, (at[0], at[1], 0), shape))
        moved[name] = crop(padded, offsets)
    return moved


def augment(key: jax.Array, batch: Batch) -> Batch:
    """``batch`` with its images and next images shifted, each by its own draw; the same without cameras."""
    now, after = jax.random.split(key)
    return batch._replace(images=shift(now, batch.images), next_images=shift(after, batch.next_images))


def see(params: Params, state: jax.Array, images: Mapping[str, jax.Array]) -> jax.Array:
    """Features ``(1, f)`` of one ``state (d,)`` and its ``images``, as in `robot_rl.contract.Observation`.

    ``params`` are published ones, with the encoder's among them.
    """
    return features(part(params, NAME), state[None], {name: image[None] for name, image in images.items()})


def seen_by(state: S, params: Mapping[str, Any]) -> S:
    """``state``, with fields ``encoder`` and ``target_encoder``, that sees by ``params`` and learns on from there."""
    found = {name: jnp.array(params[name], own.dtype) for name, own in state.encoder.items()}
    replaced: S = state._replace(encoder=found, target_encoder=found)
    return replaced


def padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after an axis, so that ⌈size / stride⌉ windows cover it: the odd one after (XLA's ``SAME``)."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _embed(params: Params, name: str, image: jax.Array) -> jax.Array:
    dtype = params[f"{name}/w"].dtype
    if f"{name}/p" in params:
        hidden = jax.nn.relu(image.astype(dtype) @ params[f"{name}/p"] + params[f"{name}/q"])
    else:
        hidden = _convolved(params, name, image)
    hidden = head(hidden.reshape(len(hidden), -1), params[f"{name}/w"]) + params[f"{name}/b"]
    return jnp.tanh(layer_norm(hidden) * params[f"{name}/g"] + params[f"{name}/c"])


def _convolved(params: Params, name: str, image: jax.Array) -> jax.Array:
    dtype = params[f"{name}/w"].dtype
    hidden = (image.astype(jnp.promote_types(dtype, jnp.float32)) / 255.0 - 0.5).astype(dtype)
    for i, (_, stride, _) in enumerate(LAYERS):
        hidden = jax.nn.relu(_convolve(hidden, params[f"{name}/k{i}"], stride) + params[f"{name}/b{i}"])
    return hidden


def _convolve(image: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """``(n, ⌈h/stride⌉, ⌈w/stride⌉, out)`` of ``image (n, h, w, in)`` and ``kernel (k, k, in, out)``, padded with 0.

    A product of windows and kernel. XLA's own convolution takes twenty times as long on a CPU, within a scan.
    """
    n, height, width, inputs = image.shape
    size, rows, columns = len(kernel), -(-height // stride), -(-width // stride)
    image = jnp.pad(image, ((0, 0), padding(height, size, stride), padding(width, size, stride), (0, 0)))
    if size == stride:  # nothing overlaps: no copies of what two windows share
        windows = image.reshape(n, rows, size, columns, size, inputs).transpose(0, 1, 3, 2, 4, 5)
    else:
        shifted = (image[:, i::stride, j::stride] for i, j in np.ndindex(size, size))
        windows = jnp.concatenate([pixels[:, :rows, :columns] for pixels in shifted], axis=-1)
    return windows.reshape(n, rows, columns, -1) @ kernel.reshape(-1, kernel.shape[-1])
