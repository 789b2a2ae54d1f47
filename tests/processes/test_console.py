"""The page beside a job, as processes: the job goes on whatever happens to it."""

from __future__ import annotations

import http.client
import os
import signal
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from robot_rl.jobs.commands import page_address
from tests.processes.job import Job

pytestmark = [pytest.mark.robot, pytest.mark.timeout(600)]
pytest.importorskip("viser", reason="the page is not installed (robot-rl[console])")
STEPS = 100  # that the job goes on for, to show that it does


def test_a_page_that_is_stopped_or_killed_holds_up_nothing(tmp_path: Path) -> None:
    job = Job(tmp_path / "run", "teleop", "source=console", "console.show=auto", "judge=task", "console.port=8400")
    try:
        job.wait(lambda: page_address(job.run) in job.output and page_address(job.run), "the page's address")
        host = urlsplit(page_address(job.run))
        connection = http.client.HTTPConnection(host.hostname or "", host.port or 0, timeout=60)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        connection.close()
        page = job.node("console")
        job.wait(lambda: job.run.status_of("session"), "the session")
        os.kill(page, signal.SIGSTOP)
        job.wait(lambda: "runs" in job.log("session"), "the session to go on")
        os.kill(page, signal.SIGKILL)
        job.wait(lambda: job.node("console") != page, "another page")
        assert job.process.poll() is None
    finally:
        job.stop()
    assert not job.remains()
