"""Pictures of several cameras become one."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("viser", reason="the page is not installed (robot-rl[console])")


def test_pictures_of_any_size_stand_side_by_side() -> None:
    from robot_rl.console.results import BREADTH, side_by_side

    images = [np.full((64, 64, 3), 10, np.uint8), np.full((480, 640, 3), 200, np.uint8)]
    for given in (images[:1], images):
        picture = side_by_side(given)
        assert abs(picture.shape[1] - BREADTH) <= 3
        assert picture.dtype == np.uint8
    assert (picture[:, 5] == 10).all()
    assert (picture[:, -5] == 200).all()


def test_how_cameras_are_doing_stands_below_their_pictures() -> None:
    import viser

    from robot_rl.console.board import Board, Line
    from robot_rl.console.history import History
    from robot_rl.console.results import Results

    server = viser.ViserServer(host="127.0.0.1", port=0, verbose=False)
    try:
        results = Results(server, server.gui.add_panel(), False, lambda word, about: None)
        board = Board(images={"front": np.zeros((48, 64, 3), np.uint8)})
        board.cameras = {"front": Line("error", "front, 64x48, 30.0 Hz: dark")}
        results.update(board, History(None), 0.0)
        assert results._cameras.visible
        assert "front, 64x48, 30.0 Hz: dark" in results._cameras.content
    finally:
        server.stop()
