from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from controllers.core import Controller, ControllerConfig
from controllers.passivity import EnergyTank, TankConfig, TankError, affordable_fraction
from controllers.state import ArmState, EventKind, Setpoint

DT = 1e-3
ROUNDING = 1e-9  # [J] thousands of sums of terms below 100 J


@given(seed=st.integers(0, 2**32 - 1), budget=st.floats(0.0, 10.0), effort=st.floats(0.0, 20.0))
@settings(max_examples=50, deadline=None)
def test_every_joule_is_accounted_for(seed: int, budget: float, effort: float) -> None:
    """Account + delivered − granted falls only by what a full tank throws away, and level ≤ capacity."""
    rng = np.random.default_rng(seed)
    config = TankConfig(budget=budget)
    tank = EnergyTank(config)
    q = rng.normal(size=7)
    tank.reset(q, np.zeros(7))
    delivered, invariant = 0.0, tank.account
    for tick in range(1, 200):
        step, torque = 0.01 * rng.normal(size=7), effort * rng.normal(size=7)
        q = q + step
        delivered += float(torque @ step)
        assert tank.book(q, torque, DT) == pytest.approx(float(torque @ step), abs=1e-12)
        held, spring = abs(rng.normal()), 3.0 * abs(rng.normal())
        valve = tank.settle(spring, held)
        assert 0.0 <= valve <= 1.0
        assert tank.level <= config.capacity
        assert tank.level == pytest.approx(tank.account - valve * spring - held)
        previous, invariant = invariant, tank.account + delivered - budget * DT * tick
        assert invariant <= previous + ROUNDING
        assert delivered <= config.capacity + budget * DT * tick - tank.account + ROUNDING
        assert tank.overdraft >= max(0.0, -tank.account) - ROUNDING


@given(account=st.floats(-1.0, 5.0), spring=st.floats(0.0, 10.0), held=st.floats(0.0, 1.0))
def test_valve_depends_on_the_level_alone(account: float, spring: float, held: float) -> None:
    config = TankConfig()
    tank = EnergyTank(config)
    tank.account = account
    valve = tank.settle(spring, held)
    of_level = (tank.level - config.reserve) / config.valve_width
    assert valve == pytest.approx(min(1.0, max(0.0, of_level)), abs=1e-9)
    if account - held >= config.reserve:
        assert tank.level >= config.reserve - ROUNDING


def test_tightening_the_spring_is_paid_by_the_tank_and_relaxing_it_pays_back() -> None:
    tank = EnergyTank(TankConfig())
    tank.reset(np.zeros(7), np.zeros(7))
    tank.settle(0.5, 0.0)
    assert tank.level == pytest.approx(1.5)
    tank.settle(0.0, 0.0)
    assert tank.level == pytest.approx(2.0)


def test_budget_does_not_fill_the_tank_beyond_its_capacity() -> None:
    tank = EnergyTank(TankConfig(budget=5.0))
    tank.reset(np.zeros(7), np.zeros(7))
    tank.book(np.zeros(7), np.zeros(7), 10.0)
    tank.settle(0.0, 0.0)
    assert tank.level == 2.0


@given(
    stiffness=st.floats(10.0, 5000.0),
    clip=st.floats(1e-3, 0.1),
    start=st.floats(-0.5, 0.5),
    length=st.floats(-1.0, 1.0),
    allowance=st.floats(0.0, 20.0),
)
@example(stiffness=10.0, clip=0.046875, start=0.0, length=1.0, allowance=0.056640625)  # rounding, on the straight part
def test_affordable_fraction_is_affordable_and_nearly_the_largest(
    stiffness: float, clip: float, start: float, length: float, allowance: float
) -> None:
    def potential(s: float) -> float:
        e = abs(start + s * length)
        return stiffness * (0.5 * e * e if e <= clip else clip * e - 0.5 * clip * clip)

    share = affordable_fraction(potential, allowance, iterations=60)
    assert 0.0 <= share <= 1.0
    assert potential(share) <= max(allowance, potential(0.0)) + ROUNDING
    if 0.0 < share < 1.0:
        assert potential(min(1.0, share + 1e-3)) > allowance - 1e-3 * max(1.0, allowance)


