from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import mujoco
import numpy as np
import pytest

from controllers.spatial import Pose
from hardware.interfaces import CameraError
from hardware.scene import LOOK, LOOK_BODY, LOOKS, Base, SceneError, SceneSpec, look_of, pose_of_look
from hardware.sim.scene.looks import Looks
from hardware.sim.scene.model import HAND_BODY, TCP_IN_HAND, object_poses, place_objects, robot_prefix, start_simulator
from hardware.sim.scene.render import SceneRenderer
from hardware.sim.scene.wrench import ContactTorques, ContactWrench
from tests.hardware.simulated import environment

SCENE = SceneSpec(
    worldbody="""
    <body name="cube" pos="0.5 0.2 0.02"><freejoint/><geom type="box" size="0.02 0.02 0.02" mass="0.1"/></body>
    <body name="goal" mocap="true"><geom type="sphere" size="0.01" contype="0" conaffinity="0"/></body>
    <body name="table"><geom type="box" size="0.1 0.1 0.01" pos="-0.5 0 0"/></body>
    """,
    objects=("cube", "goal"),
)


def test_a_scene_is_described_without_a_simulator() -> None:
    script = "import sys, hardware.scene; sys.exit(any(m.startswith(('mujoco', 'hardware.sim')) for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], env=environment()).returncode == 0


@pytest.mark.parametrize(
    "change", [{"start_q": (0.0,) * 6}, {"start_width": 0.1}, {"bases": ()}, {"bases": (Base(),) * 5}]
)
def test_a_scene_that_cannot_be_is_refused(change: dict) -> None:
    with pytest.raises(SceneError):
        SceneSpec(**change)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (SceneSpec(worldbody="<body name='open'>"), "worldbody is not well-formed"),
        (SceneSpec(hand="<geom type='cube' size='1'/>"), "cannot compile"),
        (SceneSpec(worldbody=SCENE.worldbody, objects=("cub",)), "did you mean 'cube'"),
        (SceneSpec(worldbody=SCENE.worldbody, objects=("table",)), "'table' is no movable body"),
    ],
)
def test_what_is_wrong_with_a_scene_is_said(spec: SceneSpec, message: str) -> None:
    with pytest.raises(SceneError, match=message):
        start_simulator(spec)


def test_objects_go_where_they_are_put_and_stay_at_rest() -> None:
    simulator = start_simulator(SCENE)
    model, data = simulator.model, simulator.data
    poses = {
        "cube": Pose.from_rotvec(np.array([0.4, -0.1, 0.02]), np.array([0.0, 0.0, 0.5])),
        "goal": Pose.from_rotvec(np.array([0.3, 0.2, 0.5]), np.array([0.2, -0.1, 0.3])),
    }
    place_objects(model, data, poses)
    for _ in range(100):
        mujoco.mj_step(model, data)
    for name, pose in object_poses(model, data, SCENE.objects).items():
        assert np.abs(pose.difference(poses[name])).max() < 1e-3


def test_an_unknown_object_moves_nothing() -> None:
    simulator = start_simulator(SCENE)
    before = simulator.data.qpos.copy()
    with pytest.raises(SceneError, match="'ball'"):
        place_objects(simulator.model, simulator.data, {"cube": Pose.identity(), "ball": Pose.identity()})
    assert np.array_equal(simulator.data.qpos, before)


def test_the_tcp_is_where_the_arm_model_has_it() -> None:
    from hardware.franka.model import fr3_model

    data = start_simulator(SCENE).data
    hand = data.body(HAND_BODY)
    rotation = hand.xmat.reshape(3, 3)
    tcp = Pose.from_rotation(hand.xpos + rotation @ np.array(TCP_IN_HAND), rotation)
    assert np.abs(tcp.difference(fr3_model().forward_kinematics(np.array(SCENE.start_q)))).max() < 1e-4


def test_leaving_out_what_is_only_seen_leaves_the_physics_as_it_was() -> None:
    ends = []
    for visual in (False, True):
        simulator = start_simulator(SCENE, visual)
        for _ in range(300):  # the arm falls, and takes the cube with it
            mujoco.mj_step(simulator.model, simulator.data)
        ends.append(simulator.data.qpos.copy())
    assert np.array_equal(*ends)


