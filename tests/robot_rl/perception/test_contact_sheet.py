"""The contact sheet shows each camera whole, and the part that each consumer sees."""

from __future__ import annotations

import cv2
import numpy as np

from robot_rl.contract import View
from robot_rl.perception.contact_sheet import COLOURS, HEIGHT, Row, draw_contact_sheet, outlined, png_of
from robot_rl.perception.meter import CameraReport

WHOLE, PART = View(size=96), View((0.5, 0.0, 0.5, 1.0), 64)
WELL = CameraReport(320, 240, 29.9, 29.9, 0.012, 100, 0, "")


def halves() -> np.ndarray:
    """Red on the left, blue on the right ``(240, 320, 3)``."""
    picture = np.zeros((240, 320, 3), np.uint8)
    picture[:, :160, 0], picture[:, 160:, 2] = 255, 255
    return picture


def share(sheet: np.ndarray, colour: tuple[int, int, int]) -> int:
    """How many pixels of the sheet have a colour."""
    return int(np.all(sheet == colour, axis=2).sum())


def test_what_a_view_takes_is_drawn_into_the_picture() -> None:
    picture = halves()
    drawn = outlined(picture, [WHOLE, PART])
    assert not np.array_equal(drawn, picture)
    np.testing.assert_array_equal(picture, halves())
    rows, columns = np.nonzero(np.all(drawn == COLOURS[1], axis=2))
    assert (rows.min(), rows.max()) == (40, 199)
    assert (columns.min(), columns.max()) == (160, 319)
    assert tuple(drawn[0, 40]) == COLOURS[0], "the middle square of the whole picture"


def test_every_consumer_sees_its_part_and_those_of_one_part_share_it() -> None:
    one = draw_contact_sheet([Row("front", halves(), WELL, {"policy": PART})])
    same = draw_contact_sheet([Row("front", halves(), WELL, {"policy": PART, "encoder": PART})])
    two = draw_contact_sheet([Row("front", halves(), WELL, {"policy": PART, "classifier": WHOLE})])
    assert one.shape == same.shape, "one picture for both"
    assert two.shape[1] > one.shape[1] + HEIGHT // 2
    red, blue = (255, 0, 0), (0, 0, 255)
    assert share(one, blue) > share(one, red) + HEIGHT * HEIGHT // 2, "the policy sees the blue half only"
    assert share(two, red) > share(one, red) + HEIGHT * HEIGHT // 3


def test_trouble_is_written_in_red_and_a_camera_without_a_picture_has_its_place() -> None:
    lost = WELL._replace(pictures=0, trouble="has not sent an image yet … 640×480")
    sheet = draw_contact_sheet([Row("front", halves(), WELL, {"policy": WHOLE}), Row("wrist", None, lost, {})])
    assert sheet.shape[0] > 2 * HEIGHT
    reddish = (sheet[..., 0].astype(int) - sheet[..., 1] > 60) & (sheet[..., 1] == sheet[..., 2])
    assert reddish[sheet.shape[0] // 2 :].any()
    again = cv2.imdecode(np.frombuffer(png_of(sheet), np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(cv2.cvtColor(again, cv2.COLOR_BGR2RGB), sheet)
