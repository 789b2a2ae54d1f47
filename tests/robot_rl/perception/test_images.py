"""The pictures that belong to an observation have one size, whatever the camera's."""

from __future__ import annotations

import numpy as np
import pytest

from robot_rl.perception.images import fit


def test_a_picture_of_the_right_size_is_left_alone() -> None:
    image = np.zeros((128, 128, 3), np.uint8)
    assert fit(image, 128) is image


@pytest.mark.parametrize("shape", [(480, 640), (640, 480)])
def test_the_middle_square_is_kept(shape: tuple[int, int]) -> None:
    image = np.zeros((*shape, 3), np.uint8)
    top, left = (shape[0] - 480) // 2, (shape[1] - 480) // 2
    image[top : top + 480, left : left + 480] = (10, 20, 30)
    image[top : top + 240, left : left + 240] = (200, 100, 50)  # a quarter of the square
    small = fit(image, 128)
    assert small.shape == (128, 128, 3) and small.dtype == np.uint8
    np.testing.assert_array_equal(small[:64, :64], np.broadcast_to((200, 100, 50), (64, 64, 3)))
    np.testing.assert_array_equal(small[64:, 64:], np.broadcast_to((10, 20, 30), (64, 64, 3)))
