"""`robot-rl pretrain --vla`: what it refuses before anything is learnt, and from demonstrations to a policy in use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from robot_rl.contract import AgentView
from robot_rl.data.parameters import unpack
from robot_rl.data.schema import StoreSchema
from robot_rl.data.store import EpisodeStore, StoreReader
from robot_rl.jobs.cli import main
from robot_rl.jobs.config import load_config
from robot_rl.jobs.policies import Loader
from robot_rl.jobs.progress import schema_of
from robot_rl.learner.checkpoint import save
from robot_rl.perception.encoders import make_encoder
from robot_rl.policies.vla.card import packed
from robot_rl.policies.vla.config import VlaConfig
from robot_rl.policies.vla.network import SmallVla
from robot_rl.policies.vla.policy import VlaPolicy
from robot_rl.policies.vla.seeing import cell_shape
from robot_rl.tasks import make_task
from robot_rl.tasks.named_cube import LiftCube, TouchCube
from tests.robot_rl.recording import steps

TOUCH, LIFT = TouchCube().name, LiftCube().name


def record(path: Path, name: str, size: int = 128, cameras: tuple[str, ...] = ("wrist",)) -> None:
    """A store with one success, of noise."""
    task = make_task(name)
    schema = StoreSchema.of(task, dict.fromkeys(cameras, (size, size)), task.control_period)
    with EpisodeStore.create_or_open(path, schema) as store:
        writer = store.begin({})
        for step in steps(2, schema=schema):
            writer.append(step)
        writer.finish()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "which demonstrations? name the run"),
        (["--run", "{}/a", "demo_stores="], "demo_stores is empty"),
        (["--run", "{}/a", "demo_stores=none"], "no successful demonstrations at"),
        (["--run", "{}/a", "demo_stores=../small"], "has no images of camera wrist of size 128, but"),
        (["--run", "{}/a", "demo_stores=../touch,../reach", "cameras=wrist"], "whose fields are not those of"),
        (
            ["--run", "{}/a", "demo_stores=../touch", "vla.weights=1,2"],
            r"vla.weights=[1.0, 2.0] needs a number for each",
        ),
        (["--run", "{}/a", "demo_stores=../touch", "vla.encoder=none"], "vla: "),
        (["--run", "{}/a", "demo_stores=../reach", "task=reach"], "sees by cameras, and task=reach has none"),
        (["--run", "{}/a", "demo_stores=../touch"], "says not what was asked for, nor does its task"),
        (["--run", "{}/a", "vla.widht=3"], "vla.widht"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    record(tmp_path / "touch", TOUCH)
    record(tmp_path / "small", TOUCH, size=64)
    record(tmp_path / "reach", "reach")
    words = [word.format(tmp_path) for word in words]
    task = [] if any(word.startswith("task=") for word in words) else [f"task={TOUCH}"]
    assert main(["pretrain", "--vla", *words, *task]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SmallVLA of the task `TOUCH` that has learnt nothing."""
    task, made = make_task(TOUCH), VlaConfig(width=16, heads=2, layers=1)
    view = AgentView(task, (), task.views(("wrist",)))
    network = SmallVla(made, {"wrist": cell_shape(make_encoder(made.encoder), 128)}, view.state_size, task.action.size)
    params = {name: value.numpy() for name, value in network.state_dict().items()}
    file = tmp_path_factory.mktemp("vla") / "vla.params"
    file.write_bytes(packed(params, view, [TOUCH], {"wrist": 128}, made))
    return file


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "--fast", "learner.base={none}"], "learner.base={none} cannot be read: No such file"),
        (["train", "--fast", "learner.base={torn}"], "learner.base={torn} cannot be started from: "),
        (["train", "--fast", "task=reach"], "it has learnt the tasks robot_rl.tasks.named_cube:TouchCube"),
        (["train", "--fast", "cameras=front"], "it needs images of wrist; this run has cameras=['front']"),
        (
            ["train", "--fast", "learner.interventions=cut"],
            "learner.interventions=cut is for agents, and learner.base=",
        ),
        (["train", "--fast", "learner.shaping=0.1"], "learner.shaping=0.1 is for agents"),
        (["train", "--fast", "learner.utd=3"], "learner.utd=3 is for agents"),
        (["train", "--fast", "aloe.weight=best"], "aloe.weight"),
        (["pretrain"], "it is a SmallVLA, which robot-rl pretrain --vla makes and robot-rl train improves"),
    ],
)
def test_a_policy_that_cannot_be_improved_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], policy: Path, words: list[str], said: str
) -> None:
    record(tmp_path / "run" / "demos", TOUCH)
    (tmp_path / "torn").write_bytes(policy.read_bytes()[:-1])
    names = {"none": tmp_path / "none", "torn": tmp_path / "torn"}
    settings = {"task": TOUCH, "cameras": "wrist", "learner.base": str(policy)}
    settings |= dict(word.format(**names).split("=") for word in words if "=" in word)
    commands = [word for word in words if "=" not in word]
    assert (
        main([*commands, "--run", str(tmp_path / "run"), *(f"{key}={value}" for key, value in settings.items())]) == 2
    )
    assert said.format(**names) in " ".join(capsys.readouterr().err.split())


