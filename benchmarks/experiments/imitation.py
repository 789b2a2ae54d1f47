"""How much of a task plain imitation solves: of demonstrations, and of the policy that copies 20 of them.

    python -m benchmarks.experiments.imitation --tasks peg_search --seeds 2
    python -m benchmarks.experiments.imitation --style script --episodes 50

A task is evidence for reinforcement learning only where the copy fails. It is a mean-squared-error fit of an MLP
(2×256) on the state as the task scales it, 2000 gradient steps of 256, seconds; nothing is tuned to a task.
Standardised by 20 demonstrations, forces that are nearly always 0 would be magnified, and the first touch lead the copy
astray: it then succeeds in none of 16 starts of `peg_insertion`, copying the straight script. Demonstrations, as
recorded for an agent: the successful ones of the script, driven in a style (`robot_rl.tasks.experts.person`).
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from controllers.core import ControllerConfig
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.contract import ActionChunk, AgentView, Ending, Observation, Policy, Step
from robot_rl.session.config import SessionConfig
from robot_rl.session.directive import EpisodeSummary
from robot_rl.session.errors import ResetError
from robot_rl.session.in_process import Rollout
from robot_rl.session.session import Session
from robot_rl.tasks import TASKS, make_task
from robot_rl.tasks.base import Task, scene_of
from robot_rl.tasks.experts.person import PERSON, STYLES, Driver, make_driver

DEMOS = 20
STEPS, BATCH, WIDTH, RATE = 2000, 256, 256, 1e-3
EVALUATION = 100_003  # added to the seed of starts that nobody learnt from


class Played(NamedTuple):
    """An episode: its summary and its steps."""

    summary: EpisodeSummary
    steps: tuple[Step, ...]

    @property
    def succeeded(self) -> bool:
        return self.summary.ending is Ending.SUCCESS


@dataclass(frozen=True, eq=False)
class Clone(Policy):
    """An MLP that copies: weights and biases of its layers.

    ``spread (a,)`` is the standard deviation of the demonstrations about the copy. With ``noise`` it acts with a
    Gaussian of that, without by its mean.
    """

    layers: tuple[tuple[np.ndarray, np.ndarray], ...]
    spread: np.ndarray
    noise: np.random.Generator | None = None

    def act(self, observations: Sequence[Observation]) -> ActionChunk:
        action = self.predict(observations[-1].state)
        if self.noise is not None:
            action = action + self.spread * self.noise.standard_normal(len(action))
        return ActionChunk(observations[-1].stamp_ns, np.clip(action, -1.0, 1.0)[None])

    def predict(self, states: np.ndarray) -> np.ndarray:
        """Mean actions ``(…, a)`` in ``states (…, d)``."""
        hidden = states
        *inner, (weights, bias) = self.layers
        for inner_weights, inner_bias in inner:
            hidden = np.maximum(hidden @ inner_weights + inner_bias, 0.0)
        action: np.ndarray = hidden @ weights + bias
        return action


def play(task: Task, seed: int, driver: Driver | None = None, policy: Policy | None = None) -> Iterator[Played]:
    """Episodes without end, of a driver or a policy. Where the arm does not get back, the world begins anew."""
    for number in itertools.count():
        with contextlib.suppress(ResetError):
            yield from _play(task, seed + number * EVALUATION, driver, policy)


def _play(task: Task, seed: int, driver: Driver | None, policy: Policy | None) -> Iterator[Played]:
    """Episodes until a reset fails. Raises `ResetError` then."""
    with InProcessWorld(scene_of(task), task.bound(ControllerConfig())) as world:
        world.start()
        session = Session(task, SessionConfig(ask_policy=policy is not None), None, seed)
        rollout = Rollout(session, world, driver)
        steps: list[Step] = []
        while True:
            directive = rollout.step(policy)
            if directive.step is not None:
                steps.append(directive.step)
            if directive.ended is not None:
                yield Played(directive.ended, tuple(steps))
                steps = []


def demonstrate(task: Task, style: str, seed: int, count: int) -> tuple[list[Played], int]:
    """``count`` episodes that succeeded, and how many were driven for them."""
    shown: list[Played] = []
    for tried, played in enumerate(play(task, seed, make_driver(task, style, seed)), start=1):
        if played.succeeded:
            shown.append(played)
        if len(shown) == count:
            return shown, tried
        if tried >= 5 * count:
            raise SystemExit(f"{task.name}: only {len(shown)} of {tried} demonstrations succeeded")
    raise AssertionError("episodes do not end")


def imitate(states: np.ndarray, actions: np.ndarray, seed: int) -> Clone:
    """The copy of demonstrations: ``actions (n, a)`` that were executed in ``states (n, d)``."""
    import jax
    import jax.numpy as jnp
    import optax

    inputs, targets = jnp.asarray(states), jnp.asarray(actions)

    def forward(layers, x):  # type: ignore[no-untyped-def]
        for weights, bias in layers[:-1]:
            x = jax.nn.relu(x @ weights + bias)
        return x @ layers[-1][0] + layers[-1][1]

    def loss(layers, rows):  # type: ignore[no-untyped-def]
        return jnp.mean((forward(layers, inputs[rows]) - targets[rows]) ** 2)

    optimiser = optax.adam(RATE)

    @jax.jit
    def update(carry, rows):  # type: ignore[no-untyped-def]
        layers, state = carry
        change, state = optimiser.update(jax.grad(loss)(layers, rows), state)
        return (optax.apply_updates(layers, change), state), None

    rng = np.random.default_rng(seed)
    sizes = (states.shape[1], WIDTH, WIDTH, actions.shape[1])
    layers = tuple(
        (jnp.asarray(rng.normal(0.0, np.sqrt(2.0 / a), (a, b)), jnp.float32), jnp.zeros(b))
        for a, b in itertools.pairwise(sizes)
    )
    rows = jnp.asarray(rng.integers(0, len(states), (STEPS, BATCH)))
    (layers, _), _ = jax.lax.scan(update, (layers, optimiser.init(layers)), rows)
    clone = Clone(tuple((np.asarray(weights), np.asarray(bias)) for weights, bias in layers), np.zeros(0))
    return replace(clone, spread=(actions - clone.predict(states)).std(axis=0))


def evaluate(task: Task, clone: Clone, seed: int, count: int) -> tuple[list[Played], list[Played]]:
    """``count`` episodes by the clone's mean, and as many with its noise, from starts that nobody learnt from."""
    starts = seed + EVALUATION
    noisy = replace(clone, noise=np.random.default_rng(starts))
    by_mean, acting = (list(itertools.islice(play(task, starts, policy=who), count)) for who in (clone, noisy))
    return by_mean, acting


