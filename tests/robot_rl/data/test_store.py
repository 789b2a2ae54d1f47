"""The episode store: contents, recovery, damage, tailing."""

from __future__ import annotations

import json
import shutil
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.contract import ActionSpec, Ending, Outcome, Relabel
from robot_rl.data import store as store_module
from robot_rl.data.columns import columns_to_readings
from robot_rl.data.episode import Transitions, read_info
from robot_rl.data.schema import StoreError, StoreSchema
from robot_rl.data.store import EpisodeStore, StoreReader
from tests.robot_rl.recording import PIXELS, SCHEMA, TASK, Felt, only_file, reader, readings, same, steps


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
    seen = [written[0].reading, *(s.next_reading for s in written)]
    for one, other in zip(columns_to_readings(episode.columns), seen, strict=True):
        assert np.array_equal(TASK.state(one), TASK.state(other))
        assert (one.stamp_ns, one.robot_time, one.mode) == (other.stamp_ns, other.robot_time, other.mode)
        assert np.array_equal(one.images["wrist"], other.images["wrist"])
        assert np.array_equal(one.objects["peg"].translation, other.objects["peg"].translation)
        assert one.signals == other.signals
    assert np.array_equal(episode["stamp_ns"], [o.stamp_ns for o in seen])
    assert np.array_equal(episode["action"], np.float32([s.action for s in written]))
    assert np.array_equal(episode["policy_action"], np.float32([s.policy_action for s in written]))
    assert np.array_equal(episode["target"][:, :3], [s.target.translation for s in written])
    assert np.array_equal(episode["truncated"], [False] * 19 + [True])
    assert not episode["terminated"].any()
    assert np.array_equal(episode["late"], [i == 1 for i in range(20)])
    assert (episode["version"] == 7).all() and (episode["decision_ms"] == 1.5).all()
    assert np.array_equal(episode["cost"], np.float32([i / 20 for i in range(20)]))
    (part,) = reader(tmp_path).poll().new
    assert np.array_equal(part["state"], [TASK.state(o) for o in seen])
    assert np.array_equal(part.span(3, 5)["cost"], np.float32([3 / 20, 4 / 20]))


def test_another_state_of_the_same_task_is_read_from_what_was_recorded_before(tmp_path) -> None:
    """A changed field or scale voids no demonstration."""
    with EpisodeStore.create_or_open(tmp_path, SCHEMA) as store:
        record(store, 6, 0)

    class Changed(Felt):
        def state(self, reading) -> np.ndarray:
            return np.append(2.0 * super().state(reading), reading.tank).astype(np.float32)

    with EpisodeStore.create_or_open(tmp_path, StoreSchema.of(Changed())) as store:
        record(store, 6, 1)
    before, after = (StoreReader(tmp_path, observe=task.state).poll().new for task in (TASK, Changed()))
    for old, new in zip(before, after, strict=True):
        assert np.array_equal(new["state"][:, :5], 2.0 * old["state"])
        assert np.array_equal(new["state"][:, 5], old["tank"].astype(np.float32))


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
    assert StoreReader(tmp_path).poll().new == []


def test_in_the_background_an_episode_is_written_while_the_next_one_begins(tmp_path, monkeypatch) -> None:
    may_write = threading.Event()
    write = store_module.write_episode

    def later(*arguments) -> None:
        assert may_write.wait(60.0)
        write(*arguments)

    monkeypatch.setattr(store_module, "write_episode", later)
    with EpisodeStore.create_or_open(tmp_path, SCHEMA, background=True) as store:
        follower = reader(tmp_path)
        try:
            record(store, 5, seed=0)
            writer = store.begin()
            writer.append(next(steps(1, 1)))
            store.relabel(Relabel(0, 4, Outcome.failure("it fell"), by="person"))
            assert [part.episode for part in follower.poll().new] == [0]  # steps are delivered in order
            assert not list((tmp_path / "episodes").glob("*.zarr"))
        finally:
            may_write.set()
        assert store.load_episode(0).info.ending is Ending.FAILURE
        assert [part.episode for part in follower.poll().new] == [1]
        writer.finish()
    assert [info.steps for info in StoreReader(tmp_path).episodes()] == [5, 1]


