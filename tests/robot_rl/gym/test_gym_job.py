"""``robot-rl gym``, on small environments and with tiny agents."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import jax
import numpy as np
import pytest

from robot_rl.contract import Layout
from robot_rl.contract.settings import ConfigError
from robot_rl.data.parameters import unpack
from robot_rl.gym.job import GymRun, run_gym, seeds
from robot_rl.gym.keeping import Keeper
from robot_rl.gym.making import make_env
from robot_rl.gym.player import Player
from robot_rl.gym.spaces import Actions, EnvDomain, EnvError, Observations
from robot_rl.gym.world import LONGEST, World
from robot_rl.jobs.cli import build_parser, main
from robot_rl.jobs.gym_command import gym_config
from robot_rl.learner.checkpoint import load_latest
from robot_rl.learner.factory import check_memory, make_agent, make_loop
from robot_rl.learner.loop import LoopConfig
from tests.robot_rl.colours import Colours
from tests.robot_rl.data.test_robomimic import DONE_AT_END, write
from tests.robot_rl.gym_worlds import LOG
from tests.robot_rl.jobs.test_bringup import record
from tests.robot_rl.recording import transitions, with_columns

WORLDS = ("--module", "tests.robot_rl.gym_worlds", "--env", "worlds/Line-v0")
TINY = (
    "learner.batch_size=8",
    "learner.imitate=100",
    "learner.start_after=5",
    "learner.utd=1",
    "learner.settings.hidden=8,8",
    "learner.settings.critics=2",
)


def arguments(file: Path, *more: str, kwargs: dict[str, Any] | None = None, steps: int = 20) -> list[str]:
    given = ("--env-kwargs", json.dumps(kwargs or {}), "--json", str(file), "--steps", str(steps))
    given += ("--run", f"{file}.run")
    return ["gym", *WORLDS, "--agent", "rlpd", *given, "--eval-episodes", "3", "--eval-every", "10", *more, *TINY]


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def make_run(tmp_path: Path, kwargs: dict[str, Any], *more: str, steps: int = 20) -> tuple[GymRun, Any, list[str]]:
    """A run with its environments, its learner, and what it tells."""
    config = gym_config(build_parser().parse_args(arguments(tmp_path / "out", *more, kwargs=kwargs, steps=steps)))
    env, evaluation = make_env("worlds/Line-v0", {"log": True, **kwargs}), make_env("worlds/Line-v0", kwargs)
    observations, actions = Observations(env.observation_space), Actions(env.action_space)
    learner = make_loop(config.learner, EnvDomain(config.env, observations, actions), config.seed)
    told: list[str] = []
    world, evaluated = (World(config.env, made, observations, actions) for made in (env, evaluation))
    return GymRun(config, world, evaluated, learner, told.append), learner, told


def test_each_evaluation_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "results.jsonl"
    file.write_text('{"an": "earlier run"}\n')
    assert main(arguments(file, "--seed", "4", kwargs={"tells": "is_success"}, steps=25)) == 0
    earlier, *found = lines(file)
    assert earlier == {"an": "earlier run"}
    assert [line["step"] for line in found] == [10, 20, 25]
    for line in found:
        assert (line["env"], line["agent"], line["seed"]) == ("worlds/Line-v0", "rlpd", 4)
        assert line["eval_episodes"] == 3
        assert line["utd"] == 1.0 and line["updates"] == line["step"] - 5
        assert line["episodes"] == line["step"] // 5
        assert -5.0 <= line["return_mean"] < 0.0 and line["return_std"] > 0.0
        assert line["success_rate"] in (0.0, 1 / 3, 2 / 3, 1.0)
        assert line["updates_per_s"] > 0.0
    walls = [line["wall_s"] for line in found]
    assert walls == sorted(walls) and walls[0] > 0.0
    output = capsys.readouterr()
    assert output.err == ""
    assert "gym: rlpd in worlds/Line-v0, state 2, 1 actions" in output.out
    assert "step 25 of 25, 5 episodes, return -" in output.out and "; evaluation: return -" in output.out


def test_an_evaluation_as_it_acts_while_learning_is_beside_the_other(tmp_path: Path) -> None:
    kwargs = {"tells": "is_success"}
    assert main(arguments(tmp_path / "out", "--eval-acting", kwargs=kwargs)) == 0
    assert main(arguments(tmp_path / "plain", kwargs=kwargs)) == 0
    for both, plain in zip(lines(tmp_path / "out"), lines(tmp_path / "plain"), strict=True):
        assert both["acting_return_mean"] != both["return_mean"] and 0.0 <= both["acting_success_rate"] <= 1.0
        assert both["return_mean"] == plain["return_mean"], "learning does not change by being looked at"
        assert "acting_return_mean" not in plain
        assert both["actor_updates"] > 0 and both["reflexes"] == 0 and both["cpu_s"] > 0.0


def test_the_same_seed_gives_the_same_figures_and_another_one_others(tmp_path: Path) -> None:
    figures = []
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        assert main(arguments(tmp_path / name, "--seed", seed)) == 0
        figures.append([(line["return_mean"], line["return_std"]) for line in lines(tmp_path / name)])
    assert figures[0] == figures[1] != figures[2]


@pytest.mark.parametrize("key", ["success", "succeed", "is_success"])
def test_success_at_any_step_of_an_episode_counts(key: str, tmp_path: Path) -> None:
    LOG.clear()
    kwargs = {"tells": key, "horizon": 60, "drift": 0.1, "log": True}
    assert main(arguments(tmp_path / "out", "--eval-episodes", "20", kwargs=kwargs, steps=1)) == 0
    _, *episodes = "".join("|" if entry[0] == "reset" else "-*"[abs(entry[2]) < 0.1] for entry in LOG[2:]).split("|")
    assert [len(episode) for episode in episodes] == [60] * 20
    (line,) = lines(tmp_path / "out")
    assert line["success_rate"] == sum("*" in episode for episode in episodes) / 20
    assert line["success_rate"] > sum(episode[-1] == "*" for episode in episodes) / 20, "some did not stay"


def test_where_info_says_nothing_of_success_there_is_none_to_tell(tmp_path: Path) -> None:
    assert main(arguments(tmp_path / "out", kwargs={"ends": "success"}, steps=10)) == 0
    assert lines(tmp_path / "out")[0]["success_rate"] is None


def test_the_learner_gets_what_happened(tmp_path: Path) -> None:
    LOG.clear()
    run, learner, _ = make_run(tmp_path, {"ends": "success", "horizon": 4, "acts": "discrete"}, steps=40)
    run.run()
    happened = LOG.copy()
    steps = [entry for entry in happened if entry[0] == "step"]
    starts = [happened[i - 1][2] for i, entry in enumerate(happened) if entry[0] == "step"]
    buffer = learner.sources.online_buffers[0]
    rows = np.flatnonzero(buffer.starts)
    assert len(rows) == len(steps) == 40
    assert buffer.state[rows, 0] == pytest.approx(starts)
    assert buffer.state[rows + 1, 0] == pytest.approx([step[2] for step in steps])
    assert np.clip(np.rint(buffer.action[rows, 0]), -1, 1).tolist() == [step[1] for step in steps]
    assert buffer.reward[rows] == pytest.approx([step[3] for step in steps])
    terminated, truncated = ([bool(step[i]) for step in steps] for i in (4, 5))
    assert buffer.mask[rows].tolist() == [0.0 if ended else 1.0 for ended in terminated]
    assert any(terminated) and any(cut and not ended for cut, ended in zip(truncated, terminated, strict=True))


def test_the_environment_is_seeded_once_and_evaluation_sees_other_seeds(tmp_path: Path) -> None:
    LOG.clear()
    run, _, _ = make_run(tmp_path, {"horizon": 5}, "--seed", "7")
    run.run()
    training, evaluating = seeds(7, 3)
    assert [entry[1] for entry in LOG if entry[0] == "reset"] == [training, None, None, None, None]
    assert len({training, *evaluating}) == 4


def test_seeds_for_training_and_evaluation_can_never_meet() -> None:
    drawn = [seeds(seed, 50) for seed in range(50)]
    training, evaluating = {first for first, _ in drawn}, {seed for _, rest in drawn for seed in rest}
    assert not training & evaluating and len(training) == 50 and len(evaluating) > 2400
    assert all(0 <= seed < 2**31 for seed in training | evaluating)
    assert seeds(3, 2) == (seeds(3, 5)[0], seeds(3, 5)[1][:2])


def test_evaluation_disturbs_neither_training_nor_itself(tmp_path: Path) -> None:
    run, learner, _ = make_run(tmp_path, {})
    other, same_learner, _ = make_run(tmp_path, {}, "--eval-every", "20")
    for each in (run, other):
        each.run()
    one, two = (each.sources.online_buffers[0] for each in (learner, same_learner))
    assert len(one) == 20 and np.array_equal(one.action, two.action)
    often, once = lines(tmp_path / "out")[1:]
    assert (often["step"], often["return_mean"]) == (20, once["return_mean"])


def test_the_action_that_was_executed_is_learnt_from(tmp_path: Path) -> None:
    run, learner, _ = make_run(tmp_path, {"fault": "another action"}, steps=10)
    run.run()
    buffer = learner.sources.online_buffers[0]
    assert len(buffer) == 10 and (buffer.action[buffer.starts] == 0.25).all()  # 2, from −3 to 5


def test_an_executed_action_that_is_none_ends_the_run_in_words(tmp_path: Path) -> None:
    run, _, _ = make_run(tmp_path, {"fault": "no action"}, steps=10)
    with pytest.raises(EnvError, match=r"info has executed_action that is no action here: .*only .-3, 5. is allowed"):
        run.run()


@pytest.mark.parametrize(
    ("sees", "acts"),
    [
        pytest.param("dict", "tuple", marks=pytest.mark.slow),
        pytest.param("both", "box", marks=pytest.mark.slow),
        ("image", "dict"),
        ("box", "discrete"),
    ],
)
def test_all_spaces_can_be_learnt_in(sees: str, acts: str, tmp_path: Path) -> None:
    file = tmp_path / "out"
    assert main(arguments(file, kwargs={"sees": sees, "acts": acts}, steps=10)) == 0
    assert lines(file)[0]["updates"] == 5


@pytest.mark.parametrize(
    ("agent", "acts", "settings"),
    [
        ("sac", "box", {"hidden": "8,8"}),
        ("rlpd", "box", {"hidden": "8,8", "critics": 2}),
        pytest.param("rlpd_lagrangian", "box", {"hidden": "8,8", "critics": 2}, marks=pytest.mark.slow),
        ("hil", "tuple", {"hidden": "8,8"}),
        ("flash_sac", "box", {"actor_width": 8, "critic_width": 8}),
        ("chunked", "box", {"hidden": "8,8", "extraction": "one_step"}),
        pytest.param("chunked", "dict", {"hidden": "8,8", "extraction": "aloe"}, marks=pytest.mark.slow),
        ("expo", "box", {"hidden": "8,8"}),
        ("dsrl", "box", {"hidden": "8,8"}),
        pytest.param("gorl", "box", {"hidden": "8,8", "stage": 2}, marks=pytest.mark.slow),
        ("rlt", "box", {"hidden": "8,8"}),
        ("pa_rl", "box", {"hidden": "8,8"}),
    ],
)
def test_every_agent_learns_from_demonstrations_and_from_steps(
    agent: str, acts: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    """By the buffers, the loop and the player that all share: no agent is wired by its own test alone."""
    tiny = [f"learner.settings.{name}={value}" for name, value in settings.items()]
    given = ["gym", *WORLDS, "--agent", agent, "--json", str(tmp_path / "out"), "--steps", "20", "--eval-episodes", "1"]
    given += ["learner.batch_size=8", "learner.imitate=100", "learner.start_after=5", "learner.utd=1", *tiny]
    config = gym_config(build_parser().parse_args(given))
    env, evaluation = (make_env("worlds/Line-v0", {"acts": acts}) for _ in range(2))
    observations, actions = Observations(env.observation_space), Actions(env.action_space)
    learner = make_loop(config.learner, EnvDomain(config.env, observations, actions), config.seed)
    demonstration = transitions(12)
    learner.add_demonstration(
        with_columns(
            demonstration,
            state=demonstration["state"][:, :2],
            **{name: demonstration[name][:, : actions.size] for name in ("action", "policy_action")},
        )
    )
    fresh = learner.agent.actor(learner.state)
    worlds = [World(config.env, made, observations, actions) for made in (env, evaluation)]
    GymRun(config, worlds[0], worlds[1], learner, lambda text: None).run()
    assert learner.governor.made == 15
    assert learner.version == 15 + learner.agent.pretrain
    learnt = learner.agent.actor(learner.state)
    assert learnt.keys() == fresh.keys() and (agent != "hil" or any("/grasp/" in name for name in learnt))
    constant = ("/reach", "/moves", "start/explores", "start/leads")  # 20 steps are too few for a turn
    still = [
        name
        for name in learnt
        if "/b" not in name and not name.endswith(constant) and np.array_equal(learnt[name], fresh[name])
    ]
    assert still == [], "these have not learnt anything"
    (line,) = lines(tmp_path / "out")[-1:]
    assert (line["step"], line["agent"], line["updates"]) == (20, agent, 15)


def test_a_chunk_is_executed_open_loop_and_forgotten_at_the_end_of_the_episode() -> None:
    layout = Layout(2, 1)
    agent = make_agent("chunked", {"horizon": 3, "hidden": (8,)})
    state = agent.measure(agent.create(jax.random.PRNGKey(0), layout), np.float32([[0.0, 0.0], [1.0, 1.0]]))
    here, there = np.float32([0.0, 1.0]), np.float32([1.0, -1.0])

    def acted(*states: np.ndarray | None) -> list[float]:
        """Actions at ``states``, None being the end of an episode."""
        player = Player(agent, layout, state, seeds=(5,), deterministic=False)
        actions = []
        for seen in states:
            if seen is None:
                player.begin()
            else:
                actions.append(float(player.act(seen, {})[0]))
        return actions

    chunk = acted(here, here, here)
    assert acted(here, there, there) == chunk, "decided at once"
    assert acted(here, there, there, here)[3] == acted(here, here, here, here)[3]
    assert acted(here, here, here, there)[3] != acted(here, here, here, here)[3]
    assert acted(here, None, here) == [chunk[0], acted(here, here, here, here)[3]]


def test_demonstrations_of_a_file_are_learnt_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    demos = write(tmp_path / "low_dim.hdf5", {"demo_0": DONE_AT_END, "demo_1": DONE_AT_END})
    with h5py.File(demos, "a") as file:
        for name in ("demo_0", "demo_1"):
            actions = file[f"data/{name}/actions"][:, :1]
            del file[f"data/{name}/actions"]
            file[f"data/{name}/actions"] = actions
    assert main(arguments(tmp_path / "out", "--demos", str(demos), "--demo-keys", "pos", steps=10)) == 0
    assert "6 steps of demonstrations" in capsys.readouterr().out


def test_our_own_environments_learn_from_our_own_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path / "demos", "reach")
    own = ["gym", "--env", "robot_rl/Reach-v0", "--json", str(tmp_path / "out"), "--demos", str(tmp_path / "demos")]
    own += ["--steps", "10", "--eval-episodes", "1", "--eval-every", "10", "--env-kwargs", '{"horizon": 6}']
    own += ["--run", str(tmp_path / "run"), "--agent", "rlpd", *TINY]
    assert main(own) == 0
    assert "steps of demonstrations" in capsys.readouterr().out
    clone, line = lines(tmp_path / "out")
    assert (clone["step"], clone["updates"], line["step"], line["updates"]) == (0, 0, 10, 5)
    assert {clone["success_rate"], line["success_rate"]} <= {0.0, 1.0}
    wrong = [word.replace("Reach", "PegInsertion").replace("/run", "/other") for word in own]
    assert main(wrong) == 2
    assert "does not fit robot_rl/PegInsertion-v0: it has task 'reach'" in capsys.readouterr().err


def test_what_an_encoder_sees_is_learnt_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "recorded"
    assert main(["record", "--fast", "--task", "reach", "--run", str(run), "demos=1", "cameras=front"]) == 0
    words = ["gym", "--env", "robot_rl/Reach-v0", "--json", str(tmp_path / "out"), "--demos", str(run / "demos")]
    words += ["--steps", "4", "--eval-episodes", "1", "--eval-every", "4", "--run", str(tmp_path / "run")]
    words += ["--env-kwargs", '{"horizon": 3, "cameras": ["front"]}', "--agent", "rlpd", *TINY]
    assert main([*words, "--encoder", Colours.name]) == 0
    assert "image front 4×4×3" in capsys.readouterr().out
    assert [line["step"] for line in lines(tmp_path / "out")] == [0, 4]
    assert unpack((tmp_path / "run" / "policy.params").read_bytes()).meta["encoder"] == Colours.digest
    assert main(words) == 2, "its parameters do not fit pixels"
    assert "--run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--encoder", "efficient"), "did you mean 'efficientnet_lite0'"),
        (("--env", "worlds/Lime-v0"), "did you mean worlds/Line-v0"),
        (("--env", "Hoper-v5"), "did you mean Hopper-v5"),
        (("--env", "nothing like it"), "--env nothing like it is unknown; --module PKG imports"),
        (("--module", "no_such_package"), "--module no_such_package cannot be imported: No module named"),
        (("--agent", "rlpf"), "did you mean 'rlpd'"),
        (("--env-kwargs", "{sees: 1}"), "is no JSON"),
        (("--env-kwargs", "[1]"), "must be an object"),
        (("--env-kwargs", '{"seees": 1}'), "cannot be made with {'seees': 1}: TypeError"),
        (("--env-kwargs", '{"sees": "text"}'), "the observation space is Text"),
        (("--env-kwargs", '{"sees": "grey"}'), "images have shape (height, width, 3)"),
        (("--env-kwargs", '{"acts": "wide"}'), "actions need finite bounds"),
        (("--env-kwargs", '{"acts": "many"}'), "the action space is MultiDiscrete"),
        (("--steps", "-1"), "--steps=-1 must be an integer from 0"),
        (("--eval-episodes", "0"), "--eval-episodes=0 must be an integer from 1"),
        (("--seed", "-1"), "--seed=-1 must be an integer from 0"),
        (("--demos", "nowhere"), "nowhere: no such file or folder"),
        (("--demos", "."), "no episode store; `robot-rl record` makes one"),
        (("--demos", ".", "--demo-keys", "a"), "--demo-keys is for HDF5 files"),
        (("--json", "nowhere/out"), "--json nowhere/out cannot be written: No such file"),
        (("learner.udt=1",), "did you mean learner.utd?"),
        (("learner.settings.critic=1",), "did you mean learner.settings.critics?"),
        (("learner.settings.discount=2",), "discount=2 must be a number of at least 0 and below 1"),
        (("task=reach",), "'task=reach' is no setting of gym's"),
        (("--env-kwargs", '{"reward": NaN}'), "worlds/Line-v0, step 1 of an episode: reward nan; it must be finite"),
        (("--run", "/dev/null/run"), "--run /dev/null/run cannot be made: Not a directory"),
        *[
            (("--env-kwargs", json.dumps({"fault": fault})), words)
            for fault, words in {
                "old reset": "reset returned of type ndarray where Gymnasium has (observation, info); it follows",
                "old step": "step 1 of an episode returned a tuple of 4 where Gymnasium has (observation, reward, ter",
                "no seed": "reset(seed=…) is not taken (",
                "reward None": "reward None; it must be a number",
                "reward array": "reward of type ndarray (1,); it must be one number",
                "reward text": "reward of type str; it must be a number",
                "terminated None": "terminated is None; it must be true or false",
                "shape": "the observation has shape (3,), where the observation space has (2, 1)",
                "key": "the observation is no array of numbers but dict",
                "NaN": "an observation has nan; it must be finite",
                "raises": "failed in step 2 of an episode: RuntimeError: the gripper of the environment is stuck (",
                "raises in reset": "failed in reset: KeyError: 'no such scene'",
            }.items()
        ],
    ],
)
def test_one_line_says_what_to_do(
    more: tuple[str, ...],
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    status = main([*arguments(Path("out"), steps=10), *more])
    error = capsys.readouterr().err
    assert (status, error.count("\n")) == (2, 1), error
    assert error.startswith("robot-rl: ") and words in error, error


def test_a_learner_that_halts_ends_the_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run, _, _ = make_run(tmp_path, {"reward": 1e30}, steps=200)
    with pytest.raises(EnvError, match="learning halted after"):
        run.run()
    assert caplog.messages[-1].startswith("update ") and "not finite" in caplog.messages[-1]


def test_a_module_is_found_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_worlds.py").write_text(
        "import gymnasium\nfrom tests.robot_rl.gym_worlds import Line\n"
        "gymnasium.register('own/Line-v0', entry_point=Line)\n"
    )
    monkeypatch.chdir(tmp_path)
    given = ["--module", "own_worlds", *TINY, "--env", "own/Line-v0", "--steps", "6", "--eval-episodes", "1"]
    assert main(["gym", "--agent", "rlpd", "--json", "out", "--eval-every", "6", *given]) == 0
    assert lines(tmp_path / "out")[0]["updates"] == 1, "settings after --module are settings"


def test_public_environments_need_nothing_that_setup_does_not_install(tmp_path: Path) -> None:
    given = [
        "--run",
        str(tmp_path / "run"),
        "--env",
        "Hopper-v5",
        "--steps",
        "6",
        "--eval-every",
        "6",
        "--eval-episodes",
        "1",
        *TINY,
    ]
    assert main(["gym", "--agent", "rlpd", "--json", str(tmp_path / "out"), *given]) == 0
    assert lines(tmp_path / "out")[0]["env"] == "Hopper-v5"


def test_ctrl_c_leaves_whole_lines(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "robot_rl", *arguments(tmp_path / "out", steps=1_000_000)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=os.getcwd())
    try:
        assert process.stdout is not None
        while "; evaluation:" not in process.stdout.readline():
            assert process.poll() is None
        error = None
        while error is None:  # one that comes while Python collects garbage is lost in JAX's callback
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                _, error = process.communicate(timeout=10)
    finally:
        process.kill()
    assert (process.returncode, error) == (130, "robot-rl: stopped\n")
    text = (tmp_path / "out").read_text()
    assert text.endswith("\n") and lines(tmp_path / "out")[0]["step"] == 10


def test_an_interval_is_a_twentieth_of_the_steps_unless_given(tmp_path: Path) -> None:
    given = arguments(tmp_path / "out", "--eval-every", "0", steps=20)
    assert gym_config(build_parser().parse_args(given)).eval_every == 0
    run_gym(gym_config(build_parser().parse_args(given)), lambda text: None)
    assert [line["step"] for line in lines(tmp_path / "out")] == list(range(1, 21))


def test_an_episode_without_an_end_is_cut_and_that_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    observations = Observations(make_env("worlds/Line-v0", {}).observation_space)
    env = make_env("worlds/Line-v0", {"horizon": 10**9})
    world = World("worlds/Line-v0", env, observations, Actions(env.action_space))
    for _ in range(2):
        world.reset(None)
        answers = [world.step(np.zeros(1)) for _ in range(LONGEST)]
        assert [answer.truncated for answer in answers] == [False] * (LONGEST - 1) + [True]
    (message,) = caplog.messages
    assert f"cut after {LONGEST} steps" in message and "max_episode_steps" in message
    limited = make_env("worlds/Line-v0", {"horizon": 10**9, "max_episode_steps": 7})
    world = World("worlds/Line-v0", limited, observations, Actions(limited.action_space))
    world.reset(None)
    assert [world.step(np.zeros(1)).truncated for _ in range(7)] == [False] * 6 + [True]


def test_huge_rewards_are_warned_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert main(arguments(tmp_path / "out", kwargs={"reward": -1e6}, steps=8)) == 0
    assert [message for message in caplog.messages if "a reward of -1e+06" in message] == caplog.messages[:1]
    assert "TransformReward" in caplog.messages[0]


def test_a_run_keeps_its_policy_and_goes_on_as_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second learner begins with all that the first one ended with: agent, buffers, counters."""
    assert main(arguments(tmp_path / "out", steps=20)) == 0
    folder = tmp_path / "out.run"
    published = unpack((folder / "policy.params").read_bytes())
    assert published.version == 15 and published.meta["env"] == "worlds/Line-v0"
    (folder / "steps" / "000000000030.steps").write_bytes(b"of a save that was not finished")

    config = gym_config(build_parser().parse_args(arguments(tmp_path / "out", steps=40)))
    env = make_env("worlds/Line-v0", {})
    observations, actions = Observations(env.observation_space), Actions(env.action_space)
    learner = make_loop(
        config.learner, EnvDomain(config.env, observations, actions), config.seed, checkpoints=folder / "checkpoints"
    )
    keeper = Keeper(folder, {"env": config.env})
    keeper.check()
    world = World(config.env, env, observations, actions)
    GymRun(config, world, world, learner, lambda text: None, keeper)
    assert (learner.governor.received, learner.governor.made, learner.version) == (20, 15, 15)
    params = {name: np.asarray(value) for name, value in learner.agent.actor(learner.state).items()}
    assert all(np.array_equal(value, published.params[name]) for name, value in params.items())
    buffer = learner.sources.online_buffers[0]
    assert len(buffer) == 20 and buffer.starts.sum() == 20
    newest = load_latest(folder / "checkpoints")
    assert newest is not None and learner.sources.digests == newest.meta["digests"]

    assert main(arguments(tmp_path / "out", steps=40)) == 0
    assert "going on after 20 steps, 4 episodes" in capsys.readouterr().out
    assert [line["step"] for line in lines(tmp_path / "out")] == [10, 20, 30, 40]
    assert [line["updates"] for line in lines(tmp_path / "out")] == [5, 15, 25, 35]
    assert main(arguments(tmp_path / "out", "--seed", "9", steps=40)) == 2
    assert "has seed=0, not 9; another folder begins anew" in capsys.readouterr().err


def test_a_replay_that_does_not_fit_into_memory_is_refused_before_anything_begins() -> None:
    layout = Layout(3, 2, {"eye": (84, 84)})
    config = LoopConfig(capacity=200_000)
    check_memory(config, layout, None, 2**33)
    check_memory(config, layout, 1000, 2**25)
    check_memory(config, layout, None, None)
    with pytest.raises(ConfigError, match=r"4\.2 GB for 200000 observations, and 1\.1 GB.*learner\.capacity=40"):
        check_memory(config, layout, None, 2**30)
