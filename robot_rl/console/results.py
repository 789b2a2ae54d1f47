"""The left panel: pictures of the cameras, curves, and the last episodes with buttons to relabel them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
import viser
from viser import uplot

from hardware.interfaces import Word
from robot_rl.console import look
from robot_rl.console.board import Board, Line
from robot_rl.console.history import WINDOW, Curves, History, Row, curves_of

LISTED = 6  # episodes
LABELS = {"Success": Word.SUCCESS, "Failure": Word.FAILURE, "Discard": Word.DISCARD}
HEIGHT = 112  # [px] of a chart
BREADTH, GAP, BACKGROUND = 560, 8, 36  # [px] of the pictures of all cameras, and between them, in this grey
PICTURES = -10.0  # the order in the panel of what comes before the curves
AXIS = {"stroke": "#8b95a5", "grid": {"stroke": "rgba(139,149,165,0.15)", "width": 1}, "ticks": {"show": False}}


class Results:
    """Fills ``panel``.

    Args:
        learns: a learner belongs to the job.
        say: called with a word and the number of the episode that it is about.
    """

    def __init__(self, server: viser.ViserServer, panel: Any, learns: bool, say: Callable[[Word, int], None]) -> None:
        self._gui = server.gui
        self._picture: Any = None
        self._drawn: dict[str, np.ndarray] = {}
        self._said: dict[str, Line] = {}
        self._rows: list[Row] = []
        self._seen: tuple[int, ...] = ()
        self._tab = panel.add_tab("How it goes", viser.Icon.CHART_LINE)
        with self._tab:
            shares = {"success": look.GOOD, "without a hand": look.INFO}
            self._summary = self._gui.add_html("", order=PICTURES - 1)
            self._cameras = self._gui.add_html("", order=PICTURES + 1, visible=False)
            self._answers = self._gui.add_html("", order=PICTURES + 2, visible=False)
            self._shares = self._chart(f"Last {WINDOW}", shares, top=1.0)
            self._return = self._chart("Return", {"of an episode": look.WARN})
            self._utd = self._chart("Learner", {"updates per step": look.BAD}) if learns else None
            self._gui.add_html(look.block(look.heading("Episodes")))
            self._empty = self._gui.add_html(look.block('<span class="rr-muted">None has ended yet.</span>'))
            self._slots = [self._slot(i, say) for i in range(LISTED)]

    def update(self, board: Board, history: History, now: float) -> None:
        """Show what ``board`` and ``history`` have."""
        rows = history.rows if history.recorded else list(board.ended)
        self._list(rows)
        state = (len(rows), sum(row.ending == "success" for row in rows), len(history.utd))
        if state != self._seen:
            self._seen = state
            curves = curves_of(rows)
            self._plot(curves, history)
            self._summarise(rows, curves)
        self._show_pictures(board.images)
        self._show_cameras(board.cameras)
        self._show_answers(board.session)

    def _summarise(self, rows: list[Row], curves: Curves) -> None:
        successes = sum(row.ending == "success" for row in rows)
        success, alone = (f"{share[-1]:.0%}" if rows else "–" for share in (curves.success, curves.autonomy))
        self._summary.content = look.block(
            look.grid(
                look.cell("episodes", str(len(rows))),
                look.cell("successes", str(successes)),
                look.cell(f"success, last {WINDOW}", success, curves.success[-1]),
                look.cell("without a hand", alone, curves.autonomy[-1], "person"),
            )
        )

    def _list(self, rows: list[Row]) -> None:
        newest = rows[-1 : -LISTED - 1 : -1]
        if newest == self._rows:
            return
        self._rows = newest
        self._empty.visible = not newest
        for i, (text, buttons) in enumerate(self._slots):
            there = i < len(newest)
            text.visible = buttons.visible = there
            if there:
                text.content = look.episode(newest[i])

    def _slot(self, i: int, say: Callable[[Word, int], None]) -> tuple[Any, Any]:
        text = self._gui.add_html("", visible=False)
        buttons = self._gui.add_button_group("relabel", tuple(LABELS), visible=False)

        def relabel(event: Any) -> None:
            rows = self._rows  # as the person sees them
            if i < len(rows):
                say(LABELS[event.target.value], rows[i].number)

        buttons.on_click(relabel)
        return text, buttons

    def _plot(self, curves: Curves, history: History) -> None:
        self._shares.data = (curves.x, curves.success, curves.autonomy)
        self._return.data = (curves.x, curves.reward)
        if history.utd and self._utd is not None:
            steps, utd = np.array(history.utd).T
            self._utd.data = (steps.copy(), utd.copy())

    def _chart(self, title: str, series: dict[str, str], top: float | None = None) -> Any:
        self._gui.add_html(look.block(look.legend(title, series)))
        y = uplot.Scale(range=(0.0, top)) if top is not None else uplot.Scale()
        lines = [uplot.Series(label=name, stroke=colour, width=2) for name, colour in series.items()]
        return self._gui.add_uplot(
            tuple(np.zeros(1) for _ in range(len(series) + 1)),
            (uplot.Series(label="x"), *lines),
            scales={"x": uplot.Scale(time=False), "y": y},
            axes=(uplot.Axis(**AXIS, size=26), uplot.Axis(**AXIS, size=40)),
            legend=uplot.Legend(show=False),
            height=HEIGHT,
            padding=(10, 12, 0, 0),
        )

    def _show_pictures(self, images: dict[str, np.ndarray]) -> None:
        if not images or (images.keys() == self._drawn.keys() and all(images[k] is self._drawn[k] for k in images)):
            return
        self._drawn = dict(images)
        picture = side_by_side(list(images.values()))
        if self._picture is None:
            with self._tab:
                names = " · ".join(images)
                self._picture = self._gui.add_image(picture, label=names, format="jpeg", order=PICTURES)
        else:
            self._picture.image = picture

    def _show_answers(self, session: Mapping[str, Any]) -> None:
        """How long the policy takes, where one has answered."""
        told = "obs_to_action_ms_counts" in session
        self._answers.visible = told
        if told:
            p50, p95 = (f"{session[f'obs_to_action_ms_{which}']:.0f}" for which in ("p50", "p95"))
            counts, bounds = session["obs_to_action_ms_counts"], session["obs_to_action_ms_bounds"]
            bars = look.histogram(counts, [*(f"≤ {bound} ms" for bound in bounds), f"> {bounds[-1]} ms"])
            text = f"The policy answers after {p50} ms; 95 of 100 times within {p95}"
            self._answers.content = look.block(look.heading(text) + bars)

    def _show_cameras(self, cameras: Mapping[str, Line]) -> None:
        if cameras != self._said:
            self._said = dict(cameras)
            self._cameras.content = look.block(look.lines(cameras.values()))
            self._cameras.visible = bool(cameras)


def side_by_side(images: list[np.ndarray]) -> np.ndarray:
    """``(h, w, 3)`` uint8 each → one picture, `BREADTH` wide or a little less, all of one height."""
    gaps = GAP * (len(images) - 1)
    height = round((BREADTH - gaps) / sum(image.shape[1] / image.shape[0] for image in images))
    row = []
    for image in images:
        width = max(1, round(image.shape[1] * height / image.shape[0]))
        row += [cv2.resize(image, (width, height)), np.full((height, GAP, 3), BACKGROUND, np.uint8)]
    return np.concatenate(row[:-1], axis=1)
