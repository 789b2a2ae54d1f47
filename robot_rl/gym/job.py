"""``robot-rl gym``: learn in a Gymnasium environment, with the learner that robots have.

After every environment step the learner makes the updates that the step has earned, and the next action is decided by
the newest parameters. Environment and learner take turns; on an arm, a session goes on while its learner computes.
An environment that does not execute what it is told says so: ``info["executed_action"]`` is learnt from in its place.
With demonstrations, the learner first imitates them, and the first evaluation, after 0 steps, is that of the clone.
Every so often the deterministic policy is evaluated in an environment of its own, over episodes whose seeds training
never uses and that are the same at each evaluation and for every agent. Then the run's folder is brought up to date,
from which it can go on (`robot_rl.gym.keeping`).
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.contract import ContractError, Source
from robot_rl.contract.ranges import Count, Natural, check
from robot_rl.contract.settings import ConfigError
from robot_rl.data.episode import Transitions, frame_column
from robot_rl.gym.demos import load_demos
from robot_rl.gym.keeping import Keeper
from robot_rl.gym.making import import_modules, make_env
from robot_rl.gym.player import Player
from robot_rl.gym.spaces import Actions, EnvDomain, EnvError, Observations, own_task
from robot_rl.gym.world import Seen, World
from robot_rl.learner.config import LearnerConfig
from robot_rl.learner.factory import check_base, make_loop
from robot_rl.learner.loop import LearnerLoop
from robot_rl.perception.encoders import Encoder, make_encoder
from robot_rl.session.recovery import REFLEX

SUCCESS_KEYS = ("success", "succeed", "is_success")  # of ``info``: so the field's environments call it
SHOW_PERIOD = 10.0  # [s] between lines in the terminal when none is evaluated
RECENT = 10  # episodes whose mean return is shown
EVALUATIONS = 20  # in a run, unless an interval is given
ACTING = 1  # of the noise of an evaluation, which is another than that of learning


@dataclass(frozen=True)
class GymConfig:
    """A run in an environment.

    Attributes:
        env: Gymnasium's id.
        json: file that gets one line for each evaluation; appended to.
        learner: agent and its settings; of the others, those that concern stores and processes mean nothing here.
        steps: environment steps; with 0 it only imitates the demonstrations, and is evaluated.
        seed: of the environment, exploration and learning.
        modules: imported first: they register the environment.
        env_kwargs: given to the environment.
        demos: episode store or robomimic HDF5, or None.
        demo_keys: of the HDF5 file's observations, in the order of the state; see `robot_rl.gym.demos`.
        encoder: frozen network whose features of the images an agent sees in place of pixels, see
            `robot_rl.perception.encoders`; "" for none.
        eval_episodes: of each evaluation.
        eval_every: steps between evaluations; 0: a twentieth of ``steps``. The last one comes after the last step.
        eval_acting: evaluate a second time, on the same starts, with the noise by which it acts while it learns.
        run: folder that keeps the policy, and from which the run goes on when it is there; None keeps nothing.
    """

    env: str
    json: Path
    learner: LearnerConfig
    steps: Natural = 100_000
    seed: Natural = 0
    modules: tuple[str, ...] = ()
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    demos: Path | None = None
    demo_keys: tuple[str, ...] = ()
    encoder: str = ""
    eval_episodes: Count = 10
    eval_every: Natural = 0
    eval_acting: bool = False
    run: Path | None = None

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class EpisodeResult:
    """Undiscounted return and whether ``info`` ever said success; None when it never said anything about it."""

    total: float
    success: bool | None


def run_gym(config: GymConfig, tell: Callable[[str], None]) -> None:
    """Do all of it. ``tell`` shows the person a line.

    Raises `ConfigError` for whatever they can put right, and `EnvError` when the learner or the environment fails.
    """
    import_modules(config.env, config.modules)
    without, kwargs = config.learner.without, dict(config.env_kwargs)
    if without:
        if own_task(config.env) is None:
            raise EnvError(
                f"learner.without={','.join(without)} is for our own environments; wrap {config.env} in one that "
                "observes less"
            )
        kwargs["without"] = without
    with contextlib.ExitStack() as stack:
        env, evaluation = (stack.enter_context(contextlib.closing(make_env(config.env, kwargs))) for _ in range(2))
        encoder = _encoder(config.encoder)
        observations, actions = Observations(env.observation_space, encoder), Actions(env.action_space)
        domain = EnvDomain(config.env, observations, actions, without)
        warned: set[str] = set()  # by either
        worlds = [World(config.env, made, observations, actions, warned) for made in (env, evaluation)]
        keeper = None if config.run is None else Keeper(config.run, _identity(config))
        if keeper is not None:
            keeper.check()
        demos = []
        if config.demos is not None:
            demos = load_demos(config.demos, domain, observations, actions, config.demo_keys)
        check_base(config.learner, len(demos))
        _append(config.json, "")
        checkpoints = None if keeper is None else keeper.checkpoints
        learner = make_loop(config.learner, domain, config.seed, checkpoints=checkpoints, rows=2 * config.steps + 1)
        for part in demos:
            learner.add_demonstration(part)
        tell(_opening(config, domain, demos))
        GymRun(config, worlds[0], worlds[1], learner, tell, keeper).run()


def _identity(config: GymConfig) -> dict[str, Any]:
    """Values that must be the same for a run to go on."""
    return {
        "env": config.env,
        "env_kwargs": dict(config.env_kwargs),
        "agent": config.learner.agent,
        "seed": config.seed,
        "encoder": config.encoder,
    }


def _encoder(name: str) -> Encoder | None:
    """The encoder called ``name``, ready to encode; None for "". Raises `ConfigError` when it cannot be used."""
    if not name:
        return None
    try:
        encoder = make_encoder(name)
        encoder.load()
    except ContractError as error:
        raise ConfigError(f"--encoder {name}: {error}") from error
    return encoder


class GymRun:
    """The loop itself; `run_gym` says what the parts are."""

    def __init__(
        self,
        config: GymConfig,
        world: World,
        evaluation: World,
        learner: LearnerLoop,
        tell: Callable[[str], None],
        keeper: Keeper | None = None,
    ) -> None:
        self._config, self._world, self._evaluation, self._tell = config, world, evaluation, tell
        self._learner, self._keeper = learner, keeper
        counters = keeper.restore(learner) if keeper is not None else {}
        self._step: int = counters.get("step", 0)
        self._episodes: int = counters.get("episodes", 0)
        seeds_of_noise = (config.seed, self._step) if self._step else (config.seed,)
        self._explorer, self._exploiter = (
            Player(learner.agent, learner.domain.layout, learner.state, seeds_of_noise, deterministic)
            for deterministic in (False, True)
        )
        noise = (*seeds_of_noise, ACTING)
        self._acting = Player(learner.agent, learner.domain.layout, learner.state, noise, deterministic=False)
        self._acts_by = learner.version  # of the parameters
        self._reflexes: int = counters.get("reflexes", 0)
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._evaluating = 0.0  # [s] spent on it; not counted as time of training
        self._shown = time.monotonic()
        self._began = self._shown - counters.get("wall_s", 0.0)
        self._rate = (counters.get("wall_s", 0.0), int(learner.metrics()["learner/updates"]))
        if self._step:
            tell(f"going on after {self._step} steps, {self._episodes} episodes")

    def run(self) -> None:
        """From the first step to the last, evaluations included."""
        every = self._config.eval_every or max(1, self._config.steps // EVALUATIONS)
        training, evaluating = seeds(self._config.seed, self._config.eval_episodes)
        if self._step == 0:
            self._imitate()
        done = self._step >= self._config.steps  # a run that is done is evaluated once more
        if done or (self._step == 0 and self._learner.has_clone):
            self._evaluate(evaluating)
        if done:
            return
        if self._step == 0:
            self._learn()
        episode = self._reset((training + 2 * self._step) % 2**31)
        while self._step < self._config.steps:
            if self._advance(episode):
                self._recent.append(episode.total)
                self._episodes += 1
                episode = self._reset(None)
            self._learn()
            if self._step % every == 0 or self._step == self._config.steps:
                self._evaluate(evaluating)
            elif time.monotonic() - self._shown >= SHOW_PERIOD:
                self._show(self._progress())
            if self._learner.halted:
                raise EnvError(f"learning halted after {self._step} steps: {self._learner.halted}")

    def _reset(self, seed: int | None) -> _Episode:
        self._explorer.begin()
        return _Episode(self._world.reset(seed))

    def _advance(self, episode: _Episode) -> bool:
        """One step, handed to the learner; returns whether the episode is over."""
        action = self._explorer.act(*episode.seen)
        seen, reward, terminated, truncated, info, executed = self._world.step(action)
        self._reflexes += REFLEX in str(info.get("reason", ""))
        images = {name: np.stack((episode.seen.images[name], image)) for name, image in seen.images.items()}
        self._step += 1
        layout = self._learner.domain.layout
        transitions = Transitions(
            self._config.env,
            self._episodes,
            episode.steps,
            {
                "state": np.stack((episode.seen.state, seen.state)),
                **{frame_column(name, size): images[name] for name, size in layout.images.items()},
                "action": executed[None],
                "policy_action": action[None],
                "reward": np.array([reward], np.float32),
                "terminated": np.array([terminated], bool),
                "truncated": np.array([truncated], bool),
                "source": np.array([Source.POLICY], np.uint8),
                "version": np.array([self._acts_by]),
                "cost": np.zeros(1, np.float32),
            },
        )
        self._learner.add(transitions)
        if self._keeper is not None:
            self._keeper.note(transitions)
        episode.seen = seen
        episode.steps += 1
        episode.total += reward
        return terminated or truncated

    def _imitate(self) -> None:
        """Have the demonstrations imitated, if there are any, and act by the clone."""
        before = time.monotonic()
        while self._learner.imitating and self._learner.update():
            if time.monotonic() - self._shown >= SHOW_PERIOD:
                self._show(f"imitating: {self._learner.imitation}")
        if self._learner.imitation:
            self._show(f"imitated in {time.monotonic() - before:.0f} s: {self._learner.imitation}")
        self._explorer.load(self._learner.state)

    def _learn(self) -> None:
        """Make all updates that are due, and act by what came of them."""
        while self._learner.update():
            pass
        if self._learner.version != self._acts_by:
            self._explorer.load(self._learner.state)
            self._acts_by = self._learner.version

    def _evaluate(self, episode_seeds: list[int]) -> None:
        """Play the episodes of an evaluation, write its line and show it."""
        before = time.monotonic()
        self._exploiter.load(self._learner.state)
        results = [self._play(seed, self._exploiter) for seed in episode_seeds]
        line = self._line(results, before - self._began - self._evaluating)
        if self._config.eval_acting:
            self._acting.load(self._learner.state)
            acting = [self._play(seed, self._acting) for seed in episode_seeds]
            line |= {
                "acting_return_mean": float(np.mean([r.total for r in acting])),
                "acting_success_rate": _rate(acting),
            }
        _append(self._config.json, json.dumps(line) + "\n")
        self._evaluating += time.monotonic() - before
        success = "" if line["success_rate"] is None else f", success {line['success_rate']:.0%}"
        self._show(f"{self._progress()}; evaluation: return {line['return_mean']:.2f}{success}")
        if self._keeper is not None:
            counters = {name: line[name] for name in ("step", "episodes", "reflexes", "wall_s")}
            self._keeper.save(self._learner, counters)

    def _play(self, seed: int, player: Player) -> EpisodeResult:
        """One episode of an evaluation."""
        player.begin()
        seen = self._evaluation.reset(seed)
        total, success, over = 0.0, None, False
        while not over:
            answer = self._evaluation.step(player.act(*seen))
            seen, total = answer.seen, total + answer.reward
            said = [bool(np.any(answer.info[key])) for key in SUCCESS_KEYS if key in answer.info]
            if said:
                success = bool(success) or any(said)
            over = answer.terminated or answer.truncated
        return EpisodeResult(total, success)

    def _line(self, results: list[EpisodeResult], wall: float) -> dict[str, Any]:
        metrics = self._learner.metrics()
        made = int(metrics["learner/updates"])
        then, before = self._rate
        self._rate = wall, made
        totals = [result.total for result in results]
        return {
            "env": self._config.env,
            "agent": self._config.learner.agent,
            "seed": self._config.seed,
            "step": self._step,
            "wall_s": round(wall, 3),
            "return_mean": float(np.mean(totals)),
            "return_std": float(np.std(totals)),
            "success_rate": _rate(results),
            "eval_episodes": len(results),
            "episodes": self._episodes,
            "utd": metrics["learner/utd"],
            "actor_utd": metrics["learner/actor_utd"],
            "updates": made,
            "actor_updates": round(made * self._learner.agent.actor_share),
            "reflexes": self._reflexes,
            "cpu_s": round(time.process_time(), 1),
            "updates_per_s": round((made - before) / max(wall - then, 1e-9), 1),
        }

    def _progress(self) -> str:
        metrics = self._learner.metrics()
        recent = f", return {np.mean(self._recent):.2f} of the last {len(self._recent)}" if self._recent else ""
        return (
            f"step {self._step} of {self._config.steps}, {self._episodes} episodes{recent}, "
            f"{int(metrics['learner/updates'])} updates, UTD {metrics['learner/utd']:.2f} "
            f"(actor {metrics['learner/actor_utd']:.2f})" + (f", {self._learner.trust}" if self._learner.trust else "")
        )

    def _show(self, text: str) -> None:
        self._shown = time.monotonic()
        self._tell(text)


@dataclass
class _Episode:
    """The one being played: the newest observation, steps and return so far."""

    seen: Seen
    steps: int = 0
    total: float = 0.0


def seeds(seed: int, episodes: int) -> tuple[int, list[int]]:
    """For the training environment, and for each episode of an evaluation: the first is even, the others are odd."""
    drawn = np.random.SeedSequence(seed).generate_state(episodes + 1) >> 1  # 31 bits: some environments take no more
    return int(drawn[0]) & ~1, [int(number) | 1 for number in drawn[1:]]


def _rate(results: list[EpisodeResult]) -> float | None:
    """Share of successes; None when nobody said anything about it."""
    judged = [result.success for result in results if result.success is not None]
    return sum(judged) / len(results) if judged else None


def _opening(config: GymConfig, domain: EnvDomain, demos: list[Transitions]) -> str:
    layout = domain.layout
    images = "".join(f", image {name} {'×'.join(map(str, size))}" for name, size in layout.images.items())
    discrete = f", the last of {layout.options} values" if layout.options else ""
    learnt_from = f", {sum(map(len, demos))} steps of demonstrations" if demos else ""
    return (
        f"gym: {config.learner.agent} in {config.env}, state {layout.state_size}{images}, "
        f"{layout.action_size} actions{discrete}{learnt_from}; results in {config.json}"
        + ("" if config.run is None else f", policy in {config.run}")
    )


def _append(path: Path, text: str) -> None:
    """In one write, so that whoever is interrupted leaves whole lines. Raises `ConfigError` when it cannot be."""
    try:
        with open(path, "ab", buffering=0) as file:
            file.write(text.encode())
    except OSError as error:
        raise ConfigError(f"--json {path} cannot be written: {error.strerror}") from error
