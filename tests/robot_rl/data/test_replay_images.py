"""Images in replay: the right ones, kept once, and copied once on their way into a batch."""

from __future__ import annotations

import dataclasses
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from robot_rl.contract import Layout
from robot_rl.data.episode import Transitions
from robot_rl.data.replay import ReplayBuffer, Sampler
from tests.robot_rl.recording import transitions, with_columns

SIZE = (3, 5)
LAYOUT = Layout(5, 2, {"front": SIZE, "wrist": SIZE})
PAGE = os.sysconf("SC_PAGE_SIZE")


def drawn(part: Transitions, size: tuple[int, int] = SIZE) -> Transitions:
    """``part`` with images that tell which observation they are of: each value is a hash of the state."""
    key = (np.abs(part["state"][:, 0]) * 1e4).astype(np.int64)
    images = {
        f"image/{name}": np.tile(((key + number) % 251).astype(np.uint8)[:, None, None, None], (*size, 3))
        for number, name in enumerate(("front", "wrist"))
    }
    return with_columns(part, **images)


def fits(images: dict[str, np.ndarray], state: np.ndarray) -> bool:
    key = (np.abs(state[..., 0]) * 1e4).astype(np.int64)[..., None, None, None]
    return all((images[name] == (key + number) % 251).all() for number, name in enumerate(("front", "wrist")))


@pytest.mark.parametrize("horizon", [1, 3])
def test_every_image_is_of_its_observation(horizon: int) -> None:
    """Two buffers, one of them gone round its ring, and windows that end with their episode."""
    demo, online = ReplayBuffer(50, LAYOUT), ReplayBuffer(23, LAYOUT)
    demo.add(drawn(transitions(30, 100)))
    for number in range(8):
        online.add(drawn(transitions(1 + number, number, number)))
    batch = Sampler((demo, online), (0.5, 0.5)).sample(np.random.default_rng(0), 3, 40, horizon)
    for images, state in ((batch.images, batch.state), (batch.next_images, batch.next_state)):
        assert {name: (image.shape, image.dtype) for name, image in images.items()} == dict.fromkeys(
            LAYOUT.images, ((3, 40, *SIZE, 3), np.uint8)
        )
        assert fits(images, state)
    assert not fits(batch.images, batch.next_state)
    alone = online.sample(np.random.default_rng(1), 40, horizon)
    assert fits(alone.images, alone.state) and fits(alone.next_images, alone.next_state)


def test_another_pixel_is_another_digest() -> None:
    part = drawn(transitions(6))
    other = {name: image.copy() for name, image in part.images.items()}
    other["wrist"][6, 0, 0, 0] ^= 1
    digests = []
    for images in (part.images, part.images, other):
        buffer = ReplayBuffer(20, LAYOUT)
        buffer.add(with_columns(part, **{f"image/{name}": image for name, image in images.items()}))
        digests.append(buffer.digests)
    assert digests[0] == digests[1]
    assert [a == b for a, b in zip(digests[0], digests[2], strict=True)] == [True] * 3 + [False] + [True] * 3


def test_images_alone_make_a_batch() -> None:
    """A task that is seen and not felt: state size 0."""
    buffer = ReplayBuffer(20, Layout(0, 2, LAYOUT.images))
    part = transitions(6)
    images = np.arange(7, dtype=np.uint8)[:, None, None, None] * np.ones((1, *SIZE, 3), np.uint8)
    buffer.add(with_columns(part, state=part["state"][:, :0], **{"image/front": images, "image/wrist": images}))
    batch = Sampler((buffer,), (1.0,)).sample(np.random.default_rng(0), 2, 16)
    assert batch.state.shape == batch.next_state.shape == (2, 16, 0)
    assert (batch.next_images["front"] == batch.images["front"] + 1).all()
    assert (batch.action == part["action"][batch.images["wrist"][..., 0, 0, 0]]).all()


def test_without_cameras_there_are_no_images() -> None:
    buffer = ReplayBuffer(20, Layout(5, 2))
    buffer.add(transitions(6))
    batch = Sampler((buffer,), (1.0,)).sample(np.random.default_rng(0), 2, 16)
    assert batch.images is None and batch.next_images is None


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def test_memory_is_taken_as_it_fills_and_each_image_once() -> None:
    """200 000 steps of two cameras of 128² and a million states of 40 numbers fit into 24 GiB."""
    large = {"front": (128, 128), "wrist": (128, 128)}
    kept = lambda buffer: sum(  # noqa: E731
        array.nbytes for array in (*buffer.images.values(), *vars(buffer).values()) if isinstance(array, np.ndarray)
    )
    rows = 10_000
    before = resident()
    seen, felt = ReplayBuffer(rows, Layout(40, 7, large)), ReplayBuffer(rows, Layout(40, 7))
    assert resident() - before < 0.05 * kept(seen)
    total = 20 * kept(seen) + 100 * kept(felt)
    assert 18 * 2**30 < total < 24 * 2**30

    part = drawn(transitions(200), (128, 128))
    part = with_columns(part, state=np.zeros((201, 40), np.float32), action=np.zeros((200, 7), np.float32))
    before = resident()
    for number in range(10):
        seen.add(dataclasses.replace(part, episode=number))
    assert resident() - before < 1.1 * 2010 * kept(seen) / rows  # a row an observation, no second one for "next"


def test_adding_copies_nothing_and_sampling_only_the_batch() -> None:
    layout = Layout(5, 2, {"front": (64, 64), "wrist": (64, 64)})
    demo, online = ReplayBuffer(300, layout), ReplayBuffer(300, layout)
    part = drawn(transitions(200), (64, 64))
    sampler = Sampler((demo, online), (0.5, 0.5))
    tracemalloc.start()
    try:
        for buffer in (demo, online):
            buffer.add(part)
        assert tracemalloc.get_traced_memory()[1] < 0.02 * part.images["front"].nbytes
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        batch = sampler.sample(np.random.default_rng(0), 2, 64)
        size = sum(image.nbytes for images in (batch.images, batch.next_images) for image in images.values())
        assert size == 2 * 64 * 2 * 2 * 64 * 64 * 3
        assert tracemalloc.get_traced_memory()[1] - before < 1.02 * size
    finally:
        tracemalloc.stop()
