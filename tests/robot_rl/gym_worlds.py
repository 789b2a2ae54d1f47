"""Small Gymnasium environments to learn in. Importing this module registers them, as a package of a user would."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

LOG: list[tuple[Any, ...]] = []  # ("reset", seed, observation) and ("step", action, observation, reward, term, trunc)


class Line(gymnasium.Env):
    """A point on a line: the action moves it by up to 0.5, the reward is −x². It begins anywhere in [−1, 1].

    Args:
        sees: ``box`` (x and a constant, as a column), ``dict``, ``both`` (dict and image) or ``image``.
        acts: ``box`` (from −3 to 5), ``wide`` (no bounds), ``tuple``, ``dict``, ``discrete`` or ``many``.
        ends: ``never``, or ``success``: terminated with that in info where |x| < 0.1.
        tells: key of info, at every step, that says whether |x| < 0.1; "" for none.
        reward, drift: added to the reward and to x, at every step.
        log: write down what happens.
        fault: how it departs from what `gymnasium.Env` promises; "" for not at all.
    """

    def __init__(
        self,
        sees: str = "box",
        acts: str = "box",
        ends: str = "never",
        tells: str = "",
        horizon: int = 5,
        reward: float = 0.0,
        drift: float = 0.0,
        log: bool = False,
        fault: str = "",
    ) -> None:
        self._fault = fault
        self._sees, self._ends, self._tells, self._horizon, self._log = sees, ends, tells, horizon, log
        self._reward, self._drift = reward, drift
        self._x, self._t = 0.0, 0
        box = spaces.Box(-np.inf, np.inf, (2, 1))
        image = spaces.Box(0, 255, (16, 20, 3), np.uint8)
        self.observation_space = {
            "box": box,
            "dict": spaces.Dict({"x": spaces.Box(-1, 1, (1,)), "arm": spaces.Dict({"one": spaces.Box(0, 2, (1, 1))})}),
            "both": spaces.Dict({"x": spaces.Box(-1, 1, (1,)), "eye": image}),
            "image": image,
            "text": spaces.Text(5),
            "grey": spaces.Dict({"eye": spaces.Box(0, 255, (16, 20), np.uint8)}),
        }[sees]
        numbers, options = spaces.Box(-3.0, 5.0, (1,)), spaces.Discrete(3, start=-1)
        self.action_space = {
            "box": numbers,
            "wide": spaces.Box(-np.inf, 1.0, (1,)),
            "tuple": spaces.Tuple((options, numbers)),
            "dict": spaces.Dict({"grip": options, "move": numbers}),
            "discrete": options,
            "many": spaces.MultiDiscrete((2, 2)),
        }[acts]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        if self._fault == "no seed":
            raise TypeError("reset() got an unexpected keyword argument 'seed'")
        if self._fault == "raises in reset":
            raise KeyError("no such scene")
        super().reset(seed=seed)
        self._x, self._t = float(self.np_random.uniform(-1.0, 1.0)), 0
        if self._log:
            LOG.append(("reset", seed, self._x))
        return self._see() if self._fault == "old reset" else (self._see(), {})

    def step(self, action: Any) -> Any:
        assert action in self.action_space, action
        match action:
            case dict():
                move = action["move"][0] + action["grip"]
            case (grip, numbers):
                move = numbers[0] + grip
            case np.ndarray():
                move = (action[0] - 1.0) / 4.0
            case _:
                move = action
        self._x = float(np.clip(self._x + self._drift + 0.5 * move, -1.0, 1.0))
        self._t += 1
        reached = abs(self._x) < 0.1
        terminated, truncated = self._ends == "success" and reached, self._t >= self._horizon
        info = {self._tells: np.array([reached])} if self._tells else {}
        reward = self._reward - self._x**2
        if self._log:
            LOG.append(("step", action, self._x, reward, terminated, truncated))
        answer = (self._see(), reward, terminated, truncated, info)
        return self._faulty(*answer) if self._fault else answer

    def _faulty(self, seen: Any, reward: float, terminated: bool, truncated: bool, info: Any) -> Any:
        if self._fault == "raises" and self._t == 2:
            raise RuntimeError("the gripper of the environment\n is stuck")
        return {
            "old step": (seen, reward, terminated or truncated, info),
            "reward None": (seen, None, terminated, truncated, info),
            "reward array": (seen, np.array([reward]), terminated, truncated, info),
            "reward text": (seen, "much", terminated, truncated, info),
            "terminated None": (seen, reward, None, truncated, info),
            "shape": (np.zeros(3, np.float32), reward, terminated, truncated, info),
            "key": ({"x": seen}, reward, terminated, truncated, info),
            "another action": (seen, reward, terminated, truncated, {**info, "executed_action": np.array([2.0])}),
            "no action": (seen, reward, terminated, truncated, {**info, "executed_action": np.array([9.0])}),
            "NaN": (np.full((2, 1), np.nan, np.float32), reward, terminated, truncated, info),
        }.get(self._fault, (seen, reward, terminated, truncated, info))

    def _see(self) -> Any:
        x = np.array([self._x], np.float32)
        image = np.full((16, 20, 3), round(127.0 * (self._x + 1.0)), np.uint8)
        return {
            "box": np.array([[self._x], [1.0]], np.float32),
            "dict": {"x": x, "arm": {"one": np.ones((1, 1), np.float32)}},
            "both": {"x": x, "eye": image},
            "image": image,
        }[self._sees]


gymnasium.register("worlds/Line-v0", entry_point=Line)
