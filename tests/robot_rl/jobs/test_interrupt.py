"""Ctrl-C from the first instant on, and SIGTERM in the midst of a library's work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from robot_rl.jobs.interrupt import STOPPED, quits_at_once, requests_to_stop

ROOT = Path(__file__).resolve().parents[3]
INTERRUPTING = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n"
# pbkdf2_hmac holds no lock of the interpreter's, and no handler of Python's runs until it returns.
COMPILING = """
import hashlib, sys
from hardware.ros.runtime import ros
with ros([]) as stop, stop.at_once():
    sys.stdout.write("at work\\n")
    sys.stdout.flush()
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
"""


@pytest.mark.parametrize(
    "module", ["numpy", "yaml", "pydantic"]
)  # imported at the beginning, in the middle, at the end
def test_ctrl_c_while_the_program_is_imported_is_a_word_and_no_traceback(module: str, tmp_path: Path) -> None:
    (tmp_path / f"{module}.py").write_text(INTERRUPTING)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    ended = subprocess.run(
        [sys.executable, "-m", "robot_rl", "--help"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stderr) == (STOPPED, "robot-rl: stopped\n")


def test_handlers_are_given_back_and_what_is_ignored_stays_so() -> None:
    def handlers() -> list[object]:
        return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    before = handlers()
    with quits_at_once():
        assert signal.getsignal(signal.SIGINT) is not before[0]
    with requests_to_stop() as requests:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
    assert (handlers(), requests.count) == (before, 2)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with quits_at_once():
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before[0])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_has_nothing_to_lose_ends_in_the_midst_of_a_librarys_work(number: signal.Signals) -> None:
    process = subprocess.Popen([sys.executable, "-c", COMPILING], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "at work\n"
        process.send_signal(number)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()


def test_a_process_whose_parent_was_killed_before_it_asked_ends() -> None:
    code = "import sys\nfrom robot_rl.jobs.interrupt import end_with_parent\nend_with_parent(int(sys.argv[1]))"
    statuses = [
        subprocess.run([sys.executable, "-c", code, str(parent)], cwd=ROOT).returncode
        for parent in (os.getpid(), os.getppid())
    ]
    assert statuses == [0, -signal.SIGTERM]
