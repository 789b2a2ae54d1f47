"""The page beside a job, as processes: the job goes on whatever happens to it."""

from __future__ import annotations

import http.client
import os
import signal
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from robot_rl.jobs.commands import page_address
from tests.conftest import session_processes
from tests.processes.job import Job

pytestmark = [pytest.mark.job, pytest.mark.timeout(600)]
pytest.importorskip("viser", reason="the page is not installed (robot-rl[console])")
STEPS = 60  # that a job goes on for, to show that it does


@pytest.mark.slow  # half a minute of both cores
def test_a_page_that_is_stopped_or_killed_holds_up_nothing(tmp_path: Path) -> None:
    job = Job(tmp_path / "run", "record", "demos=1000", "console.show=always", "console.port=8400")
    try:
        job.wait(lambda: page_address(job.run), "the page's address")
        job.wait(lambda: f"page: {page_address(job.run)}" in job.output, "the address at the terminal")
        assert status_of(page_address(job.run)) == 200
        page = job.node("console")
        os.kill(page, signal.SIGSTOP)
        goes_on(job, "the page is stopped")
        os.kill(page, signal.SIGKILL)
        goes_on(job, "the page is dead")
        job.wait(lambda: page not in session_processes() and job.node("console") != page, "another page")
        assert job.process.poll() is None
    finally:
        job.stop()
    assert not job.remains()


def goes_on(job: Job, while_: str) -> None:
    before = job.steps
    job.wait(lambda: job.steps > before + STEPS, f"{STEPS} steps while {while_}")


def status_of(address: str) -> int:
    """HTTP status of the page at ``address``."""
    host = urlsplit(address)
    connection = http.client.HTTPConnection(host.hostname or "", host.port or 0, timeout=60)
    connection.request("GET", "/")
    status = connection.getresponse().status
    connection.close()
    return status