def test_pictures_show_the_arm_and_the_objects_where_they_are() -> None:
    q = np.array(SCENE.start_q)
    goal = Pose(np.array([0.5, 0.0, 0.1]), np.array([0.0, 0.0, 0.0, 1.0]))
    with SceneRenderer(SCENE, 48, 64) as renderer:
        before = renderer.render(q, 1.0, {"goal": goal})
        again = renderer.render(q, 1.0, {"goal": goal})
        moved_goal = renderer.render(q, 1.0, {"goal": goal.moved(np.array([0.0, 0.1, 0, 0, 0, 0]))})
        moved_arm = renderer.render(q + 0.2, 1.0, {"goal": goal})
        closed = renderer.render(q, 0.0, {"goal": goal})
    for camera in ("front", "wrist"):
        assert before[camera].shape == (48, 64, 3)
        assert before[camera].dtype == np.uint8
        assert np.array_equal(before[camera], again[camera])
        assert not np.array_equal(before[camera], moved_arm[camera])
    assert not np.array_equal(before["front"], moved_goal["front"])
    assert not np.array_equal(before["wrist"], closed["wrist"])
    renderer.close()


def test_geoms_out_of_view_are_left_out_of_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    poses = [np.array(SCENE.start_q) + rng.uniform(-0.6, 0.6, 7) for _ in range(12)]

    def drawn() -> list[dict[str, np.ndarray]]:
        with SceneRenderer(SCENE, 48, 80) as renderer:
            return [renderer.render(q, 1.0, {}) for q in poses]

    seen = drawn()
    monkeypatch.setattr(SceneRenderer, "_in_view", lambda self, camera: np.ones(len(self._groups), bool))
    for picture, whole in zip(seen, drawn(), strict=True):
        assert all(np.array_equal(picture[camera], whole[camera]) for camera in ("front", "wrist"))


def test_a_scene_looks_as_its_look_says() -> None:
    spec = replace(
        SCENE,
        worldbody=SCENE.worldbody.replace("<freejoint/><geom", "<freejoint/><geom name='cube'") + LOOK_BODY,
        objects=(*SCENE.objects, LOOK),
        coloured=("cube",),
        look_at=(0.5, 0.2, 0.02),
    )

    def drawn(variation: float, *looks: int) -> list[np.ndarray]:
        with SceneRenderer(spec, 48, 64, ("front",), variation) as renderer:
            q = np.array(spec.start_q)
            return [renderer.render(q, 1.0, {LOOK: pose_of_look(look)})["front"].astype(int) for look in looks]

    plain, other, again = drawn(0.0, 7, 8, 7)
    assert np.array_equal(plain, again), "whatever was drawn in between"
    assert 0.0 < np.any(plain != other, axis=2).mean() < 0.1, "the cube alone has another colour"
    varied, changed = drawn(1.0, 7, 8)
    assert np.any(varied != changed, axis=2).mean() > 0.9, "light and all colours have changed"
    assert np.abs(varied - plain).max() > 20
    assert [look_of({LOOK: pose_of_look(look)}) for look in (0, 7, LOOKS - 1)] == [0, 7, LOOKS - 1]
    assert look_of({}) is None


def test_the_digits_of_a_look_are_colours_of_a_palette() -> None:
    geoms = "".join(f'<geom name="{name}" size="0.1" rgba="0 0 0 1"/>' for name in ("a", "b", "other"))
    model = mujoco.MjModel.from_xml_string(f"<mujoco><worldbody>{geoms}</worldbody></mujoco>")
    palette = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    looks = Looks(model, ("a", "b"), 0.0, palette)
    looks.put_on(2 + 3 * 1)
    assert model.geom_rgba[:, :3].tolist() == [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]


def test_what_cannot_be_rendered_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CameraError, match="no camera 'top'; it has front, wrist"):
        SceneRenderer(SCENE, 48, 64, ("top",))
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    with pytest.raises(CameraError, match=r"apt-get install libosmesa6 .*MUJOCO_GL=osmesa") as failure:
        SceneRenderer(SCENE, 48, 64).open()
    assert "\n" not in str(failure.value)


