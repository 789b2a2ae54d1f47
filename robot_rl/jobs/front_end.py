"""Messages in the words of the front end that their reader uses: they are written for ``robot-rl``."""

from __future__ import annotations

import re

from robot_rl.jobs.arguments import LAUNCH_ARGUMENTS, OVERRIDES
from robot_rl.jobs.job import COMMANDS

_FLAG = "--(?:task|seed|run|config)"  # of the jobs, in `robot_rl.jobs.cli`
_WORD = rf"(?:{_FLAG}[ =]|[\w.]+=)[^\s,;)]+"
_SAID = re.compile(
    rf"robot-rl (?P<command>[\w-]+)(?P<words>(?: {_WORD})*)"
    rf"|(?P<flag>{_FLAG})\b(?:[ =](?P<value>[A-Z]+\b))?"
    rf"|(?<![\w.:/-])(?P<setting>{'|'.join(LAUNCH_ARGUMENTS)})=(?!=)"
)


def as_launched(text: str) -> str:
    """``text`` for a user of ``ros2 launch``: commands with a launch file, flags and settings as launch arguments.

    Commands that have no launch file, such as ``robot-rl sim``, stay as they are.
    """
    return _SAID.sub(_one, text)


def _one(found: re.Match[str]) -> str:
    if found["setting"]:
        return f"{found['setting']}:="
    if found["flag"]:
        return f"{found['flag'].removeprefix('--')}:={found['value'] or ''}"
    return _launch(found["command"], found["words"]) if found["command"] in COMMANDS else found[0]


def _launch(job: str, given: str) -> str:
    """The launch command for ``robot-rl JOB`` with the words ``given``."""
    words, deeper = [f"ros2 launch robot_rl {job}.launch.py"], []
    for word in re.findall(_WORD, given):
        name, _, value = word.removeprefix("--").replace(" ", "=", 1).partition("=")
        if name in LAUNCH_ARGUMENTS:
            words.append(f"{name}:={value}")
        else:
            deeper.append(f"{name}={value}")
    if deeper:
        words.append(f"{OVERRIDES}:='{' '.join(deeper)}'")
    return " ".join(words)
