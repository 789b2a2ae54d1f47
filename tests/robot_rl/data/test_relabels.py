"""Labels that are corrected after the fact: durable, and the same for everybody who reads."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.contract import Ending, Outcome, Relabel
from robot_rl.data.episode import Correction, Transitions
from robot_rl.data.relabels import frames_to_relabels, relabel_to_frame, rule
from robot_rl.data.schema import StoreError
from robot_rl.data.store import EpisodeStore, StoreReader
from tests.robot_rl.recording import SCHEMA, only_file, steps

OUTCOMES = (
    Outcome.running(0.5),
    Outcome.success(2.0),
    Outcome.failure("dropped"),
    Outcome.timeout(),
    Outcome.running(),
)


def record(store: EpisodeStore, count: int, seed: int, outcome: Outcome | None = None) -> int:
    writer = store.begin({"seed": seed})
    for step in steps(count, seed, outcome):
        writer.append(step)
    writer.finish()
    return writer.index


def relabelled(episode: int, step: int, outcome: Outcome) -> Relabel:
    return Relabel(episode, step, outcome, by="person", number=3)


class Follower:
    """The knowledge of somebody who takes in all that a reader hands out."""

    def __init__(self, path, **settings) -> None:
        self.reader = StoreReader(path, **settings)
        self.known: dict[int, dict[str, np.ndarray]] = {}

    def poll(self) -> None:
        polled = self.reader.poll()
        for correction in polled.corrected:
            self._correct(correction)
        for part in polled.new:
            self._extend(part)

    def counting(self) -> dict[int, list[tuple]]:
        """Episode → the steps that count, by number."""
        return {
            episode: [
                (i, one["reward"][i], one["terminated"][i], tuple(one["action"][i]))
                for i in np.flatnonzero(one["counts"])
            ]
            for episode, one in sorted(self.known.items())
            if one["counts"].any()
        }

    def _extend(self, part: Transitions) -> None:
        names = ("reward", "terminated", "counts", "action")
        known = self.known.get(part.episode, {name: part[name][:0] for name in names})
        assert len(known["reward"]) == part.start
        self.known[part.episode] = {name: np.concatenate((known[name], part[name])) for name in names}

    def _correct(self, correction: Correction) -> None:
        known = self.known[correction.episode]
        assert len(correction) == len(known["reward"])
        for name in ("reward", "terminated", "counts"):
            known[name] = correction[name].copy()


def test_a_corrected_ending_is_seen_by_everybody(tmp_path) -> None:
    with EpisodeStore.create_or_open(tmp_path, SCHEMA) as store:
        record(store, 6, 0, Outcome.timeout())
        reader = StoreReader(tmp_path)
        (part,) = reader.poll().new
        store.relabel(relabelled(0, 3, Outcome.success(1.0)))
        (correction,) = reader.poll().corrected
        assert reader.poll() == ([], [])
        assert correction["counts"].tolist() == [True] * 4 + [False] * 2
        assert correction["terminated"].tolist() == [False, False, False, True, False, False]
        assert correction["reward"].tolist() == [0.0, 0.125, 0.25, 1.0, 0.5, 0.0]
        (info,) = store.episodes()
        assert (info.ending, info.steps, info.total_reward, info.seed) == (Ending.SUCCESS, 4, 1.375, 0)
        assert info.duration == pytest.approx(0.4) and info.interventions == 1
        assert reader.episodes() == StoreReader(tmp_path).episodes() == [info]
        episode = store.load_episode(0)
        assert episode.info == info
        assert len(episode["reward"]) == 4 and len(episode["pose"]) == 5 and episode["terminated"].tolist()[-1]
        (fresh,) = StoreReader(tmp_path).poll().new
        assert len(fresh) == len(part) == 6 and np.array_equal(fresh["counts"], correction["counts"])


def test_an_ending_can_be_taken_back_and_given_again(tmp_path) -> None:
    with EpisodeStore.create_or_open(tmp_path, SCHEMA) as store:
        record(store, 5, 0)
        store.relabel(relabelled(0, 4, Outcome.running()))
        (info,) = store.episodes()
        assert (info.ending, info.reason, info.steps) == (Ending.ABORTED, "its ending was taken back", 5)
        store.relabel(relabelled(0, 2, Outcome.failure("it fell")))
        assert [(i.ending, i.reason, i.steps) for i in store.episodes()] == [(Ending.FAILURE, "it fell", 3)]
        store.relabel(relabelled(0, 2, Outcome.running()))
        store.relabel(relabelled(0, 4, Outcome.success()))
        assert [(i.ending, i.steps) for i in store.episodes()] == [(Ending.SUCCESS, 5)]


def test_a_step_of_the_running_episode_can_be_corrected(tmp_path) -> None:
    reader = StoreReader(tmp_path)
    with EpisodeStore.create_or_open(tmp_path, SCHEMA) as store:
        writer = store.begin()
        for number, step in enumerate(steps(6, 0, Outcome.timeout())):
            if number == 4:
                store.relabel(relabelled(0, 2, Outcome.success(3.0)))
                polled = reader.poll()
                assert polled.new == [] and polled.corrected[0]["counts"].tolist() == [True, True, True, False]
            writer.append(step)
            if number == 3:
                assert len(reader.poll().new[0]) == 4
        (tail,) = reader.poll().new
        assert (tail.start, tail["counts"].tolist()) == (4, [False, False])
        info = writer.finish()
        assert (info.ending, info.steps) == (Ending.TIMEOUT, 6), "as it was recorded"
        assert [(i.ending, i.steps) for i in store.episodes()] == [(Ending.SUCCESS, 3)]


@pytest.mark.parametrize(
    ("episode", "step", "outcome", "words"),
    [
        (0, 5, Outcome.running(), "episode 0 has 5 steps, counted from 0: no step 5"),
        (0, -1, Outcome.running(), "no step -1"),
        (7, 0, Outcome.running(), "episode 7 has 0 steps"),
        (0, 0, Outcome.running(float("nan")), "a reward of nan cannot be recorded"),
    ],
)
def test_what_cannot_be_corrected_is_named(tmp_path, episode, step, outcome, words) -> None:
    with EpisodeStore.create_or_open(tmp_path, SCHEMA) as store:
        record(store, 5, 0)
        with pytest.raises(StoreError, match=words):
            store.relabel(relabelled(episode, step, outcome))
    assert not (tmp_path / "relabels.log").exists()


def test_demonstrations_come_and_go_with_their_label(tmp_path) -> None:
    with EpisodeStore.create_or_open(tmp_path, SCHEMA) as store:
        for seed, outcome in enumerate((Outcome.success(), Outcome.timeout(), Outcome.success())):
            record(store, 4, seed, outcome)
        demos = Follower(tmp_path, successes_only=True)
        demos.poll()
        assert list(demos.counting()) == [0, 2]
        store.relabel(relabelled(1, 2, Outcome.success()))
        store.relabel(relabelled(0, 3, Outcome.failure("scratched it")))
        demos.poll()
        assert {episode: len(rows) for episode, rows in demos.counting().items()} == {1: 3, 2: 4}
        store.relabel(relabelled(0, 3, Outcome.success()))
        demos.poll()
        assert {episode: len(rows) for episode, rows in demos.counting().items()} == {0: 4, 1: 3, 2: 4}


LABELS = st.lists(
    st.tuples(st.integers(0, 8), st.sampled_from(OUTCOMES)).map(lambda of: relabelled(0, *of)), max_size=6
)


@given(st.integers(1, 9), LABELS, st.integers(0, 8))
def test_a_ruling_is_the_last_label_of_each_step_up_to_the_first_ending(count, labels, cut) -> None:
    recorded = {
        "reward": np.arange(count, dtype=np.float32),
        "terminated": np.arange(count) == count - 1,
        "truncated": np.zeros(count, bool),
    }
    outcomes = [Outcome.running(float(i)) for i in range(count - 1)] + [Outcome.success(count - 1.0)]
    for label in labels:
        if label.step < count:
            outcomes[label.step] = label.outcome
    last = next((i for i, outcome in enumerate(outcomes) if outcome.done), count - 1)
    found = rule(recorded, {label.step: label for label in labels}, finished=True)
    assert found.columns["counts"].tolist() == [i <= last for i in range(count)]
    assert found.columns["reward"].tolist() == [outcome.reward for outcome in outcomes]
    assert found.columns["terminated"].tolist() == [outcome.terminated for outcome in outcomes]
    assert found.columns["terminated"][last] or found.columns["truncated"][last]
    cut = min(cut, count - 1)  # the same in two parts
    known = {label.step: label for label in labels}
    parts = [
        rule({name: column[:cut] for name, column in recorded.items()}, known, finished=False) if cut else None,
        rule({name: column[cut:] for name, column in recorded.items()}, known, start=cut, finished=True),
    ]
    for name in ("reward", "terminated", "counts"):
        joined = np.concatenate([part.columns[name] for part in parts if part is not None])
        assert np.array_equal(joined, found.columns[name]), name


MOVES = st.lists(
    st.one_of(
        st.sampled_from(["step", "step", "step", "finish", "poll", "kill", "torn kill"]),
        st.tuples(st.integers(0, 3), st.integers(0, 5), st.sampled_from(OUTCOMES)),
    ),
    max_size=40,
)


@settings(max_examples=40, deadline=None)
@given(MOVES)
def test_who_follows_knows_what_is_read_afresh_through_any_relabels_and_kills(tmp_path_factory, moves) -> None:
    path = tmp_path_factory.mktemp("store")
    followers = [Follower(path), Follower(path, successes_only=True)]
    store = EpisodeStore.create_or_open(path, SCHEMA)
    writer, stream, seed = None, iter(()), 0
    for move in moves:
        if move == "step":
            if writer is None:
                writer, stream, seed = store.begin(), steps(100, seed), seed + 1
            writer.append(next(stream))
        elif move == "finish" and writer is not None:
            writer.finish(Outcome.timeout())
            writer = None
        elif move == "poll":
            for follower in followers:
                follower.poll()
        elif move in ("kill", "torn kill"):
            os.close(store._lock)  # as the kernel does for a process that is gone
            store._lock = -1
            if move == "torn kill":
                for file in (*(path / "journal").iterdir(), *path.glob("relabels.log")):
                    with open(file, "ab") as torn:
                        torn.write(relabel_to_frame(relabelled(0, 0, OUTCOMES[0]))[:-3])
            store = EpisodeStore.create_or_open(path, SCHEMA)
            writer = None
        elif isinstance(move, tuple):
            try:
                store.relabel(relabelled(*move))
            except StoreError as error:
                assert "no step" in str(error)
    store.close()
    for follower, settings_ in zip(followers, ({}, {"successes_only": True}), strict=True):
        follower.poll()
        fresh = Follower(path, **settings_)
        fresh.poll()
        assert follower.counting() == fresh.counting()
        summaries = {info.index: info.steps for info in fresh.reader.episodes() if info.success or not settings_}
        assert {episode: len(rows) for episode, rows in fresh.counting().items()} == summaries


def test_every_cut_of_the_file_leaves_the_whole_corrections_before_it(tmp_path) -> None:
    with EpisodeStore.create_or_open(tmp_path, SCHEMA) as store:
        record(store, 5, 0)
        for number in range(3):
            store.relabel(relabelled(0, number, Outcome.running(9.0)))
    data = (tmp_path / "relabels.log").read_bytes()
    one = len(data) // 3
    for cut in range(0, len(data) + 1, 7):
        (tmp_path / "relabels.log").write_bytes(data[:cut])
        with EpisodeStore.create_or_open(tmp_path, SCHEMA) as store:
            assert store.load_episode(0)["reward"].tolist()[:3].count(9.0) == cut // one
            store.relabel(relabelled(0, 4, Outcome.failure("")))
            assert store.episodes()[0].ending is Ending.FAILURE, "what is written behind a torn one is read"
    assert not list(tmp_path.glob("*.corrupt"))


def test_a_damaged_file_is_kept_and_all_other_corrections_hold(tmp_path, caplog) -> None:
    with EpisodeStore.create_or_open(tmp_path, SCHEMA) as store:
        record(store, 5, 0)
        for number in range(3):
            store.relabel(relabelled(0, number, Outcome.running(9.0)))
    data = bytearray((tmp_path / "relabels.log").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "relabels.log").write_bytes(data)
    (part,) = StoreReader(tmp_path).poll().new
    with EpisodeStore.create_or_open(tmp_path, SCHEMA) as store:
        rewards = store.load_episode(0)["reward"].tolist()
    assert rewards[:3] == part["reward"].tolist()[:3] == [9.0, 0.125, 9.0]
    assert only_file_ending(tmp_path, ".corrupt").read_bytes() == data
    assert len(frames_to_relabels((tmp_path / "relabels.log").read_bytes())) == 2
    assert "kept as relabels.corrupt, going on with its 2 whole corrections" in caplog.text


def only_file_ending(folder, suffix):
    (path,) = folder.glob(f"*{suffix}")
    return path


def test_a_store_is_opened_for_relabelling_only_while_nobody_writes(tmp_path) -> None:
    with EpisodeStore.create_or_open(tmp_path, SCHEMA) as store:
        record(store, 5, 0)
        with pytest.raises(StoreError, match="is being written by process"):
            EpisodeStore.open(tmp_path)
    with EpisodeStore.open(tmp_path) as store:
        assert store.schema == SCHEMA
        store.relabel(relabelled(0, 1, Outcome.success()))
    assert StoreReader(tmp_path).episodes()[0].steps == 2
    with pytest.raises(StoreError, match="no episode store here"):
        EpisodeStore.open(tmp_path / "nowhere")
    assert only_file(tmp_path / "episodes").name == "000000.zarr"
