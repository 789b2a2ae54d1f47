"""Curves of episodes."""

from __future__ import annotations

import numpy as np
import pytest

from robot_rl.console.history import POINTS, WINDOW, History, Row, curves_of


def row(number: int, success: bool, by_person: int = 0) -> Row:
    return Row(number, "success" if success else "failure", "", 10, by_person, float(success))


def test_a_point_is_the_mean_of_the_last_episodes() -> None:
    rows = [row(i, success=i >= 10, by_person=10 if i < 5 else 0) for i in range(40)]
    curves = curves_of(rows)
    for i in (0, 9, 14, 25, 39):
        last = rows[max(0, i + 1 - WINDOW) : i + 1]
        assert curves.success[i] == pytest.approx(np.mean([one.ending == "success" for one in last]))
        assert curves.autonomy[i] == pytest.approx(1.0 - sum(one.interventions for one in last) / (10 * len(last)))
        assert curves.reward[i] == pytest.approx(np.mean([one.reward for one in last]))


def test_long_curves_are_thinned_to_their_end() -> None:
    curves = curves_of([row(i, True) for i in range(5000)])
    assert len(curves.x) == POINTS
    assert (curves.x[0], curves.x[-1]) == (0.0, 4999.0)


def test_without_episodes_there_is_something_to_plot() -> None:
    assert all(len(values) == 1 for values in curves_of([]))


def test_episodes_without_a_step_divide_by_nothing() -> None:
    assert np.isfinite(curves_of([Row(0, "aborted", "", 0, 0, 0.0)]).autonomy).all()


def test_the_learners_ratio_is_sampled_once_for_each_step_and_bounded() -> None:
    history = History(None)
    for i in range(5000):
        history.sample(i // 2, 4.0)
    assert not history.recorded
    assert history.utd[-1] == (2499, 4.0)
    assert len(history.utd) == history.utd.maxlen
