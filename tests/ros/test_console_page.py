"""The operator's page in a browser, around real nodes of arm and session: it shows them, and a person drives on it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import rclpy
from PIL import Image

from controllers.state import Mode
from robot_rl.contract import LEAD, Ending
from robot_rl.data.schema import StoreSchema
from robot_rl.data.store import EpisodeStore
from tests.browser import Browser, chromium, opened, pixel
from tests.conftest import require_job_mark
from tests.ros.conftest import Ros
from tests.ros.operator_bench import OBJECTS, TASK, Operated, make_world

pytestmark = [pytest.mark.job, pytest.mark.slow, pytest.mark.timeout(600)]  # a browser that draws takes both cores
T = TypeVar("T")
GRIP, PULL = 0.1, 0.06  # [m]: where the handle's arrow is taken, and how far it is drawn down
RELABEL = "xpath=//*[normalize-space(text())='relabel']/ancestor::*[.//button][1]//button[normalize-space(.)='{}']"
REPEATS = 15  # of a key that is held
AT_REST = 0.005  # [rad/s]
CHANGED = 40  # of 255 by which a pixel differs


class Bench:
    """Arm, session, page and browser; the first three on one executor."""

    def __init__(self, ros: Ros, operated: Operated, node: Any, store: EpisodeStore) -> None:
        self.ros, self.operated, self.node, self.store = ros, operated, node, store
        self.browser: Browser

    def do(self, work: Callable[[Any], T]) -> T:
        """The result of ``work(page)``, while the nodes go on."""
        future: Future[T] = self.browser.start(work)
        self.ros.spin_until(future.done)
        return future.result()

    def wait(self, condition: Callable[[], object]) -> None:
        self.ros.spin_until(condition)

    def press(self, name: str) -> None:
        """Press the button ``name``."""
        self.do(lambda page: page.get_by_role("button", name=name, exact=True).first.click())

    @property
    def tcp(self) -> np.ndarray:
        """Where the arm is (3,) [m]."""
        return np.asarray(self.operated.world.read().pose.translation)

    def wait_for_phase(self, phase: str) -> None:
        self.wait(lambda: self.node.board.phase == phase)

    def picture(self) -> np.ndarray:
        """Picture of the scene ``(h, w, 3)``."""
        data = self.do(lambda page: page.locator("canvas").first.screenshot())
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=int)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    chromium()
    require_job_mark()
    from hardware.sim.scene.shapes import SceneShapes
    from robot_rl.console.guard import Guard
    from robot_rl.console.history import History
    from robot_rl.console.page import About, Page
    from robot_rl.console.ros.node import ConsoleNode

    folder: Path = tmp_path_factory.mktemp("page") / "store"
    rclpy.init()
    ros = Ros(rclpy.get_default_context())
    with make_world() as world, EpisodeStore.create_or_open(folder, StoreSchema.of(TASK)) as store:
        operated = Operated(ros.add, world, store)
        history = History(folder)
        node = ConsoleNode(OBJECTS, {}, lambda board: history.refresh())
        ros.add(node)
        about = About("teleop", TASK.name, TASK.action.axes, TASK.workspace, 2.0, False)
        page = Page(about, node, "127.0.0.1", 8300, Guard())
        node.attach(lambda board, dragging: page.refresh(board, history, dragging), lambda: page.watched)
        page.draw(SceneShapes(TASK.scene()))
        bench = Bench(ros, operated, node, store)
        with opened(page.address) as arriving:
            ros.spin_until(arriving)
            bench.browser = arriving()  # type: ignore[assignment]
            yield bench
        page.close()
        ros.close()
    rclpy.try_shutdown()


def differing(a: np.ndarray, b: np.ndarray) -> int:
    """Pixels that differ between two pictures."""
    return int((np.abs(a - b).max(axis=2) > CHANGED).sum())


def test_the_arm_moves_on_the_page(bench: Bench) -> None:
    bench.wait_for_phase("running")
    bench.press("Pause")
    bench.wait_for_phase("paused")
    bench.wait(lambda: np.abs(bench.operated.world.read().state.dq).max() < AT_REST)
    before, still = bench.picture(), bench.picture()
    joints = bench.operated.world.read().state.q.copy()
    bench.press("Discard")
    bench.press("Resume")
    bench.wait(lambda: np.abs(bench.operated.world.read().state.q - joints).max() > 0.05)
    bench.wait_for_phase("running")
    assert differing(before, still) < 200
    assert differing(before, bench.picture()) > 1000


def test_the_handle_drives_the_arm_until_it_is_let_go(bench: Bench) -> None:
    bench.wait_for_phase("running")
    bench.wait(lambda: bench.node.board.pose is not None)
    before = bench.tcp

    def take(page: Any) -> None:
        page.mouse.move(*pixel(page, TASK.workspace, before + [0.0, 0.0, GRIP]))
        page.mouse.down()

    def draw(page: Any) -> None:
        for share in np.linspace(0.0, 1.0, 6):
            page.mouse.move(*pixel(page, TASK.workspace, before + [0.0, 0.0, GRIP - share * PULL]))

    bench.do(take)
    bench.wait(lambda: bench.node.dragging)
    assert np.abs(bench.tcp - before).max() < 0.005  # taking it moves nothing
    bench.do(draw)
    bench.wait(lambda: bench.tcp[2] < before[2] - 0.5 * PULL)
    assert bench.node.board.driver == "person"
    assert np.abs(bench.tcp[:2] - before[:2]).max() < 0.01  # the arrow goes one way only
    bench.do(lambda page: page.mouse.up())
    bench.wait(lambda: not bench.node.dragging)
    let_go, world = bench.tcp, bench.operated.world
    bench.wait(lambda: np.abs(world.read().state.dq).max() < AT_REST)
    after = bench.tcp
    assert np.abs(after - let_go).max() < LEAD[0] + 0.003  # it comes to where it was led to
    bench.ros.spin_times(200)
    assert np.abs(bench.tcp - after).max() < 0.003


def test_a_key_drives_while_it_is_held(bench: Bench) -> None:
    bench.wait_for_phase("running")
    before = bench.tcp

    def hold(page: Any) -> None:
        for _ in range(REPEATS):
            page.keyboard.down("j")  # to the left; each further one repeats, as a held key does
            page.wait_for_timeout(100)
        page.keyboard.up("j")

    bench.do(hold)
    bench.wait(lambda: bench.tcp[1] > before[1] + 0.01)
    assert np.abs((bench.tcp - before)[[0, 2]]).max() < 0.01


def test_a_relabel_reaches_the_store(bench: Bench) -> None:
    bench.wait_for_phase("running")
    known = len(bench.store.episodes())
    bench.press("Success")
    bench.wait(lambda: len(bench.store.episodes()) > known)
    bench.wait_for_phase("running")  # of the next episode
    labelled = bench.store.episodes()[-1]
    assert labelled.ending is Ending.SUCCESS
    bench.do(lambda page: page.get_by_text("How it goes").first.click())  # unfolds the left panel
    bench.do(lambda page: page.get_by_text(f"#{labelled.index}", exact=True).wait_for())
    bench.do(lambda page: page.locator(RELABEL.format("Failure")).first.click())
    bench.wait(lambda: bench.store.episodes()[labelled.index].ending is Ending.FAILURE)
    assert bench.node.board.phase == "running"  # the episode in progress is another one


def test_the_emergency_stop_stops_the_arm_until_it_is_released(bench: Bench) -> None:
    bench.wait_for_phase("running")
    bench.press("Emergency stop")
    bench.wait(lambda: bench.operated.world.read().mode in (Mode.IDLE, Mode.STOPPED))
    bench.wait(lambda: bench.node.board.mode is Mode.STOPPED)
    bench.press("Release the stop")
    bench.wait_for_phase("running")
