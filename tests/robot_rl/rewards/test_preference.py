"""Preferences: loss and gradient, what is learnt, that it serves what was trained, and how much a step may earn."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from controllers.spatial import Pose
from robot_rl.contract import Ending, Field, Outcome, Reading, Verdict
from robot_rl.rewards.answers import EQUAL, FIRST, SECOND
from robot_rl.rewards.config import RankSettings
from robot_rl.rewards.preference import (
    Compared,
    Ensemble,
    batch_of,
    fit,
    judged,
    loss_of,
    pair_loss,
    save,
    score_loss,
    weights,
)
from robot_rl.rewards.preferred import (
    CARD,
    WEIGHTS,
    Card,
    Preference,
    PreferenceError,
    PreferenceTerm,
    PreferredJudge,
    columns_of,
    layout_of,
)
from robot_rl.rewards.saved import digest_of
from robot_rl.tasks.base import TOOL_DOWN
from tests.robot_rl.readings import PerfectArm

QUICK = RankSettings(width=8, members=2, rate=1e-2, steps=300, patience=10)
LENGTH = 4


class Pressed:
    """A task whose state is two fields: place and force."""

    name = "pressed"
    fields = (Field("place", 3, 1.0), Field("force", 1, 0.1))

    def state(self, reading: Reading) -> np.ndarray:
        return np.append(reading.pose.translation, 0.1 * reading.wrench[2]).astype(np.float32)


TASK = Pressed()


def snippet(rng: np.random.Generator, force: float) -> np.ndarray:
    """States ``(LENGTH, 4)`` with about ``force`` [N] and a place that says nothing."""
    places = rng.uniform(-1.0, 1.0, (LENGTH, 3))
    return np.column_stack((places, 0.1 * (force + rng.normal(0.0, 0.3, LENGTH)))).astype(np.float32)


def pairs(count: int, seed: int) -> list[Compared]:
    """Answers of somebody who prefers 8 N."""
    rng = np.random.default_rng(seed)
    found = []
    for forces in rng.uniform(0.0, 20.0, (count, 2)):
        first, second = (snippet(rng, force) for force in forces)
        off = np.abs(forces - 8.0)
        answer = EQUAL if abs(off[0] - off[1]) < 0.5 else FIRST if off[0] < off[1] else SECOND
        found.append(Compared(first, second, answer))
    return found


def scores(count: int, seed: int) -> list[Compared]:
    """Scores of the same, from 5 at 8 N down to 1 at 12 N away."""
    rng = np.random.default_rng(seed)
    forces = rng.uniform(0.0, 20.0, count)
    return [Compared(snippet(rng, force), None, round(5.0 - abs(force - 8.0) / 3.0)) for force in forces]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    fitted = fit(pairs(60, 0), pairs(15, 1), pairs(15, 2), QUICK)
    data = weights(fitted.model)
    folder = tmp_path_factory.mktemp("preference")
    card = Card(
        TASK.name, layout_of(TASK), (), digest_of(data), (60, 15, 15), fitted.agreement, None, ("demos/000000",)
    )
    save(folder, card, data)
    return folder


def reading(force: float) -> Reading:
    arm = PerfectArm(Pose(np.array([0.5, 0.0, 0.3]), TOOL_DOWN)).reading()
    return replace(arm, wrench=np.array([0.0, 0.0, force, 0.0, 0.0, 0.0]))


def test_losses_are_those_computed_by_hand() -> None:
    first, second = torch.tensor([1.0, 1.0, 1.0]), torch.tensor([0.0, 0.0, 0.0])
    loss = pair_loss(first, second, torch.tensor([1.0, 0.0, 0.5]))
    p = 1.0 / (1.0 + np.exp(-1.0))
    expected = [-np.log(p), -np.log(1.0 - p), -0.5 * np.log(p) - 0.5 * np.log(1.0 - p)]
    np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-6)
    np.testing.assert_allclose(loss.numpy(), [0.313262, 1.313262, 0.813262], rtol=1e-5)
    found = score_loss(torch.tensor([0.0, 1.0, 0.25]), torch.tensor([3.0, 4.0, 1.0]))
    np.testing.assert_allclose(found.numpy(), [0.0, 0.25, 1.5625])


def test_a_batch_is_the_mean_over_answers_and_members_of_means_over_steps() -> None:
    torch.manual_seed(0)
    model = Ensemble(4, 8, 3)
    answers = [*pairs(3, 0), *scores(2, 1)]
    with torch.no_grad():
        found = float(loss_of(model, batch_of(answers)))
        by_hand = []
        for one in answers:
            for member in range(3):
                R = [
                    float(model(torch.from_numpy(part))[member].mean())
                    for part in (one.first, one.second)
                    if part is not None
                ]
                if one.second is None:
                    by_hand.append((R[0] - 0.5 * (one.answer - 3.0)) ** 2)
                    continue
                mu = {FIRST: 1.0, SECOND: 0.0, EQUAL: 0.5}[one.answer]
                p = 1.0 / (1.0 + np.exp(R[1] - R[0]))
                by_hand.append(-mu * np.log(p) - (1.0 - mu) * np.log(1.0 - p))
    assert found == pytest.approx(np.mean(by_hand), rel=1e-5)


def test_the_gradient_is_that_of_finite_differences() -> None:
    torch.manual_seed(1)
    model = Ensemble(4, 5, 2).double()
    batch = batch_of([*pairs(4, 3), *scores(3, 4)], torch.float64)
    loss_of(model, batch).backward()
    step = 1e-6
    for parameter in model.parameters():
        assert parameter.grad is not None
        for place in {0, parameter.numel() // 2, parameter.numel() - 1}:
            around = []
            for sign in (1.0, -1.0):
                with torch.no_grad():
                    parameter.view(-1)[place] += sign * step
                    around.append(float(loss_of(model, batch)))
                    parameter.view(-1)[place] -= sign * step
            expected = (around[0] - around[1]) / (2.0 * step)
            assert float(parameter.grad.view(-1)[place]) == pytest.approx(expected, rel=1e-5, abs=1e-9)


def test_the_preferred_force_is_learnt_from_pairs(folder: Path) -> None:
    preference = Preference(folder, TASK)
    assert preference.card.agreement is not None and preference.card.agreement >= 0.8
    forces = np.arange(0.0, 21.0)
    quality = preference.of([reading(force) for force in forces.tolist()])
    assert 5.0 <= forces[quality.argmax()] <= 11.0
    assert quality.max() > 0.85 and quality[[0, -1]].max() < 0.5
    assert ((quality >= 0.0) & (quality <= 1.0)).all()


def test_the_preferred_force_is_learnt_from_scores() -> None:
    fitted = fit(scores(60, 0), scores(15, 1), scores(15, 2), QUICK)
    assert fitted.agreement is None
    assert fitted.error is not None and fitted.error < 1.0, "of 1 to 5, where always saying 3 is off by 1.1"
    assert judged(fitted.model, []) == (None, None)


def test_too_few_answers_are_refused() -> None:
    with pytest.raises(PreferenceError, match="5 answers to learn from and 0 to stop by are too few"):
        fit(pairs(5, 0), [], [], QUICK)


def test_numpy_says_what_torch_has_learnt(tmp_path: Path) -> None:
    fitted = fit(pairs(20, 0), pairs(8, 1), [], QUICK)
    data = weights(fitted.model)
    save(tmp_path, Card(TASK.name, layout_of(TASK), (), digest_of(data), (20, 8, 0), None, None), data)
    states = np.random.default_rng(5).normal(size=(7, 4)).astype(np.float32)
    with torch.no_grad():
        by_torch = fitted.model(torch.from_numpy(states)).mean(0).numpy()
    np.testing.assert_allclose(Preference(tmp_path, TASK).score(states), by_torch, rtol=1e-4, atol=1e-5)


def test_only_the_named_fields_are_looked_at() -> None:
    assert columns_of(layout_of(TASK), ()).tolist() == [0, 1, 2, 3]
    assert columns_of(layout_of(TASK), ("force",)).tolist() == [3]
    with pytest.raises(
        PreferenceError, match="fields='taste' is no field of the task's state; choose from place, force"
    ):
        columns_of(layout_of(TASK), ("taste",))


def test_what_does_not_fit_is_refused_by_name(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(PreferenceError, match=r"no preference at .*robot-rl reward prefer"):
        Card.read(tmp_path)
    for name in (CARD, WEIGHTS):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    other = Pressed()
    other.name = "pulled"
    with pytest.raises(PreferenceError, match="made for the task 'pressed', not for 'pulled'"):
        Preference(tmp_path, other)
    other = Pressed()
    other.fields = (Field("place", 3, 2.0), Field("force", 1, 0.1))
    with pytest.raises(PreferenceError, match="state of task 'pressed' has changed"):
        Preference(tmp_path, other)
    (tmp_path / WEIGHTS).write_bytes(b"x" + (folder / WEIGHTS).read_bytes()[1:])
    with pytest.raises(PreferenceError, match="is damaged, or of another preference"):
        Preference(tmp_path, TASK)
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(PreferenceError, match=f"has no {WEIGHTS}"):
        Preference(tmp_path, TASK)
    for damage in ("{", "[]", json.dumps({"format": "another"})):
        (tmp_path / CARD).write_text(damage)
        with pytest.raises(PreferenceError, match=CARD):
            Card.read(tmp_path)


def test_weights_of_another_network_are_refused(folder: Path, tmp_path: Path) -> None:
    data = weights(Ensemble(2, 3, 1))
    save(tmp_path, replace(Card.read(folder), weights=digest_of(data)), data)
    with pytest.raises(PreferenceError, match="does not fit"):
        Preference(tmp_path, TASK)


def test_an_episode_earns_less_by_it_than_by_success(folder: Path) -> None:
    term = PreferenceTerm(Preference(folder, TASK), 0.9, horizon=50)
    earned = term([reading(force) for force in np.linspace(0.0, 20.0, 50).tolist()])
    assert (earned >= 0.0).all() and 0.1 < earned.sum() < 0.9
    assert earned.max() <= 0.9 / 50
    for weight in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(PreferenceError, match="preference_weight"):
            PreferenceTerm(term.preference, weight, 50)


class Saying:
    """A judge that says one thing."""

    time_limit = True

    def __init__(self, outcome: Outcome) -> None:
        self.outcome, self.begun = outcome, 0

    def begin(self) -> None:
        self.begun += 1

    def judge(self, reading: Reading) -> Outcome:
        return self.outcome

    def later(self) -> Sequence[Verdict]:
        return (Verdict(3, self.outcome),)


@pytest.mark.parametrize(
    ("outcome", "reward"),
    [
        (Outcome.running(), 0.01),
        (Outcome.running(0.5), 0.51),
        (Outcome.doubtful("Is it?"), 0.01),
        (Outcome.success(), 1.01),
        (Outcome.timeout(), 0.01),
        (Outcome.failure("fell"), 0.0),
        (Outcome.aborted("lost"), 0.0),
    ],
)
def test_the_bonus_is_for_what_goes_on_or_succeeds(outcome: Outcome, reward: float) -> None:
    inner = Saying(outcome)
    judge = PreferredJudge(inner, lambda readings: np.full(len(readings), 0.01))
    judge.begin()
    found = judge.judge(reading(8.0))
    assert (found.ending, found.reason) == (outcome.ending, outcome.reason)
    assert found.reward == pytest.approx(reward)
    assert inner.begun == 1 and judge.time_limit
    assert judge.later()[0].outcome is outcome
    assert outcome.ending is not Ending.FAILURE or found.reward == 0.0, "or failing would pay"