def test_a_move_downhill_is_free_even_when_the_tank_is_empty() -> None:
    assert affordable_fraction(lambda s: 2.0 - s, allowance=-1.0) == 1.0


def test_a_move_uphill_is_refused_when_the_tank_is_empty() -> None:
    assert affordable_fraction(lambda s: 1.0 + s, allowance=0.5) == 0.0


@pytest.mark.parametrize(
    "values", [{"capacity": 0.1}, {"reserve": -0.1}, {"valve_width": 0.0}, {"budget": -1.0}, {"budget": np.nan}]
)
def test_tanks_that_contradict_themselves_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(TankError):
        TankConfig(**values)


@given(
    seed=st.integers(0, 2**32 - 1),
    capacity=st.floats(0.25, 2.0),
    budget=st.sampled_from([0.0, 1.0, 5.0]),
    reach=st.floats(0.0, 0.3),
    push=st.floats(0.0, 15.0),
)
@example(seed=1, capacity=0.25, budget=0.0, reach=0.3, push=15.0)
@settings(max_examples=10, deadline=None)
def test_energy_delivered_never_exceeds_tank_and_budget(
    make_plant: Callable[..., Any], seed: int, capacity: float, budget: float, reach: float, push: float
) -> None:
    """Any setpoints, any pushes, closed loop: over every window, delivered ≤ account at its start + budget.

    The energy is summed by the plant, with the torques it really got, rate limit included.
    """
    rng = np.random.default_rng(seed)
    plant = make_plant(dq=rng.uniform(-0.3, 0.3, 7))
    tank = TankConfig(capacity=capacity, budget=budget, outflow=np.inf)
    config = ControllerConfig(tank=tank, max_jump=5.0, max_speed=np.inf, max_turn_speed=np.inf)
    controller = Controller(plant.model, config)
    start = plant.state()
    controller.start(start)
    home = plant.model.pose
    invariant, external = controller.tank.account, np.zeros(7)
    for tick in range(700):
        if tick % 50 == 0:
            goal = home.moved(reach * rng.uniform(-1.0, 1.0, 6) * (1.0, 1.0, 1.0, 2.0, 2.0, 2.0))
            controller.command(Setpoint(goal, tick, float(rng.choice([0.0, 0.05, 0.2]))), plant.time)
            external = push * rng.uniform(-1.0, 1.0, 7) * (1.0, 1.0, 1.0, 1.0, 0.3, 0.3, 0.3)
        result = controller.tick(plant.state())
        account = controller.tank.account
        previous, invariant = invariant, account + plant.delivered - budget * plant.time
        assert invariant <= previous + ROUNDING
        assert account >= 0.0
        assert result.tank <= capacity
        assert plant.delivered <= capacity + budget * plant.time + ROUNDING
        plant.step(result.torque, external)
    assert controller.tank.overdraft == 0.0


