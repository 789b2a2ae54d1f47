"""The tasks as Gymnasium environments.

Importing this module registers them: ``import robot_rl.gym.envs; gymnasium.make("robot_rl/PegInsertion-v0")``, or in
one call ``gymnasium.make("robot_rl.gym.envs:robot_rl/PegInsertion-v0")``. (Gymnasium 1 no longer looks for installed
plugins.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np

from controllers.core import ControllerConfig
from hardware.franka.collision import CollisionThresholds
from hardware.sim.scene.render import SceneRenderer
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.contract import ActionChunk, AgentView, Ending, Observation, Reading
from robot_rl.perception.images import picture_size
from robot_rl.session.config import SessionConfig
from robot_rl.session.directive import Phase
from robot_rl.session.errors import SessionError
from robot_rl.session.in_process import Rollout
from robot_rl.session.session import Session
from robot_rl.tasks import make_task
from robot_rl.tasks.base import scene_of

IDS = {
    "robot_rl/Reach-v0": "reach",
    "robot_rl/PegInsertion-v0": "peg_insertion",
    "robot_rl/PegSearch-v0": "peg_search",
    "robot_rl/GearMesh-v0": "gear_mesh",
    "robot_rl/Connector-v0": "connector",
    "robot_rl/PegAssembly-v0": "peg_assembly",
    "robot_rl/PickCube-v0": "pick_cube",
    "robot_rl/WipeLine-v0": "wipe_line",
    "robot_rl/PegInsertionImages-v0": "peg_insertion_images",
    "robot_rl/PickCubeImages-v0": "pick_cube_images",
}

EXECUTED = "executed_action"  # in ``info``: the action that was executed, where that may be another than was asked for


class RobotEnv(gymnasium.Env):
    """One task in process.

    Observations are the state vector ``(d,)`` float32, or with ``cameras`` a dict of ``state`` and an
    ``(height, width, 3)`` uint8 image for each camera. Actions are ``(a,)`` in [−1, 1]. ``info`` holds ``success`` and
    ``ending`` at the end of an episode, and after every step the ``executed_action``: what the workspace's limits left
    of the action. A reflex of the arm terminates it as a failure, with its ``reason``; whatever else stops the arm
    truncates it, with a ``reason`` and the last observation again.

    Resets move the arm back through the controller, as on a robot. A reset with a seed first puts the arm where it was
    at the beginning, so that the same seed and actions give the same bits. Where the arm does not get back by itself,
    or does not recover from its reflexes, it is put there as well, with a warning.

    Args:
        task: see `robot_rl.tasks`.
        cameras: names of the scene's cameras to observe; empty: the task's.
        image_size: height and width [pixels]; 0 takes the task's.
        horizon: steps until truncation; 0 takes the task's.
        collision: where the arm's own reflex stops the motion; default: the driver's.
        render_mode: ``rgb_array`` draws the first scene camera.
        without: fields of the task's state and cameras that the observation shall not have.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(
        self,
        task: str = "peg_insertion",
        cameras: tuple[str, ...] = (),
        image_size: int = 0,
        horizon: int = 0,
        collision: CollisionThresholds | None = None,
        render_mode: str | None = None,
        without: tuple[str, ...] = (),
    ) -> None:
        self._task = make_task(task)
        self._scene = scene_of(self._task)
        self._world = InProcessWorld(self._scene, self._task.bound(ControllerConfig()), collision)
        self._config = SessionConfig(horizon=horizon)
        views = self._task.views(cameras)
        self._view = AgentView(self._task, without, views)
        self._views = {
            name: replace(view, size=image_size or view.size) for name, view in views.items() if name not in without
        }
        side = picture_size(self._views)
        self._renderer = SceneRenderer(self._scene, side, side, tuple(self._views)) if self._views else None
        self._drawing: SceneRenderer | None = None
        self._rollout = self._begin(seed=0)
        self._observed: Any = None
        self.render_mode = render_mode
        self.metadata = {**type(self).metadata, "render_fps": round(self._task.rate)}
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (self._task.action.size,), np.float32)
        state = gymnasium.spaces.Box(-np.inf, np.inf, (self._view.state_size,), np.float32)
        images = {
            name: gymnasium.spaces.Box(0, 255, (view.size, view.size, 3), np.uint8)
            for name, view in self._views.items()
        }
        self.observation_space = gymnasium.spaces.Dict({"state": state, **images}) if images else state

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self._rollout = self._begin(seed)
        else:
            self._rollout.session.abort("reset by the caller")
        try:
            observation = self._first_observation()
        except SessionError as error:
            if seed is not None:
                raise
            gymnasium.logger.warn("%s The arm is put where it was at the beginning.", error)
            self._rollout = self._begin(int(self.np_random.integers(2**31)))
            observation = self._first_observation()
        self._observed = self._pack(observation.state, observation.images)
        return self._observed, {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._rollout.act(ActionChunk(0, np.asarray(action, dtype=np.float32)[None]))
        directive = self._rollout.advance()
        if directive.ended is not None and directive.step is None:
            # Something else than how it moved has stopped the arm, and what the step came to was never observed.
            reason = directive.ended.reason
            return self._observed, 0.0, False, True, {"success": False, "ending": "aborted", "reason": reason}
        if directive.step is None:
            raise RuntimeError("the simulated arm gave no reading; call reset()")
        outcome = directive.step.outcome
        info: dict[str, Any] = {EXECUTED: directive.step.action}
        if outcome.done:
            info |= {"success": outcome.ending is Ending.SUCCESS, "ending": outcome.ending.value}
        if outcome.reason:
            info["reason"] = outcome.reason
        self._observed = self._observe(directive.step.next_reading)
        return self._observed, outcome.reward, outcome.terminated, outcome.truncated, info

    def render(self) -> np.ndarray | None:
        if self.render_mode != "rgb_array":
            return None
        if self._drawing is None:
            self._drawing = SceneRenderer(self._scene, 480, 640, ("front",))
        reading = self._rollout.reading()
        return self._drawing.render(reading.q, reading.gripper, reading.objects)["front"]

    def close(self) -> None:
        self._world.disconnect()
        for renderer in (self._renderer, self._drawing):
            if renderer is not None:
                renderer.close()

    def _begin(self, seed: int) -> Rollout:
        """The world as it is at the beginning, and the first of the episodes with ``seed``."""
        self._world.disconnect()
        self._world.connect()
        self._world.start()
        session = Session(self._task, self._config, None, seed, view=self._view)
        return Rollout(session, self._world, renderer=self._renderer, views=self._views)

    def _first_observation(self) -> Observation:
        """Of the next episode, after the reset. Raises `SessionError` when the arm does not get to its start."""
        directive = self._rollout.advance()
        while directive.observation is None:
            if directive.phase is Phase.STOPPED:
                raise RuntimeError("a person stopped the simulated arm; release it, then call reset() again")
            directive = self._rollout.advance()
        return directive.observation

    def _observe(self, reading: Reading) -> Any:
        return self._pack(self._view.state(reading), reading.images)

    @staticmethod
    def _pack(state: np.ndarray, images: Mapping[str, np.ndarray]) -> Any:
        return {"state": state, **images} if images else state


for _id, _task in IDS.items():
    if _id not in gymnasium.registry:
        gymnasium.register(_id, entry_point=RobotEnv, kwargs={"task": _task})
