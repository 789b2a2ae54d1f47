"""The duties of a learner besides learning, in its own process and in process: publish, log, checkpoint, report."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from tensorboard.summary import Writer

from robot_rl.contract.files import write_atomically
from robot_rl.contract.settings import ConfigError
from robot_rl.data.store import StoreReader
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.promotion import Promotion
from robot_rl.jobs.run import Run
from robot_rl.learner.checkpoint import CheckpointError
from robot_rl.ros.topics import LEARNING

LOGGER = logging.getLogger(__name__)
LINE_PERIOD = 10.0  # [s] between lines in the log
STATUS_PERIOD = 1.0  # [s]
CATCH_UP = 30.0  # [s] at the end; below the patience of whoever waits for the process to end
COMPILING, IMITATING, PRETRAINING = "compiling", "imitating", "pretraining"  # phases of a learner before `LEARNING`
LOG_EVERY = 25  # update calls between two points of the learner's curves


class Learning(Protocol):
    """The loop of a learner: `robot_rl.learner.loop.LearnerLoop`, or `robot_rl.policies.vla.aloe.AloeLoop`.

    Attributes:
        halted: why updates stopped, or "".
        has_clone, imitating, imitation, trust, pretraining, version, debt: as of a `LearnerLoop`.
        turned: somebody else acts in the next episode than was published last.
    """

    halted: str
    has_clone: bool

    @property
    def turned(self) -> bool: ...
    @property
    def imitating(self) -> bool: ...
    @property
    def imitation(self) -> str: ...
    @property
    def trust(self) -> str: ...
    @property
    def pretraining(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def debt(self) -> int: ...
    def restore(self) -> bool: ...
    def poll(self) -> int: ...
    def warm_up(self) -> None: ...
    def step(self) -> bool: ...
    def checkpoint(self) -> Path: ...
    def parameters(self) -> bytes: ...
    def acting(self) -> tuple[int, bytes] | None:
        """Version and bytes of what acts while learning; None: what is in use."""

    def metrics(self) -> dict[str, float]: ...


class Trainer:
    """Steps a learner's loop and keeps the world informed.

    Args:
        loop: the learner's.
        publish: called with packed parameters whenever new ones shall act; the run's parameter file is kept as well.
        tell: called with each phase that begins, in words, and with its progress.

    Attributes:
        phase: `COMPILING`, `IMITATING` or `PRETRAINING` with how far it is, or `LEARNING`: from then on steps are
            learnt as they come.
    """

    def __init__(
        self,
        run: Run,
        config: RunConfig,
        loop: Learning,
        publish: Callable[[bytes], None],
        tell: Callable[[str], None] = lambda phase: None,
    ) -> None:
        self._run, self._settings, self._loop, self._publish, self._tell = run, config.learner, loop, publish, tell
        self.phase = COMPILING
        self._writer = Writer(str(run.tensorboard))
        self._episodes = StoreReader(run.online, images=False)
        self._logged_episodes = 0
        self._promotion = Promotion(run, config.learner.gate_window)
        self._published = -1
        self._has_clone = False  # kept
        self._checkpointed = self._logged = 0
        self._said = -STATUS_PERIOD
        self._rate = (time.monotonic(), 0.0)
        self._told_updates, self._told_at = 0.0, time.monotonic()

    def start(self) -> None:
        """Go on from the newest checkpoint if there is one, and publish what there is.

        Raises `ConfigError` when the checkpoint does not fit.
        """
        try:
            self._loop.restore()
        except CheckpointError as error:
            raise ConfigError(f"cannot go on from this run's checkpoint, {error}; another run starts anew") from error
        self._checkpointed = self._logged = self._loop.version
        self._has_clone = self._loop.has_clone and self._run.clone.exists()
        self._loop.poll()
        self.publish()
        self._report()

    def warm_up(self) -> None:
        """Compile, which takes a while, before anybody collects steps that would wait to be learnt."""
        self._run.say("learner", {"phase": self.phase})
        self._tell(self.phase)
        self._loop.warm_up()
        self._follow_phase()

    def _follow_phase(self) -> None:
        """See whether demonstrations are still learnt alone, and tell what is new."""
        if self._loop.imitating:
            self._become(f"{IMITATING} {self._loop.imitation}".rstrip())
            return
        if self._loop.has_clone and not self._has_clone:
            self._keep_clone()
        self._become(f"{PRETRAINING} {self._loop.pretraining}" if self._loop.pretraining else LEARNING)

    def _keep_clone(self) -> None:
        """Publish the clone, which acts from now on, and keep it."""
        self._has_clone = True
        LOGGER.info("imitated the demonstrations: %s", self._loop.imitation or "another run did")
        write_atomically(self._run.clone, self._loop.parameters())
        self.publish()

    def imitate(self) -> bool:
        """Imitate the demonstrations, and nothing else; returns whether there was anything to imitate."""
        if not self._loop.imitating:
            return False
        while self._loop.imitating and self._loop.step():
            self._follow_phase()
            if time.monotonic() - self._said >= STATUS_PERIOD:
                self._report()
        self._loop.checkpoint()
        return True

    def close(self) -> None:
        """Report, and learn no more."""
        self._report()
        self._writer.close()

    def _become(self, phase: str) -> None:
        if phase != self.phase:
            self.phase = phase
            self._tell(phase)

    def step(self) -> bool:
        """One update call if one is due; returns whether there was anything to do."""
        worked = self._loop.step()
        self._follow_phase()
        version = self._loop.version
        if version - max(self._published, 0) >= self._settings.publish_every or self._loop.turned:
            self.publish()
        if version - self._checkpointed >= self._settings.checkpoint_every:
            self._loop.checkpoint()
            self._checkpointed = self._loop.version
        if version - self._logged >= LOG_EVERY:
            self._logged = version
            self._log(version)
        if time.monotonic() - self._said >= STATUS_PERIOD:
            self._report()
        return worked

    @property
    def debt(self) -> int:
        """Critic updates that are due and will be made."""
        return self._loop.debt

    def publish(self) -> None:
        """Hand out the present parameters."""
        data = self._loop.parameters()
        self._published = self._loop.version
        write_atomically(self._run.parameters, data)
        version, acting = self._loop.acting() or (self._published, data)
        self._promotion.publish(version, data)
        self._publish(acting)

    def finish(self) -> None:
        """Catch up with what the data has earned, as far as `CATCH_UP` allows; publish, checkpoint, report."""
        deadline = time.monotonic() + CATCH_UP
        while time.monotonic() < deadline and self._loop.step():
            pass
        self.publish()
        self._loop.checkpoint()
        self.close()

    def _log(self, version: int) -> None:
        metrics = self._loop.metrics() | self._gate_metrics()
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, version)
        episodes = self._episodes.episodes()
        steps = sum(episode.steps for episode in episodes[: self._logged_episodes])
        for episode in episodes[self._logged_episodes :]:
            steps += episode.steps
            self._writer.add_scalar("episode/success", float(episode.success), steps)
            self._writer.add_scalar("episode/steps", float(episode.steps), steps)
            self._writer.add_scalar("episode/interventions", float(episode.interventions), steps)
        self._logged_episodes = len(episodes)

    def _gate_metrics(self) -> dict[str, float]:
        """The gate's status, as far as there is any."""
        return {f"gate/{name}": float(value) for name, value in self._promotion.status().items() if value is not None}

    def _report(self) -> None:
        """Judge the episodes that have ended, with or without updates to be made, and write the status."""
        self._promotion.judge()
        metrics = self._loop.metrics()
        now, updates = time.monotonic(), metrics["learner/updates"]
        rate = (updates - self._rate[1]) / max(now - self._rate[0], 1e-6)
        self._rate, self._said = (now, updates), now
        status = {
            "phase": self.phase,
            "updates": int(updates),
            "utd": metrics["learner/utd"],
            "actor_utd": metrics["learner/actor_utd"],
            "updates_per_s": round(rate, 1),
            "due": int(metrics["learner/due"]),
            "debt": self.debt,
            "online_steps": int(metrics["learner/online_steps"]),
            "demo_steps": int(metrics["learner/demo_steps"]),
            "version": self._loop.version,
            "staleness": round(metrics["learner/staleness"], 1),
            "staleness_max": int(metrics["learner/staleness_max"]),
            "trust": self._loop.trust,
            "halted": self._loop.halted,
            **self._promotion.status(),
        }
        self._run.say("learner", status)
        if updates != self._told_updates and now - self._told_at >= LINE_PERIOD:
            self._told_updates, self._told_at = updates, now
            LOGGER.info(
                "%d updates, UTD %.2f (actor %.2f), %.1f updates/s, %d steps collected",
                updates,
                status["utd"],
                status["actor_utd"],
                rate,
                status["online_steps"],
            )
