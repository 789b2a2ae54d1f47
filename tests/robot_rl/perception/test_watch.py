"""Pictures that cannot be believed are named, and others are not."""

from __future__ import annotations

import numpy as np
import pytest

from robot_rl.contract import View
from robot_rl.perception.watch import PictureWatch

SECOND = 10**9


def scenes(count: int, size: tuple[int, int] = (120, 160)) -> np.ndarray:
    """Pictures of one scene with a sensor's noise ``(count, *size, 3)``."""
    rng = np.random.default_rng(0)
    scene = rng.integers(30, 220, (*size, 3))
    return np.clip(scene + rng.normal(0.0, 2.0, (count, *size, 3)), 0, 255).astype(np.uint8)


def watch(frozen: float = 1.0, size: int = 64) -> PictureWatch:
    return PictureWatch(View(size=size), frozen)


def test_a_scene_that_stands_still_is_believed() -> None:
    looks = watch()
    assert [looks.look(one, i * SECOND) for i, one in enumerate(scenes(5))] == [""] * 5


def test_the_same_pixels_again_are_frozen_until_others_come() -> None:
    looks, (first, second) = watch(), scenes(2)
    assert looks.look(first, 0) == ""
    assert looks.look(first.copy(), SECOND - 1) == ""
    assert looks.look(first.copy(), round(1.5 * SECOND)) == "frozen: the same pixels for 1.5 s"
    assert looks.look(second, 2 * SECOND) == ""


def test_drawn_pictures_may_stand_still() -> None:
    looks, (only,) = watch(frozen=0.0), scenes(1)
    assert [looks.look(only, i * SECOND) for i in range(100)] == [""] * 100


@pytest.mark.parametrize(("level", "words"), [(3, "dark: 100% of its pixels"), (254, "overexposed: 100% of")])
def test_pictures_that_show_nothing_are_named(level: int, words: str) -> None:
    noise = np.random.default_rng(0).integers(-1, 2, (120, 160, 3))
    assert watch().look((level + noise).astype(np.uint8), 0).startswith(words)


def test_a_lamp_in_a_dark_room_is_seen() -> None:
    picture = np.full((120, 160, 3), 3, np.uint8)
    picture[40:70, 50:90] = 180
    assert watch().look(picture, 0) == ""


def test_another_size_than_before_is_another_camera() -> None:
    looks = watch()
    looks.look(scenes(1)[0], 0)
    said = looks.look(scenes(1, (240, 320))[0], SECOND)
    assert said == "its pictures are of 320x240 pixels now, and were of 160x120; is another camera plugged in?"


def test_a_picture_that_is_smaller_than_what_is_taken_of_it_is_named() -> None:
    said = watch(size=128).look(scenes(1)[0], 0)
    assert said.startswith("its pictures of 160x120 pixels have 120 where the task takes 128")
