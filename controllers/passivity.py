"""An energy tank that bounds what the arm may give to the world, booked exactly for a sampled controller.

Over one sample a held torque gives the arm exactly ``tau · (q_next − q)``, whatever happens in between. So nothing is
estimated: each tick books the torque the robot *realised* against the *measured* motion, whatever law it came from:
springs, damping, posture, feed-forward wrench, friction compensation. With

    E   level of the tank             U   potential of the impedance spring at full stiffness
    V   potential held elsewhere      A = E + γU + V   all energy the controller has, the *account*
    b   left of the episode's budget  Z   what the torque in force still delivers if it must go at once (below)

one tick is

    g = min(P dt, b),  b ← b − g
    A ← A − tau_{k−1} · (q_k − q_{k−1}) + g            (delivered energy, task budget)
    γ = clip((A − V − Z − E_min) / (w + U), 0, 1)      (the valve: share of the spring the account can pay)
    E = A − γU − V, and what exceeds E_max is thrown away: first what g brought, which goes back to b.

Moving the target, the stiffness or the law changes U but not A, so a jump debits the tank by ΔU before any torque comes
of it, and brings ΔU back when it relaxes the spring. γ is continuous in the account and found without iteration, hence
no chatter. Target and gains are moved only as far as leaves the valve open, and no faster than drains the tank by the
outflow cap (`EnergyTank.allowance`, `affordable_fraction`); the valve is for what the controller did not choose. It
scales everything that can give energy: springs, feed-forward, friction and Coriolis compensation; damping stays, and so
does braking (`controllers.impact`), which is damping.

**Damping.** Below E_min the damping fades too: it is scaled by (A − V) / E_min, but not to below what a single step of
the rate limit can take away. A torque that may change by 1 N·m a millisecond only follows what swings at 100 Hz with
tens of N·m, and a damping that lags behind by a quarter of a period drives as much as it brakes. One so small that it
turns round within a tick does not lag.

**Theorem.** Within one motion, for any sequence of targets, laws, gains, wrenches, contacts, and ticks of any length,
over any window

    Σ tau·Δq  ≤  E_max + γU + V at its start  +  min(P T, b at its start + the budgets granted within it)  +  overdraft,

and the overdraft, by which the account ever was below zero, is zero under these assumptions:

1. The measured q is where the joints are, the reported torque is what they got, gravity excluded, held between ticks.
2. The energy delivered between the closing of the valve and the end of the torques it closes is at most Z + E_min.
3. The damping that is left below E_min takes energy out.

*Proof.* Sum the second line over the window: Σ tau·Δq ≤ A_0 − A_T + Σg − thrown away, where what was booked is at least
what was delivered (below). A_0 = E_0 + γU + V with E_0 ≤ E_max; Σg is at most P T and at most what b held and was
given; A_T ≥ −overdraft. For the second part: while A > V + Z + E_min nothing is overdrawn. Otherwise γ = 0, and torques
are asked for that take energy out (damping, by 3) or give back V; by (2) those still in force deliver no more than
Z + E_min, and A ≥ V ≥ 0 at the end. ∎

For (1): a state that comes more than a tick after the last one may report a torque that came late, and acted only after
the one reported before. Of two torques that follow each other, a joint that goes one way all the time delivers at most
the larger of the two products with its step, so this is booked. A joint that turns round meanwhile is booked wrong by
at most its way back times the change of its torque, 1 N·m or less; nobody measures q within an interval.

For (2): the torque about to be sent differs from the reported tau_i by at most δ, one step of the rate limit. It stays
in force for a stall S of the connection (the robot stops after 20 ms without a command) and then falls by a limited
rate r. With T_i = tau_i + δ sign(dq_i), and speeds that rise by no more than a meanwhile, joint i delivers at most

    T_i dq_i (S + |T_i|/2r) + ½ a (|tau_i| + δ) (S + (|tau_i| + δ)/r)²,

and Z is the sum over the joints. Whatever speeds joints up along their torques by more than a, while no command comes
through, be it somebody who pulls or the held torques themselves, takes energy that no controller could keep back; so do
a second stall before the torques of the first are gone, and a joint that turns round meanwhile while others brake.
E_min is for this, and `overdraft` reports what it did not cover.

*Not covered:* the start of a motion, which fills the tank and grants a budget anew; the robot's own gravity
compensation, whose error is not in the reported torque; its brakes and holding control once the motion is over; noise
of q, which is booked as it comes and adds up to nothing but what it correlates with the torque.
With ``filter=False`` all of this is reported and none of it enforced.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from controllers.limits import MAX_TORQUE_STEP
from controllers.state import TICK


class TankError(ValueError):
    """Tank parameters that contradict each other."""


@dataclass(frozen=True)
class TankConfig:
    """Size of the tank.

    The capacity pays for the spring: one at its 20 N clip, 5 cm away from its target, holds 1 J. The budget pays for
    what the task and friction consume: at 0.1 m/s the simulated joints' friction (up to 1.1 N·m each) takes 1–2 W and
    lifting 1 kg takes 1 W.

    Attributes:
        capacity: E_max, also the level at the start [J].
        reserve: E_min, the level at which the spring is fully released, and below which the damping fades [J].
        valve_width: w, the levels above the reserve over which the valve closes [J].
        budget: P, energy granted to the task [W] for as long as the episode's budget lasts.
        episode_budget: B, energy granted to the task from one `EnergyTank.begin_episode` to the next [J]; infinite
            where there are no episodes.
        stall: how long the robot may hold a torque without a new one before it stops [s].
        acceleration: the most by which any joint speeds up along a torque meanwhile [rad/s²].
        outflow: power at which moves of the target and of the gains may drain the tank [W]; infinite: no cap.
        filter: False books and reports everything, and holds nothing back: for experiments in simulation.

    Raises:
        TankError: at construction.
    """

    capacity: float = 2.0
    reserve: float = 0.05
    valve_width: float = 0.2
    budget: float = 5.0
    episode_budget: float = 300.0
    stall: float = 0.02
    acceleration: float = 10.0
    outflow: float = 50.0
    filter: bool = True

    def __post_init__(self) -> None:
        unbounded = ("outflow", "episode_budget")
        if not all(math.isfinite(value) for key, value in vars(self).items() if key not in unbounded):
            raise TankError(f"tank parameters but {' and '.join(unbounded)} must be finite: {self}")
        if not (self.outflow > 0.0 and self.episode_budget >= 0.0):
            raise TankError(f"a tank needs outflow > 0 W and episode_budget >= 0 J: {self}")
        if min(self.reserve, self.budget, self.stall, self.acceleration) < 0.0 or self.valve_width <= 0.0:
            raise TankError(f"a tank needs reserve, budget, stall and acceleration >= 0 and valve_width > 0 J: {self}")
        if self.capacity < self.reserve + self.valve_width:
            raise TankError(f"capacity must hold at least reserve + valve_width, or the valve never opens: {self}")


class EnergyTank:
    """The account of the docstring above.

    Attributes:
        account: A [J].
        level: E [J].
        valve: γ, 0–1.
        damping: the share of the damping that may act, 0–1; 1 with the filter off.
        budget: b, what is left of the episode's budget [J].
        overdraft: largest energy by which the account was overdrawn since `reset` [J].
    """

    def __init__(self, config: TankConfig, max_step: float = MAX_TORQUE_STEP, period: float = TICK) -> None:
        """``max_step``: δ, how much of a torque can be taken away [N·m] in one ``period`` of the controller [s]."""
        self.config = config
        self._step, self._period = max_step, period
        self.reset(np.zeros(0), np.zeros(0))

    def reset(self, q: np.ndarray, torque: np.ndarray) -> None:
        """Fill the tank and begin an episode, with no energy in any spring.

        Args:
            q: measured joint positions ``(n,)`` [rad].
            torque: what the robot realises at the moment ``(n,)`` [N·m], gravity excluded.
        """
        self.account = self.level = self.config.capacity
        self.valve = self.damping = 1.0
        self.overdraft = 0.0
        self._granted = 0.0
        self._tail = 0.0
        self._q: list[float] = q.tolist()
        self._torque: list[float] = torque.tolist()
        self.begin_episode()

    def begin_episode(self) -> None:
        """Grant the budget of a new episode; what was left of the last one's is void, the level stays as it is."""
        self.budget = self.config.episode_budget

    def book(self, q: np.ndarray, torque: np.ndarray, dt: float) -> float:
        """Book the motion since the last call.

        Args:
            q: measured joint positions ``(n,)`` [rad].
            torque: what the robot realised since the last call ``(n,)`` [N·m], gravity excluded.
            dt: time since the last call [s].

        Returns:
            The energy delivered to the arm, at most [J]; 0 when no time has passed, which leaves everything as it is.
        """
        if dt <= 0.0:
            return 0.0
        # With floats, not arrays: where the caches are cold, as at 1 kHz, that takes half the time.
        positions, torques = q.tolist(), torque.tolist()
        steps = [after - before for after, before in zip(positions, self._q, strict=True)]
        works = [t * step for t, step in zip(torques, steps, strict=True)]
        if dt > 1.5 * self._period:  # the torque reported before may have acted for a part of it, or all but the end
            works = [max(w, t * step) for w, t, step in zip(works, self._torque, steps, strict=True)]
        delivered: float = sum(works)
        self._tail = self._run_on(torques, steps, dt)
        self._q, self._torque = positions, torques
        self._granted = min(self.config.budget * dt, self.budget)
        self.budget -= self._granted
        self.account += self._granted - delivered
        if -self.account > self.overdraft:
            self.overdraft = -self.account
        return delivered

    def _run_on(self, torques: Sequence[float], steps: Sequence[float], dt: float) -> float:
        """Z of the docstring above: what comes after ``torques`` delivers from now until it is gone, at worst [J]."""
        S, most, rate = self.config.stall, self._step, self._step / self._period
        lasting = square = 0.0
        for tau, step in zip(torques, steps, strict=True):
            T = tau + math.copysign(most, step)
            lasting += T * step * (S + 0.5 * abs(T) / rate)
            square += tau * tau
        # Σ|T|(S + |T|/rate)² by its parts, with Σ|T| ≤ √n ‖T‖, Σ|T|³ ≤ ‖T‖³ and ‖T‖ ≤ ‖tau‖ + √n δ.
        root = math.sqrt(len(torques))
        size = math.sqrt(square) + root * most
        rising = S * S * size * root + size * size / rate * (2.0 * S + size / rate)
        return max(0.0, lasting / dt + 0.5 * self.config.acceleration * rising)

    @property
    def recovered(self) -> bool:
        """Whether the valve is open and the level well clear of it, so that the next shortage is another one."""
        config = self.config
        closing = config.reserve + config.valve_width
        margin = min(config.valve_width, 0.5 * (config.capacity - closing))
        return self.valve == 1.0 and self.level - self._tail >= closing + margin

    def allowance(self, held: float) -> float:
        """The spring potential U [J] up to which the valve stays open, with the potential V = ``held`` [J]."""
        return self.account - held - self._tail - self.config.reserve - self.config.valve_width

    def settle(self, spring: float, held: float) -> float:
        """Split the account with the potentials U = ``spring`` and V = ``held`` [J]; returns the valve to act with."""
        config = self.config
        share = (self.account - held - self._tail - config.reserve) / (config.valve_width + spring)
        self.valve = min(1.0, max(0.0, share))
        acting = self.valve if config.filter else 1.0
        if config.filter and config.reserve > 0.0:
            self.damping = min(1.0, max(0.0, (self.account - held) / config.reserve))
        self.level = self.account - acting * spring - held
        if self.level > config.capacity:
            surplus = self.level - config.capacity
            self.account -= surplus
            self.level = config.capacity
            self.budget += min(surplus, self._granted)  # what does not fit was not drawn
            self._granted = 0.0
        return acting


def affordable_fraction(potential: Callable[[float], float], allowance: float, iterations: int = 6) -> float:
    """A share s of a move, 0–1, with ``potential(s) ≤ allowance``, close to the largest and never above it.

    ``potential`` [J] should be convex in s, as the clipped spring is along a straight line: a chord then lies above the
    curve, and where it meets the allowance is affordable; chords from there on close in on the largest share.
    A move that does not raise the potential is always affordable.
    """
    low, at_low = 0.0, potential(0.0)
    high, at_high = 1.0, potential(1.0)
    if at_high <= max(allowance, at_low):
        return 1.0
    for _ in range(iterations):
        if at_low >= allowance:
            break
        share = low + (high - low) * (allowance - at_low) / (at_high - at_low)
        at_share = potential(share)
        if at_share <= allowance:
            low, at_low = share, at_share
        else:  # by rounding, or not convex, as across half a turn: the chord could stay here, so halve what is left
            high, at_high = share, at_share
            middle = 0.5 * (low + high)
            if (at_middle := potential(middle)) <= allowance:
                low, at_low = middle, at_middle
    return low
