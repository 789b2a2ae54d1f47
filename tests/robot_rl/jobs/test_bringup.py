"""Which processes a job has, and what is checked before any of them starts."""

from __future__ import annotations

import ast
import dataclasses
import sys
from pathlib import Path

import pytest

from hardware.teleop import TELEOP_DEVICES
from robot_rl.contract import ContractError, Outcome
from robot_rl.contract.settings import ConfigError
from robot_rl.data.schema import StoreSchema
from robot_rl.data.store import EpisodeStore
from robot_rl.jobs import bringup
from robot_rl.jobs.bringup import node_names, prepare, specs
from robot_rl.jobs.cli import main
from robot_rl.jobs.commands import run_demo
from robot_rl.jobs.config import RunConfig, load_config
from robot_rl.jobs.job import COMMANDS
from robot_rl.jobs.locks import ros_domain
from robot_rl.jobs.policies import make_evaluated
from robot_rl.jobs.processes import NAMES
from robot_rl.jobs.run import Run, settings_of
from robot_rl.tasks import make_task
from tests.robot_rl.policies.test_composed import SEEN, compose, write
from tests.robot_rl.publishing import policy
from tests.robot_rl.recording import steps

REACH = RunConfig(task="reach")
ROOT = Path(__file__).resolve().parents[3]


def domain_of_job(config: RunConfig, job: str = "") -> int:
    with ros_domain(config, job) as domain:
        return domain.number


@pytest.mark.parametrize(
    ("job", "overrides", "names"),
    [
        ("record", [], "sim arm expert session"),
        ("record", ["source=keyboard"], "sim arm teleop console session"),
        ("record", ["source=topic"], "sim arm console session"),
        ("record", ["source=console"], "sim arm console session"),
        ("record", ["console.show=always"], "sim arm expert console session"),
        ("record", ["source=topic", "console.show=never"], "sim arm session"),
        ("train", [], "sim arm learner policy session"),
        ("train", ["source=spacemouse", "cameras=front"], "sim arm camera learner policy teleop console session"),
        ("train", ["arm=fr3"], "arm learner policy console session"),
        ("eval", [], "sim arm policy session"),
        ("eval", ["policy=topic"], "sim arm session"),
        ("eval", ["policy=topic", "judge=any_of(task,classifier:a)"], "sim arm reward session"),
        ("train", ["judge=classifier:a", "cameras=front"], "sim arm camera reward learner policy session"),
        ("teleop", ["source=topic", "judge=classifier:a"], "sim arm console session"),
        ("collect", ["judge=classifier:a", "cameras=front"], "sim arm camera expert session"),
        ("teleop", ["source=gamepad", "arm=fr3"], "arm teleop console session"),
        ("cameras", ["cameras=front", "source=spacemouse", "force.sensor=ati"], "sim arm camera sheet"),
        ("cameras", ["cameras=front", "simulator=running", "judge=classifier:a"], "arm camera sheet"),
        ("cameras", ["cameras=front", "arm=fr3", "source=console", "encoder=efficientnet_lite0"], "camera-front sheet"),
        ("record", ["cameras=front,wrist", "arm=fr3", "source=topic"], "arm camera-front camera-wrist console session"),
        ("cameras", ["cameras=front", "arm=remote"], "link sheet"),
        ("record", ["source=my_package.devices:Pedal"], "sim arm teleop console session"),
        ("train", ["simulator=running"], "arm learner policy session"),
        ("train", ["arm=crisp", "namespace=rl"], "arm learner policy console session"),
        ("arm", [], "sim arm"),
        ("arm", ["arm=fr3", "cameras=front", "source=keyboard"], "arm camera-front"),
    ],
)
def test_processes_of_a_job(job: str, overrides: list[str], names: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bringup, "has_page", lambda: True)
    assert node_names(job, load_config(None, overrides)) == names.split()


def test_without_what_the_page_needs_a_job_has_none_unless_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bringup, "has_page", lambda: False)
    assert "console" not in node_names("record", load_config(None, ["source=keyboard"]))
    for asked in ("source=console", "console.show=always"):
        with pytest.raises(ConfigError, match="the page needs viser"):
            node_names("record", load_config(None, [asked]))
    with pytest.raises(ConfigError, match=r"leave out console\.show=never"):
        node_names("record", load_config(None, ["source=console", "console.show=never"]))


def test_unknown_jobs_and_sources_are_refused_with_the_choices() -> None:
    with pytest.raises(ConfigError, match=r"'trian'.*record, train, eval, teleop, arm"):
        node_names("trian", REACH)
    with pytest.raises(ConfigError, match=r"source='joystick'.*expert, topic, console, keyboard.*module:Class"):
        node_names("record", RunConfig(source="joystick"))