@pytest.mark.parametrize("heard_by", ["begin", "close"])
def test_in_the_background_a_disk_that_fails_is_told_of_and_the_journal_kept(tmp_path, monkeypatch, heard_by) -> None:
    def full(*_: object) -> None:
        raise StoreError("the disk is full")

    store = EpisodeStore.create_or_open(tmp_path, SCHEMA, background=True)
    with monkeypatch.context() as patch:
        patch.setattr(store_module, "write_episode", full)
        record(store, 5, seed=0)
        with pytest.raises(StoreError, match="the disk is full"):
            store.episodes() if heard_by == "begin" else store.close()
    store.begin() if heard_by == "begin" else None
    store.close()
    with EpisodeStore.create_or_open(tmp_path, SCHEMA) as store:
        assert [info.steps for info in store.episodes()] == [5]


def test_one_writer_at_a_time(tmp_path) -> None:
    first = EpisodeStore.create_or_open(tmp_path, SCHEMA)
    with pytest.raises(StoreError, match=r"is being written by process \d+; stop it or record into another"):
        EpisodeStore.create_or_open(tmp_path, SCHEMA)
    first.close()
    EpisodeStore.create_or_open(tmp_path, SCHEMA).close()


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (StoreSchema("peg", SCHEMA.action), "task reach instead of peg"),
        (StoreSchema("reach", ActionSpec(("x", "z"), (0.01, 0.01))), "action axes"),
        (StoreSchema("reach", ActionSpec(("x", "y"), (0.01, 0.02))), "action scale"),
        (StoreSchema("reach", SCHEMA.action, control_period=0.05), "control period 0.1 instead of 0.05"),
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
    for found, said in (
        ("other", "this version reads 'robot_rl-episodes-2'"),
        ("robot_rl-episodes-1", "kept observations in place of readings and cannot be read any more; record anew"),
        ("robot_rl-episodes-3", "of a later version of robot_rl: upgrade it"),
    ):
        with pytest.raises(ValueError, match=said):
            StoreSchema.from_json(json.dumps({"format": found}))


def test_a_store_that_is_no_store(tmp_path) -> None:
    (tmp_path / "schema.json").write_text("{")
    with pytest.raises(StoreError, match=r"schema\.json cannot be read"):
        EpisodeStore.create_or_open(tmp_path, SCHEMA)
    assert StoreReader(tmp_path / "nowhere").poll().new == []
    with pytest.raises(StoreError, match="no episode store here"):
        StoreReader(tmp_path / "nowhere").load_episode(0)


@pytest.mark.parametrize("running", [False, True])
def test_a_store_without_a_schema_is_empty_only_without_episodes(tmp_path, running) -> None:
    if running:
        interrupted(tmp_path)
    else:
        with EpisodeStore.create_or_open(tmp_path / "killed", SCHEMA) as store:
            record(store, 3, 0)
    (tmp_path / "killed" / "schema.json").unlink()
    said = r"schema\.json is missing, but there are 1 episodes; put back the schema\.json"
    with pytest.raises(StoreError, match=said):
        StoreReader(tmp_path / "killed").poll()
    with pytest.raises(StoreError, match=said):
        StoreReader(tmp_path / "killed").episodes()
    with pytest.raises(StoreError, match=said):
        EpisodeStore.create_or_open(tmp_path / "killed", SCHEMA)


def interrupted(tmp_path, count: int = 6) -> bytes:
    """A store whose writer died in episode 0; returns the bytes of its journal."""
    store = EpisodeStore.create_or_open(tmp_path / "live", SCHEMA)
    writer = store.begin({"seed": 1})
    for step in list(steps(count + 1))[:count]:
        writer.append(step)
    shutil.copytree(tmp_path / "live", tmp_path / "killed")
    store.close()
    return only_file(tmp_path / "killed" / "journal").read_bytes()


def test_a_torn_tail_is_dropped_with_a_message_and_the_rest_recovered(tmp_path, caplog) -> None:
    data = interrupted(tmp_path)
    only_file(tmp_path / "killed" / "journal").write_bytes(data[:-7])
    with EpisodeStore.create_or_open(tmp_path / "killed", SCHEMA) as store:
        assert "dropped a torn frame" in caplog.text and "recovered 5 steps" in caplog.text
        (info,) = store.episodes()
        assert (info.steps, info.ending, info.reason, info.seed) == (5, Ending.ABORTED, "interrupted", 1)
        episode = store.load_episode(0)
        assert episode["truncated"][-1] and not episode["terminated"].any()
        assert np.array_equal(episode["wrench"], [one.wrench for one in readings(7, 0)[:6]])
        assert store.begin().index == 1


