"""The agreement of two computers, before one drives the arm of the other."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from robot_rl.contract.settings import ConfigError
from robot_rl.jobs.bringup import node_names, opening, prepare, specs
from robot_rl.jobs.cli import parse
from robot_rl.jobs.config import load_config
from robot_rl.jobs.remote import (
    Served,
    check_fit,
    discovery,
    knows_scene,
    patience_of,
    scene_objects,
    served,
    serves_sessions,
)
from robot_rl.jobs.run import LINK, Run
from robot_rl.jobs.task_commands import teach_task
from robot_rl.tasks import make_task

PEERS = ["peers=10.0.0.2,10.0.0.3"]
REMOTE = ["task=reach", "arm=remote", *PEERS]
THERE = ["task=reach", *PEERS]


def announced(*overrides: str) -> Served:
    config = load_config(None, [*THERE, *overrides])
    return Served.from_json(served(config, make_task(config.task), "arm").to_json())


@pytest.mark.parametrize(
    ("job", "overrides", "names"),
    [
        ("record", [], "link expert session"),
        ("train", [], "link learner policy session"),
        ("train", ["cameras=front"], "link learner policy session"),
        ("train", ["namespace=right", "learner.shared=left"], "link policy session"),
        ("eval", [], "link policy session"),
        ("teleop", ["source=keyboard"], "link teleop session"),
    ],
)
def test_a_job_with_the_arm_of_another_computer_has_a_link_in_its_place(
    job: str, overrides: list[str], names: str
) -> None:
    config = load_config(None, [*REMOTE, "console.show=never", *overrides])
    assert node_names(job, config) == names.split()
    variables = {"ROS_STATIC_PEERS": "10.0.0.2;10.0.0.3", "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    for spec in specs(job, Run(Path("/a/run")), config):
        assert dict(spec.environment) == variables
    link = specs(job, Run(Path("/a/run")), config)[0]
    assert link.required and link.talks and link.arguments[:2] == ("node", "link")


def test_without_peers_nothing_leaves_the_computer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROS_AUTOMATIC_DISCOVERY_RANGE", raising=False)
    assert discovery(load_config(None, [])) == {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    for spec in specs("train", Run(Path("/a/run")), load_config(None, ["task=reach"])):
        assert spec.environment == ()


@pytest.mark.parametrize("peers", ["10.0.0.2;10.0.0.3", "10.0.0.2,-x", "http://a", "'a b'"])
def test_what_is_no_address_is_refused(peers: str) -> None:
    with pytest.raises(ConfigError, match=r"peers.*is no address or name of a computer"):
        load_config(None, [f"peers={peers}"])


@pytest.mark.parametrize("peer", ["no-such-computer.invalid", "a..b", 70 * "a"])
def test_a_name_that_nobody_knows_is_refused(tmp_path: Path, peer: str) -> None:
    config = load_config(None, ["task=reach", f"peers={peer}"])
    with pytest.raises(ConfigError, match=rf"peers=.*nobody knows the address of '{re.escape(peer)}'"):
        prepare("arm", config, tmp_path / "run")


def test_what_belongs_on_the_computer_of_the_arm_is_refused_here(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"blind=true .*say so on the arm's computer"):
        load_config(None, [*REMOTE, "blind=true"])
    with pytest.raises(ConfigError, match="a task is taught on the computer of the arm"):
        teach_task(parse(["task", "teach", "--out", str(tmp_path / "a.yaml"), "arm=remote"]))


def test_the_job_arm_serves_an_arm_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="robot-rl arm serves an arm of this computer"):
        prepare("arm", load_config(None, REMOTE), tmp_path / "run")


def test_an_arm_is_served_to_sessions_where_peers_are_named_else_to_clients_of_crisp(tmp_path: Path) -> None:
    alone, with_peers = load_config(None, ["task=reach"]), load_config(None, THERE)
    assert not serves_sessions(alone, "arm") and patience_of(alone, "arm") == 60.0
    assert serves_sessions(with_peers, "arm") and patience_of(with_peers, "arm") == 0.0
    assert serves_sessions(alone, "train") and not serves_sessions(alone, "teleop")
    said = "\n".join(opening("arm", Run(tmp_path), with_peers))
    assert "served to sessions at 10.0.0.2, 10.0.0.3, with arm=remote" in said
    assert "the arm is one that 10.0.0.2, 10.0.0.3 serves" in "\n".join(
        opening("record", Run(tmp_path), load_config(None, REMOTE))
    )


@pytest.mark.parametrize("job", ["record", "train", "eval", "teleop"])
def test_the_same_settings_fit(job: str) -> None:
    check_fit(announced(), load_config(None, REMOTE), job)
    check_fit(announced("cameras=front,wrist"), load_config(None, [*REMOTE, "cameras=wrist"]), job)


@pytest.mark.parametrize(
    ("there", "here", "words"),
    [
        (["task=peg_insertion"], [], r"on the arm's computer the task is peg_insertion, here reach"),
        (["peers="], [], r"served without episodes.*robot-rl arm peers="),
        (["cameras=front"], ["cameras=front,wrist"], r"no camera wrist \(there are: front\).*cameras=front,wrist"),
        (
            ["controller.gains.rotational_stiffness=40"],
            [],
            r"controller\.gains\.rotational_stiffness=40\.0 on the arm's computer, \S+ here; give both",
        ),
        (
            [],
            ["controller.hold_after=0.3", "controller.force_limit=30", "controller.impact_energy=0.01"],
            r"hold_after=0\.25.*0\.3 here",
        ),
        (["blind=true"], ["source=expert"], r"source=expert drives only a simulated arm"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(there: list[str], here: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as refusal:
        check_fit(announced(*there), load_config(None, [*REMOTE, *here]), "record")
    assert "\n" not in str(refusal.value)


def test_differences_beyond_the_first_are_counted() -> None:
    changes = [f"controller.{name}=0.2" for name in ("ramp_up", "gain_ramp", "wrench_ramp", "ramp_down", "rest_speed")]
    with pytest.raises(ConfigError, match="; and 1 more; give both the same"):
        check_fit(announced(*changes[1:]), load_config(None, REMOTE), "train")


def test_what_another_version_says_is_refused() -> None:
    known = json.loads(announced().to_json())
    for text in ("", "[]", "{}", json.dumps(known | {"laser": 1}), json.dumps({**known, "cameras": None})):
        with pytest.raises(ConfigError, match="install the same robot_rl on both"):
            Served.from_json(text)


def test_the_scene_of_another_computer_is_known_once_it_has_said_so(tmp_path: Path) -> None:
    config = load_config(None, REMOTE)
    run, task = Run.create(config, tmp_path), make_task("reach")
    assert scene_objects(run, config, task) == ()
    run.say(LINK, {"ready": True, "knows_scene": True})
    assert knows_scene(run, config) and scene_objects(run, config, task) == task.scene().objects
    assert not knows_scene(Run.create(config, tmp_path), config), "what an earlier job heard is void"
    assert scene_objects(run, dataclasses.replace(config, arm="sim"), task) == task.scene().objects
