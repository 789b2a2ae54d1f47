"""The episode store: contents, recovery, damage, tailing."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.contract import ActionSpec, Ending, Outcome
from robot_rl.data.schema import StoreError, StoreSchema
from robot_rl.data.store import EpisodeStore, StoreReader
from tests.robot_rl.recording import PIXELS, SCHEMA, observations, only_file, same, steps


def record(store: EpisodeStore, count: int, seed: int, outcome: Outcome | None = None) -> None:
    writer = store.begin({"seed": seed})
    for step in steps(count, seed, outcome, store.schema):
        writer.append(step)
    writer.finish()


def test_what_is_written_is_what_is_read(tmp_path) -> None:
    with EpisodeStore.create_or_open(tmp_path, PIXELS) as store:
        writer = store.begin({"seed": 4, "operator": "Ada"})
        written = list(steps(20, 4, Outcome.timeout(0.5), PIXELS))
        for step in written:
            writer.append(step)
        info = writer.finish(Outcome.timeout())
        episode = store.load_episode(0)
    assert episode.info == info
    assert (info.ending, info.steps, info.interventions, info.seed) == (Ending.TIMEOUT, 20, 3, 4)
    assert info.meta["operator"] == "Ada"
    assert info.duration == pytest.approx(2.0)
    assert info.total_reward == pytest.approx(sum(s.outcome.reward for s in written))
    assert episode["state"].dtype == np.float32 and episode["state"].shape == (21, 5)
    seen = [written[0].observation, *(s.next_observation for s in written)]
    assert np.array_equal(episode["state"], [o.state for o in seen])
    assert np.array_equal(episode.images["wrist"], [o.images["wrist"] for o in seen])
    assert np.array_equal(episode["stamp_ns"], [o.stamp_ns for o in seen])
    assert np.array_equal(episode["action"], np.float32([s.action for s in written]))
    assert np.array_equal(episode["policy_action"], np.float32([s.policy_action for s in written]))
    assert np.array_equal(episode["truncated"], [False] * 19 + [True])
    assert not episode["terminated"].any()
    assert np.array_equal(episode["late"], [i == 1 for i in range(20)])
    assert np.array_equal(episode.objects["peg"][:, :3], [s.objects["peg"].translation for s in written])
    assert (episode["version"] == 7).all() and (episode["decision_ms"] == 1.5).all()
    assert np.array_equal(episode["cost"], np.float32([i / 20 for i in range(20)]))
    assert np.array_equal(episode.transitions().span(3, 5).cost, np.float32([3 / 20, 4 / 20]))


def test_an_episode_of_an_earlier_version_cost_nothing(tmp_path) -> None:
    with EpisodeStore.create_or_open(tmp_path, SCHEMA) as store:
        record(store, 6, 0)
        path = tmp_path / "episodes" / "000000.zarr"
        shutil.rmtree(path / "cost")
        metadata = json.loads((path / "zarr.json").read_text())
        del metadata["attributes"]["crc32"]["cost"]
        (path / "zarr.json").write_text(json.dumps(metadata))
        assert np.array_equal(store.load_episode(0)["cost"], np.zeros(6, np.float32))
    (transitions,) = StoreReader(tmp_path).poll()
    assert np.array_equal(transitions.cost, np.zeros(6, np.float32))


def test_termination_and_truncation_are_kept_apart(tmp_path) -> None:
    endings = (Outcome.success(), Outcome.failure("dropped"), Outcome.timeout(), Outcome.aborted("reflex"))
    with EpisodeStore.create_or_open(tmp_path, SCHEMA) as store:
        for seed, outcome in enumerate(endings):
            record(store, 3, seed, outcome)
        for index, outcome in enumerate(endings):
            episode = store.load_episode(index)
            assert episode["terminated"][-1] == outcome.terminated
            assert episode["truncated"][-1] == outcome.truncated
            assert (episode.info.ending, episode.info.reason) == (outcome.ending, outcome.reason)


def test_an_episode_without_an_ending_takes_that_of_finish_but_never_a_success(tmp_path) -> None:
    with EpisodeStore.create_or_open(tmp_path, SCHEMA) as store:
        writer = store.begin()
        writer.append(next(steps(2)))
        with pytest.raises(StoreError, match="by its last step"):
            writer.finish(Outcome.success())
        info = writer.finish(Outcome.aborted("sensor lost"))
        assert (info.ending, info.reason) == (Ending.ABORTED, "sensor lost")
        assert store.load_episode(0)["truncated"][-1]


def test_steps_must_follow_each_other_and_stop_at_the_end(tmp_path) -> None:
    with EpisodeStore.create_or_open(tmp_path, SCHEMA) as store:
        first, second, third = steps(3)
        writer = store.begin()
        writer.append(first)
        with pytest.raises(StoreError, match="does not start where"):
            writer.append(third)
        with pytest.raises(StoreError, match="an episode is being recorded"):
            store.begin()
        writer.append(second)
        writer.append(third)
        with pytest.raises(StoreError, match="ended as success"):
            writer.append(third)


def test_an_episode_without_steps_leaves_nothing(tmp_path) -> None:
    with EpisodeStore.create_or_open(tmp_path, SCHEMA) as store:
        assert store.begin().finish() is None
        assert store.begin().finish() is None
        assert store.begin().index == 0
    assert StoreReader(tmp_path).poll() == []


def test_one_writer_at_a_time(tmp_path) -> None:
    first = EpisodeStore.create_or_open(tmp_path, SCHEMA)
    with pytest.raises(StoreError, match=r"is being written by process \d+; stop it or record into another"):
        EpisodeStore.create_or_open(tmp_path, SCHEMA)
    first.close()
    EpisodeStore.create_or_open(tmp_path, SCHEMA).close()


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (StoreSchema("peg", SCHEMA.fields, SCHEMA.action), "task reach instead of peg"),
        (StoreSchema("reach", SCHEMA.fields[:1], SCHEMA.action), "state size 5 instead of 3"),
        (StoreSchema("reach", SCHEMA.fields, ActionSpec(("x", "z"), (0.01, 0.01))), "action axes"),
        (StoreSchema("reach", SCHEMA.fields, ActionSpec(("x", "y"), (0.01, 0.02))), "action scale"),
        (PIXELS, "images"),
    ],
)
def test_a_store_of_something_else_is_refused_with_both_names(tmp_path, other, named) -> None:
    EpisodeStore.create_or_open(tmp_path, SCHEMA).close()
    with pytest.raises(StoreError, match=named) as caught:
        EpisodeStore.create_or_open(tmp_path, other)
    assert str(tmp_path) in str(caught.value)
    EpisodeStore.create_or_open(tmp_path, SCHEMA).close()  # the lock was released


def test_schema_round_trip() -> None:
    assert StoreSchema.from_json(PIXELS.to_json()) == PIXELS
    with pytest.raises(ValueError, match="format"):
        StoreSchema.from_json(json.dumps({"format": "other"}))


def test_a_store_that_is_no_store(tmp_path) -> None:
    (tmp_path / "schema.json").write_text("{")
    with pytest.raises(StoreError, match=r"schema\.json cannot be read"):
        EpisodeStore.create_or_open(tmp_path, SCHEMA)
    assert StoreReader(tmp_path / "nowhere").poll() == []
    with pytest.raises(StoreError, match="no episode store here"):
        StoreReader(tmp_path / "nowhere").load_episode(0)


def interrupted(tmp_path, count: int = 6) -> bytes:
    """A store whose writer died in episode 0; returns the bytes of its journal."""
    store = EpisodeStore.create_or_open(tmp_path / "live", SCHEMA)
    writer = store.begin({"seed": 1})
    for step in list(steps(count + 1))[:count]:
        writer.append(step)
    shutil.copytree(tmp_path / "live", tmp_path / "killed")
    store.close()
    return only_file(tmp_path / "killed" / "journal").read_bytes()


def test_a_torn_tail_is_dropped_with_a_message_and_the_rest_recovered(tmp_path) -> None:
    data = interrupted(tmp_path)
    only_file(tmp_path / "killed" / "journal").write_bytes(data[:-7])
    with EpisodeStore.create_or_open(tmp_path / "killed", SCHEMA) as store:
        assert any("dropped a torn frame" in message for message in store.messages)
        assert any("recovered 5 steps" in message for message in store.messages)
        (info,) = store.episodes()
        assert (info.steps, info.ending, info.reason, info.seed) == (5, Ending.ABORTED, "interrupted", 1)
        episode = store.load_episode(0)
        assert episode["truncated"][-1] and not episode["terminated"].any()
        assert np.array_equal(episode["state"], [o.state for o in observations(7, 0)[:6]])
        assert store.begin().index == 1


def test_a_journal_that_ended_keeps_its_ending(tmp_path) -> None:
    store = EpisodeStore.create_or_open(tmp_path / "live", SCHEMA)
    writer = store.begin()
    for step in steps(3):
        writer.append(step)
    shutil.copytree(tmp_path / "live", tmp_path / "killed")
    store.close()
    with EpisodeStore.create_or_open(tmp_path / "killed", SCHEMA) as again:
        assert again.episodes()[0].ending is Ending.SUCCESS


def test_killed_between_rename_and_unlink(tmp_path) -> None:
    data = interrupted(tmp_path)
    EpisodeStore.create_or_open(tmp_path / "killed", SCHEMA).close()
    (tmp_path / "killed" / "journal" / "000000.journal").write_bytes(data)
    (tmp_path / "killed" / "episodes" / "writing.tmp").mkdir()
    with EpisodeStore.create_or_open(tmp_path / "killed", SCHEMA) as store:
        assert len(store.episodes()) == 1
    assert list((tmp_path / "killed" / "journal").iterdir()) == []
    assert [p.name for p in (tmp_path / "killed" / "episodes").iterdir()] == ["000000.zarr"]


def files_of(path):
    return sorted(p for p in path.rglob("*") if p.is_file())


@pytest.mark.parametrize("damage", ["delete", "truncate", "flip"])
@pytest.mark.parametrize("victim", ["zarr.json", "state/c/0/0", "reward/c/0", "action/zarr.json"])
def test_a_damaged_episode_is_named_set_aside_and_survived(tmp_path, victim, damage) -> None:
    with EpisodeStore.create_or_open(tmp_path, SCHEMA) as store:
        for seed in range(3):
            record(store, 4, seed)
    path = tmp_path / "episodes" / "000001.zarr" / victim
    data = path.read_bytes()
    if damage == "delete":
        path.unlink()
    elif damage == "truncate":
        path.write_bytes(data[: len(data) // 2])
    else:
        path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    reader = StoreReader(tmp_path)
    assert [part.episode for part in reader.poll()] == [0, 2]
    (message,) = reader.messages
    assert "000001.zarr: damaged" in message and "set aside as 000001.corrupt" in message
    with EpisodeStore.create_or_open(tmp_path, SCHEMA) as store:
        assert [info.index for info in store.episodes()] == [0, 2]
        assert store.begin().index == 3
        with pytest.raises(StoreError, match=r"has no finished episode 1 \(it has 2: 0 to 2\)"):
            store.load_episode(1)


def test_summaries_skip_a_damaged_episode_and_leave_it_to_who_reads_on(tmp_path) -> None:
    with EpisodeStore.create_or_open(tmp_path, SCHEMA) as store:
        for seed in range(3):
            record(store, 4, seed)
    (tmp_path / "episodes" / "000001.zarr" / "zarr.json").write_text("{}")
    reader = StoreReader(tmp_path)
    for _ in range(2):
        assert [info.index for info in reader.episodes()] == [0, 2]
    (message,) = reader.messages
    assert "000001.zarr" in message and message.endswith("skipped")
    follower = StoreReader(tmp_path)
    assert [part.episode for part in follower.poll()] == [0, 2]
    assert "set aside as 000001.corrupt" in follower.messages[0]
    assert [info.index for info in reader.episodes()] == [0, 2]


def test_opening_sets_aside_an_episode_without_a_summary(tmp_path) -> None:
    with EpisodeStore.create_or_open(tmp_path, SCHEMA) as store:
        record(store, 4, 0)
    (tmp_path / "episodes" / "000000.zarr" / "zarr.json").write_text("{}")
    with EpisodeStore.create_or_open(tmp_path, SCHEMA) as store:
        assert "set aside as 000000.corrupt" in store.messages[0]
        assert store.episodes() == []
        assert store.begin().index == 1


def test_each_step_is_delivered_once_across_the_move_to_zarr(tmp_path) -> None:
    reader = StoreReader(tmp_path)
    got = reader.poll()
    with EpisodeStore.create_or_open(tmp_path, PIXELS) as store:
        for seed in range(3):
            writer = store.begin()
            for number, step in enumerate(steps(8, seed, schema=PIXELS)):
                writer.append(step)
                if number in (2, 3, 6):
                    got += reader.poll()
            writer.finish()
        got += reader.poll()
        wholes = [store.load_episode(i).transitions() for i in range(3)]
    assert [(p.episode, p.start, len(p)) for p in got] == [
        (e, s, n) for e in range(3) for s, n in ((0, 3), (3, 1), (4, 3), (7, 1))
    ]
    assert all(same(part, wholes[part.episode]) for part in got)
    assert reader.poll() == []


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(["step", "finish", "poll", "poll 1", "poll 2"]), max_size=40))
def test_any_interleaving_delivers_each_step_once_in_order(tmp_path_factory, moves) -> None:
    path = tmp_path_factory.mktemp("store")
    reader = StoreReader(path)
    got, written = [], []
    with EpisodeStore.create_or_open(path, SCHEMA) as store:
        writer, stream = None, iter(())
        for move in [*moves, "finish", "poll"]:
            if move == "step":
                if writer is None:
                    writer, stream = store.begin(), steps(100, len(written))
                writer.append(step := next(stream))
                written.append(step)
            elif move == "finish":
                if writer is not None:
                    writer.finish(Outcome.timeout())
                writer = None
            else:
                limit = int(move[5:]) if move[5:] else None
                parts = reader.poll(limit)
                assert limit is None or sum(map(len, parts)) <= limit
                got += parts
    assert np.array_equal(
        np.concatenate([np.zeros((0, 2)), *(part.action for part in got)]),
        np.reshape(np.float32([step.action for step in written]), (-1, 2)),
    )


def test_a_reader_goes_on_when_an_interrupted_episode_is_recovered(tmp_path) -> None:
    interrupted(tmp_path)
    reader = StoreReader(tmp_path / "killed")
    first = reader.poll(4)
    journal = only_file(tmp_path / "killed" / "journal")
    journal.write_bytes(journal.read_bytes()[:-1])  # the last step was in flight
    with EpisodeStore.create_or_open(tmp_path / "killed", SCHEMA) as store:
        record(store, 2, 9)
    assert [(p.episode, p.start, len(p)) for p in first + reader.poll()] == [(0, 0, 4), (0, 4, 1), (1, 0, 2)]


def test_a_reader_slower_than_the_writer_returns_what_was_there_when_it_was_asked(tmp_path) -> None:
    class Slow(StoreReader):
        def _load(self) -> None:
            if unwritten:  # while it reads one episode, the writer finishes the next
                record(store, 2, unwritten.pop())
            super()._load()

    unwritten = list(range(10))
    for successes_only in (False, True):
        reader = Slow(tmp_path / str(successes_only), successes_only=successes_only)
        with EpisodeStore.create_or_open(reader.path, SCHEMA) as store:
            record(store, 2, 0, Outcome.timeout())
            record(store, 2, 0)
            first = [part.episode for part in reader.poll()]
            assert first == ([1] if successes_only else [0, 1])
            assert len(unwritten) == 8
            unwritten.clear()
            assert [part.episode for part in reader.poll()] == [2, 3]
        unwritten = list(range(10))


def test_reader_summaries(tmp_path) -> None:
    with EpisodeStore.create_or_open(tmp_path, SCHEMA) as store:
        reader = StoreReader(tmp_path)
        assert reader.episodes() == []
        for seed in range(3):
            record(store, 4, seed)
        assert reader.episodes() == store.episodes()
        assert [info.success for info in reader.episodes()] == [True] * 3


def test_runs_of_a_person(tmp_path) -> None:
    with EpisodeStore.create_or_open(tmp_path, SCHEMA) as store:
        record(store, 8, 0)
        whole = store.load_episode(0).transitions()
    (run,) = whole.by_person()
    assert (run.start, len(run)) == (3, 3)
    assert same(run, whole)


def test_only_successes_when_asked_for(tmp_path) -> None:
    with EpisodeStore.create_or_open(tmp_path, SCHEMA) as store:
        for seed, ending in enumerate((Outcome.timeout(), Outcome.success(), Outcome.failure("dropped"), None)):
            record(store, 4 + seed, seed, ending)
        reader = StoreReader(tmp_path, successes_only=True)
        assert [(part.episode, len(part)) for part in reader.poll()] == [(1, 5), (3, 7)]
        writer = store.begin({})
        for step in list(steps(9, 9))[:3]:
            writer.append(step)
        assert reader.poll() == []  # not known yet to be one
