"""Public tasks with one reward, for success, which ends the episode.

Metaworld 3 (its environments with the goal in view, 200 steps) and the Fetch of Gymnasium-Robotics (50 steps). Units,
observations and actions are theirs; `robot-rl gym --module benchmarks.experiments.public.envs --env
public/door-open-v0` takes them. Both suites come with ``pip install -c constraints.txt -e '.[public]'``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, SupportsFloat

import gymnasium
import numpy as np

METAWORLD = ("door-open", "peg-insert-side", "pick-place", "drawer-open", "hammer")
FETCH = {"fetch-push": "FetchPush-v4", "fetch-pick-and-place": "FetchPickAndPlace-v4"}
HORIZON = 200  # steps of an episode of Metaworld; its scripts need 50 to 150
IDS = {name: f"public/{name}-v0" for name in (*METAWORLD, *FETCH)}

Script = Callable[[Any], np.ndarray]  # observation → action, by one episode


class OneReward(gymnasium.Wrapper[Any, Any, Any, Any]):
    """1 for success, which is an end, and 0 otherwise. ``key`` of ``info`` says success."""

    def __init__(self, env: gymnasium.Env[Any, Any], key: str) -> None:
        super().__init__(env)
        self._key = key

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        seen, _, terminated, truncated, info = self.env.step(action)
        success = bool(info[self._key])
        return seen, float(success), terminated or success, truncated, {**info, "success": success}


class Metaworld(gymnasium.Env[np.ndarray, np.ndarray]):
    """A task of Metaworld that starts anew with every reset, reproducibly by its seed, and is cut by nothing."""

    def __init__(self, name: str) -> None:
        from metaworld.env_dict import ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE as ENVIRONMENTS

        self._env = ENVIRONMENTS[f"{name}-v3-goal-observable"](seed=0)
        self._env._freeze_rand_vec = False
        self._env.max_path_length = HORIZON + 1  # beyond it, its step raises
        # Limits of an observation are wrong for some tasks: what they show lies outside.
        size = self._env.observation_space.shape
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, size, np.float64)
        self.action_space = self._env.action_space

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self._env.seed(seed)
        seen, info = self._env.reset()
        return seen, info

    def step(self, action: np.ndarray) -> tuple[np.ndarray, SupportsFloat, bool, bool, dict[str, Any]]:
        seen, reward, _, _, info = self._env.step(action)
        return seen, reward, False, False, info

    def close(self) -> None:
        self._env.close()


def make_metaworld(name: str) -> gymnasium.Env[Any, Any]:
    return OneReward(Metaworld(name), "success")


def make_fetch(name: str) -> gymnasium.Env[Any, Any]:
    import gymnasium_robotics

    gymnasium.register_envs(gymnasium_robotics)
    return OneReward(gymnasium.make(FETCH[name]).unwrapped, "is_success")


for _name in METAWORLD:
    gymnasium.register(IDS[_name], make_metaworld, kwargs={"name": _name}, max_episode_steps=HORIZON)
for _name in FETCH:
    gymnasium.register(IDS[_name], make_fetch, kwargs={"name": _name}, max_episode_steps=50)


def make_script(name: str) -> Script:
    """The suite's own scripted policy of Metaworld; of Fetch, which has none, one of ours: go there, grip, move."""
    if name in FETCH:
        return _Push() if name == "fetch-push" else _PickAndPlace()
    from metaworld.policies import ENV_POLICY_MAP

    policy = ENV_POLICY_MAP[f"{name}-v3"]()
    return lambda seen: np.clip(policy.get_action(seen), -1.0, 1.0)


GAIN = 10.0  # action per metre: of the way that Fetch goes in a step of 1, about 3 cm


def _towards(seen: Any, target: np.ndarray, fingers: float) -> np.ndarray:
    way = GAIN * (target - seen["observation"][:3])
    action: np.ndarray = np.clip(np.append(way, fingers), -1.0, 1.0).astype(np.float32)
    return action


class _Push:
    """Over a place behind the object, down, and on towards the goal; over it again when the object has slipped off."""

    def __init__(self) -> None:
        self._down = self._behind = False

    def __call__(self, seen: Any) -> np.ndarray:
        hand, object_, goal = seen["observation"][:3], seen["achieved_goal"], seen["desired_goal"]
        way = (goal - object_) * (1.0, 1.0, 0.0)
        distance = float(np.linalg.norm(way))
        ahead = way / max(distance, 1e-6)
        behind = object_ - 0.06 * ahead
        off = (hand - object_) * (1.0, 1.0, 0.0)
        along = float(off @ ahead)
        if self._behind and (along > -0.01 or np.linalg.norm(off - along * ahead) > 0.03):
            self._down = self._behind = False
        if not self._down:
            self._down = float(np.linalg.norm((hand - behind)[:2])) < 0.015
            return _towards(seen, behind + np.array([0.0, 0.0, 0.06]), -1.0)
        if not self._behind:
            self._behind = hand[2] < object_[2] + 0.015
            return _towards(seen, behind, -1.0)
        return _towards(seen, object_ + (min(distance, 0.05) - 0.03) * ahead, -1.0)


class _PickAndPlace:
    """Over the object, down, close for three steps, and to the goal."""

    def __init__(self) -> None:
        self._closing = 0

    def __call__(self, seen: Any) -> np.ndarray:
        hand, object_, goal = seen["observation"][:3], seen["achieved_goal"], seen["desired_goal"]
        near = float(np.linalg.norm(hand - object_)) < 0.015
        if near or self._closing:
            lost = float(np.linalg.norm(hand - object_)) > 0.05
            self._closing = 0 if lost else self._closing + 1
        if self._closing > 3:
            return _towards(seen, goal, -1.0)
        if self._closing:
            return _towards(seen, object_, -1.0)
        over = float(np.linalg.norm((hand - object_)[:2])) > 0.01
        return _towards(seen, object_ + np.array([0.0, 0.0, 0.06 if over else 0.0]), 1.0)


def starts(seed: int) -> itertools.count[int]:
    """Seeds of episodes that no other ``seed`` below 1000 has."""
    return itertools.count(1_000_000 * (seed + 1))
