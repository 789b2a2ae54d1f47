"""Features beside the images in a store: kept as recorded, made anew for another encoder, never mixed."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pytest

from robot_rl.contract import AgentView, Layout, Outcome
from robot_rl.data.episode import Transitions
from robot_rl.data.replay import ReplayBuffer
from robot_rl.data.schema import StoreSchema
from robot_rl.data.store import EpisodeStore, StoreError
from robot_rl.learner.domain import TaskDomain
from tests.robot_rl.recording import FEATURES, PIXELS, SCHEMA, TASK, reader, steps

STEPS = 6
GRID = FEATURES.features["wrist"]


class Brightness:
    """An encoder that says in every cell and channel how bright the picture is; it counts what it is asked."""

    name = "brightness"

    def __init__(self, digest: str) -> None:
        self.digest = digest
        self.asked = 0

    def encode(self, pictures: np.ndarray) -> np.ndarray:
        self.asked += len(pictures)
        return np.broadcast_to(pictures.mean(axis=(1, 2, 3))[:, None, None, None], (len(pictures), *GRID)).astype("f2")


def record(path: Path, schema: StoreSchema, finished: bool = True) -> EpisodeStore:
    store = EpisodeStore.create_or_open(path, schema)
    writer = store.begin()
    for step in steps(STEPS, 3, None if finished else Outcome.running(0.0), schema):
        writer.append(step)
    if finished:
        writer.finish()
    return store


def only(parts: list[Transitions]) -> Transitions:
    (part,) = parts
    return part


def test_a_schema_survives_its_file() -> None:
    assert StoreSchema.from_json(FEATURES.to_json()) == FEATURES
    assert "encoder" not in PIXELS.to_json(), "as those before there were encoders"


@pytest.mark.parametrize("finished", [True, False], ids=["finished", "journal"])
def test_features_are_read_as_recorded_and_their_images_left_alone(tmp_path: Path, finished: bool) -> None:
    encoder = Brightness("a1")
    with record(tmp_path, FEATURES, finished):
        part = only(reader(tmp_path, encoder=encoder).poll().new)
        expected = [step.reading.features["wrist"] for step in steps(STEPS, 3, schema=FEATURES)]
        np.testing.assert_array_equal(part["features/wrist"][:-1], expected)
        assert part["features/wrist"].dtype == np.float16
        assert part.images == {}
        assert encoder.asked == 0


@pytest.mark.parametrize("recorded", [PIXELS, dataclasses.replace(FEATURES, encoder="b2")], ids=["none", "another's"])
@pytest.mark.parametrize("finished", [True, False], ids=["finished", "journal"])
def test_features_of_no_or_another_encoder_are_made_anew(
    tmp_path: Path, recorded: StoreSchema, finished: bool, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = Brightness("a1")
    with record(tmp_path, recorded, finished), caplog.at_level(logging.INFO):
        part = only(reader(tmp_path, encoder=encoder).poll().new)
        images = only(reader(tmp_path).poll().new).images["wrist"]
    np.testing.assert_array_equal(part["features/wrist"], Brightness("").encode(images))
    assert part.images == {}
    assert encoder.asked == STEPS + 1
    said = [record.getMessage() for record in caplog.records]
    assert any("its images are encoded anew by brightness" in line for line in said)
    assert any("encoding episode 0 (1 of about 1)" in line for line in said)


def test_who_sees_pixels_reads_no_features(tmp_path: Path) -> None:
    with record(tmp_path, FEATURES):
        part = only(reader(tmp_path).poll().new)
    assert set(part.images) == {"wrist"}
    assert not [name for name in part.columns if name.startswith("features/")]


def test_an_episode_is_loaded_with_all_that_was_recorded(tmp_path: Path) -> None:
    with record(tmp_path, FEATURES) as store:
        assert {"image/wrist", "features/wrist"} <= set(store.load_episode(0).columns)


@pytest.mark.parametrize(
    ("held", "wanted", "words"),
    [
        (PIXELS, FEATURES, "holds no features instead of features of encoder a1"),
        (FEATURES, PIXELS, "holds features of encoder a1 instead of no features"),
        (FEATURES, dataclasses.replace(FEATURES, encoder="b2"), "of encoder a1 instead of features of encoder b2"),
    ],
)
def test_a_store_never_mixes(tmp_path: Path, held: StoreSchema, wanted: StoreSchema, words: str) -> None:
    record(tmp_path, held).close()
    with pytest.raises(StoreError, match=words):
        EpisodeStore.create_or_open(tmp_path, wanted)
    assert StoreSchema.from_json((tmp_path / "schema.json").read_text()) == held


@pytest.mark.parametrize("grid", [None, np.zeros((2, 3, 5), "f2"), np.zeros(GRID, "f4"), np.full(GRID, np.nan, "f2")])
def test_a_step_without_the_features_is_refused(tmp_path: Path, grid: np.ndarray | None) -> None:
    step = next(steps(2, schema=FEATURES))
    features = {} if grid is None else {"wrist": grid}
    torn = dataclasses.replace(step, next_reading=dataclasses.replace(step.next_reading, features=features))
    with EpisodeStore.create_or_open(tmp_path, FEATURES) as store:
        writer = store.begin()
        with pytest.raises(StoreError, match="wrist"):
            writer.append(torn)


def test_a_domain_takes_any_store_with_its_images() -> None:
    domain = TaskDomain(AgentView(TASK), FEATURES)
    assert domain.layout.images == {"wrist": GRID}
    assert domain.misfit(PIXELS) == domain.misfit(dataclasses.replace(FEATURES, encoder="b2")) == ""
    assert "images {} instead of {'wrist': (4, 6)}" in domain.misfit(SCHEMA)
    assert domain.identity["encoder"] == "a1"


def test_replay_draws_grids_where_it_draws_images(tmp_path: Path) -> None:
    layout = Layout(5, 2, {"wrist": GRID})
    buffer = ReplayBuffer(20, layout)
    with record(tmp_path, FEATURES):
        part = only(reader(tmp_path, encoder=Brightness("a1")).poll().new)
    buffer.add(part)
    rows = np.arange(STEPS)
    batch = buffer.read(rows)
    np.testing.assert_array_equal(batch.images["wrist"], part["features/wrist"][:-1])
    np.testing.assert_array_equal(batch.next_images["wrist"], part["features/wrist"][1:])
    assert batch.images["wrist"].dtype == np.float16
    assert ReplayBuffer.bytes_for(10, layout) - ReplayBuffer.bytes_for(10, Layout(5, 2)) == 10 * 2 * 2 * 3 * 4
