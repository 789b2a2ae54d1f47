"""Which head reads grids of features: SERL's spatial embeddings, or a 1×1 convolution whose cells are read at once.

Pictures of `pick_cube`, its cube drawn anew and its arm moved a little for each, are encoded once; each head learns to
say where the cube is. A JSON line for each head, with minibatches shifted by a cell and without: the error on pictures
that it did not see [mm], and the processor time of a step forward and back [ms].

    conv(c):  tanh(LayerNorm(W flatten(ReLU(P x + q)))),  P: to c channels   (`robot_rl.learner.networks.encoder`)
    serl(f):  tanh(LayerNorm(W vec(Σ_p K_pcf x_pc))),     f numbers for each channel
    pool:     tanh(LayerNorm(W mean_p x_p))
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from hardware.sim.scene.render import SceneRenderer
from robot_rl.contract import Layout
from robot_rl.learner.networks import encoder
from robot_rl.learner.networks.encoder import EMBEDDING
from robot_rl.learner.networks.mlp import Params, ensemble_apply, ensemble_create, layer_norm
from robot_rl.perception.encoders import make_encoder
from robot_rl.tasks import make_task
from robot_rl.tasks.base import scene_of

SIZE = 128  # pixels
CAMERA = "front"
SPREAD = 0.05  # [rad] of each joint
BATCH = 256
RATE = 5e-4


class Head(NamedTuple):
    """``create(key, grid) -> params`` and ``apply(params, x) -> (n, EMBEDDING)``."""

    create: Callable[[jax.Array, tuple[int, ...]], Params]
    apply: Callable[[Params, jax.Array], jax.Array]


class Pictures(NamedTuple):
    """``grids (n, rows, columns, channels)`` float16 and where the cube was, ``places (n, 2)`` [m]."""

    grids: np.ndarray
    places: np.ndarray


def draw(name: str, count: int) -> Pictures:
    task, made, rng = make_task("pick_cube"), make_encoder(name), np.random.default_rng(0)
    scene = scene_of(task)
    grids, places = [], []
    with SceneRenderer(scene, SIZE, SIZE, (CAMERA,)) as renderer:
        for _ in range(count):
            objects = task.sample_start(rng).objects
            q = np.array(scene.start_q) + rng.normal(0.0, SPREAD, 7)
            grids.append(made.encode(renderer.render(q, 1.0, objects)[CAMERA][None])[0])
            places.append(next(iter(objects.values())).translation[:2])
    return Pictures(np.stack(grids), np.stack(places))


def conv() -> Head:
    def create(key: jax.Array, grid: tuple[int, ...]) -> Params:
        return encoder.create(key, Layout(0, 1, {CAMERA: grid}))

    def apply(params: Params, x: jax.Array) -> jax.Array:
        return encoder.features(params, jnp.zeros((len(x), 0)), {CAMERA: x})

    return Head(create, apply)


def serl(each: int) -> Head:
    def create(key: jax.Array, grid: tuple[int, ...]) -> Params:
        rows, columns, channels = grid
        kernel_key, dense_key = jax.random.split(key)
        kernel = jax.random.normal(kernel_key, (rows * columns, channels, each)) / (rows * columns) ** 0.5
        return {"k": kernel, **_dense(dense_key, channels * each)}

    def apply(params: Params, x: jax.Array) -> jax.Array:
        cells = x.reshape(len(x), -1, x.shape[-1]).astype(jnp.float32)
        return _embed(params, jnp.einsum("npc,pcf->ncf", cells, params["k"]).reshape(len(x), -1))

    return Head(create, apply)


def pool() -> Head:
    return Head(
        lambda key, grid: _dense(key, grid[-1]),
        lambda params, x: _embed(params, x.astype(jnp.float32).mean(axis=(1, 2))),
    )


def _dense(key: jax.Array, inputs: int) -> Params:
    bound = (6.0 / (inputs + EMBEDDING)) ** 0.5
    weights = jax.random.uniform(key, (inputs, EMBEDDING), minval=-bound, maxval=bound)
    return {"w": weights, "b": jnp.zeros(EMBEDDING), "g": jnp.ones(EMBEDDING), "c": jnp.zeros(EMBEDDING)}


def _embed(params: Params, hidden: jax.Array) -> jax.Array:
    return jnp.tanh(layer_norm(hidden @ params["w"] + params["b"]) * params["g"] + params["c"])


HEADS = {f"conv{encoder.GRID_CHANNELS}": conv(), "serl8": serl(8), "pool": pool()}


def learn(head: Head, seen: Pictures, shifted: bool, steps: int, seed: int) -> dict[str, float]:
    """The error on the last fifth of ``seen`` [mm], of places learnt from the others, and the time of a step [ms]."""
    count = len(seen.grids) * 4 // 5
    centre, spread = seen.places[:count].mean(axis=0), seen.places[:count].std(axis=0)
    places = ((seen.places - centre) / spread).astype(np.float32)
    head_key, mlp_key, key = jax.random.split(jax.random.PRNGKey(seed), 3)
    learnt: Any = (
        head.create(head_key, seen.grids.shape[1:]),
        ensemble_create(mlp_key, (EMBEDDING, 128, 2), 1, layer_norm=False),
    )
    optimiser = optax.adam(RATE)
    state = optimiser.init(learnt)

    def where(learnt: Any, x: jax.Array) -> jax.Array:
        return ensemble_apply(learnt[1], head.apply(learnt[0], x))[0]

    @jax.jit
    def step(learnt: Any, state: Any, x: jax.Array, y: jax.Array, key: jax.Array) -> tuple[Any, Any]:
        shifts = encoder.shift(key, {CAMERA: x}) if shifted else None
        moved = x if shifts is None else shifts[CAMERA]
        gradient = jax.grad(lambda made: ((where(made, moved) - y) ** 2).mean())(learnt)
        change, state = optimiser.update(gradient, state, learnt)
        return optax.apply_updates(learnt, change), state

    rng, times = np.random.default_rng(seed), []
    for number in range(steps):
        rows = rng.integers(0, count, BATCH)
        began = time.process_time()
        learnt, state = step(learnt, state, seen.grids[rows], places[rows], jax.random.fold_in(key, number))
        jax.block_until_ready(learnt)
        times.append(time.process_time() - began)
    error = (np.asarray(where(learnt, jnp.asarray(seen.grids[count:]))) - places[count:]) * spread
    return {"error_mm": 1e3 * float(np.linalg.norm(error, axis=1).mean()), "step_ms": 1e3 * statistics.median(times)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", default="efficientnet_lite0")
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args()
    seen = draw(arguments.encoder, arguments.pictures)
    blind = 1e3 * float(np.linalg.norm(seen.places - seen.places.mean(axis=0), axis=1).mean())
    for name, head in HEADS.items():
        for shifted in (False, True):
            found = [learn(head, seen, shifted, arguments.steps, seed) for seed in range(arguments.seeds)]
            line = {
                "benchmark": "heads",
                "head": name,
                "shifted": shifted,
                "error_mm": [round(one["error_mm"], 1) for one in found],
                "blind_mm": round(blind, 1),
                "step_ms": round(statistics.median(one["step_ms"] for one in found), 2),
            }
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
