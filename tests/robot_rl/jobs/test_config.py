from __future__ import annotations

import re
from dataclasses import fields
from operator import attrgetter
from pathlib import Path

import numpy as np
import pytest

from robot_rl.contract.settings import ConfigError, plain
from robot_rl.jobs.bringup import prepare
from robot_rl.jobs.config import RunConfig, load_config, save_config
from robot_rl.jobs.run import Run


def written(folder: Path, text: str) -> Path:
    path = folder / "settings.yaml"
    path.write_text(text)
    return path


def test_defaults_then_file_then_overrides(tmp_path: Path) -> None:
    path = written(
        tmp_path, "task: reach\nseed: 4\nlearner:\n  utd: 2\nsession: {policy_wait: 0.05, late_limit: 0.5}\n"
    )
    config = load_config(path, ["seed=9", "session.late_limit=3"])
    assert (config.task, config.seed, config.learner.utd) == ("reach", 9, 2)
    assert (config.session.policy_wait, config.session.late_limit) == (0.05, 3.0)
    assert config.learner.publish_every == RunConfig().learner.publish_every
    assert plain(load_config()) == plain(RunConfig())


def test_an_error_in_a_file_names_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "learner: {utd: 0}\n")
    with pytest.raises(ConfigError, match=rf"^{re.escape(str(path))}: learner.utd=0 must be an integer from 1"):
        load_config(path)


def test_another_algorithm_does_not_inherit_settings(tmp_path: Path) -> None:
    path = written(tmp_path, "learner: {agent: rlpd, settings: {critics: 3}}\n")
    assert load_config(path, ["learner.utd=2"]).learner.settings == {"critics": 3}
    assert load_config(path, ["learner.agent=rlpd"]).learner.settings == {"critics": 3}
    assert load_config(path, ["learner.agent=flash_sac"]).learner.settings == {}
    mixed = load_config(path, ["learner.agent=sac", "learner.settings.discount=0.9"])
    assert mixed.learner.settings == {"discount": 0.9}


@pytest.mark.parametrize("given", ["camera_exposure=500", "camera_white_balance=4500", "camera_depth=true"])
def test_only_a_realsense_takes_what_fixes_light_and_depth(given: str) -> None:
    key, _, value = given.partition("=")
    assert str(getattr(load_config(None, [given]), key)).lower().startswith(value)
    with pytest.raises(ConfigError, match=f"{given} is for camera_driver=realsense, not opencv"):
        load_config(None, [given, "camera_driver=opencv"])


def test_the_size_of_pictures_is_width_and_height() -> None:
    assert load_config(None, ["camera_size=848,480"]).camera_size == (848, 480)
    with pytest.raises(ConfigError, match=r"camera_size=.*640.* needs width and height, e\.g\. 640,480"):
        load_config(None, ["camera_size=640"])
    with pytest.raises(ConfigError, match="camera_size"):
        load_config(None, ["camera_size=640,0"])


def test_drawn_cameras_vary_where_the_scene_has_looks() -> None:
    with pytest.raises(ConfigError, match=r"camera_variation=0.5 is for drawn cameras, and arm=fr3 has none"):
        load_config(None, ["camera_variation=0.5", "arm=fr3", "robot_ip=172.16.0.2"])
    varied = load_config(None, ["camera_variation=0.5"])
    with pytest.raises(ConfigError, match=r"scene of task=peg_insertion has but one look; those of pick_cube_images"):
        prepare("record", varied, None, fast=True)


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert plain(load_config(written(tmp_path, "# nothing\n"))) == plain(RunConfig())


def test_overrides_reach_groups_within_groups() -> None:
    config = load_config(None, ["controller.gains.translational_stiffness=1500", "controller.hold_after=0.3"])
    assert config.controller.gains.translational_stiffness == 1500.0
    assert config.controller.hold_after == 0.3


@pytest.mark.parametrize("text", ["2000,500,1000.5", "[2000, 500, 1000.5]"])
def test_a_gain_of_each_axis_survives_a_trip_through_the_file(tmp_path: Path, text: str) -> None:
    config = load_config(None, [f"controller.gains.translational_stiffness={text}"])
    assert config.controller.gains.translational_stiffness == (2000.0, 500.0, 1000.5)
    save_config(config, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == config


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("cameras=front,wrist", ("front", "wrist")),
        ("cameras=[front]", ("front",)),
        ("cameras=", ()),
        ("camera_devices=[0, 2]", ("0", "2")),
        ("policy=", ""),
        ("policy=12", "12"),
        ("controller.tank.filter=false", False),
        ("robot_ip=172.16.0.2", "172.16.0.2"),
    ],
)
def test_values_become_the_type_of_their_field(override: str, value: object) -> None:
    assert attrgetter(override.split("=")[0])(load_config(None, [override])) == value


