"""The pictures that belong to an observation have one size, whatever the camera's."""

from __future__ import annotations

import numpy as np
import pytest

from robot_rl.contract import ContractError, View
from robot_rl.perception.images import fit, picture_size


def test_a_picture_of_the_right_size_is_left_alone() -> None:
    image = np.zeros((128, 128, 3), np.uint8)
    assert np.shares_memory(fit(image, View()), image)


@pytest.mark.parametrize("shape", [(480, 640), (640, 480)])
def test_the_middle_square_is_kept(shape: tuple[int, int]) -> None:
    image = np.zeros((*shape, 3), np.uint8)
    top, left = (shape[0] - 480) // 2, (shape[1] - 480) // 2
    image[top : top + 480, left : left + 480] = (10, 20, 30)
    image[top : top + 240, left : left + 240] = (200, 100, 50)  # a quarter of the square
    small = fit(image, View())
    assert small.shape == (128, 128, 3) and small.dtype == np.uint8
    np.testing.assert_array_equal(small[:64, :64], np.broadcast_to((200, 100, 50), (64, 64, 3)))
    np.testing.assert_array_equal(small[64:, 64:], np.broadcast_to((10, 20, 30), (64, 64, 3)))


def test_a_crop_is_taken_of_any_picture_and_of_it_the_middle_square() -> None:
    view = View(crop=(0.5, 0.0, 0.5, 0.5), size=32)
    image = np.zeros((100, 400, 3), np.uint8)
    image[:50, 275:325] = 255  # the middle square of the upper right quarter, 200 × 50
    np.testing.assert_array_equal(fit(image, view), np.full((32, 32, 3), 255, np.uint8))


def test_pictures_are_drawn_so_large_that_no_crop_is_enlarged() -> None:
    views = {"front": View(crop=(0.0, 0.0, 0.25, 0.5), size=64), "wrist": View()}
    assert picture_size(views) == 256
    assert fit(np.zeros((256, 256, 3), np.uint8), views["front"]).shape == (64, 64, 3)
    assert picture_size({}) == 0


@pytest.mark.parametrize(
    ("crop", "words"),
    [((0.5, 0.0, 0.6, 1.0), "no part of the picture"), ((0.0, 0.0, 0.0, 1.0), "no part"), ((0.0, 1.0), "4 numbers")],
)
def test_a_crop_beyond_the_picture_is_refused(crop: tuple[float, ...], words: str) -> None:
    with pytest.raises(ContractError, match=words):
        View(crop=crop)
