"""The improvement gate: a champion gives way to anything but a significant drop."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from robot_rl.contract import DISCARDED, Outcome, Relabel, Source
from robot_rl.data.store import EpisodeStore
from robot_rl.jobs.promotion import ImprovementGate, Judged, Promotion, Record, drop_probability
from robot_rl.jobs.run import Run
from tests.robot_rl.recording import SCHEMA, steps


def run(gate: ImprovementGate, outcomes: list[bool], first: int = 0) -> list[bool]:
    verdicts = []
    for i, success in enumerate(outcomes):
        verdicts.append(gate.add(Judged(first + i, success, first + i)))
        if verdicts[-1]:
            gate.promote()
    return verdicts


def test_the_probability_is_that_of_all_ways_to_shuffle_the_outcomes() -> None:
    now, best = Record(0, 1, 3), Record(1, 3, 4)
    outcomes = [1] * 4 + [0] * 3
    shuffles = list(itertools.permutations(outcomes))
    as_bad = sum(sum(shuffle[:3]) <= 1 for shuffle in shuffles)
    assert drop_probability(now, best) == pytest.approx(as_bad / len(shuffles), rel=1e-12)


@pytest.mark.parametrize("rate", [0.5, 0.7, 0.9])
def test_a_policy_that_stays_as_it_is_is_rarely_held_back(rate: float) -> None:
    """Though the best of its windows is better than it is."""
    rng = np.random.default_rng(0)
    held_back, at_five_percent = [], []
    for _ in range(40):
        gate, coarse = ImprovementGate(20), ImprovementGate(20, level=0.05)
        for version, success in enumerate(rng.random(300) < rate):
            gate.add(Judged(version, bool(success), version))
            coarse.add(Judged(version, bool(success), version))
            held_back.append(gate.held_back)
            at_five_percent.append(coarse.held_back)
    assert np.mean(held_back) < 0.05
    assert np.mean(at_five_percent) > 4 * np.mean(held_back)


def test_a_drop_from_always_to_two_of_three_is_significant() -> None:
    drops = [drop_probability(Record(0, successes, 20), Record(0, 20, 20)) for successes in (0, 13, 14)]
    assert drops[0] < 1e-10 and drops[1] < 0.005 < drops[2]


def test_no_champion_before_a_whole_window_then_every_version_that_is_no_worse() -> None:
    gate = ImprovementGate(window=4)
    assert run(gate, [False, True, True, True]) == [False, False, False, True]
    assert gate.champion == Record(3, 3, 4)
    assert run(gate, [True], 9) == [True] and gate.champion == gate.best == Record(9, 4, 4)


def test_a_collapse_leaves_the_champion_until_success_is_back() -> None:
    gate = ImprovementGate(window=10)
    run(gate, [True] * 10)
    verdicts = run(gate, [False] * 10, first=10)
    assert verdicts == [True] * 6 + [False] * 4, "4 of 10 are no significant drop from 10 of 10; 3 of 10 are"
    assert gate.champion == Record(15, 4, 10) and gate.held_back
    back = run(gate, [True] * 10, first=20)
    assert back == [False] * 3 + [True] * 7 and gate.champion.version == 29


def test_many_small_drops_do_not_add_up() -> None:
    gate = ImprovementGate(window=20)
    run(gate, [True] * 20)
    for failures in range(1, 11):  # 5 % worse with every window
        run(gate, [False] * failures + [True] * (20 - failures), first=20 * failures)
    assert gate.best.rate == 1.0 and gate.champion.rate >= 0.7
    assert gate.held_back


def test_a_correction_judges_as_if_the_label_had_always_been_so() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        wrong, right = (rng.random((2, 30)) < 0.6).tolist()
        corrected, told = ImprovementGate(window=5), ImprovementGate(window=5)
        run(corrected, wrong)
        champion = corrected.promoted
        verdicts = run(told, right)
        corrected.correct(told.judged)
        assert (corrected.best, corrected.now, corrected.held_back) == (told.best, told.now, told.held_back)
        assert champion is not None and corrected.promoted == champion, "its parameters are all that is kept"
        window = right[champion.episode - 4 : champion.episode + 1]
        assert corrected.champion == Record(champion.version, sum(window), 5)
        assert any(verdicts)


@pytest.mark.parametrize(("window", "level"), [(0, 0.05), (20, 0.0), (20, 1.0)])
def test_settings_that_make_no_sense_are_refused(window: int, level: float) -> None:
    with pytest.raises(ValueError, match="window of at least one episode"):
        ImprovementGate(window, level)


def record(store: EpisodeStore, outcome: Outcome, version: int, person: bool = False) -> None:
    """An episode of three steps, whose parameters change to ``version`` with the last."""
    writer = store.begin({})
    for number, step in enumerate(steps(3, abs(version), outcome)):
        acted = version - (number < 2)
        source = Source.PERSON if person else Source.POLICY
        writer.append(replace(step, source=source, timing=replace(step.timing, version=acted)))
    writer.finish()


def test_the_champion_on_disk_is_the_policy_that_acted_last(tmp_path) -> None:
    run = Run(tmp_path)
    promotion = Promotion(run, window=3)
    for version in range(0, 100, 10):
        promotion.publish(version, b"policy %d" % version)
    with EpisodeStore.create_or_open(run.online, SCHEMA) as store:
        record(store, Outcome.success(), 10)
        record(store, Outcome.success(), 20)
        record(store, Outcome.success(), 30, person=True)
        record(store, Outcome.aborted("stopped"), 30)
        assert not promotion.judge() and not run.champion.exists(), "two episodes of three count"
        record(store, Outcome.timeout(), 40)
        assert promotion.judge() and run.champion.read_bytes() == b"policy 40"
        assert promotion.status() == {
            "champion": 40,
            "champion_success": pytest.approx(2 / 3),
            "now_success": pytest.approx(2 / 3),
            "held_back": False,
        }
        record(store, Outcome.success(), 50)
        again = Promotion(run, window=3)
        assert not again.judge() and run.champion.read_bytes() == b"policy 40", "its bytes are not known any more"
        assert again.gate.now == Record(50, 2, 3) and again.status()["champion"] == 40
        again.publish(60, b"policy 60")
        record(store, Outcome.success(), 60)
        assert again.judge() and run.champion.read_bytes() == b"policy 60"
        assert not again.judge(), "nothing new"


def test_a_learner_that_fell_back_is_not_waited_for_to_catch_up(tmp_path) -> None:
    run = Run(tmp_path)
    promotion = Promotion(run, window=3)
    promotion.publish(410, b"policy 410")
    with EpisodeStore.create_or_open(run.online, SCHEMA) as store:
        writer = store.begin({})
        for step, version in zip(steps(9, 0), [480, 480, 480, -1, -1, -1, 480, 410, -1], strict=True):
            writer.append(replace(step, source=Source.POLICY, timing=replace(step.timing, version=version)))
        writer.finish()
        for _ in range(2):
            record(store, Outcome.success(), 410)
        assert promotion.judge() and run.champion.read_bytes() == b"policy 410"


def test_what_can_act_no_more_is_forgotten_whoever_drove(tmp_path) -> None:
    run = Run(tmp_path)
    promotion = Promotion(run, window=3)
    with EpisodeStore.create_or_open(run.online, SCHEMA) as store:
        for version in range(20, 200, 20):
            for published in range(version - 10, version + 1, 2):
                promotion.publish(published, b"policy")
            record(store, Outcome.success(), version, person=True)
            promotion.judge()
            assert list(promotion._published) == [version]
        promotion.publish(999, b"policy")
        record(store, Outcome.success(), -1, person=True)
        promotion.judge()
        assert list(promotion._published) == [999], "the policy was never asked"


def test_versions_that_take_turns_are_known_for_as_long_as_they_act(tmp_path) -> None:
    run = Run(tmp_path)
    promotion = Promotion(run, window=1)
    with EpisodeStore.create_or_open(run.online, SCHEMA) as store:
        promotion.publish(5, b"as it was")
        promotion.publish(20, b"learnt")
        record(store, Outcome.success(), 20)
        promotion.publish(5, b"as it was")  # whose turn it is when the episode is judged
        assert promotion.judge() and run.champion.read_bytes() == b"learnt"
        record(store, Outcome.success(), 5)
        promotion.publish(30, b"learnt on")
        assert promotion.judge() and run.champion.read_bytes() == b"as it was"
        assert list(promotion._published) == [5, 30]


def test_a_policy_that_got_worse_is_not_handed_on(tmp_path) -> None:
    run = Run(tmp_path)
    promotion = Promotion(run, window=6)
    with EpisodeStore.create_or_open(run.online, SCHEMA) as store:
        for version in range(1, 13):
            promotion.publish(version, b"policy %d" % version)
            record(store, Outcome.success() if version <= 6 else Outcome.timeout(), version)
            promotion.judge()
    assert run.champion.read_bytes() == b"policy 11", "1 of 6 may be chance after 6 of 6, 0 of 6 is not"
    assert promotion.status()["held_back"] and promotion.status()["now_success"] == 0.0


def test_a_relabel_reaches_the_gate(tmp_path) -> None:
    run = Run(tmp_path)
    promotion = Promotion(run, window=6)
    with EpisodeStore.create_or_open(run.online, SCHEMA) as store:
        for version in range(12):
            promotion.publish(version, b"policy %d" % version)
            record(store, Outcome.success() if version < 6 else Outcome.timeout(), version)
            promotion.judge()
        assert promotion.status() == {
            "champion": 10,
            "champion_success": pytest.approx(1 / 6),
            "now_success": 0.0,
            "held_back": True,
        }
        for episode in range(1, 6):  # all but the first had failed
            store.relabel(Relabel(episode, 2, Outcome.failure("it had slipped"), "person"))
        store.relabel(Relabel(11, 2, Outcome.success(), "person"))
        store.relabel(Relabel(9, 2, Outcome.aborted(DISCARDED), "person"))
        assert not promotion.judge(), "no episode has ended"
        again = Promotion(run, window=6)
        again.judge()
        expected = {"champion": 10, "champion_success": 0.0, "now_success": pytest.approx(1 / 6), "held_back": False}
        assert promotion.status() == again.status() == expected
        promotion.publish(12, b"policy 12")
        record(store, Outcome.timeout(), 12)
        assert promotion.judge() and run.champion.read_bytes() == b"policy 12"


def test_a_damaged_account_is_made_again_from_the_episodes(tmp_path, caplog) -> None:
    run = Run(tmp_path)
    with EpisodeStore.create_or_open(run.online, SCHEMA) as store:
        for version in range(3):
            record(store, Outcome.success(), version)
    run.gate.write_text('{"versions": [[0, 0], [1, 1]]}')
    promotion = Promotion(run, window=3)
    assert "cannot be read" in caplog.text
    promotion.publish(2, b"newest")
    assert promotion.judge() and run.champion.read_bytes() == b"newest"