@pytest.mark.parametrize("text", ["1", "0.5", "1e-1", "1.5e2"])
def test_numbers_may_be_written_in_any_notation(text: str) -> None:
    assert load_config(None, [f"session.stall_timeout={text}"]).session.stall_timeout == float(text)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("sede=1", ["unknown key sede", "did you mean seed?"]),
        ("learner.udt=4", ["unknown key learner.udt", "did you mean learner.utd?", "publish_every"]),
        ("zzz=1", ["unknown key zzz", "valid: aloe, arm"]),
        ("learner=4", ["learner is a group", "4"]),
        ("seed.x=4", ["seed={'x': 4}", "an integer"]),
        ("seed=many", ["seed='many'", "an integer"]),
        ("seed=1.5", ["seed=1.5", "an integer"]),
        ("seed=true", ["seed=True", "an integer"]),
        ("controller.tank.filter=1", ["controller.tank.filter=1", "true or false"]),
        ("session.stall_timeout=soon", ["session.stall_timeout='soon'", "a number"]),
        ("task=[reach]", ["task=['reach']", "text"]),
        ("cameras=true", ["cameras=True"]),
        ("arm=ur5", ["arm='ur5'", "sim, fr3"]),
        ("seed", ["'seed'", "key=value"]),
        ("seed=[1", ["seed=[1"]),
        ("controller.hold_after=-1", ["hold_after", "-1"]),
        ("controller.workspace.lower=[0, 0, 0]", ["controller.workspace", "upper"]),
    ],
)
def test_what_does_not_fit_is_refused_with_a_hint(override: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as refused:
        load_config(None, [override])
    for word in words:
        assert word in str(refused.value)


@pytest.mark.parametrize(("text", "words"), [("- 1\n", "mapping.*list"), ("seed: [1", "settings.yaml")])
def test_a_file_that_is_no_configuration_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_config(written(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        load_config(tmp_path / "nowhere.yaml")


def test_saved_and_loaded_is_the_same(tmp_path: Path) -> None:
    workspace = "controller.workspace={lower: [0, 0, 0], upper: [1, 1, 1]}"
    config = load_config(None, ["task=reach", "cameras=front", "learner.utd=8", "seed=3", workspace])
    path = tmp_path / "config.yaml"
    save_config(config, path)
    again = load_config(path)
    assert plain(again) == plain(config)
    assert {f.name: type(getattr(again, f.name)) for f in fields(again)} == {
        f.name: type(getattr(config, f.name)) for f in fields(config)
    }
    np.testing.assert_array_equal(again.controller.workspace.upper, np.ones(3))


def test_a_run_keeps_its_configuration(tmp_path: Path) -> None:
    config = load_config(None, ["task=reach", "steps=7"])
    run = Run.create(config, tmp_path / "run")
    opened, kept = Run.open(tmp_path / "run")
    assert opened == run
    assert plain(kept) == plain(config)
    with pytest.raises(ConfigError, match="is not a run"):
        Run.open(tmp_path)


def test_what_a_process_says_is_heard(tmp_path: Path) -> None:
    run = Run.create(RunConfig(), tmp_path)
    assert run.status_of("session") == {}
    run.say("session", {"steps": 1})
    run.say("session", {"steps": 2})
    assert run.status_of("session") == {"steps": 2}


def test_an_arm_under_crisp_needs_another_namespace_than_crisp() -> None:
    with pytest.raises(ConfigError, match=r"namespace='', which is CRISP's.*namespace=rl"):
        load_config(None, ["arm=crisp"])
    with pytest.raises(ConfigError, match="past every check"):
        load_config(None, ["arm=crisp", "namespace=left", "crisp.namespace=/left"])
    config = load_config(None, ["arm=crisp", "namespace=rl", "crisp.joint_names=a,b", "crisp.local_wrench=false"])
    assert (config.namespace, config.crisp.joint_names, config.crisp.local_wrench) == ("rl", ("a", "b"), False)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("simulator=mine", "one of own, running"),
        ("namespace=my-arm", "letters, digits and _"),
        ("namespace=1", "letters, digits and _"),
        ("namespace=größe", "letters, digits and _"),
        ("crisp.joint_names=1,2,3,4,5,6,7,8", "1 to 7 names, not 8"),
    ],
)
def test_where_the_arm_is_must_make_sense(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(None, [override])


@pytest.mark.parametrize(
    ("override", "fits"),
    [
        ("learner.utd=-1", "an integer from 1 to"),
        ("learner.start_after=-5", "an integer from 0 to"),
        ("learner.publish_every=0", "an integer from 1 to"),
        ("learner.checkpoint_every=0", "an integer from 1 to"),
        ("learner.gate_window=4", "an integer from 5 to"),
        ("scene_port=99999999", "an integer from 1 to 65535"),
        ("arms=0", "an integer from 1 to"),
        ("arms=-1", "an integer from 1 to"),
        ("seed=-1", "an integer from 0 to"),
        ("episodes=0", "an integer from 1 to"),
        ("session.horizon=-1", "an integer from 0 to"),
        ("session.ask_ahead=-1", "an integer from 0 to 100"),
        ("session.late_limit=0.0", "a number of at least 0.001"),
        ("session.policy_timeout=0.0", "a number of at least 0.001"),
        ("session.policy_wait=0.0", "a number of at least 0.001"),
        ("session.chunks=blend", "one of wait, splice, ensemble, rtc"),
        ("session.ensemble_decay=-0.1", "a number of at least 0"),
        ("session.stall_timeout=inf", "a number of at least 0.001"),
    ],
)
def test_a_number_out_of_its_range_is_named_with_the_range(override: str, fits: str) -> None:
    name, value = override.split("=")
    with pytest.raises(ConfigError, match=rf"^{name}='?{value}'? must be {fits}"):
        load_config(None, [override])


def test_who_waits_for_a_chunks_end_is_not_asked_ahead() -> None:
    with pytest.raises(ConfigError, match=r"^session.ask_ahead=2 is too early for chunks=wait; say chunks=splice"):
        load_config(None, ["session.ask_ahead=2"])
    assert load_config(None, ["session.ask_ahead=2", "session.chunks=splice"]).session.ask_ahead == 2


def test_an_arm_needs_an_address() -> None:
    with pytest.raises(ConfigError, match=r"robot_ip= is empty.*e\.g\. robot_ip="):
        load_config(None, ["robot_ip="])


def test_runs_that_begin_in_the_same_second_have_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("robot_rl.jobs.run.time.strftime", lambda form: "20260101-000000")
    configs = [load_config(None, ["task=reach", f"steps={i}"]) for i in (1, 2, 3)]
    runs = [Run.create(config) for config in configs]
    assert [run.root.name for run in runs] == [f"20260101-000000-reach{end}" for end in ("", "-2", "-3")]
    assert [Run.open(run.root)[1].steps for run in runs] == [1, 2, 3]
    left = Run.create(load_config(None, ["task=reach", "namespace=/cell/left"]))
    assert left.root == tmp_path / "runs" / "20260101-000000-cell-left-reach"


@pytest.mark.parametrize("namespace", ["", "left", "/left", "cell_1/left"])
def test_namespaces_of_ros_are_taken(namespace: str) -> None:
    assert load_config(None, [f"namespace={namespace}"]).namespace == namespace


def test_settings_that_make_sense_only_together_may_come_in_any_order() -> None:
    for overrides in (["hold_after=4", "damp_after=8"], ["damp_after=8", "hold_after=4"]):
        controller = load_config(None, [f"controller.{override}" for override in overrides]).controller
        assert (controller.hold_after, controller.damp_after) == (4.0, 8.0)
    assert load_config(None, ["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize(
    "arm",
    [
        ["arm=fr3", "robot_ip=172.16.0.2"],
        ["arm=fr3"],
        ["arm=crisp", "namespace=rl"],
        ["simulator=running", "robot_ip=172.16.0.2"],  # whatever is there, it is no simulator of ours
        ["robot_ip=panda.local"],
    ],
)
def test_the_passivity_filter_cannot_be_switched_off_on_a_real_arm(arm: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"controller\.tank\.filter=false with arm=.* in simulation only"):
        load_config(None, [*arm, "controller.tank.filter=false"])
    assert load_config(None, arm).controller.tank.filter
    for address in ("127.0.0.1", "localhost", "127.70.1.2"):
        assert not load_config(None, [f"robot_ip={address}", "controller.tank.filter=false"]).controller.tank.filter


@pytest.mark.parametrize(
    "arm", [["arm=fr3", "robot_ip=172.16.0.2"], ["robot_ip=172.16.0.2"], ["arm=crisp", "namespace=rl"]]
)
@pytest.mark.parametrize(
    "limit", ["controller.force_limit=.inf", "controller.max_speed=3", "controller.tank.capacity=50"]
)
def test_the_limits_of_a_real_arm_are_bounded(arm: list[str], limit: str) -> None:
    with pytest.raises(ConfigError, match=rf"{limit.partition('=')[0]}=.* must be at most .* for a real arm"):
        load_config(None, [*arm, limit])
    load_config(None, [limit])
    assert load_config(None, [*arm, "controller.force_limit=50"]).controller.force_limit == 50


@pytest.mark.parametrize(
    "override",
    [
        f"seed={'9' * 400}",
        f"seed={'9' * 5000}",
        "task=@",
        "cameras=[1,2",
        "demos=1e400",
        f"cameras={'[' * 100_000}",
        "session=&a [*a]",
        "learner.settings={[1]: 2}",
        "controller.gains=null",
        "steps=.nan",
    ],
)
def test_whatever_is_typed_is_refused_in_one_line_of_bounded_length(override: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_config(None, [override])
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 1000


@pytest.mark.parametrize("key", ["cameras", "camera_devices"])
def test_no_camera_stands_there_twice(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"{key}=\['left', 'right', 'left'\]: 'left' stands there twice"):
        load_config(None, [f"{key}=left,right,left"])
