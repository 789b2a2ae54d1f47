"""The simulated arm without its network protocol: MuJoCo and `controllers.core` stepped in this process.

Many times faster than real time and bit-for-bit repeatable. The physics is that of `hardware.sim.fci.server`, the
control law that of the real-time process, and the limits those of `hardware.sim.fci.conformance`; only the protocol
between them is missing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import mujoco
import numpy as np

from controllers.core import Controller, ControllerConfig
from controllers.impedance import ImpedanceGains
from controllers.spatial import Pose
from controllers.state import JOINTS, TICK, AnySetpoint, ArmState, Event, EventKind, Mode
from hardware.franka.collision import CollisionThresholds
from hardware.franka.hand import FINGER_STROKE, MAX_WIDTH
from hardware.franka.model import fr3_model
from hardware.interfaces import ArmFault, ArmReading, GripperReading, HardwareError
from hardware.scene import SceneSpec
from hardware.sim.fci.conformance import CollisionLevels, Conformance, RobotMode
from hardware.sim.fci.stops import set_joint_stops
from hardware.sim.scene.model import object_poses, place_objects, start_simulator
from hardware.sim.scene.wrench import ContactTorques, ContactWrench

STOP_TIMEOUT = 3.0  # [s] of robot time that a damped finish may take


class InProcessWorld:
    """Arm and scene of a simulated world that stands still unless told to `advance`.

    Implements `hardware.interfaces.Arm` and `SceneControl`; ``gripper`` implements `Gripper`. Time is robot time: it
    starts at 0 and moves by 1 ms a tick. The same commands between the same `advance` calls give the same bits.
    """

    def __init__(
        self, scene: SceneSpec, controller: ControllerConfig, collision: CollisionThresholds | None = None
    ) -> None:
        """``collision``: where the arm's own reflex stops the motion."""
        self.scene = scene
        self.config = controller
        thresholds = collision if collision is not None else CollisionThresholds()
        self._levels = CollisionLevels(thresholds.torque, thresholds.torque, thresholds.force, thresholds.force)
        self.gripper = InProcessGripper()
        self._connected = False

    def __enter__(self) -> InProcessWorld:
        self.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self.disconnect()

    def connect(self) -> None:
        """Build the simulation. Raises `SceneError` when the scene cannot be built."""
        if self._connected:
            return
        self._simulator = start_simulator(self.scene)
        robot = self._simulator.robots[0]
        self._mj_model, self._mj_data = self._simulator.model, self._simulator.data
        arm_q, arm_v = robot._qpos_addrs[0], robot._dof_addrs[0]
        # Views into the simulation, so that a tick does no look-ups.
        self._q = self._mj_data.qpos[arm_q : arm_q + JOINTS]
        self._dq = self._mj_data.qvel[arm_v : arm_v + JOINTS]
        self._force = self._mj_data.qfrc_applied[arm_v : arm_v + JOINTS]
        self._torque_low, self._torque_high = robot.torque_limit_low, robot.torque_limit_high
        self._idle_kp, self._idle_kv = robot.kp, robot.kv
        self.gripper._attach(self._mj_data, robot._finger_qpos_addrs, robot._finger_dof_addrs, self.scene.start_width)
        self._contact = ContactWrench(self._mj_model, self._mj_data, TICK)
        self._loads = ContactTorques(self._mj_model, self._mj_data, TICK)
        self._wrench = np.zeros(6)
        self._conformance = Conformance(self._levels)
        set_joint_stops(self._mj_model, self._conformance.limits)
        self._model = fr3_model()
        self._controller = Controller(self._model, self.config)
        self._ticks = 0
        self._torque = np.zeros(JOINTS)
        self._tank = self._budget = self._activity = 0.0
        self._events: list[Event] = []
        self._running = False
        self._hold_q = self._q.copy()
        self._connected = True

    def disconnect(self) -> None:
        """Let go of the simulation; safe to call twice."""
        if self._connected:
            self._connected = False
            self._running = False
            self._simulator.cleanup()

    # Arm ------------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin torque control, holding the measured pose; nothing new for an arm that is under control.

        Raises:
            ArmFault: the arm has stopped by itself and needs `recover`, or its user stop is pressed.
        """
        self._require_connection()
        if self._running:
            return
        if not self._conformance.start_motion(self._q.tolist()):
            raise ArmFault(f"the in-process arm cannot start: {self._conformance.reason}; {self._remedy()}")
        self._torque = np.zeros(JOINTS)
        self._events.extend(self._controller.start(self._state()))
        self._running = True

    def stop(self) -> None:
        """End the motion with damping; advances the world until the arm is idle."""
        self._require_connection()
        if not self._running:
            return
        self._controller.stop()
        for _ in range(round(STOP_TIMEOUT / TICK)):
            self._tick()
            if not self._running:
                return
        self._hold()

    def request_stop(self, reason: str = "") -> None:
        """Begin what `stop` does; it goes on as time passes."""
        self._require_connection()
        if self._running:
            self._controller.stop()

    def recover(self) -> None:
        """Clear a reflex. Raises `ArmFault` while the user stop is pressed."""
        self._require_connection()
        if self._running:
            return
        reflex = self._conformance.mode is RobotMode.REFLEX
        if not self._conformance.recover():
            raise ArmFault(f"the in-process arm cannot recover: {self._conformance.reason}; {self._remedy()}")
        if reflex:
            self._events.append(Event(self.time, EventKind.RECOVERED, "the fault was cleared"))

    def user_stop(self, pressed: bool) -> None:
        """Press or release the button that stops the arm, and that only a person releases."""
        self._require_connection()
        before = self._conformance.mode is RobotMode.USER_STOPPED
        self._conformance.user_stop(pressed)
        if pressed and not before:
            self._hold()
            self._events.append(Event(self.time, EventKind.STOPPED, self._conformance.reason))
        elif before and not pressed:
            self._events.append(Event(self.time, EventKind.RECOVERED, "the user stop was released"))

    def begin_episode(self) -> None:
        """Grant the energy budget of a new episode."""
        self._require_connection()
        self._events.extend(self._controller.begin_episode())

    def change_gains(self, gains: ImpedanceGains) -> None:
        """Go over to other gains."""
        self._require_connection()
        self._events.extend(self._controller.change_gains(gains, self.time))

    def command(self, setpoint: AnySetpoint) -> None:
        """Hand over a setpoint."""
        self._require_connection()
        self._events.extend(self._controller.command(setpoint, self.time))

    def read(self) -> ArmReading:
        """The state after the last tick. Raises `ArmFault` when the simulation has diverged."""
        self._require_connection()
        if self._mj_data.warning[mujoco.mjtWarning.mjWARN_BADQACC].number:
            raise ArmFault(
                f"the simulation became unstable at {self._mj_data.time:.3f} s (MuJoCo: bad accelerations); "
                "soften the contacts or lower the controller's gains, and connect again"
            )
        state = self._state()
        self._model.update(state.q, state.dq)
        pose = self._model.pose
        target = pose
        if self._running:
            target = Pose.from_rotation(self._controller.target_translation, self._controller.target_rotation)
        return ArmReading(
            seq=self._ticks,
            state=state,
            pose=pose,
            twist=self._model.twist.copy(),
            target=target,
            mode=self._mode(),
            tank=self._tank,
            success_rate=self._conformance.success_rate,
            received=time.monotonic(),
            budget=self._budget,
            activity=self._activity,
            fault=self._conformance.reason,
        )

    def events(self) -> tuple[Event, ...]:
        """Events since the last call, oldest first."""
        events, self._events = tuple(self._events), []
        return events

    # Scene ----------------------------------------------------------------------------------------------------------

    def place(self, objects: Mapping[str, Pose]) -> None:
        """Put each named object at its pose in the base frame, at rest. Raises `SceneError` on an unknown name."""
        self._require_connection()
        place_objects(self._mj_model, self._mj_data, objects)

    def objects(self) -> dict[str, Pose]:
        """Poses of all movable objects in the base frame."""
        self._require_connection()
        return object_poses(self._mj_model, self._mj_data, self.scene.objects)

    @property
    def physics(self) -> tuple[mujoco.MjModel, mujoco.MjData]:
        """The simulation itself: to measure what no robot could, not to be changed."""
        self._require_connection()
        return self._mj_model, self._mj_data

    # Time -----------------------------------------------------------------------------------------------------------

    @property
    def time(self) -> float:
        """Robot time [s]."""
        return self._ticks * TICK

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` of robot time pass (to the nearest millisecond)."""
        self._require_connection()
        for _ in range(round(seconds / TICK)):
            self._tick()

    def _tick(self) -> None:
        """One millisecond: control, gripper, physics, and what the robot itself watches."""
        if not (self._running and self._control()):
            self._model.update(self._q, self._dq)
            pull = self._idle_kp * (self._hold_q - self._q) - self._idle_kv * self._dq
            self._torque = np.clip(pull + self._model.coriolis, self._torque_low, self._torque_high)
        # Gravity comes on top: a torque that is accepted, and reported, is realised.
        np.add(self._torque, self._model.gravity, out=self._force)
        self.gripper._push()
        mujoco.mj_step(self._mj_model, self._mj_data)
        self._ticks += 1
        # In every tick, however slow the filter: an impact lasts one or two.
        self._wrench = self._contact.update()
        loads = self._loads.update()
        if self._conformance.check(self._q.tolist(), self._dq.tolist(), loads.tolist(), self._wrench.tolist()):
            self._reflex()

    def _control(self) -> bool:
        """One tick of the controller; False when the robot does not accept its torque."""
        tick = self._controller.tick(self._state())
        self._tank, self._budget, self._activity = tick.tank, tick.budget, tick.activity
        if tick.events:
            self._events.extend(tick.events)
        if self._conformance.command(tick.torque.tolist()):
            self._reflex()
            return False
        self._torque = tick.torque.copy()
        if tick.finished:
            self._hold()
        return True

    def _reflex(self) -> None:
        """The robot has stopped the motion."""
        self._hold()
        self._events.append(Event(self.time, EventKind.REFLEX, self._conformance.reason))

    def _mode(self) -> Mode:
        if self._running:
            return self._controller.mode
        stopped = {RobotMode.REFLEX: Mode.FAULT, RobotMode.USER_STOPPED: Mode.STOPPED}
        return stopped.get(self._conformance.mode, Mode.IDLE)

    def _remedy(self) -> str:
        stopped = self._conformance.mode is RobotMode.USER_STOPPED
        return "release it first" if stopped else "call recover() first"

    def _state(self) -> ArmState:
        return ArmState(
            self._ticks * TICK, self._q.copy(), self._dq.copy(), self._force.copy(), self._torque, self._wrench
        )

    def _hold(self) -> None:
        """Torque control is over: the arm brakes and holds its joints by itself, as a real one does when idle."""
        self._conformance.end_motion()
        self._running = False
        self._hold_q = self._q.copy()

    def _require_connection(self) -> None:
        if not self._connected:
            raise HardwareError("the in-process world is not connected; call connect() or enter it with `with`")


