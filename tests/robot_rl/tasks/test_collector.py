"""The script in the place of a person who collects: which stages it marks, and when it misses on purpose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hardware.interfaces import TeleopCommand, Word
from robot_rl.contract import Reading
from robot_rl.tasks.experts.collector import NEAR, STAY, Collector
from robot_rl.tasks.reach import Reach
from tests.robot_rl.readings import FAR, PerfectArm

PERIOD = 0.1  # [s]


class Staged(Reach):
    """A task of two stages, of which the reading's force [N] says how many are reached."""

    stages: tuple[str, ...] = ("lifted", "inserted")

    def stage(self, reading: Reading) -> int:
        return round(reading.wrench[2])


def drive(collector: Collector, reached: list[int], begins: float) -> list[tuple[float, Word]]:
    """Words of an episode and when they are said [s]."""
    reading, said = PerfectArm(FAR).reading(), []
    for index, stage in enumerate(reached):
        now = begins + index * PERIOD
        wrench = np.array([0.0, 0.0, stage, 0.0, 0.0, 0.0])
        command = collector(replace(reading, robot_time=now, wrench=wrench, objects={"peg": FAR}))
        said += [(round(now - begins, 1), word) for word in command.words]
    return said


def test_stages_are_marked_and_taken_back_and_each_is_missed_in_turn() -> None:
    seen: list[float] = []
    carried: list[float] = []

    def driver(reading: Reading) -> TeleopCommand:
        seen.append(float(np.linalg.norm(reading.pose.translation - FAR.translation)))
        carried.append(float(np.linalg.norm(reading.objects["peg"].translation - FAR.translation)))
        return TeleopCommand(np.zeros(6))

    collector = Collector(driver, Staged(), 0, stages=2)
    whole = [0, 0, 1, 1, 0, 1, 2, *[2] * round(STAY / PERIOD + 2), 2, 0]
    assert drive(collector, whole, 0.0) == [
        (0.2, Word.SUCCESS),
        (0.4, Word.FAILURE),
        (0.5, Word.SUCCESS),
        (0.6, Word.SUCCESS),
        (2.7, Word.END),
    ]
    assert set(seen) == {0.0}
    for number, after in enumerate((0, 1, 0), 1):
        seen.clear()
        carried.clear()
        half = [0, 0, 0, *[1] * round(NEAR[1] / PERIOD + 3)]
        said = drive(collector, half, 100.0 * number)
        assert [word for _, word in said] == [Word.SUCCESS, Word.END]
        aside = [way > 0.004 for way in seen]
        assert all(aside[3:]) and aside[:3] == [after == 0] * 3, "beside the goal, from that stage on"
        assert carried[:3] == [0.0] * 3 and carried[3:] == seen[3:], "what is lifted is as far aside as the arm"
        drive(collector, [0, 0], 100.0 * number + 50.0)  # every other one would succeed
