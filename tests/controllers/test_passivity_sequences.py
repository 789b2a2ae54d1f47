"""Energy over any window, whatever happens: the bound, and that `tests.controllers.sequences` finds broken filters."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from controllers.core import Controller
from controllers.friction import FrictionCompensation
from controllers.impact import ImpactBound
from controllers.impedance import CartesianImpedance
from controllers.model import ArmModel
from controllers.passivity import EnergyTank
from tests.controllers.sequences import play

FEW = 2000  # sequences of each run of the tests


@pytest.mark.parametrize("block", range(4))
def test_energy_over_any_window_is_bounded_by_tank_and_budget(block: int) -> None:
    play(range(FEW // 4 * block, FEW // 4 * (block + 1)))


@pytest.mark.slow
@pytest.mark.timeout(6 * 3600)
def test_energy_over_any_window_is_bounded_in_a_million_sequences() -> None:
    """On as many processes as there are cores, forked."""
    shares = os.cpu_count() or 1
    size = -(-1_000_000 // shares)
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=play, args=(range(FEW + size * k, FEW + size * (k + 1)),)) for k in range(shares)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * shares, "the output above names the sequence"


MUTANTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {}


def mutant(break_it: Callable[[pytest.MonkeyPatch], None]) -> Callable[[pytest.MonkeyPatch], None]:
    MUTANTS[break_it.__name__] = break_it
    return break_it


@mutant
def no_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    valve_stays_above(monkeypatch, 1.0)
    target_goes_anywhere(monkeypatch)


@mutant
def valve_stays_half_open(monkeypatch: pytest.MonkeyPatch) -> None:
    valve_stays_above(monkeypatch, 0.5)


def valve_stays_above(monkeypatch: pytest.MonkeyPatch, least: float) -> None:
    settle = EnergyTank.settle
    monkeypatch.setattr(EnergyTank, "settle", lambda tank, spring, held: max(least, settle(tank, spring, held)))


@mutant
def target_goes_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EnergyTank, "allowance", lambda tank, held: np.inf)


@mutant
def spring_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    settle = EnergyTank.settle
    monkeypatch.setattr(EnergyTank, "settle", lambda tank, spring, held: settle(tank, 0.0, held))


@mutant
def nothing_kept_for_torques_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EnergyTank, "_run_on", lambda tank, *motion: 0.0)


def after_booking(monkeypatch: pytest.MonkeyPatch, then: Callable[[EnergyTank, float], None]) -> None:
    book = EnergyTank.book

    def booked(tank: EnergyTank, q: np.ndarray, torque: np.ndarray, dt: float) -> float:
        delivered = book(tank, q, torque, dt)
        then(tank, delivered if dt > 0.0 else 0.0)
        return delivered

    monkeypatch.setattr(EnergyTank, "book", booked)


@mutant
def budget_granted_twenty_times(monkeypatch: pytest.MonkeyPatch) -> None:
    def grant(tank: EnergyTank, _: float) -> None:
        extra = min(19.0 * tank._granted, tank.budget)
        tank.account += extra
        tank.budget -= extra
        tank._granted += extra

    after_booking(monkeypatch, grant)


@mutant
def grant_credited_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    def credit(tank: EnergyTank, _: float) -> None:
        tank.account += tank._granted

    after_booking(monkeypatch, credit)


@mutant
def a_tenth_not_booked(monkeypatch: pytest.MonkeyPatch) -> None:
    def forget(tank: EnergyTank, delivered: float) -> None:
        tank.account += 0.1 * delivered

    after_booking(monkeypatch, forget)


@mutant
def late_torques_taken_as_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    book = EnergyTank.book

    def booked(tank: EnergyTank, q: np.ndarray, torque: np.ndarray, dt: float) -> float:
        tank._torque[:] = torque
        return book(tank, q, torque, dt)

    monkeypatch.setattr(EnergyTank, "book", booked)


@mutant
def posture_not_valved(monkeypatch: pytest.MonkeyPatch) -> None:
    nullspace = CartesianImpedance.nullspace

    def unscaled(law: CartesianImpedance, *state: Any) -> np.ndarray:
        model, q, dq, posture, _ = state
        return nullspace(law, model, q, dq, posture, 1.0)

    monkeypatch.setattr(CartesianImpedance, "nullspace", unscaled)


@mutant
def wrench_not_valved(monkeypatch: pytest.MonkeyPatch) -> None:
    feed_forward = Controller._feed_forward
    monkeypatch.setattr(Controller, "_feed_forward", lambda controller, valve: feed_forward(controller, 1.0))


@mutant
def brake_drives(monkeypatch: pytest.MonkeyPatch) -> None:
    brake = ImpactBound.brake

    def push(bound: ImpactBound, model: ArmModel, torque: np.ndarray) -> np.ndarray | None:
        braking = brake(bound, model, torque)
        return None if braking is None else -braking

    monkeypatch.setattr(ImpactBound, "brake", push)


class Unscaled(np.ndarray):
    """Stays what it is when it is multiplied."""

    def __rmul__(self, factor: object) -> np.ndarray:  # type: ignore[override]
        return self.view(np.ndarray)


@mutant
def friction_not_valved(monkeypatch: pytest.MonkeyPatch) -> None:
    torque = FrictionCompensation.torque
    monkeypatch.setattr(FrictionCompensation, "torque", lambda law, dq: torque(law, dq).view(Unscaled))


@pytest.mark.parametrize("name", MUTANTS)
def test_the_sequences_find_a_filter_that_does_not_work(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the bound would be kept by arms that never came near it.

    Not here are the fading of the damping, which takes a shaking at 100 Hz to be needed, and the step of the rate limit
    in Z, which E_min covers for most motions: `test_passivity` has a test for either.
    """
    MUTANTS[name](monkeypatch)
    assert any(caught(seed) for seed in range(500))


def caught(seed: int) -> bool:
    try:
        play(range(seed, seed + 1))
    except AssertionError:
        return True
    return False