class InProcessGripper:
    """The hand of an `InProcessWorld`: franky-sim's own finger control, so that both simulated grippers are alike."""

    STIFFNESS = 1000.0  # [N/m] of each finger
    DAMPING = 50.0  # [N·s/m]
    SPEED = 0.05  # [m/s] of each finger
    FORCE = 70.0  # [N] of each finger
    GRASP_GAP = 0.004  # [m] short of its goal at which a resting gripper holds something

    def __init__(self) -> None:
        self._goal = 0.0

    def _attach(self, data: mujoco.MjData, q_addresses: list[int], v_addresses: list[int], width: float) -> None:
        self._q = data.qpos[q_addresses[0] : q_addresses[1] + 1]
        self._dq = data.qvel[v_addresses[0] : v_addresses[1] + 1]
        self._force = data.qfrc_applied[v_addresses[0] : v_addresses[1] + 1]
        self._goal = 0.5 * width

    def connect(self) -> None:
        """The gripper comes and goes with its world."""

    def disconnect(self) -> None:
        """The gripper comes and goes with its world."""

    def command(self, width: float) -> None:
        """Go to ``width``, 0 closed – 1 open. Raises `HardwareError` on values outside."""
        if not 0.0 <= width <= 1.0:
            raise HardwareError(f"gripper width {width} is outside 0 (closed) – 1 (open)")
        self._goal = FINGER_STROKE * width

    def read(self) -> GripperReading:
        """Opening and grasp after the last tick."""
        width = float(self._q.sum())
        resting = bool(np.abs(self._dq).max() < 0.005)
        return GripperReading(
            width=min(max(width / MAX_WIDTH, 0.0), 1.0),
            grasped=resting and width - 2.0 * self._goal > self.GRASP_GAP,
        )

    def _push(self) -> None:
        """Finger forces for the next physics step. Scalar arithmetic: two fingers are too few for numpy."""
        for i in (0, 1):
            speed = float(self._dq[i])
            force = self.STIFFNESS * (self._goal - float(self._q[i])) - self.DAMPING * speed
            if abs(speed) > self.SPEED and speed * force > 0.0:
                force = -self.DAMPING * speed
            self._force[i] = min(max(force, -self.FORCE), self.FORCE)
