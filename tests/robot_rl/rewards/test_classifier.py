"""The classifier: what it learns, that it serves what it was trained on, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from robot_rl.contract import View
from robot_rl.perception.encoders import make_encoder
from robot_rl.rewards.classifier import Classifier, Head, Preparation, load, logits, save, weights
from robot_rl.rewards.config import TrainingSettings
from robot_rl.rewards.filtering import FilterSettings, Thresholds
from robot_rl.rewards.labels import FAILURE, LEFT_OUT, SUCCESS
from robot_rl.rewards.saved import CARD, WEIGHTS, ClassifierError, Saved, Seen, Stage, digest_of
from robot_rl.rewards.training import Fitted, Frames, balanced_loss, calibrated, fit, mean_loss, stages_loss
from tests.robot_rl.readings import FAR, PerfectArm
from tests.robot_rl.rewards.seeing import SAVED, SEEN, look

SETTINGS = TrainingSettings(steps=60, half=16, every=10, copies=0, rate=1e-3)


def episode(seed: int, success: bool = True) -> Frames:
    rng = np.random.default_rng(seed)
    labels = np.array([FAILURE] * 6 + ([LEFT_OUT] + [SUCCESS] * 5 if success else [FAILURE] * 6), np.int8)
    return Frames([look(bool(label != FAILURE), rng) for label in labels], labels[:, None])


@pytest.fixture(scope="module")
def preparation() -> Preparation:
    return Preparation(SEEN, make_encoder("efficientnet_lite0"))


@pytest.fixture(scope="module")
def fitted(preparation: Preparation) -> Fitted:
    episodes = [partial(episode, seed, seed % 2 == 0) for seed in range(12)]
    return fit(preparation, episodes[:8], episodes[8:], SETTINGS)


@pytest.fixture
def folder(tmp_path: Path, preparation: Preparation, fitted: Fitted) -> Path:
    data = weights(fitted.head)
    saved = Saved(
        task="reach",
        period=0.1,
        encoder="efficientnet_lite0",
        digest=preparation.encoder.digest,
        seen=SEEN,
        weights=digest_of(data),
        temperature=fitted.scales[0].temperature,
        offset=fitted.scales[0].offset,
        learning=("a/0",),
        stopping=("a/1",),
        filter=FilterSettings(),
        thresholds=Thresholds(0.5, 0.25),
    )
    save(tmp_path, saved, data)
    return tmp_path


def test_it_learns_what_is_to_be_seen(folder: Path, fitted: Fitted) -> None:
    fresh = episode(99)
    said = load(folder).probabilities(fresh.readings)
    assert ((said > 0.5) == (fresh.labels[:, 0] != FAILURE)).all()
    assert fitted.looks[-1].stopping < fitted.looks[0].stopping
    assert fitted.looks[-1].step <= SETTINGS.steps


def test_what_is_served_is_what_was_trained(folder: Path, preparation: Preparation, fitted: Fitted) -> None:
    """One preparation: the same readings give the very same inputs and outputs, and one by one nearly the same."""
    readings = episode(99).readings
    trained, served = Classifier(Saved.read(folder), preparation, fitted.head), load(folder)
    before, after = preparation(readings), served.preparation(readings)
    np.testing.assert_array_equal(before.grids["front"], after.grids["front"])
    np.testing.assert_array_equal(before.state, after.state)
    said = served.probabilities(readings)
    np.testing.assert_array_equal(trained.probabilities(readings), said)
    signals = [served.signals(reading) for reading in readings]
    saved = served.saved
    np.testing.assert_allclose([one[saved.signal] for one in signals], said, atol=0.02)  # float16, by size of the batch
    assert [one[saved.stamp_signal] for one in signals] == [reading.stamp_ns * 1e-9 for reading in readings]


def test_a_description_is_read_as_it_was_written(folder: Path) -> None:
    saved = Saved.read(folder)
    saved.write(folder)
    assert Saved.read(folder) == saved
    saved.check(folder, "reach", SEEN.views)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"views": {"wrist": View(size=64)}}, "cameras front, and here are wrist"),
        ({"views": {"front": View((0.0, 0.0, 0.5, 0.5), 64)}}, "crop="),
        ({"views": {"front": View(size=128)}}, "size=64, and here is"),
        ({"task": "peg_insertion"}, "made for the task 'reach'"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(folder: Path, change: dict, message: str) -> None:
    with pytest.raises(ClassifierError, match=message):
        Saved.read(folder).check(folder, **{"task": "reach", "views": SEEN.views, **change})


def test_what_is_missing_or_damaged_is_refused_by_name(folder: Path) -> None:
    with pytest.raises(ClassifierError, match="no reward classifier at"):
        Saved.read(folder / "none")
    saved = Saved.read(folder)
    replace(saved, thresholds=None).write(folder)
    with pytest.raises(ClassifierError, match="no threshold yet"):
        Saved.read(folder).check(folder, "reach", SEEN.views)
    replace(saved, digest="0123").write(folder)
    with pytest.raises(ClassifierError, match="features 0123"):
        load(folder)
    saved.write(folder)
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[:-1] + b"\x01")
    with pytest.raises(ClassifierError, match="damaged"):
        load(folder)
    (folder / WEIGHTS).unlink()
    with pytest.raises(ClassifierError, match=f"no {WEIGHTS}"):
        load(folder)
    (folder / CARD).write_text(json.dumps({"format": "of tomorrow"}))
    with pytest.raises(ClassifierError, match="another version"):
        Saved.read(folder)
    (folder / CARD).write_text("{")
    with pytest.raises(ClassifierError, match="is damaged"):
        Saved.read(folder)


def test_weights_of_other_inputs_are_refused(folder: Path) -> None:
    replace(Saved.read(folder), seen=Seen(SEEN.views)).write(folder)
    with pytest.raises(ClassifierError, match="does not fit"):
        load(folder)


def test_readings_without_what_is_seen_are_refused(preparation: Preparation) -> None:
    with pytest.raises(ClassifierError, match=r"camera front.*has no picture"):
        preparation([PerfectArm(FAR).reading()])
    with pytest.raises(ClassifierError, match="nothing that a classifier sees"):
        Seen(SEEN.views, ("taste",))
    with pytest.raises(ClassifierError, match="one camera at least"):
        Seen({})


def test_calibration_lowers_the_confidence_of_a_head_that_overstates() -> None:
    rng = np.random.default_rng(0)
    true_z = rng.normal(size=4000)
    truth = rng.random(4000) < 1.0 / (1.0 + np.exp(-true_z))
    temperature, offset = calibrated(5.0 * true_z + 3.0, truth, 10**6, 10**6)
    assert 1.0 / temperature == pytest.approx(0.2, rel=0.1)
    assert offset == pytest.approx(-0.6, abs=0.1)


def test_each_stage_is_a_question_of_its_own_in_the_loss() -> None:
    z = np.array([[2.0, -1.0], [0.5, 3.0], [-1.0, 0.0]])
    labels = np.array([[SUCCESS, FAILURE], [SUCCESS, LEFT_OUT], [FAILURE, FAILURE]], np.int8)

    def cost(value: float) -> float:  # of a success at z = value; of a failure at −value
        return float(np.log1p(np.exp(-value)))

    answered = [cost(2.0), cost(0.5), cost(1.0), cost(1.0), cost(0.0)]
    given = torch.tensor(z, requires_grad=True)
    loss = stages_loss(given, torch.tensor(labels))
    assert loss.item() == pytest.approx(np.mean(answered))
    loss.backward()
    nudge = 1e-6 * np.eye(6).reshape(6, 3, 2)
    steep = [(stages_loss(torch.tensor(z + by), torch.tensor(labels)) - loss.item()).item() / 1e-6 for by in nudge]
    np.testing.assert_allclose(given.grad.numpy().ravel(), steep, atol=1e-5)
    assert given.grad[1, 1] == 0.0, "what is left out teaches nothing"
    first = 0.5 * (0.5 * (cost(2.0) + cost(0.5)) + cost(1.0))
    assert mean_loss(z, labels) == pytest.approx(0.5 * (first + 0.5 * (cost(1.0) + cost(0.0))))


def test_no_stage_is_more_probable_than_one_before_it(preparation: Preparation) -> None:
    torch.manual_seed(0)
    head, inputs = Head(preparation.shapes, preparation.seen.state_size, 3), preparation(episode(1).readings[:4])
    stages = (Stage("lifted", 2.0, -0.5), Stage("carried", 1.0, 3.0))
    saved = replace(SAVED, earlier=stages, called="inserted", temperature=0.5, offset=1.0)
    said = Classifier(saved, preparation, head).of(inputs)
    z = logits(head, inputs)
    own = 1.0 / (1.0 + np.exp(-(z / [2.0, 1.0, 0.5] + [-0.5, 3.0, 1.0])))
    np.testing.assert_allclose(said[:, 0], own[:, 0])
    np.testing.assert_allclose(said[:, 1], np.minimum(own[:, 0], own[:, 1]))
    np.testing.assert_allclose(said[:, 2], own.min(axis=1))
    assert (own[:, 1] > own[:, 0]).any(), "there is something to put right"


def test_a_description_with_stages_is_read_as_it_was_written(tmp_path: Path) -> None:
    SAVED.write(tmp_path)
    assert not {"earlier", "called"} & set(json.loads((tmp_path / CARD).read_text())), "as before there were stages"
    earlier = (Stage("lifted", 2.0, -0.5, Thresholds(0.6, 0.5), "none"), Stage("carried", 1.0, 0.0))
    staged = replace(SAVED, earlier=earlier, called="inserted")
    staged.write(tmp_path)
    assert Saved.read(tmp_path) == staged
    assert [stage.name for stage in staged.stages] == ["lifted", "carried", "inserted"]
    assert staged.signals == ("stage-1-01234567", "stage-2-01234567", "success-01234567")


def test_either_kind_weighs_the_same_in_the_loss() -> None:
    z, truth = np.array([2.0, -1.0, -1.0, -1.0]), np.array([True, False, False, False])
    expected = 0.5 * (np.log1p(np.exp(-2.0)) + np.log1p(np.exp(-1.0)))
    assert balanced_loss(z, truth) == pytest.approx(expected)
