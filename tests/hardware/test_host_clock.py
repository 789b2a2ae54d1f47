"""A device's clock mapped to the host's."""

from __future__ import annotations

import numpy as np
import pytest

from hardware.cameras.host_clock import WINDOW, HostClock

APART, PERIOD, QUICKEST = 1_700_000_000.0, 1.0 / 30.0, 0.004  # [s]


def stamps(delays: np.ndarray, drift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Stamps by the host's clock of a camera in rhythm whose pictures arrive late, and when they were truly taken."""
    clock, device = HostClock(), PERIOD * np.arange(len(delays))
    taken = APART + device * (1.0 + drift)
    found = [clock.stamp(mine, host + delay) for mine, host, delay in zip(device, taken, delays, strict=True)]
    return np.array(found), taken


def test_stamps_keep_the_rhythm_of_the_device_however_pictures_are_delayed() -> None:
    delays = QUICKEST + np.random.default_rng(0).exponential(0.01, 600)
    found, taken = stamps(delays)
    late = found - taken
    assert (found <= taken + delays + 1e-6).all(), "never later than they arrived"
    assert (late[100:] >= QUICKEST - 1e-6).all() and (late[100:] < QUICKEST + 0.001).all()
    assert np.diff(found)[100:] == pytest.approx(PERIOD, abs=0.001)


def test_clocks_that_drift_apart_are_followed() -> None:
    delays = QUICKEST + np.random.default_rng(1).exponential(0.005, 10 * WINDOW)
    found, taken = stamps(delays, drift=5e-5)
    assert np.abs(found - taken - QUICKEST)[WINDOW:].max() < 0.003


def test_a_device_that_sets_its_clock_anew_is_followed() -> None:
    clock = HostClock()
    assert clock.stamp(100.0, APART) == APART
    assert clock.stamp(0.5, APART + 1.0) == APART + 1.0
    assert clock.stamp(1.5, APART + 2.2) == APART + 2.0
