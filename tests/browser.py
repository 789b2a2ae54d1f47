"""A headless Chromium for tests of the operator's page, driven in a thread of its own while the test runs its nodes."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from controllers.workspace import Workspace
from tests.conftest import session_processes

T = TypeVar("T")
NO_BROWSER = "tests of the page need viser, playwright and Chromium (apt-get install chromium)"
NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
PATIENCE = 100_000  # [ms] for whatever the page is waited for; never what is measured
SIZE = {"width": 900, "height": 520}  # [px] of the window; the left panel is folded away in it
ROOM = 500  # [px] of the scene's width once it is
LOOK, LOOKS = 250, 16  # [ms] between two looks at the layout, and how many of them agree on it
NICENESS = 10
OF_WHEELS = ("LD_LIBRARY_PATH", "_ROS_WHEELS_BOOTSTRAP_COMPLETE")  # set by the ROS wheels, and not for other programs


def chromium() -> str:
    """Path of the browser; skips the test where there is none."""
    pytest.importorskip("viser", reason=NO_BROWSER)
    pytest.importorskip("playwright", reason=NO_BROWSER)
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(NO_BROWSER)
    return path


class Browser:
    """A page at ``address``. All of Playwright runs in one thread: `start` hands it work, and returns at once."""

    def __init__(self, thread: ThreadPoolExecutor, page: Any) -> None:
        self._thread, self.page = thread, page

    def start(self, work: Callable[[Any], T]) -> Future[T]:
        """Call ``work(page)`` in the browser's thread."""
        return self._thread.submit(work, self.page)


@contextmanager
def opened(address: str) -> Iterator[Callable[[], Browser | None]]:
    """A browser that is opening ``address``, asked for until it is there: None before."""
    path = chromium()
    from playwright.sync_api import sync_playwright

    kept = {name: os.environ.pop(name) for name in OF_WHEELS if name in os.environ}
    with ThreadPoolExecutor(1) as thread:
        try:
            driver = thread.submit(lambda: sync_playwright().start()).result()
            browser = thread.submit(lambda: driver.chromium.launch(executable_path=path, args=FLAGS)).result()
        finally:
            os.environ.update(kept)

        def visit() -> Any:
            page = browser.new_page(viewport=SIZE)
            page.set_default_timeout(PATIENCE)
            page.goto(address)
            page.wait_for_selector("text=Emergency stop")
            _give_way()
            _wait_for_layout(page)
            return page

        visiting = thread.submit(visit)
        try:
            yield lambda: Browser(thread, visiting.result()) if visiting.done() else None
        finally:
            thread.submit(browser.close).result()
            thread.submit(driver.stop).result()


def _give_way() -> None:
    """Draw behind everything else: as root, Chromium gives its drawing a higher priority than others have."""
    for process, command in session_processes().items():
        if any(name in command for name in NAMES):
            for thread in Path(f"/proc/{process}/task").glob("*"):
                with contextlib.suppress(OSError):  # it has ended
                    os.setpriority(os.PRIO_PROCESS, int(thread.name), NICENESS)


def _wait_for_layout(page: Any) -> None:
    """Wait until the panels are where they stay."""
    widths: list[int] = []
    while len(widths) < LOOKS or len(set(widths[-LOOKS:])) > 1 or widths[-1] < ROOM:
        page.wait_for_timeout(LOOK)
        widths.append(page.evaluate("document.querySelector('canvas').clientWidth"))


def pixel(page: Any, workspace: Workspace, point: np.ndarray) -> tuple[float, float]:
    """Where the page shows ``point (3,)`` [m] of the base frame, as long as nobody has moved the camera [px]."""
    from robot_rl.console.scene import FIELD, view_of

    box = page.locator("canvas").first.bounding_box()
    position, look_at = view_of(workspace)
    forward = (look_at - position) / np.linalg.norm(look_at - position)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    away = point - position
    scale = 0.5 * box["height"] / np.tan(0.5 * FIELD) / (away @ forward)
    x = box["x"] + 0.5 * box["width"] + scale * (away @ right)
    y = box["y"] + 0.5 * box["height"] - scale * (away @ np.cross(right, forward))
    return float(x), float(y)
