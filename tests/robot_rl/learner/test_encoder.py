"""The image encoder: its function against a loop over windows, its gradient, its shifts, and its twin in numpy."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robot_rl.contract import Layout, Observation
from robot_rl.data.replay import Batch
from robot_rl.learner.networks import encoder
from robot_rl.policies.actor import NumpyActor
from robot_rl.policies.base import ActorPolicy
from robot_rl.policies.encoder import LAYERS, NumpyEncoder, padding, split
from robot_rl.policies.parameters import ParameterError

SIZES = [(16, 16), (21, 17), (5, 7), (1, 3), (33, 64)]  # below a window, odd, not square, a multiple of nothing


def images_of(n: int, size: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, *size, 3), dtype=np.uint8)


def params_of(layout: Layout, seed: int = 0) -> dict[str, np.ndarray]:
    """Random parameters: no bias is 0, no scale 1."""
    rng = np.random.default_rng(seed)
    fresh = encoder.create(jax.random.PRNGKey(seed), layout)
    return {name: np.asarray(p) + 0.1 * rng.normal(size=p.shape).astype(np.float32) for name, p in fresh.items()}


def reference(params, name: str, image: np.ndarray) -> np.ndarray:
    """One embedding in float64, window by window: output (i, j) looks at rows i·s − before …, with 0 outside."""
    hidden = image.astype(np.float64) / 255 - 0.5
    for layer, (kernel, stride, channels) in enumerate(LAYERS):
        height, width, _ = hidden.shape
        rows, columns = int(np.ceil(height / stride)), int(np.ceil(width / stride))
        top = max((rows - 1) * stride + kernel - height, 0) // 2
        left = max((columns - 1) * stride + kernel - width, 0) // 2
        out = np.tile(np.asarray(params[f"{name}/b{layer}"], np.float64), (rows, columns, 1))
        for i, j, a, b in np.ndindex(rows, columns, kernel, kernel):
            y, x = i * stride - top + a, j * stride - left + b
            if 0 <= y < height and 0 <= x < width:
                out[i, j] += hidden[y, x] @ params[f"{name}/k{layer}"][a, b]
        assert out.shape == (rows, columns, channels)
        hidden = np.maximum(out, 0.0)
    flat = hidden.reshape(-1) @ params[f"{name}/w"] + params[f"{name}/b"]
    normal = (flat - flat.mean()) / np.sqrt(flat.var() + 1e-6)
    return np.tanh(normal * params[f"{name}/g"] + params[f"{name}/c"])


@pytest.mark.parametrize("size", SIZES)
def test_jax_and_numpy_equal_the_reference(size: tuple[int, int]) -> None:
    layout = Layout(2, 1, {"wrist": size, "a/front": (8, 12)})
    params = params_of(layout)
    state = np.float32([[0.5, -3.0]])
    images = {"wrist": images_of(1, size), "a/front": images_of(1, (8, 12), 1)}
    expected = np.concatenate(
        (state[0], reference(params, "a/front", images["a/front"][0]), reference(params, "wrist", images["wrist"][0]))
    )
    found = encoder.features(params, state, images)
    assert found.shape == (1, encoder.size(layout))
    np.testing.assert_allclose(found[0], expected, atol=1e-5)
    act = NumpyEncoder(params, layout.images)
    mine = act(state[0], {name: image[0] for name, image in images.items()})
    assert mine.dtype == np.float32
    np.testing.assert_allclose(mine, expected, atol=1e-5)


def test_numpy_equals_jax_at_the_size_that_robots_have() -> None:
    layout = Layout(0, 1, {"front": (128, 128)})
    params, image = params_of(layout), images_of(2, (128, 128))
    image[1] = 255  # one colour: every window alike but for those at the border
    found = encoder.features(params, np.zeros((2, 0), np.float32), {"front": image})
    act = NumpyEncoder(params, layout.images)
    for i in range(2):
        np.testing.assert_allclose(act(np.zeros(0, np.float32), {"front": image[i]}), found[i], atol=1e-5)


@pytest.mark.parametrize(("kernel", "stride"), [(4, 4), (3, 2), (3, 1), (8, 4), (1, 2)])
def test_padding_is_that_of_xla(kernel: int, stride: int) -> None:
    for size in range(1, 20):
        assert padding(size, kernel, stride) == jax.lax.padtype_to_pads((size,), (kernel,), (stride,), "SAME")[0]


def test_outside_of_the_image_is_grey() -> None:
    """An image 6 wide is padded by a pixel on either side: with that border drawn in grey (127.5) nothing changes."""
    kernel, stride, _ = LAYERS[0]
    assert padding(6, kernel, stride) == (1, 1)
    params = params_of(Layout(0, 1, {"a": (6, 6)}))
    image = images_of(1, (6, 6))
    nothing = np.zeros((1, 0), np.float32)
    drawn = np.full((1, 8, 8, 3), 127.5, np.float32)
    drawn[:, 1:-1, 1:-1] = image
    one, two = (encoder.features(params, nothing, {"a": pixels}) for pixels in (image, drawn))
    np.testing.assert_allclose(one, two, atol=1e-6)
    black = np.where(drawn == 127.5, np.float32(0.0), drawn)
    assert np.abs(one - encoder.features(params, nothing, {"a": black})).max() > 1e-3


def test_without_cameras_the_features_are_the_state() -> None:
    layout = Layout(3, 1)
    state = jnp.ones((2, 3))
    assert encoder.create(jax.random.PRNGKey(0), layout) == {}
    assert encoder.size(layout) == 3
    assert encoder.features({}, state, None) is state
    assert encoder.shift(jax.random.PRNGKey(0), None) is None


def test_the_gradient_equals_finite_differences() -> None:
    """In every kind of parameter: kernels, biases, dense layer and LayerNorm."""
    with jax.enable_x64(True):
        params = {name: jnp.asarray(p, jnp.float64) for name, p in params_of(Layout(0, 1, {"a": (9, 6)})).items()}
        image = {"a": images_of(2, (9, 6)).astype(np.float64)}
        rng = np.random.default_rng(0)
        weights = rng.normal(size=encoder.EMBEDDING)

        @jax.jit
        def loss(p):
            hidden = encoder.features(p, jnp.zeros((2, 0)), image)
            return (hidden @ weights).sum()

        gradient = jax.jit(jax.grad(loss))(params)
        for name, slope in gradient.items():
            way = rng.normal(size=slope.shape)
            ahead, behind = (loss(params | {name: params[name] + h * way}) for h in (1e-6, -1e-6))
            assert np.abs(slope).max() > 1e-6, name
            np.testing.assert_allclose((ahead - behind) / 2e-6, (slope * way).sum(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("size", [(64, 96), (10, 7)])
def test_a_shift_moves_the_whole_image_and_repeats_its_edge(size: tuple[int, int]) -> None:
    n, pad = 300, max(1, min(size) // 32)
    image = images_of(n, size)
    moved = np.asarray(encoder.shift(jax.random.PRNGKey(0), {"a": image})["a"])
    assert moved.dtype == np.uint8
    counts = np.zeros((2 * pad + 1, 2 * pad + 1), int)
    for before, after in zip(image, moved, strict=True):
        found = []
        for dy, dx in np.ndindex(counts.shape):
            rows = np.clip(np.arange(size[0]) + dy - pad, 0, size[0] - 1)
            columns = np.clip(np.arange(size[1]) + dx - pad, 0, size[1] - 1)
            if np.array_equal(before[rows][:, columns], after):
                found.append((dy, dx))
        assert len(found) == 1  # one of the shifts, and no other image than this
        counts[found[0]] += 1
    cells = counts.size
    statistic = ((counts - n / cells) ** 2 / (n / cells)).sum()
    assert statistic < {9: 26.1, 25: 51.2}[cells]  # χ² with 8 and 24 degrees of freedom: 1 in 1000


def test_images_and_next_images_are_shifted_independently_and_everything_else_is_left_alone() -> None:
    image = {name: images_of(64, (64, 64), seed) for seed, name in enumerate("ab")}
    batch = Batch(*(np.full((64, 1), i, np.float32) for i in range(7)), images=image, next_images=image)
    found = jax.jit(encoder.augment)(jax.random.PRNGKey(3), batch)
    assert all((found[i] == i).all() for i in range(7))
    kinds = [found.images["a"], found.images["b"], found.next_images["a"], found.next_images["b"]]

    def shifts(moved, before) -> np.ndarray:
        """(dy, dx) of each image, by its middle, which no edge reaches."""
        ways = list(np.ndindex(5, 5))
        same = [
            (moved[:, 8:-8, 8:-8] == before[:, 6 + dy : 54 + dy, 6 + dx : 54 + dx]).all((1, 2, 3)) for dy, dx in ways
        ]
        assert (np.sum(same, axis=0) == 1).all()
        return np.argmax(same, axis=0)

    drawn = [shifts(np.asarray(moved), image[name]) for moved, name in zip(kinds, "abab", strict=True)]
    for i in range(4):
        for j in range(i):
            assert (drawn[i] == drawn[j]).mean() < 0.25  # by chance 1 in 25; of 64, 16 alike happen once in 10⁸
    again, other = (jax.jit(encoder.augment)(jax.random.PRNGKey(k), batch) for k in (3, 4))
    assert np.array_equal(again.images["a"], found.images["a"])
    assert not np.array_equal(other.images["a"], found.images["a"])


def test_a_policy_sees_by_the_published_encoder() -> None:
    layout = Layout(2, 1, {"wrist": (8, 8)})
    eyes, actor = params_of(layout), {"w0": np.ones((66, 2), np.float32), "b0": np.zeros(2, np.float32)}
    mine, seen = split({name: np.asarray(value) for name, value in encoder.published(actor, eyes).items()})
    assert mine.keys() == actor.keys() and seen.keys() == eyes.keys()
    policy = ActorPolicy(NumpyActor(mine), 1, True, NumpyEncoder(seen, layout.images))
    image = {"wrist": images_of(1, (8, 8))[0]}
    state = np.float32([0.1, -0.1])
    features = encoder.features(eyes, state[None], {"wrist": image["wrist"][None]})
    np.testing.assert_allclose(
        policy.act([Observation(0, 0, state, image)]).actions, np.tanh(features.sum())[None, None], atol=1e-4
    )
    assert (
        policy.act([Observation(0, 0, state, {"wrist": image["wrist"][::-1]})]).actions
        != policy.act([Observation(0, 0, state, image)]).actions
    )
    with pytest.raises(ParameterError, match=r"camera wrist.*\(8, 8, 3\), not none"):
        policy.act([Observation(0, 0, state)])


@pytest.mark.parametrize(
    ("change", "images", "named"),
    [
        ({}, {"front": (8, 8)}, r"needs images of \['wrist'\]; this run has cameras=\['front'\]"),
        ({}, {"wrist": (16, 16)}, r"camera wrist.*not for images of this size: w is \(32, 64\), not \(128, 64\)"),
        ({"wrist/k0": np.zeros((3, 3, 3, 32))}, {"wrist": (8, 8)}, r"k0 is \(3, 3, 3, 32\), not \(4, 4, 3, 32\)"),
        ({"wrist/b": np.zeros(())}, {"wrist": (8, 8)}, "camera wrist"),
        ({"wrist/x": np.zeros(1)}, {"wrist": (8, 8)}, r"x is \(1,\), not None"),
        ({"wrist/g": np.full(64, np.inf)}, {"wrist": (8, 8)}, "g of the policy's encoder are not finite"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(change, images, named) -> None:
    params = params_of(Layout(0, 1, {"wrist": (8, 8)})) | change
    with pytest.raises(ParameterError, match=named):
        NumpyEncoder(params, images)


def test_another_camera_is_left_alone() -> None:
    params = params_of(Layout(0, 1, {"wrist": (8, 8)}))
    act = partial(NumpyEncoder(params, {"wrist": (8, 8), "front": (4, 4)}), np.zeros(0, np.float32))
    image = images_of(1, (8, 8))[0]
    assert np.array_equal(act({"wrist": image}), act({"wrist": image, "front": images_of(1, (4, 4))[0]}))
    with pytest.raises(ParameterError, match=r"image \(8, 8, 3\), not \(4, 4, 3\)"):
        act({"wrist": image[:4, :4]})