def success_rate(played: Sequence[Played]) -> float:
    return float(np.mean([episode.succeeded for episode in played]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        prog="python -m benchmarks.experiments.imitation",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tasks", nargs="+", default=list(TASKS.builtin), help="default: the built-in ones")
    parser.add_argument("--style", choices=STYLES, default=PERSON, help="of the demonstrations (default %(default)s)")
    parser.add_argument("--seeds", type=int, default=1, help="so many, from 0 (default %(default)s)")
    parser.add_argument("--episodes", type=int, default=40, help="of an evaluation (default %(default)s)")
    arguments = parser.parse_args()
    heads = ("Task", "Seed", "Demonstrations that succeeded", "Steps", "Imitation", "with noise", "Failures")
    sys.stdout.write(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|\n")
    for name in arguments.tasks:
        task = make_task(name)
        view = AgentView(task)
        for seed in range(arguments.seeds):
            shown, tried = demonstrate(task, arguments.style, seed, DEMOS)
            made = [step for played in shown for step in played.steps]
            states = np.stack([view.state(step.reading) for step in made])
            clone = imitate(states, np.stack([step.action for step in made]), seed)
            by_mean, acting = evaluate(task, clone, seed, arguments.episodes)
            endings = [episode.summary.ending.value for episode in by_mean if not episode.succeeded]
            counted = ", ".join(f"{ending} {endings.count(ending)}" for ending in sorted(set(endings)))
            steps = np.median([episode.summary.steps for episode in shown])
            rates = (f"{success_rate(by_mean):.2f}", f"{success_rate(acting):.2f}")
            cells = (f"`{name}`", seed, f"{DEMOS} of {tried}", f"{steps:.0f}", *rates, counted)
            sys.stdout.write(f"| {' | '.join(map(str, cells))} |\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
