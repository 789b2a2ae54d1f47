"""The drift alarm: shrinkage, distances, the rate of false alarms, another policy."""

from __future__ import annotations

import numpy as np
import pytest

from robot_rl.contract import ContractError
from robot_rl.rewards.drift import DriftAlarm, DriftSettings, DriftState, distances, fit, policy_changed, step
from robot_rl.rewards.promise import PromiseError

SETTINGS = DriftSettings(rate=0.1, window=3)


def episodes(seed: int, count: int, size: int = 4, offset: float = 0.0) -> list[np.ndarray]:
    """Correlated features, 20 frames an episode, each with an offset of its own."""
    random = np.random.default_rng(seed)
    mix = np.random.default_rng(0).normal(size=(size, size))
    return [(random.normal(size=size) + 0.3 * random.normal(size=(20, size))) @ mix + offset for _ in range(count)]


def watched(alarm: DriftAlarm, features: np.ndarray) -> DriftState:
    state = DriftState()
    for stamp, frame in enumerate(features):
        state = step(alarm, state, stamp, frame)
    return state


def test_the_covariance_is_shrunk_as_by_hand() -> None:
    """Moments diag(4, 0) and diag(0, 2): S = diag(2, 1), μ = 1.5, δ² = 0.25, β² = (5 + 5) / (2 · 4) = 1.25 > δ²,
    so Σ = μI. Of four episodes, three of the first kind: S = diag(3, 0.5), δ² = 1.5625, β² = 0.46875, ρ = 0.3."""
    first, second = np.array([[2.0, 0.0], [-2.0, 0.0]]), np.array([[0.0, 2.0**0.5], [0.0, -(2.0**0.5)]])
    alarm = fit([first, second], [first], DriftSettings(rate=0.5, window=1))
    assert alarm.shrinkage == 1.0
    assert np.allclose(alarm.whitening.T @ alarm.whitening, np.eye(2) / 1.5)
    alarm = fit([first, first, first, second], [first], DriftSettings(rate=0.5, window=1))
    assert alarm.shrinkage == pytest.approx(0.3)
    assert np.allclose(np.linalg.inv(alarm.whitening.T @ alarm.whitening), np.diag([0.3 * 1.75 + 0.7 * 3, 0.875]))
    assert alarm.threshold == pytest.approx((4 / 2.625 / 2) ** 0.5)


def test_distances_are_about_one_for_what_was_learnt() -> None:
    learnt = episodes(1, 200)
    alarm = fit(learnt, episodes(2, 20), SETTINGS)
    found = distances(np.concatenate(learnt), alarm.mean, alarm.whitening)
    kept = np.linalg.eigvalsh(np.linalg.inv(alarm.whitening.T @ alarm.whitening))  # ρμ + (1 − ρ)λ
    moments = (kept - alarm.shrinkage * kept.mean()) / (1 - alarm.shrinkage)
    assert np.mean(found**2) == pytest.approx(np.mean(moments / kept))
    assert 0.8 < np.mean(found**2) < 1.0  # 1 but for the shrinkage


def test_more_features_than_frames_have_a_distance() -> None:
    alarm = fit(episodes(1, 4, size=100), episodes(2, 20, size=100), SETTINGS)
    assert 0.0 < alarm.shrinkage < 1.0
    assert watched(alarm, episodes(3, 1, size=100, offset=50.0)[0]).alarm


def test_features_that_leave_the_training_raise_the_alarm_which_stays() -> None:
    alarm = fit(episodes(1, 100), episodes(2, 50), SETTINGS)
    state = watched(alarm, episodes(3, 1, offset=20.0)[0])
    assert state.alarm
    for stamp in range(100, 105):
        state = step(alarm, state, stamp, alarm.mean)
    assert state.alarm and state.lasting < alarm.threshold


def test_a_glance_that_does_not_last_raises_none() -> None:
    alarm = fit(episodes(1, 100), episodes(2, 50), SETTINGS)
    far, near = alarm.mean + 100.0, alarm.mean
    assert not watched(alarm, np.array([near, far, far, near, far, far, near])).alarm
    assert watched(alarm, np.array([near, far, far, far])).alarm


def test_copies_of_a_picture_do_not_last() -> None:
    alarm = fit(episodes(1, 100), episodes(2, 50), SETTINGS)
    state = DriftState()
    for stamp in [0, *[1] * 200, 0]:
        state = step(alarm, state, stamp, alarm.mean + 100.0)
    assert len(state.recent) == 2 and not state.alarm


def test_false_alarms_are_as_rare_as_stated() -> None:
    """19 held out: the 18th smallest peak, so an alarm has a chance of 2 / 20 on average, over calibrations too. Of
    40 calibrations with 50 episodes each, whose own rates scatter as Beta(2, 18) does, by √(0.1 · 0.9 / 21) = 0.065:
    the mean of all scatters by √(0.065² / 40 + 0.09 / 2000) = 0.0123."""
    learnt, rates = episodes(1, 100), []
    for seed in range(40):
        alarm = fit(learnt, episodes(100 + seed, 19), SETTINGS)
        rates.append(np.mean([watched(alarm, one).alarm for one in episodes(1000 + seed, 50)]))
    assert abs(np.mean(rates) - 0.1) < 4 * 0.0123


def test_too_few_held_out_episodes_are_refused() -> None:
    with pytest.raises(PromiseError, match=r"8 held-out episodes .* takes 9, record 1 more"):
        fit(episodes(1, 10), episodes(2, 8), SETTINGS)


@pytest.mark.parametrize(
    ("learnt", "text"),
    [
        ([np.ones((5, 3))], "1 episodes to learn a distribution from; it takes 2"),
        ([np.ones((5, 3)), np.ones((5, 3))], "do not vary enough"),
        ([np.ones((5, 3)), np.ones((5, 2))], "with one d"),
        ([np.ones((5, 3)), np.full((5, 3), np.nan)], "must be finite"),
        ([np.ones((5, 3)), np.ones((0, 3))], "T ≥ 1"),
    ],
)
def test_features_that_make_no_distribution_are_refused(learnt: list[np.ndarray], text: str) -> None:
    with pytest.raises(ContractError, match=text):
        fit(learnt, [np.ones((5, 3))] * 20, SETTINGS)


def test_features_of_another_encoder_are_refused() -> None:
    alarm = fit(episodes(1, 10), episodes(2, 20), SETTINGS)
    for features in (np.zeros(5), np.full(4, np.inf)):
        with pytest.raises(ContractError, match=r"must be finite and of shape .4,."):
            step(alarm, DriftState(), 0, features)


@pytest.mark.parametrize(("acting", "ahead"), [(5, 0), (4, 0), (3, 0), (7, 2), (-1, 0)])
def test_the_policies_that_acted_are_known(acting: int, ahead: int) -> None:
    assert policy_changed((-1, 3, 5), acting, ahead) == ""


@pytest.mark.parametrize(("acting", "ahead"), [(6, 0), (2, 0), (8, 2)])
def test_another_policy_is_named(acting: int, ahead: int) -> None:
    assert policy_changed((-1, 3, 5), acting, ahead) == (
        f"the policy has changed since calibration: version {acting} acts, the promise was measured on versions 3 to 5"
    )


def test_demonstrations_promise_nothing_of_a_policy() -> None:
    assert policy_changed((-1,), 0).endswith("the promise was measured on episodes that no policy acted in")
