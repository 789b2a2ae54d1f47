"""The page in three dimensions: arm, objects, workspace, target, contact force, tank, and the handle to drive by."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import viser

from controllers.spatial import Pose
from controllers.workspace import Workspace
from robot_rl.console.board import Board

if TYPE_CHECKING:
    from hardware.sim.scene.shapes import SceneShapes

HANDLE = "/handle"
FORCE_SCALE = 0.006  # [m/N] of the arrow
FORCE_SHOWN = 1.5  # [N] from which on there is one
GAUGE, BESIDE = 0.1, np.array([0.0, 0.09, 0.0])  # [m] height of the full tank's bar, and its foot beside the TCP
MOVED = 1e-4  # [m, and of a quaternion] from which on a body is drawn elsewhere
FIELD = 0.75  # [rad] of a browser's view, from bottom to top
FROM, AT = np.array([0.95, -0.95, 0.62]), np.array([-0.14, 0.0, 0.1])  # [m] from the middle of the workspace
HANDLE_SIZE = 0.16  # [m]
EDGES = [(a, b) for a in range(8) for b in range(a + 1, 8) if bin(a ^ b).count("1") == 1]
BOX_COLOUR, TARGET_COLOUR, PULL_COLOUR, FORCE_COLOUR = (70, 170, 190), (255, 176, 32), (18, 138, 128), (229, 72, 77)
EMPTY_COLOUR = (84, 96, 112)


class Scene:
    """The things in the scene of ``server``.

    Nodes are made once and moved from then on, so that a browser that has stopped makes no queue grow.

    Args:
        workspace: of the task, whose box is drawn.
        axes: those that the task drives; the handle has no others.
        tank: capacity of the energy tank [J].
        on_handle: called with each move of the handle: phase, browser, and where it is.
    """

    def __init__(
        self,
        server: viser.ViserServer,
        workspace: Workspace,
        axes: Iterable[str],
        tank: float,
        on_handle: Callable[[str, int, Pose], None],
    ) -> None:
        self._server, self._capacity = server, tank
        self._shapes: SceneShapes | None = None
        self._bodies: dict[str, Any] = {}
        self._drawn: dict[str, Pose] = {}
        scene, driven = server.scene, set(axes)
        scene.set_up_direction("+z")
        scene.world_axes.visible = False
        scene.configure_environment_map("studio", environment_intensity=0.6)
        scene.add_grid(
            "/floor",
            width=4.0,
            height=4.0,
            cell_size=0.1,
            section_size=0.5,
            cell_color=(58, 66, 78),
            section_color=(84, 96, 112),
            fade_distance=6.0,
            shadow_opacity=0.3,
        )
        corners = np.array([[(workspace.lower, workspace.upper)[i >> k & 1][k] for k in range(3)] for i in range(8)])
        scene.add_line_segments(
            "/workspace", corners[np.array(EDGES)], BOX_COLOUR, thickness=1.5, thickness_units="screen"
        )
        self._target = scene.add_icosphere("/target", radius=0.007, color=TARGET_COLOUR, visible=False)
        self._pull = scene.add_icosphere("/reference", radius=0.005, color=PULL_COLOUR, visible=False)
        self._force = scene.add_arrows(
            "/force",
            np.zeros((1, 2, 3)),
            FORCE_COLOUR,
            shaft_radius=0.004,
            head_radius=0.01,
            head_length=0.02,
            visible=False,
        )
        self._tank = scene.add_line_segments(
            "/tank",
            np.zeros((2, 2, 3)),
            np.array([[EMPTY_COLOUR] * 2, [PULL_COLOUR] * 2], dtype=np.uint8),
            thickness=5.0,
            thickness_units="screen",
            visible=False,
        )
        self._label = scene.add_label("/force_label", "", visible=False, font_screen_scale=0.8)
        moves = tuple(axis in driven for axis in "xyz")
        turns = {"roll", "pitch", "yaw"} <= driven
        self._handle = scene.add_transform_controls(
            HANDLE,
            scale=HANDLE_SIZE,
            line_width=3.5,
            active_axes=(moves[0], moves[1], moves[2]),
            disable_rotations=not turns,
            depth_test=False,
            opacity=0.9,
            visible=False,
        )
        camera = server.initial_camera
        camera.position, camera.look_at = view_of(workspace)
        camera.fov = FIELD

        async def moved(event: Any) -> None:  # awaited in the server's loop, so in the order of the moves
            on_handle(event.phase, event.client_id, _pose(event.target))

        self._handle.on_update(moved)

    def draw(self, shapes: SceneShapes) -> None:
        """Show the arm and its surroundings."""
        for i, shape in enumerate(shapes.shapes):
            if shape.body not in self._bodies:
                self._bodies[shape.body] = self._server.scene.add_frame(
                    f"/bodies/{shape.body}", show_axes=False, visible=False
                )
            r, g, b, alpha = shape.rgba
            self._server.scene.add_mesh_simple(
                f"/bodies/{shape.body}/{i}",
                shape.vertices,
                shape.faces,
                color=(r, g, b),
                opacity=None if alpha >= 1.0 else alpha,
                flat_shading=len(shape.faces) < 64,
                side="double",
            )
        self._shapes = shapes

    def update(self, board: Board, dragging: bool) -> None:
        """Show what ``board`` has; while somebody is ``dragging`` the handle, it is theirs."""
        if self._shapes is not None and board.q is not None:
            for name, body in self._shapes.poses(board.q, board.opening, board.objects).items():
                self._place(self._bodies[name], name, body)
                self._show(self._bodies[name], True)
        for node, name, pose in (
            (self._target, "target", board.target),
            (self._pull, "reference", board.reference),
            (self._handle, "handle", None if dragging else board.pose),
        ):
            if pose is not None:
                upright = Pose(pose.translation, np.array([0.0, 0.0, 0.0, 1.0]))
                self._place(node, name, upright)
                self._show(node, True)
        if dragging:
            self._drawn.pop("handle", None)
        self._draw_force(board)
        self._draw_tank(board)

    def _draw_force(self, board: Board) -> None:
        size = float(np.linalg.norm(board.force))
        shown = board.pose is not None and size >= FORCE_SHOWN
        for node in (self._force, self._label):
            self._show(node, shown)
        if board.pose is None or not shown:
            return
        start = board.pose.translation
        end = start + FORCE_SCALE * board.force
        self._force.points = np.array([[start, end]], dtype=np.float32)
        self._label.text = f"{size:.0f} N"
        self._label.position = end

    def _draw_tank(self, board: Board) -> None:
        """A bar beside the TCP, grey where it is empty."""
        shown = board.pose is not None and "tank" in board.status
        self._show(self._tank, shown)
        if board.pose is None or not shown:
            return
        foot = board.pose.translation + BESIDE
        top = foot + np.array([0.0, 0.0, GAUGE])
        level = foot + np.clip(board.status["tank"] / self._capacity, 0.0, 1.0) * (top - foot)
        points = np.array([[level, top], [foot, level]], dtype=np.float32)
        if np.abs(points - self._tank.points).max() > MOVED:
            self._tank.points = points

    def _place(self, node: Any, name: str, pose: Pose) -> None:
        last = self._drawn.get(name)
        if last is not None:
            moved = np.abs(last.translation - pose.translation).max() > MOVED
            if not moved and np.abs(last.quat_xyzw - pose.quat_xyzw).max() < MOVED:
                return
        self._drawn[name] = pose
        x, y, z, w = pose.quat_xyzw
        node.position = pose.translation
        node.wxyz = np.array([w, x, y, z])

    def _show(self, node: Any, visible: bool) -> None:
        if node.visible is not visible:
            node.visible = visible


def view_of(workspace: Workspace) -> tuple[np.ndarray, np.ndarray]:
    """Where a browser's view of ``workspace`` begins, and the point it looks at, ``(3,)`` [m] each."""
    middle = 0.5 * (workspace.lower + workspace.upper)
    return middle + FROM, middle + AT


def _pose(node: Any) -> Pose:
    w, x, y, z = node.wxyz
    return Pose(np.asarray(node.position), np.array([x, y, z, w]))