@pytest.mark.parametrize("job", COMMANDS)
@pytest.mark.parametrize("source", ["expert", *TELEOP_DEVICES.builtin])
def test_every_process_exists_and_says_what_its_end_means(job: str, source: str) -> None:
    config = RunConfig(task="reach", source=source, cameras=("front",))
    for spec in specs(job, Run(Path("/a/run")), config):
        assert spec.name in NAMES
        assert spec.arguments == ("node", spec.name, "--run", "/a/run", "--job", job)
        assert spec.required != spec.respawn
        assert spec.required == (spec.name in ("sim", "arm", "session"))


def test_an_arm_that_shares_a_learner_has_none_and_hears_the_other_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ROS_DOMAIN_ID", raising=False)
    config = load_config(None, ["task=reach", "namespace=right", "learner.shared=left"])
    started = {spec.name: spec for spec in specs("train", prepare("train", config, tmp_path), config)}
    assert list(started) == ["sim", "arm", "policy", "session"]
    names = ("policy_parameters", "learner_debt", "learner_phase")
    heard = tuple((name, f"/left/{name}") for name in names)
    assert started["policy"].remappings == started["session"].remappings == heard
    assert started["arm"].remappings == ()
    root = load_config(None, ["task=reach", "namespace=right", "learner.shared=/"])
    assert specs("train", Run(tmp_path), root)[2].remappings[0] == ("policy_parameters", "/policy_parameters")
    assert domain_of_job(root) == domain_of_job(load_config(None, ["learner.shared=left"])) == 0, "one of several"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["learner.shared=left hand"], "learner.shared='left hand' is no namespace"),
        (["learner.shared=left", "namespace=/left"], "learner.shared='left' is this arm's own namespace"),
        (["learner.shared=/"], "learner.shared='/' is this arm's own namespace"),
    ],
)
def test_whose_learner_is_meant_is_checked(settings: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_config(None, settings)


@pytest.mark.parametrize("job", COMMANDS)
def test_each_job_has_a_launch_file_with_the_same_processes(job: str) -> None:
    tree = ast.parse((ROOT / "launch" / f"{job}.launch.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert [ast.unparse(call) for call in calls] == [f"job_description({job!r})"]


def record(folder: Path, task: str) -> None:
    schema = StoreSchema.of(make_task(task))
    with EpisodeStore.create_or_open(folder, schema) as store:
        writer = store.begin()
        for step in steps(3, schema=schema):
            writer.append(step)
        writer.finish(Outcome.success())


def test_training_needs_demonstrations_of_the_task(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"demonstrations at .*robot-rl record --task reach"):
        prepare("train", REACH, tmp_path)
    record(tmp_path / "demos", "peg_insertion")
    with pytest.raises(ConfigError, match="do not fit task 'reach': they are of task 'peg_insertion'"):
        prepare("train", REACH, tmp_path)
    assert not (tmp_path / "config.yaml").exists(), "what cannot be done leaves no trace"
    record(tmp_path / "right", "reach")
    prepare("train", RunConfig(task="reach", demo_stores=("right",)), tmp_path)
    assert (tmp_path / "config.yaml").exists()


def test_evaluation_needs_a_policy_of_the_task(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="which policy"):
        prepare("eval", REACH, None)
    with pytest.raises(ConfigError, match="no policy at"):
        prepare("eval", REACH, tmp_path)
    (tmp_path / "policy.params").write_bytes(policy(make_task("peg_insertion")))
    with pytest.raises(ConfigError, match="trained with task 'peg_insertion', but this run has task 'reach'"):
        prepare("eval", REACH, tmp_path)
    (tmp_path / "policy.params").write_bytes(b"\0" + policy(make_task("reach")))
    with pytest.raises(ConfigError, match="cannot be used"):
        prepare("eval", REACH, tmp_path)
    unknown = policy(make_task("reach"), change={"agent": "oracle"})
    (tmp_path / "policy.params").write_bytes(unknown)
    with pytest.raises(ConfigError, match=r"cannot be used: no agent of this version.*unknown agent 'oracle'"):
        prepare("eval", REACH, tmp_path)


def test_a_policy_of_ones_own_needs_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_pkg.py").write_text(
        "from robot_rl.policies.base import RandomPolicy\n\n\nclass MyPolicy(RandomPolicy):\n    history = 2\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    config = dataclasses.replace(REACH, policy="my_pkg:MyPolicy")
    run = prepare("eval", config, tmp_path / "run")
    made = make_evaluated(run, config, make_task("reach"), StoreSchema.of(make_task("reach")))
    assert (type(made).__name__, made.history) == ("MyPolicy", 2)
    mark = (run.evaluation / "policy.sha256").read_text()
    prepare("eval", dataclasses.replace(REACH, policy="random"), run.root)
    assert (run.evaluation / "policy.sha256").read_text() != mark
    prepare("eval", dataclasses.replace(REACH, policy="topic"), tmp_path / "other")
    with pytest.raises(ConfigError, match=r"policy=topic is another program.*leave out --fast"):
        prepare("eval", dataclasses.replace(REACH, policy="topic"), None, fast=True)
    with pytest.raises(ConfigError, match=r"cannot be used: policy 'my_pkg:Mine': my_pkg has no 'Mine'"):
        prepare("eval", dataclasses.replace(REACH, policy="my_pkg:Mine"), None)
    with pytest.raises(ConfigError, match=r"no policy at randum; .*policy=FILE or policy=MODULE:CLASS"):
        prepare("eval", dataclasses.replace(REACH, policy="randum"), None)


def test_a_composition_is_evaluated_by_its_file_and_known_by_its_parents(tmp_path: Path) -> None:
    config = dataclasses.replace(REACH, policy=f"composed:{tmp_path / 'both.yaml'}")
    with pytest.raises(ConfigError, match=r"cannot read .*both\.yaml"):
        prepare("eval", config, tmp_path / "run")
    write(tmp_path / "a.params", 0)
    write(tmp_path / "b.params", 1)
    compose(tmp_path, 1, 1)
    run = prepare("eval", config, tmp_path / "run")
    made = make_evaluated(run, config, make_task("reach"), StoreSchema.of(make_task("reach")))
    assert made.act([SEEN]).actions.shape == (2, make_task("reach").action.size)
    marks = [(run.evaluation / "policy.sha256").read_text()]
    for change in (lambda: compose(tmp_path, 1, 3), lambda: write(tmp_path / "b.params", 2)):
        change()
        prepare("eval", config, run.root)
        marks.append((run.evaluation / "policy.sha256").read_text())
    assert len(set(marks)) == 3
    write(tmp_path / "b.params", 1, horizon=4)
    with pytest.raises(ConfigError, match=r"cannot be used: .*b\.params: its chunks have 4 actions"):
        prepare("eval", config, run.root)


def test_evaluations_set_aside_within_one_second_are_all_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bringup.time, "strftime", lambda form: "now")
    for version in range(3):
        (tmp_path / "policy.params").write_bytes(policy(make_task("reach"), version=version))
        prepare("eval", REACH, tmp_path)
    assert {path.name for path in tmp_path.glob("evaluation-*")} == {"evaluation-until-now", "evaluation-until-now-2"}


def test_episodes_of_another_policy_do_not_count_for_this_one(tmp_path: Path) -> None:
    (tmp_path / "policy.params").write_bytes(policy(make_task("reach")))
    run = prepare("eval", REACH, tmp_path)
    (run.evaluation / "episode").touch()
    prepare("eval", REACH, tmp_path)
    assert (run.evaluation / "episode").exists(), "the same policy goes on"
    (tmp_path / "policy.params").write_bytes(policy(make_task("reach"), version=2))
    prepare("eval", REACH, tmp_path)
    assert not (run.evaluation / "episode").exists()
    assert [path.parent.name[:16] for path in tmp_path.glob("*/episode")] == ["evaluation-until"]


def test_the_script_drives_no_robot(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"source=expert.*choose source=topic, console, keyboard"):
        prepare("record", RunConfig(arm="fr3"), tmp_path)


def test_training_without_a_run_asks_for_one() -> None:
    with pytest.raises(ConfigError, match="which run has them"):
        prepare("train", REACH, None)


@pytest.mark.parametrize("job", COMMANDS)
def test_an_unknown_task_is_refused_by_each_job(job: str, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"'raech'.*did you mean 'reach'"):
        prepare(job, RunConfig(task="raech"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_unknown_judge_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"unknown judge 'persn'.*task, person.*did you mean 'person'"):
        prepare("record", load_config(None, ["task=reach", "judge=persn"]), tmp_path / "run")


def test_a_simulated_arm_has_a_ros_domain_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", "77")
    assert domain_of_job(REACH) == 77
    monkeypatch.delenv("ROS_DOMAIN_ID")
    assert 1 <= domain_of_job(REACH) <= 100
    assert domain_of_job(REACH, "arm") == 0, "served to other programs"
    assert domain_of_job(RunConfig(namespace="left")) == domain_of_job(RunConfig(simulator="running")) == 0
    assert domain_of_job(RunConfig(arm="fr3")) == 0, "a robot is shared with what others run on its machine"


def test_settings_that_the_algorithm_does_not_know_are_refused_before_anything_starts(tmp_path: Path) -> None:
    config = load_config(None, ["task=reach", "learner.settings.discont=0.9"])
    with pytest.raises(
        ConfigError,
        match=r"agent flash_sac: unknown key learner.settings.discont; did you mean learner.settings.discount",
    ):
        prepare("train", config, tmp_path / "run")
    with pytest.raises(ConfigError, match="discount"):
        run_demo(config, tmp_path / "run", fast=True)
    assert not (tmp_path / "run").exists()


TOUCH = """\
start: {position: [0.5, 0.0, 0.25], spread: [0.02, 0.02, 0.02]}
workspace: {lower: [0.38, -0.12, 0.1], upper: [0.62, 0.12, 0.32]}
axes: {x: 0.01, y: 0.01, z: 0.01}
goal: {position: [0.55, 0.05, 0.15]}
cameras: {front: {size: 64}}
"""


def test_a_run_keeps_its_task_whatever_happens_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("touch.yaml").write_text(TOUCH)
    config = load_config(None, ["task=touch.yaml", "source=topic"])
    run = prepare("record", config, Path("run"))
    Path("touch.yaml").unlink()
    run.root.rename(tmp_path / "moved")
    moved, config = Run.open(tmp_path / "moved")
    task = make_task(config.task)
    assert (task.name, config.cameras) == ("touch", ("front",))
    assert make_task(settings_of(None, Path("moved"), []).task).name == "touch"
    again = prepare("record", config, moved.root)
    assert make_task(Run.open(again.root)[1].task).nominal.translation[0] == 0.5
    Path("other.yaml").write_text(TOUCH.replace("0.5,", "0.52,"))
    changed = prepare("record", settings_of(None, Path("moved"), ["task=other.yaml"]), moved.root)
    assert make_task(Run.open(changed.root)[1].task).nominal.translation[0] == 0.52


def test_folders_are_called_after_tasks_of_every_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("touch.yaml").write_text(TOUCH)
    for name, ends in (("touch.yaml", "-touch"), ("robot_rl.tasks.reach:Reach", "-Reach"), ("reach", "-reach")):
        root = prepare("record", RunConfig(task=name, source="topic"), None).root
        assert root.parent == tmp_path / "runs" and root.name.endswith(ends)


@pytest.mark.parametrize(
    ("settings", "fast", "words"),
    [
        (["source=expert"], False, "task 'touch' has no script that could drive it"),
        (["source=expert"], True, "task 'touch' has no script that could drive it"),
        (["source=expert", "blind=true", "task=reach"], False, "a blind one choose source=topic, console, keyboard"),
        (["source=topic", "blind=true", "task=reach"], True, "leave out --fast or blind=true"),
        (["session.doubt_wait=30", "task=reach"], True, "session.doubt_wait=30 asks a person, and in process"),
    ],
)
def test_who_cannot_drive_is_refused_before_anything_starts(
    settings: list[str], fast: bool, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("touch.yaml").write_text(TOUCH)
    with pytest.raises((ConfigError, ContractError), match=words):
        prepare("record", load_config(None, ["task=touch.yaml", *settings]), None, fast)
    assert not Path("runs").exists()


def test_nothing_begins_where_a_force_sensor_or_its_tool_do_not_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ["eval", "--run", str(tmp_path / "run"), "--task", "reach", "policy=random"]
    assert main([*run, "force.sensor=atti"]) == 2
    assert "force.sensor='atti'" in (said := capsys.readouterr().err) and "did you mean 'ati'" in said
    assert main([*run, "force.sensor=ati", f"force.tool={tmp_path}/none.yaml"]) == 2
    assert "none.yaml cannot be read" in capsys.readouterr().err
    assert main([*run, "--fast", "force.sensor=ati"]) == 2
    assert "force.sensor=ati measures in real time" in capsys.readouterr().err
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_only_a_simulated_arm_is_made_blind() -> None:
    assert not load_config(None, ["blind=true"]).knows_scene
    assert load_config(None, []).knows_scene
    with pytest.raises(ConfigError, match="arm=fr3 is blind anyway"):
        load_config(None, ["blind=true", "arm=fr3"])


def test_hidden_fields_are_those_of_the_task_and_of_the_policy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"learner\.without=tanks: the state of task 'reach' has no .* 'tank'\?"):
        prepare("record", load_config(None, ["task=reach", "learner.without=tanks"]), tmp_path / "run")
    (tmp_path / "whole.params").write_bytes(policy(make_task("reach")))
    (tmp_path / "run").mkdir()
    given = ["task=reach", f"policy={tmp_path / 'whole.params'}"]
    prepare("eval", load_config(None, given), tmp_path / "run")
    with pytest.raises(ConfigError, match=r"cannot be used: it was trained with tank of the state, which learner\.wit"):
        prepare("eval", load_config(None, [*given, "learner.without=tank"]), tmp_path / "run")
