"""Pictures of several cameras become one."""

from __future__ import annotations

import re

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


def test_how_long_the_policy_takes_is_shown_once_it_has_answered() -> None:
    import viser

    from robot_rl.console.board import Board
    from robot_rl.console.history import History
    from robot_rl.console.results import Results

    server = viser.ViserServer(host="127.0.0.1", port=0, verbose=False)
    try:
        results = Results(server, server.gui.add_panel(), False, lambda word, about: None)
        board = Board(session={"steps": 3})
        results.update(board, History(None), 0.0)
        assert not results._answers.visible
        board.session = {
            "obs_to_action_ms_p50": 3.2,
            "obs_to_action_ms_p95": 81.4,
            "obs_to_action_ms_bounds": [5, 100],
            "obs_to_action_ms_counts": [30, 10, 0],
        }
        results.update(board, History(None), 0.0)
        assert results._answers.visible
        shown = results._answers.content
        assert "after 3 ms" in shown and "within 81" in shown
        bars = re.findall(r'height:(\d+)%" title="([^"]*)"', shown)
        assert bars == [("100", "≤ 5 ms: 75%"), ("33", "≤ 100 ms: 25%"), ("0", "&gt; 100 ms: 0%")]
    finally:
        server.stop()