@pytest.mark.parametrize("frame", [0, 2, 5])
def test_a_damaged_journal_is_kept_and_what_is_good_before_the_damage_recovered(tmp_path, caplog, frame) -> None:
    data = bytearray(interrupted(tmp_path))
    place = -1
    for _ in range(frame + 1):
        place = data.index(b"RRJ2", place + 1)
    data[place + 40] ^= 1
    folder = tmp_path / "killed" / "journal"
    only_file(folder).write_bytes(data)
    (folder / "000000.corrupt").write_bytes(b"of an earlier accident")
    with EpisodeStore.create_or_open(tmp_path / "killed", SCHEMA) as store:
        assert [(info.steps, info.reason) for info in store.episodes()] == [(frame, "interrupted")] * (frame > 0)
        assert store.begin().index == 1
    assert {path.name for path in folder.iterdir()} == {"000000.corrupt", "000000.2.corrupt"}
    assert (folder / "000000.2.corrupt").read_bytes() == data
    assert (folder / "000000.corrupt").read_bytes() == b"of an earlier accident"
    assert f"recovered the {frame} good steps before it; set aside as 000000.2.corrupt" in caplog.text


def test_a_journal_damaged_in_its_length_is_no_torn_one(tmp_path) -> None:
    data = bytearray(interrupted(tmp_path))
    data[data.index(b"RRJ2", 4) + 6] ^= 0xFF  # claims to be longer than the file
    only_file(tmp_path / "killed" / "journal").write_bytes(data)
    with EpisodeStore.create_or_open(tmp_path / "killed", SCHEMA) as store:
        assert [info.steps for info in store.episodes()] == [1]
    assert only_file(tmp_path / "killed" / "journal").read_bytes() == data


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
@pytest.mark.parametrize("victim", ["zarr.json", "pose/c/0/0", "reward/c/0", "action/zarr.json"])
def test_a_damaged_episode_is_named_set_aside_and_survived(tmp_path, caplog, victim, damage) -> None:
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
    assert [part.episode for part in StoreReader(tmp_path).poll().new] == [0, 2]
    (message,) = caplog.messages
    assert "000001.zarr: damaged" in message and "set aside as 000001.corrupt" in message
    with EpisodeStore.create_or_open(tmp_path, SCHEMA) as store:
        assert [info.index for info in store.episodes()] == [0, 2]
        assert store.begin().index == 3
        with pytest.raises(StoreError, match=r"has no finished episode 1 \(it has 2: 0 to 2\)"):
            store.load_episode(1)


def test_a_flipped_byte_of_the_attributes_is_found(tmp_path) -> None:
    """Whichever it is, the summary is what was written or the episode is damaged."""
    with EpisodeStore.create_or_open(tmp_path, SCHEMA) as store:
        record(store, 4, 0)
        (info,) = store.episodes()
    path = tmp_path / "episodes" / "000000.zarr" / "zarr.json"
    data = path.read_bytes()
    begin = data.index(b'"attributes"')
    found = 0
    for place in range(begin, data.index(b'"zarr_format"', begin) if b'"zarr_format"' in data[begin:] else len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        try:
            assert read_info(path.parent) == info
        except StoreError:
            found += 1
    assert found > 300


def test_summaries_skip_a_damaged_episode_and_leave_it_to_who_reads_on(tmp_path, caplog) -> None:
    with EpisodeStore.create_or_open(tmp_path, SCHEMA) as store:
        for seed in range(3):
            record(store, 4, seed)
    (tmp_path / "episodes" / "000001.zarr" / "zarr.json").write_text("{}")
    reader = StoreReader(tmp_path)
    for _ in range(2):
        assert [info.index for info in reader.episodes()] == [0, 2]
    (message,) = caplog.messages
    assert "000001.zarr" in message and message.endswith("skipped")
    assert [part.episode for part in StoreReader(tmp_path).poll().new] == [0, 2]
    assert "set aside as 000001.corrupt" in caplog.messages[1]
    assert [info.index for info in reader.episodes()] == [0, 2]


def test_opening_sets_aside_an_episode_without_a_summary(tmp_path, caplog) -> None:
    with EpisodeStore.create_or_open(tmp_path, SCHEMA) as store:
        record(store, 4, 0)
    (tmp_path / "episodes" / "000000.zarr" / "zarr.json").write_text("{}")
    with EpisodeStore.create_or_open(tmp_path, SCHEMA) as store:
        assert "set aside as 000000.corrupt" in caplog.text
        assert store.episodes() == []
        assert store.begin().index == 1


def test_each_step_is_delivered_once_across_the_move_to_zarr(tmp_path) -> None:
    follower = reader(tmp_path)
    got = follower.poll().new
    with EpisodeStore.create_or_open(tmp_path, PIXELS) as store:
        for seed in range(3):
            writer = store.begin()
            for number, step in enumerate(steps(8, seed, schema=PIXELS)):
                writer.append(step)
                if number in (2, 3, 6):
                    got += follower.poll().new
            writer.finish()
        got += follower.poll().new
    wholes = reader(tmp_path).poll().new
    assert [(p.episode, p.start, len(p)) for p in got] == [
        (e, s, n) for e in range(3) for s, n in ((0, 3), (3, 1), (4, 3), (7, 1))
    ]
    assert all(same(part, wholes[part.episode]) for part in got)
    assert follower.poll().new == []


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(["step", "finish", "poll"]), max_size=40))
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
                got += reader.poll().new
    assert np.array_equal(
        np.concatenate([np.zeros((0, 2)), *(part["action"] for part in got)]),
        np.reshape(np.float32([step.action for step in written]), (-1, 2)),
    )