def test_an_empty_tank_is_reported_once_and_limits_the_spring(make_plant: Callable[..., Any]) -> None:
    """Without a budget, friction outside the controller uses the tank up, and the arm stops following."""
    plant = make_plant()
    config = ControllerConfig(tank=TankConfig(capacity=0.3, budget=0.0), max_jump=5.0, max_speed=np.inf)
    controller = Controller(plant.model, config)
    controller.start(plant.state())
    home, events = plant.model.pose, []
    friction = 3.0  # [N·m·s/rad]
    for tick in range(3000):
        if tick % 100 == 0:
            away = 0.1 if (tick // 1000) % 2 == 0 else -0.1
            events += controller.command(Setpoint(home.moved(np.array([away, 0, 0, 0, 0, 0])), tick, 0.0), plant.time)
        result = controller.tick(plant.state())
        events += result.events
        plant.step(result.torque, -friction * plant.dq)
    assert [event.kind for event in events] == [EventKind.TANK_EMPTY]
    assert plant.delivered <= 0.3
    assert result.tank < 0.3
    assert controller.tank.overdraft == 0.0


@given(seed=st.integers(0, 2**32 - 1), ticks=st.integers(2, 20), used=st.floats(0.0, 1.0))
@settings(max_examples=50, deadline=None)
def test_a_torque_that_came_late_is_booked_for_as_much_as_it_can_have_delivered(
    seed: int, ticks: int, used: float
) -> None:
    """Of an interval of several ticks, the torque reported at its end acted for a part that nobody reports."""
    rng = np.random.default_rng(seed)
    old, new, step = rng.normal(size=7), rng.normal(size=7), 0.01 * rng.normal(size=7)
    tank = EnergyTank(TankConfig())
    tank.reset(np.zeros(7), old)
    booked = tank.book(step, new, ticks * DT)
    assert booked >= float(old @ step) * (1.0 - used) + float(new @ step) * used - ROUNDING
    assert booked == pytest.approx(sum(max(o * s, n * s) for o, n, s in zip(old, new, step, strict=True)))


def test_a_state_that_comes_twice_changes_nothing() -> None:
    """The torque in force still delivers what it did before."""
    tank = EnergyTank(TankConfig())
    tank.reset(np.zeros(7), np.zeros(7))
    tank.book(np.full(7, 1e-3), np.full(7, 5.0), DT)
    allowance, budget = tank.allowance(0.0), tank.budget
    assert tank.book(np.full(7, 1e-3), np.full(7, 5.0), 0.0) == 0.0
    assert (tank.allowance(0.0), tank.budget) == (allowance, budget)


@given(
    torque=st.lists(st.floats(-20.0, 20.0), min_size=7, max_size=7),
    speed=st.lists(st.floats(-2.0, 2.0), min_size=7, max_size=7),
    step=st.lists(st.sampled_from([-0.99, 0.0, 0.99]), min_size=7, max_size=7),
)
def test_what_is_kept_back_covers_the_torque_about_to_be_sent(
    torque: list[float], speed: list[float], step: list[float]
) -> None:
    """Through a stall and until it is gone, joints going on as they do: integrated over time, joint by joint."""
    config = TankConfig(acceleration=0.0)
    tank = EnergyTank(config)
    held, dq = np.array(torque), np.array(speed)
    tank.reset(np.zeros(7), held)
    tank.book(dq * DT, held, DT)
    kept = tank.account - config.reserve - config.valve_width - tank.allowance(0.0)
    sent = held + np.array(step)
    ticks = np.arange(0.0, config.stall + 0.03, 1e-5)[:, None]  # 21 N·m are gone after 21 ms
    size = np.clip(np.abs(sent) - 990.0 * np.maximum(0.0, ticks - config.stall), 0.0, None)
    delivered = float((np.sign(sent) * size * dq).sum()) * 1e-5
    assert kept >= delivered - 2e-5 * float(np.abs(sent * dq).sum())


@pytest.mark.parametrize(("frequency", "speed"), [(100.0, 1.0), (100.0, 0.5), (20.0, 1.0), (5.0, 1.0)])
def test_an_arm_that_is_shaken_gets_no_more_than_the_tank_holds(
    make_plant: Callable[..., Any], frequency: float, speed: float
) -> None:
    """At 100 Hz the rate limit makes of the damping a torque that lags behind by a quarter of a period."""
    model, none = make_plant().model, np.zeros(7)
    tank = TankConfig(capacity=0.5, budget=0.0)
    controller = Controller(model, ControllerConfig(tank=tank, hold_after=100.0, damp_after=200.0))
    start, omega = make_plant().q, 2.0 * np.pi * frequency
    controller.start(ArmState(0.0, start, np.full(7, speed), none, none, np.zeros(6)))
    q, torque, delivered, most = start, none, 0.0, 0.0
    for tick in range(1, 4000):
        time = tick * DT
        before, q = q, start + speed / omega * np.sin(omega * time)
        delivered += float(torque @ (q - before))
        most = max(most, delivered)
        dq = np.full(7, speed * np.cos(omega * time))
        torque = controller.tick(ArmState(time, q, dq, none, torque, np.zeros(6))).torque
    assert most <= tank.capacity
    assert controller.tank.overdraft == 0.0
    if frequency == 100.0:
        assert most >= 0.9 * tank.capacity, "or it would not have been put to the test"
