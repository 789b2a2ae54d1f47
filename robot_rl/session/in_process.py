"""A session in process: the same `Session`, controller and scene, stepped as fast as the processor allows."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping

import numpy as np

from controllers.spatial import Pose
from hardware.interfaces import ArmFault, TeleopCommand, Word
from hardware.sim.scene.render import SceneRenderer
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.contract import ActionChunk, Label, Observation, Reading, View
from robot_rl.perception.images import fit
from robot_rl.session.directive import Command, Directive
from robot_rl.session.session import Session
from robot_rl.tasks.base import CONTROL_PERIOD

Teleop = Callable[[Reading], TeleopCommand | None]
Decide = Callable[[Observation], ActionChunk]


class Rollout:
    """Runs a `Session` on an `InProcessWorld`.

    Args:
        session: what to run.
        world: connected; time in it passes only here.
        teleop: the person (or scripted expert) as a function of the reading; None when nobody is there.
        renderer: draws the pictures of which the observation has images; None for none.
        views: camera → what of its picture; the task's where it is not said.
    """

    def __init__(
        self,
        session: Session,
        world: InProcessWorld,
        teleop: Teleop | None = None,
        renderer: SceneRenderer | None = None,
        views: Mapping[str, View] | None = None,
    ) -> None:
        self._session = session
        self._world = world
        self._teleop = teleop
        self._renderer = renderer
        self._views = session.task.views(renderer.cameras if renderer is not None else ()) if views is None else views
        self._setpoints = 0
        self._words = 0
        self._command: TeleopCommand | None = None

    @property
    def session(self) -> Session:
        return self._session

    def reading(self) -> Reading:
        """Everything the world says at this instant; its stamp is the robot's time."""
        arm, objects = self._world.read(), self._world.objects()
        gripper = self._world.gripper.read().width
        return Reading(
            round(arm.state.time * 1e9),
            arm.state.time,
            arm.state.q,
            arm.pose,
            arm.twist,
            arm.state.wrench,
            arm.target,
            gripper,
            arm.tank,
            arm.mode,
            self._render(arm.state.q, gripper, objects),
            objects,
            arm.fault,
            arm.budget,
            arm.activity,
        )

    def advance(self) -> Directive:
        """Read, let the session advance, and do what it asks for. When it asks for an action, call `act` next."""
        reading = self.reading()
        self._command = self._teleop(reading) if self._teleop is not None else None
        for word in self._command.words if self._command is not None else ():
            self._words += 1
            self._session.say(Label(self._words, word, "the person", reading.stamp_ns))
            if word is Word.STOP:
                self._world.user_stop(True)
        directive = self._session.advance(reading, self._command)
        with contextlib.suppress(ArmFault):  # an arm that refuses says so in the next reading; the session counts
            if directive.recover:
                self._world.recover()
            if directive.start:
                self._world.start()
        if directive.begin_episode:
            self._world.begin_episode()
        if directive.place:
            self._world.place(directive.place)
        if directive.observation is None:
            if directive.command is not None:
                self._send(directive.command)
            self._world.advance(CONTROL_PERIOD)
        return directive

    def act(self, chunk: ActionChunk | None) -> None:
        """Execute a decision on the last directive's observation, and let one control period pass."""
        self._send(self._session.act(chunk, self._command))
        self._world.advance(CONTROL_PERIOD)

    def step(self, decide: Decide | None = None) -> Directive:
        """One control period with ``decide`` as the policy; None when only the person drives."""
        directive = self.advance()
        if directive.observation is not None:
            asked = decide is not None and self._session.wants_policy
            self.act(decide(directive.observation) if asked and decide is not None else None)
        return directive

    def _send(self, command: Command) -> None:
        self._setpoints += 1
        self._world.command(command.setpoint(self._setpoints))
        if command.gripper is not None:
            self._world.gripper.command(command.gripper)

    def _render(self, q: np.ndarray, gripper: float, objects: Mapping[str, Pose]) -> dict[str, np.ndarray]:
        if self._renderer is None:
            return {}
        pictures = self._renderer.render(q, gripper, objects)
        return {name: fit(picture, self._views[name]) for name, picture in pictures.items()}
