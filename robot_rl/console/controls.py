"""The right panel: the state of the session, the operator's words, and how to drive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import viser

from controllers.state import Mode
from hardware.interfaces import Word
from robot_rl.console import look
from robot_rl.console.board import Board
from robot_rl.console.driving import KEYS, SHIFTED

if TYPE_CHECKING:
    from robot_rl.console.page import About, Deeds

NOW = -1  # the word is about what happens now
ROWS = {  # label → words by the name of their button
    "Outcome": {"Success": Word.SUCCESS, "Failure": Word.FAILURE},
    "Episode": {"Discard": Word.DISCARD, "End": Word.END},
    "Session": {"Pause": Word.PAUSE, "Resume": Word.RESUME, "Take over": Word.TAKE_OVER},
}
WORD_KEYS = {"P": Word.PAUSE, "C": Word.RESUME, "T": Word.TAKE_OVER, "X": Word.DISCARD, "N": Word.END, "B": Word.STOP}
NAMED_KEYS: dict[Any, Word] = {"enter": Word.SUCCESS, "backspace": Word.FAILURE}
GRIPPER_KEY = "G"
LEGEND = {
    "I K": "away, towards",
    "J L": "left, right",
    "U O": "up, down",
    "⇧": "with these: turn",
    "G": "close, open the gripper",
    "⏎ ⌫": "success, failure",
    "X N": "discard, end",
    "P C T": "pause, resume, take over",
    "B": "emergency stop",
}
FORCE_FULL = 60.0  # [N] of the bar


class Controls:
    """Fills the main panel of ``server``."""

    def __init__(self, server: viser.ViserServer, about: About, deeds: Deeds) -> None:
        gui = server.gui
        self._about, self._closed = about, False
        gui.add_html(look.STYLE)
        self._state = gui.add_html("")
        gui.add_html(look.BEFORE_STOP)
        stop = gui.add_button(
            "Emergency stop", color="red", icon=viser.Icon.HAND_STOP, hint="damps the arm out at once"
        )
        stop.on_click(lambda _: deeds.say_word(Word.STOP, NOW))
        self._release = gui.add_button("Release the stop", color="yellow", visible=False, hint="moves nothing")
        self._release.on_click(lambda _: deeds.release_stop())
        for label, words in ROWS.items():
            self._buttons(gui, label, words, deeds)
        gui.add_html(look.block(look.heading("Drive")))
        if "gripper" in about.axes:
            grip = gui.add_button_group("Gripper", ("Close", "Open"))
            grip.on_click(lambda event: deeds.move_gripper(0.0 if event.target.value == "Close" else 1.0))
        slow = gui.add_checkbox("Fine (slow)", False, hint="a fifth of the speed")
        slow.on_update(lambda event: deeds.go_slow(bool(event.target.value)))
        self._keyboard = gui.add_checkbox("Keyboard drives", True, hint="click into the scene first")
        with gui.add_folder("Keys"):
            gui.add_html(look.keys(LEGEND))
        self._health = gui.add_html("")
        self._commands = self._keys(gui, deeds)
        self._keyboard.on_update(lambda event: self._enable(bool(event.target.value)))

    def update(self, board: Board, now: float) -> None:
        """Show the state that ``board`` has."""
        last = board.ended[-1] if board.ended else None
        force = float(np.linalg.norm(board.force))
        tank, driver = board.status.get("tank", 0.0), board.drives(now)
        answer = board.answers[-1] if board.answers else None
        stopped = board.mode is Mode.STOPPED
        if self._release.visible is not stopped:
            self._release.visible = stopped
        _show(self._health, self._said(board, now))
        _show(
            self._state,
            look.block(
                look.head(board.phase, now - board.phase_at, board.instruction, board.request),
                look.grid(
                    look.cell("drives", driver),
                    look.cell("last episode", last.ending if last is not None else "–"),
                    look.cell("reward so far", f"{board.reward:.2f}"),
                    look.cell("gripper", f"{board.opening:.0%} open"),
                    look.cell("contact force", f"{force:.1f} N", force / FORCE_FULL, _level(force)),
                    look.cell("energy tank", f"{tank:.2f} J", tank / self._about.tank, "ok" if tank > 0.0 else "error"),
                ),
                look.heading("Last word") + look.lines([answer]) if answer is not None else "",
            ),
        )

    def _said(self, board: Board, now: float) -> str:
        happened = look.heading("What happened") + look.lines(reversed(board.events)) if board.events else ""
        return look.block(look.heading("Health"), look.lines(board.lines(now)), happened)

    def _buttons(self, gui: Any, label: str, words: dict[str, Word], deeds: Deeds) -> None:
        group = gui.add_button_group(label, tuple(words))
        group.on_click(lambda event: deeds.say_word(words[event.target.value], NOW))

    def _keys(self, gui: Any, deeds: Deeds) -> list[Any]:
        commands = []

        def bind(label: str, hotkey: Any, deed: Any, modifier: Any = None) -> None:
            command = gui.add_command(label, hotkey=hotkey, modifier=modifier)
            command.on_trigger(lambda _: deed())
            commands.append(command)

        for modifier, table in ((None, KEYS), ("shift", SHIFTED)):
            for key, terminal in table.items():
                bind(
                    f"Drive {'turning ' if modifier else ''}{key}",
                    key,
                    lambda name=terminal: deeds.press_key(name),
                    modifier,
                )
        for key, word in [*WORD_KEYS.items(), *NAMED_KEYS.items()]:
            name = word.value.replace("_", " ").capitalize()
            bind(name, key, lambda said=word: deeds.say_word(said, NOW))
        if "gripper" in self._about.axes:
            bind("Gripper", GRIPPER_KEY, lambda: self._toggle(deeds))
        return commands

    def _toggle(self, deeds: Deeds) -> None:
        self._closed = not self._closed
        deeds.move_gripper(0.0 if self._closed else 1.0)

    def _enable(self, on: bool) -> None:
        for command in self._commands:
            command.disabled = not on


def _show(node: Any, content: str) -> None:
    if node.content != content:
        node.content = content


def _level(force: float) -> str:
    return "ok" if force < 20.0 else "warn" if force < 40.0 else "error"
