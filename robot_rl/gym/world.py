"""A Gymnasium environment behind checks: it answers as `gymnasium.Env` promises, or one line says where it does not.

An episode that does not end is cut after `LONGEST` steps, as by a time limit.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from robot_rl.gym.envs import EXECUTED
from robot_rl.gym.spaces import Actions, EnvError, Observations

LOGGER = logging.getLogger(__name__)
LONGEST = 10_000  # steps of an episode, where the environment has no limit of its own
LARGE_REWARD = 1e4  # beyond which critics fit badly
LONGEST_WORDS = 300  # of an environment's own error


class Seen(NamedTuple):
    """An observation: the state ``(d,)`` float32 and the images, name → ``(h, w, 3)`` uint8, or features of them."""

    state: np.ndarray
    images: dict[str, np.ndarray]


class Answer(NamedTuple):
    """The environment's answer to an action; ``executed (a,)`` in [−1, 1] is what was done of it."""

    seen: Seen
    reward: float
    terminated: bool
    truncated: bool
    info: Mapping[str, Any]
    executed: np.ndarray


class World:
    """The environment ``env``, called ``name`` in messages; of ``warned`` nothing is warned again.

    All methods raise `EnvError` for what `gymnasium.Env` does not allow, and when the environment itself fails.
    """

    def __init__(
        self,
        name: str,
        env: gymnasium.Env,
        observations: Observations,
        actions: Actions,
        warned: set[str] | None = None,
    ) -> None:
        self._name, self._env = name, env
        self._observe, self._actions = observations, actions
        spec = env.spec
        limit = spec.max_episode_steps if spec is not None else None
        self._longest = limit or LONGEST
        self._unbounded = limit is None
        self._steps = 0
        self._warned = set() if warned is None else warned

    def reset(self, seed: int | None) -> Seen:
        """Begin an episode."""
        self._steps = 0
        try:
            answer = self._env.reset(seed=seed)
        except TypeError as error:
            if "seed" not in str(error):
                raise self._failed("reset", error) from error
            raise EnvError(f"{self._name}: reset(seed=…) is not taken ({error}); {_NEWER}") from error
        except Exception as error:
            raise self._failed("reset", error) from error
        if not (isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[1], Mapping)):
            raise EnvError(
                f"{self._name}: reset returned {_kind(answer)} where Gymnasium has (observation, info); {_NEWER}"
            )
        return self._see(answer[0], "reset")

    def step(self, action: np.ndarray) -> Answer:
        """Act: ``action (a,)`` in [−1, 1]."""
        self._steps += 1
        where = f"step {self._steps} of an episode"
        try:
            answer = self._env.step(self._actions.decode(action))
        except Exception as error:
            raise self._failed(where, error) from error
        if not (isinstance(answer, tuple) and len(answer) == 5 and isinstance(answer[4], Mapping)):
            raise EnvError(
                f"{self._name}: {where} returned {_kind(answer)} where Gymnasium has (observation, reward, terminated, "
                f"truncated, info); {_NEWER}"
            )
        observation, reward, terminated, truncated, info = answer
        seen = self._see(observation, where)
        number = self._reward(reward, where)
        done, cut = self._flag("terminated", terminated, where), self._flag("truncated", truncated, where)
        if self._steps >= self._longest and not (done or cut):
            cut = True
            if self._unbounded:
                self._warn_once(
                    f"an episode is cut after {self._longest} steps, for it does not end; another limit: "
                    "--env-kwargs '{\"max_episode_steps\": N}'"
                )
        return Answer(seen, number, done, cut, info, self._executed(action, info, where))

    def _executed(self, action: np.ndarray, info: Mapping[str, Any], where: str) -> np.ndarray:
        """The action that was executed: the environment's word in ``info``, else ``action``."""
        if EXECUTED not in info:
            return action
        try:
            executed: np.ndarray = self._actions.encode(np.asarray(info[EXECUTED], np.float64).reshape(1, -1))[0]
        except (TypeError, ValueError) as error:
            raise EnvError(f"{self._name}, {where}: info has {EXECUTED} that is no action here: {error}") from error
        return executed

    def _see(self, observation: Any, where: str) -> Seen:
        try:
            state, images = self._observe(observation)
        except EnvError as error:
            raise EnvError(f"{self._name}, {where}: {error}") from error
        if not np.isfinite(state).all():
            wrong = state[~np.isfinite(state)][0]
            raise EnvError(f"{self._name}, {where}: an observation has {wrong}; it must be finite")
        return Seen(state, images)

    def _reward(self, reward: Any, where: str) -> float:
        if isinstance(reward, bool) or not isinstance(reward, int | float | np.number | np.ndarray):
            raise EnvError(f"{self._name}, {where}: reward {_kind(reward)}; it must be a number")
        if np.ndim(reward) > 0 or not np.isreal(reward):
            raise EnvError(f"{self._name}, {where}: reward {_kind(reward)} {np.shape(reward)}; it must be one number")
        number = float(np.real(reward))
        if not np.isfinite(number):
            raise EnvError(f"{self._name}, {where}: reward {number}; it must be finite")
        if abs(number) > LARGE_REWARD:
            self._warn_once(
                f"a reward of {number:g}: critics fit such values badly; wrap the environment in "
                "gymnasium.wrappers.TransformReward so that rewards are of the order of 1"
            )
        return number

    def _flag(self, what: str, value: Any, where: str) -> bool:
        if not isinstance(value, bool | int | np.bool_ | np.integer):
            raise EnvError(f"{self._name}, {where}: {what} is {_kind(value)}; it must be true or false")
        return bool(value)

    def _failed(self, where: str, error: Exception) -> EnvError:
        words = " ".join(str(error).split())[:LONGEST_WORDS]
        frame = error.__traceback__
        while frame is not None and frame.tb_next is not None:
            frame = frame.tb_next
        place = f" ({frame.tb_frame.f_code.co_filename}:{frame.tb_lineno})" if frame is not None else ""
        return EnvError(f"{self._name} failed in {where}: {type(error).__name__}: {words}{place}")

    def _warn_once(self, message: str) -> None:
        kind = message.split(" ", 2)[1]
        if kind not in self._warned:
            self._warned.add(kind)
            LOGGER.warning("%s: %s", self._name, message)


_NEWER = "it follows an older API: update it, or wrap it (gymnasium ≥ 1.0; shimmy wraps old ones)"


def _kind(value: Any) -> str:
    if isinstance(value, tuple):
        return f"a tuple of {len(value)}"
    return "None" if value is None else f"of type {type(value).__name__}"