TURNED = Base(0.3, -1.5, 0.7)


def tcp_in_world(data: mujoco.MjData, arm: int) -> Pose:
    hand = data.body(f"{robot_prefix(arm)}hand")
    rotation = hand.xmat.reshape(3, 3)
    return Pose.from_rotation(hand.xpos + rotation @ np.array(TCP_IN_HAND), rotation)


def test_arms_stand_at_their_bases() -> None:
    simulator = start_simulator(replace(SCENE, bases=(Base(), TURNED)))
    first, second = (tcp_in_world(simulator.data, arm) for arm in (0, 1))
    np.testing.assert_allclose(TURNED.pose.compose(first).difference(second), 0.0, atol=1e-9)


def test_each_arm_has_its_own_objects_in_its_own_frame() -> None:
    simulator = start_simulator(replace(SCENE, bases=(Base(), TURNED)))
    model, data = simulator.model, simulator.data
    wanted = Pose.from_rotvec(np.array([0.4, -0.1, 0.02]), np.array([0.0, 0.0, 0.5]))
    before = object_poses(model, data, SCENE.objects)
    place_objects(model, data, {"cube": wanted, "goal": wanted}, 1, TURNED)
    for name in SCENE.objects:
        seen = object_poses(model, data, SCENE.objects, 1, TURNED)[name]
        np.testing.assert_allclose(seen.difference(wanted), 0.0, atol=1e-9)
        np.testing.assert_array_equal(object_poses(model, data, SCENE.objects)[name].difference(before[name]), 0.0)
    mujoco.mj_forward(model, data)
    x, y = wanted.translation[:2]
    cos, sin = np.cos(TURNED.yaw), np.sin(TURNED.yaw)
    np.testing.assert_allclose(
        data.body("robot1_cube").xpos, [TURNED.x + cos * x - sin * y, TURNED.y + sin * x + cos * y, 0.02], atol=1e-9
    )


def test_arms_collide_with_each_other_but_not_with_themselves() -> None:
    reach = tcp_in_world(start_simulator(SceneSpec()).data, 0).translation[0]

    def touching(gap: float) -> set[tuple[int, int]]:
        """Arms of each contact, where two face each other with ``gap`` [m] between their hands."""
        simulator = start_simulator(SceneSpec(bases=(Base(), Base(x=2.0 * reach + gap, yaw=np.pi))))
        model, data = simulator.model, simulator.data
        first = model.body("robot0_base").id, model.body("robot1_base").id
        roots = [[model.body_rootid[model.geom_bodyid[geom]] for geom in contact.geom] for contact in data.contact]
        return {tuple(sorted(first.index(root) for root in pair)) for pair in roots}

    assert touching(0.5) == set()
    assert touching(0.0) == {(0, 1)}


def test_loads_are_in_the_axes_of_each_arms_base() -> None:
    """The same block presses on both hands; what each arm feels does not depend on where it stands."""
    simulator = start_simulator(SceneSpec())
    x, y, z = tcp_in_world(simulator.data, 0).translation
    block = f"<body><geom type='box' size='0.05 0.05 0.05' pos='{x + 0.03} {y + 0.01} {z - 0.04}'/></body>"
    simulator = start_simulator(SceneSpec(worldbody=block, bases=(Base(), TURNED)))
    model, data = simulator.model, simulator.data
    wrenches = [ContactWrench(model, data, 0.001, f"{robot_prefix(arm)}hand") for arm in (0, 1)]
    torques = [ContactTorques(model, data, 0.001, robot_prefix(arm)) for arm in (0, 1)]
    for _ in range(20):
        mujoco.mj_step(model, data)
        felt = [wrench.update() for wrench in wrenches]
        twisted = [torque.update() for torque in torques]
    assert np.linalg.norm(felt[0][:3]) > 1.0
    np.testing.assert_allclose(felt[1], felt[0], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(twisted[1], twisted[0], rtol=1e-3, atol=1e-3)
