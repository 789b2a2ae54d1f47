"""What a network sees: the state, and of each camera's image a few numbers that a small convolutional network finds.

An image is halved four times by 3×3 convolutions with ReLU and then brought down to ``EMBEDDING`` numbers by a dense
layer, LayerNorm and tanh (as in SERL). Without cameras there is nothing to learn, and the features are the state.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from robot_rl.contract import Layout
from robot_rl.data.replay import Batch
from robot_rl.learner.networks import Params, layer_norm

CHANNELS = (32, 32, 32, 32)
EMBEDDING = 64  # numbers that stand for an image
PAD = 4  # [pixels] by which `shift` moves an image at most


def create(key: jax.Array, layout: Layout) -> Params:
    """Parameters ``<camera>/k0 (3, 3, in, out), /b0, …, /w, /b, /g, /c``; empty without cameras."""
    params: Params = {}
    for name, (height, width) in sorted(layout.images.items()):
        inputs = 3
        for i, outputs in enumerate(CHANNELS):
            key, subkey = jax.random.split(key)
            bound = (6.0 / (9 * (inputs + outputs))) ** 0.5
            params[f"{name}/k{i}"] = jax.random.uniform(subkey, (3, 3, inputs, outputs), minval=-bound, maxval=bound)
            params[f"{name}/b{i}"] = jnp.zeros(outputs)
            inputs, height, width = outputs, -(-height // 2), -(-width // 2)
        key, subkey = jax.random.split(key)
        flat = height * width * inputs
        bound = (6.0 / (flat + EMBEDDING)) ** 0.5
        params[f"{name}/w"] = jax.random.uniform(subkey, (flat, EMBEDDING), minval=-bound, maxval=bound)
        params[f"{name}/b"] = jnp.zeros(EMBEDDING)
        params[f"{name}/g"], params[f"{name}/c"] = jnp.ones(EMBEDDING), jnp.zeros(EMBEDDING)
    return params


def size(layout: Layout) -> int:
    """f: how many features there are."""
    return layout.state_size + EMBEDDING * len(layout.images)


def features(params: Params, state: jax.Array, images: Mapping[str, jax.Array] | None) -> jax.Array:
    """``(n, f)``: ``state (n, d)`` and the embeddings of ``images`` (camera → ``(n, h, w, 3)`` uint8), by name."""
    return jnp.concatenate(
        (state, *(_embed(params, name, image) for name, image in sorted((images or {}).items()))), -1
    )


def shift(key: jax.Array, images: Mapping[str, jax.Array] | None) -> Mapping[str, jax.Array] | None:
    """Each image ``(n, h, w, 3)`` moved by up to `PAD` pixels, its edge repeated (DrQ's augmentation)."""
    if images is None:
        return None
    moved = {}
    for name, image in sorted(images.items()):
        key, subkey = jax.random.split(key)
        offsets = jax.random.randint(subkey, (len(image), 2), 0, 2 * PAD + 1)
        padded = jnp.pad(image, ((0, 0), (PAD, PAD), (PAD, PAD), (0, 0)), mode="edge")
        crop = jax.vmap(lambda one, at, shape=image.shape[1:]: jax.lax.dynamic_slice(one, (at[0], at[1], 0), shape))
        moved[name] = crop(padded, offsets)
    return moved


def augment(key: jax.Array, batch: Batch) -> Batch:
    """``batch`` with its images and next images shifted, each by its own draw; the same without cameras."""
    now, after = jax.random.split(key)
    return batch._replace(images=shift(now, batch.images), next_images=shift(after, batch.next_images))


def published(actor: Params, params: Params) -> Params:
    """What a policy process needs: the actor's parameters, and the encoder's under ``encoder/``."""
    return actor | {f"encoder/{name}": value for name, value in params.items()}


def _embed(params: Params, name: str, image: jax.Array) -> jax.Array:
    hidden = image.astype(jnp.float32) / 255.0 - 0.5
    for i in range(len(CHANNELS)):
        hidden = jax.lax.conv_general_dilated(
            hidden, params[f"{name}/k{i}"], (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        hidden = jax.nn.relu(hidden + params[f"{name}/b{i}"])
    hidden = hidden.reshape(len(hidden), -1) @ params[f"{name}/w"] + params[f"{name}/b"]
    return jnp.tanh(layer_norm(hidden) * params[f"{name}/g"] + params[f"{name}/c"])