def test_a_reader_goes_on_when_an_interrupted_episode_is_recovered(tmp_path) -> None:
    data = interrupted(tmp_path)
    reader = StoreReader(tmp_path / "killed")
    journal = only_file(tmp_path / "killed" / "journal")
    journal.write_bytes(data[: sum(map(len, data.split(b"RRJ2")[:5])) + 16])
    first = reader.poll().new
    journal.write_bytes(data[:-1])  # the last step was in flight
    with EpisodeStore.create_or_open(tmp_path / "killed", SCHEMA) as store:
        record(store, 2, 9)
    assert [(p.episode, p.start, len(p)) for p in first + reader.poll().new] == [(0, 0, 4), (0, 4, 1), (1, 0, 2)]


@pytest.mark.parametrize("finished", [False, True])
def test_a_reader_goes_on_where_another_one_stood(tmp_path, finished) -> None:
    with EpisodeStore.create_or_open(tmp_path, SCHEMA) as store:
        record(store, 3, 0)
        writer = store.begin()
        written = list(steps(9, 1))
        for step in written[:6]:
            writer.append(step)
        if finished:
            for step in written[6:]:
                writer.append(step)
            writer.finish()
        again = reader(tmp_path)
        parts = [again.take(0, 0, 3), again.take(1, 0, 2), again.take(1, 2, 2)]
        assert [(part.episode, part.start, len(part)) for part in parts] == [(0, 0, 3), (1, 0, 2), (1, 2, 2)]
        assert again.take(7, 0, 1) is None and len(again.take(1, 2, 99)) == (7 if finished else 4)
        assert len(again.take(1, 2, 2)) == 2
        (rest,) = again.poll().new
        wholes = reader(tmp_path).poll().new
        assert (rest.start, len(rest)) == (4, 5 if finished else 2)
        assert all(same(part, wholes[part.episode]) for part in (*parts, rest))


def test_a_reader_slower_than_the_writer_returns_what_was_there_when_it_was_asked(tmp_path) -> None:
    class Slow(StoreReader):
        def _load(self, index: int) -> Transitions | None:
            if unwritten:  # while it reads one episode, the writer finishes the next
                record(store, 2, unwritten.pop())
            return super()._load(index)

    unwritten = list(range(10))
    for successes_only in (False, True):
        reader = Slow(tmp_path / str(successes_only), successes_only=successes_only)
        with EpisodeStore.create_or_open(reader.path, SCHEMA) as store:
            record(store, 2, 0, Outcome.timeout())
            record(store, 2, 0)
            first = [part.episode for part in reader.poll().new]
            assert first == ([1] if successes_only else [0, 1])
            assert len(unwritten) == 8
            unwritten.clear()
            assert [part.episode for part in reader.poll().new] == [2, 3]
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
    (whole,) = reader(tmp_path).poll().new
    (run,) = whole.by_person()
    assert (run.start, len(run)) == (3, 3)
    assert same(run, whole)


def test_only_successes_when_asked_for(tmp_path) -> None:
    with EpisodeStore.create_or_open(tmp_path, SCHEMA) as store:
        for seed, ending in enumerate((Outcome.timeout(), Outcome.success(), Outcome.failure("dropped"), None)):
            record(store, 4 + seed, seed, ending)
        reader = StoreReader(tmp_path, successes_only=True)
        assert [(part.episode, len(part)) for part in reader.poll().new] == [(1, 5), (3, 7)]
        writer = store.begin({})
        for step in list(steps(9, 9))[:3]:
            writer.append(step)
        assert reader.poll().new == []  # not known yet to be one
