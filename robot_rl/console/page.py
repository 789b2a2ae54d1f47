"""The page: the scene in the middle, what to do on the right, how it goes on the left."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import viser

from controllers.spatial import Pose
from controllers.workspace import Workspace
from hardware.interfaces import Word
from robot_rl.console import look
from robot_rl.console.board import Board
from robot_rl.console.controls import Controls
from robot_rl.console.guard import Guard, guarded
from robot_rl.console.history import History
from robot_rl.console.results import Results
from robot_rl.console.scene import Scene

if TYPE_CHECKING:
    from hardware.sim.scene.shapes import SceneShapes

NARROW = 560  # [px] of the scene's width beside both panels that are too little
SETTLED = 60.0  # [s] after which every browser has laid the page out
WIDTH = 318  # [px] of a panel
REFRESH = 0.08  # [s] between two looks of the scene
SLOWER = 3  # times as long between two of the panels


@dataclass(frozen=True)
class About:
    """The job that the page is for: its name and the task's, whose axes and workspace they are; the capacity of the
    ``tank`` [J]; whether a learner belongs to it."""

    job: str
    task: str
    axes: tuple[str, ...]
    workspace: Workspace
    tank: float
    learns: bool


class Deeds(Protocol):
    """Takes what people do on the page, from any thread; see `robot_rl.console.ros.node.ConsoleNode`."""

    def move_handle(self, phase: str, client: int, pose: Pose) -> None: ...

    def let_go(self, client: int) -> None: ...

    def press_key(self, key: str) -> None: ...

    def move_gripper(self, opening: float) -> None: ...

    def go_slow(self, on: bool) -> None: ...

    def say_word(self, word: Word, about: int) -> None: ...

    def release_stop(self) -> None: ...


class _Server(viser.ViserServer):
    """Shares itself with nobody: viser would open a tunnel to the internet at a browser's wish."""

    def request_share_url(self, verbose: bool = True) -> None:
        return None


class Page:
    """Serves the page until `close`. `refresh` is called by one thread, often."""

    def __init__(self, about: About, deeds: Deeds, host: str, port: int, guard: Guard) -> None:
        with guarded(guard):
            self._server = _Server(host=host, port=port, label=f"{about.job} · {about.task}", verbose=False)
        server = self._server
        server.gui.configure_theme(
            dark_mode=True, show_logo=False, show_share_button=False, brand_color=look.BRAND, control_width="medium"
        )
        self._scene = Scene(server, about.workspace, about.axes, about.tank, deeds.move_handle)
        main = server.gui.main_panel
        main.dock_right()
        main.set_width(WIDTH)
        self._controls = Controls(server, about, deeds)
        self._left = server.gui.add_panel()
        self._results = Results(server, self._left, about.learns, deeds.say_word)
        self._left.dock_left()
        self._left.set_width(WIDTH)
        self._due, self._turn = 0.0, 0
        self._arrived: dict[int, float] = {}  # browser → when it came; long ago once it had the panel folded
        server.on_client_disconnect(lambda client: deeds.let_go(client.client_id))

    @property
    def address(self) -> str:
        """Where a browser finds the page."""
        host = self._server.get_host()
        return f"http://{f'[{host}]' if ':' in host else host}:{self._server.get_port()}/"

    @property
    def watched(self) -> bool:
        """Whether anybody has the page open."""
        return bool(self._server.get_clients())

    def draw(self, shapes: SceneShapes) -> None:
        """Show the arm and its surroundings."""
        self._scene.draw(shapes)

    def refresh(self, board: Board, history: History, dragging: bool) -> None:
        """Show what is known now, if somebody looks and it is time."""
        now = time.monotonic()
        if now < self._due or not self.watched:
            return
        self._due = now + REFRESH
        self._turn = (self._turn + 1) % SLOWER
        with self._server.atomic():
            self._scene.update(board, dragging)
            if self._turn == 0:
                self._fit(now)
                self._controls.update(board, now)
                self._results.update(board, history, now)

    def close(self) -> None:
        self._server.stop()

    def _fit(self, now: float) -> None:
        """Fold the left panel away, once for each new browser, where it leaves the scene too little room."""
        clients = self._server.get_clients()
        self._arrived = {number: self._arrived.get(number, now) for number in clients}
        for number, client in clients.items():
            if now - self._arrived[number] < SETTLED and client.camera.image_width < NARROW:
                self._arrived[number] = -math.inf
                self._left.minimize()
