"""The tasks as Gymnasium environments: ``gymnasium.make("robot_rl/PegInsertion-v0")``.

They are found through the ``gymnasium.envs`` entry point of the installed package; nothing has to be imported.
"""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.envs.registration import register as register_env

from controllers.core import ControllerConfig
from hardware.sim.inprocess import InProcessWorld
from hardware.sim.render import SceneRenderer
from robot_rl.contract import ActionChunk, Ending, Observation
from robot_rl.rollout import Rollout
from robot_rl.session import Directive, Session, SessionConfig
from robot_rl.tasks import make_task

IDS = {
    "Reach-v0": "reach",
    "PegInsertion-v0": "peg_insertion",
    "PegSearch-v0": "peg_search",
    "PickCube-v0": "pick_cube",
}


def register() -> None:
    """Register the environments; Gymnasium calls this and puts them under ``robot_rl/``."""
    for env_id, task in IDS.items():
        register_env(id=env_id, entry_point="robot_rl.envs:RobotEnv", kwargs={"task": task})


class RobotEnv(gymnasium.Env):
    """One task in process.

    Observations are the state vector ``(d,)`` float32, or with ``cameras`` a dict of ``state`` and an
    ``(height, width, 3)`` uint8 image for each camera. Actions are ``(a,)`` in [−1, 1]. Resets move the arm back through
    the controller, as on a robot. ``info`` holds ``success`` and ``ending`` at the end of an episode.

    Args:
        task: see `robot_rl.tasks`.
        cameras: names of the scene's cameras to observe.
        image_size: height and width [pixels].
        horizon: steps until truncation; 0 takes the task's.
        render_mode: ``rgb_array`` draws the first scene camera.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(
        self,
        task: str = "peg_insertion",
        cameras: tuple[str, ...] = (),
        image_size: int = 128,
        horizon: int = 0,
        render_mode: str | None = None,
    ) -> None:
        self._task = make_task(task)
        scene = self._task.scene()
        self._world = InProcessWorld(scene, ControllerConfig(workspace=self._task.workspace))
        self._world.connect()
        self._world.start()
        renderer = SceneRenderer(scene, image_size, image_size, cameras) if cameras else None
        self._session = Session(self._task, SessionConfig(horizon=horizon), None, seed=0)
        self._rollout = Rollout(self._session, self._world, renderer=renderer)
        self._scene = scene
        self._drawing: SceneRenderer | None = None
        self._running = False
        self.render_mode = render_mode
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (self._task.action.size,), np.float32)
        state = gymnasium.spaces.Box(-np.inf, np.inf, (self._task.state_size,), np.float32)
        image = gymnasium.spaces.Box(0, 255, (image_size, image_size, 3), np.uint8)
        self.observation_space = (
            gymnasium.spaces.Dict({"state": state, **dict.fromkeys(cameras, image)}) if cameras else state
        )

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if self._running:
            self._session.abort("reset by the caller")
        if seed is not None:
            self._session.reseed(seed)
        directive = self._rollout.advance()
        while directive.observation is None:
            directive = self._rollout.advance()
        self._running = True
        return self._pack(directive.observation), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._rollout.act(ActionChunk(0, np.asarray(action, dtype=np.float32)[None]))
        directive: Directive = self._rollout.advance()
        if directive.ended is not None:
            self._running = False
        if directive.step is None:
            reason = directive.ended.reason if directive.ended is not None else "no reading"
            raise RuntimeError(f"the simulated arm stopped: {reason}; call reset()")
        outcome = directive.step.outcome
        info = {"success": outcome.ending is Ending.SUCCESS, "ending": outcome.ending.value} if outcome.done else {}
        return self._pack(directive.step.next_observation), outcome.reward, outcome.terminated, outcome.truncated, info

    def render(self) -> np.ndarray | None:
        if self.render_mode != "rgb_array":
            return None
        if self._drawing is None:
            self._drawing = SceneRenderer(self._scene, 480, 640, ("front",))
        reading = self._rollout.reading()
        return self._drawing.render(reading.q, reading.gripper, reading.objects)["front"]

    def close(self) -> None:
        self._world.disconnect()

    def _pack(self, observation: Observation) -> Any:
        return {"state": observation.state, **observation.images} if observation.images else observation.state