def test_a_run_goes_on_with_the_policy_that_it_began_with_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], policy: Path
) -> None:
    record(tmp_path / "run" / "demos", TOUCH)
    save(tmp_path / "run" / "checkpoints", 3, {}, {"base": "another"})
    words = ["train", "--fast", "--run", str(tmp_path / "run"), f"task={TOUCH}", "cameras=wrist"]
    assert main([*words, f"learner.base={policy}"]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "cannot go on from this run's checkpoint" in told and f"learner.base={policy} holds" in told


def test_what_is_published_says_itself_whether_an_agent_or_a_small_vla_acts(policy: Path) -> None:
    task = make_task(TOUCH)
    config = load_config(None, [f"task={TOUCH}", "cameras=wrist"])  # of an arm that another one's learner teaches
    found = Loader(config, task, schema_of(task, config))(policy.read_bytes())
    assert isinstance(found, VlaPolicy)


@pytest.mark.slow  # half a minute of simulation
@pytest.mark.timeout(300)
def test_two_tasks_are_shown_learnt_and_done_as_told(tmp_path: Path) -> None:
    for name, folder in ((TOUCH, "touch"), (LIFT, "lift")):
        assert main(["record", "--fast", "--task", name, "--run", str(tmp_path / folder), "demos=2"]) == 0
    (first, *_) = StoreReader(tmp_path / "touch" / "demos").episodes()
    assert first.meta["instruction"].startswith(("touch", "put", "tap", "press"))
    run, small = tmp_path / "touch", ["vla.width=16", "vla.heads=2", "vla.layers=1", "vla.steps=4", "vla.every=2"]
    assert main(["pretrain", "--vla", "--run", str(run), "demo_stores=demos,../lift/demos", *small]) == 0
    assert (run / "imitation.png").stat().st_size > 1000
    policy = run / "vla.params"
    meta = unpack(policy.read_bytes()).meta
    assert meta["tasks"] == [TOUCH, LIFT] and meta["images"] == {"wrist": 128}
    told = ["episodes=1", f"policy={policy}", "session.instruction=lift the red cube"]
    assert main(["eval", "--fast", "--run", str(tmp_path / "lift"), *told]) == 0
    (info,) = StoreReader(tmp_path / "lift" / "evaluation").episodes()
    assert info.meta["instruction"] == "lift the red cube"
    assert main(["eval", "--fast", "--task", "pick_cube_images", "episodes=1", f"policy={policy}"]) == 2
    assert load_config(tmp_path / "lift" / "config.yaml").session.instruction == "lift the red cube"
    assert json.loads((run / "status" / "learner.json").read_text())["phase"] == "imitating 4 of 4"
