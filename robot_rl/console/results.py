"""The left panel: pictures of the cameras, curves, episodes with buttons to relabel them, and diagnostics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import viser
from viser import uplot

from hardware.interfaces import Word
from robot_rl.console import look
from robot_rl.console.board import Board
from robot_rl.console.history import WINDOW, Curves, History, Row, curves_of

LISTED = 6  # episodes
LABELS = {"Success": Word.SUCCESS, "Failure": Word.FAILURE, "Discard": Word.DISCARD}
HEIGHT = 150  # [px] of a chart
AXIS = {"stroke": "#8b95a5", "grid": {"stroke": "rgba(139,149,165,0.15)", "width": 1}, "ticks": {"show": False}}


class Results:
    """Fills ``panel``; ``say`` is called with a word and the number of the episode that it is about."""

    def __init__(self, server: viser.ViserServer, panel: Any, say: Callable[[Word, int], None]) -> None:
        self._gui = server.gui
        self._pictures: dict[str, Any] = {}
        self._drawn: dict[str, np.ndarray] = {}
        self._rows: list[Row] = []
        self._seen: tuple[int, ...] = ()
        with panel.add_tab("Episodes", viser.Icon.LIST):
            self._empty = self._gui.add_html(look.block('<span class="rr-muted">No episode has ended yet.</span>'))
            self._slots = [self._slot(i, say) for i in range(LISTED)]
        with panel.add_tab("Curves", viser.Icon.CHART_LINE):
            self._gui.add_html(look.block(look.heading(f"of the last {WINDOW} episodes")))
            self._shares = self._chart(("success", look.GOOD), ("autonomy", look.INFO), top=1.0)
            self._return = self._chart(("return", look.WARN))
            self._gui.add_html(look.block(look.heading("updates per step (UTD)")))
            self._utd = self._chart(("UTD", look.MUTED))
        self._camera_tab = panel.add_tab("Cameras", viser.Icon.CAMERA)
        with self._camera_tab:
            none = '<span class="rr-muted">No camera belongs to this job; cameras=front,wrist draws two.</span>'
            self._blind = self._gui.add_html(look.block(none))
        with panel.add_tab("Health", viser.Icon.HEARTBEAT):
            self._health = self._gui.add_html("")

    def update(self, board: Board, history: History, now: float) -> None:
        """Show what ``board`` and ``history`` have."""
        rows = history.rows if history.recorded else list(board.ended)
        self._list(rows)
        state = (len(rows), sum(row.ending == "success" for row in rows), len(history.utd))
        if state != self._seen:
            self._seen = state
            self._plot(curves_of(rows), history)
        self._show_health(board, now)
        for name, image in board.images.items():
            self._picture(name, image)

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
        if history.utd:
            steps, utd = np.array(history.utd).T
            self._utd.data = (steps.copy(), utd.copy())

    def _chart(self, *series: tuple[str, str], top: float | None = None) -> Any:
        lines = [uplot.Series(label=name, stroke=colour, width=2) for name, colour in series]
        y = uplot.Scale(range=(0.0, top)) if top is not None else uplot.Scale()
        data = tuple(np.zeros(1) for _ in range(len(series) + 1))
        return self._gui.add_uplot(
            data,
            (uplot.Series(label="episode"), *lines),
            scales={"x": uplot.Scale(time=False), "y": y},
            axes=(uplot.Axis(**AXIS), uplot.Axis(**AXIS, size=38)),
            legend=uplot.Legend(show=True),
            height=HEIGHT,
        )

    def _show_health(self, board: Board, now: float) -> None:
        happened = look.heading("What happened") + look.lines(reversed(board.events)) if board.events else ""
        said = look.heading("Answers to you") + look.lines(reversed(board.answers)) if board.answers else ""
        content = look.block(look.heading("Now"), look.lines(board.lines(now)), happened, said)
        if self._health.content != content:
            self._health.content = content

    def _picture(self, name: str, image: np.ndarray) -> None:
        if self._drawn.get(name) is image:
            return
        self._drawn[name] = image
        if name in self._pictures:
            self._pictures[name].image = image
            return
        self._blind.visible = False
        with self._camera_tab:
            self._pictures[name] = self._gui.add_image(image, label=name, format="jpeg")
