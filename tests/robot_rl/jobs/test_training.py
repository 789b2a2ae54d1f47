"""Reports of a learner beside learning: parameters, status, and why it stopped."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from robot_rl.contract import Outcome
from robot_rl.data.parameters import unpack
from robot_rl.data.store import EpisodeStore, StoreReader
from robot_rl.jobs.config import RunConfig, load_config
from robot_rl.jobs.logs import configure
from robot_rl.jobs.run import Run
from robot_rl.jobs.training import Trainer
from robot_rl.learner.algorithms.rlpd import RlpdConfig, make_agent
from robot_rl.learner.loop import LearnerLoop, LoopConfig
from tests.robot_rl.recording import DOMAIN, SCHEMA, reader, steps, transitions

AGENT = make_agent(RlpdConfig(hidden=(8, 8), critics=2, critic_steps=5))
CONFIG = load_config(None, ["learner.publish_every=3", "learner.checkpoint_every=4"])


class Published(list[int]):
    """Versions of the parameters handed out."""

    def take(self, data: bytes) -> None:
        self.append(unpack(data).version)


def trainer(
    run: Run, published: Published, config: RunConfig = CONFIG, online: Sequence[StoreReader] = ()
) -> tuple[Trainer, LearnerLoop]:
    settings = LoopConfig(utd=2.0, start_after=10, batch_size=8, capacity=300, demo_capacity=300)
    learner = LearnerLoop(AGENT, DOMAIN, online=online, config=settings, checkpoints=run.checkpoints)
    return Trainer(run, config, learner, published.take), learner


def test_parameters_are_handed_out_and_kept_as_often_as_asked_for(tmp_path: Path) -> None:
    run, published = Run.create(CONFIG, tmp_path), Published()
    training, learner = trainer(run, published)
    training.start()
    learner.add(transitions(35))  # 25 that count: 50 critic steps, 10 calls
    while training.step():
        pass
    assert published == [0, 3, 6, 9]
    assert [path.stem for path in sorted(run.checkpoints.iterdir())] == ["000000000004", "000000000008"]
    training.finish()
    assert published == [0, 3, 6, 9, 10]
    assert unpack(run.parameters.read_bytes()).version == 10


def test_a_run_that_has_a_checkpoint_goes_on_from_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    run, published = Run.create(CONFIG, tmp_path), Published()
    with EpisodeStore.create_or_open(run.online, SCHEMA) as store:
        writer = store.begin({})
        for step in steps(35):
            writer.append(step)
        writer.finish()
    kept = []
    for _ in range(2):
        training, _ = trainer(run, published, online=[reader(run.online)])
        training.start()
        training.finish()
        kept.append(run.parameters.read_bytes())
    assert published == [0, 10, 10, 10] and kept[0] == kept[1]
    assert capsys.readouterr().err.count("learner: going on after 10 update calls") == 1


def test_the_phases_of_a_learner_are_told_with_how_far_it_is(tmp_path: Path) -> None:
    run, told = Run.create(CONFIG, tmp_path), []
    settings = LoopConfig(start_after=10, batch_size=8, capacity=300, demo_capacity=300, pretrain=3)
    learner = LearnerLoop(AGENT, DOMAIN, config=settings, checkpoints=run.checkpoints)
    learner.add_demonstration(transitions(20))
    training = Trainer(run, CONFIG, learner, Published().take, told.append)
    training.start()
    assert training.phase == "compiling" and not told
    training.warm_up()
    while training.step():
        pass
    assert told == ["compiling", "pretraining 0 of 3", "pretraining 1 of 3", "pretraining 2 of 3", "learning"]
    training.finish()
    assert run.status_of("learner")["phase"] == "learning"


def test_a_learner_without_demonstrations_learns_at_once(tmp_path: Path) -> None:
    training, _ = trainer(Run.create(CONFIG, tmp_path), Published())
    training.start()
    training.warm_up()
    assert training.phase == "learning"


def test_only_debt_that_whole_calls_can_work_off_is_reported(tmp_path: Path) -> None:
    training, learner = trainer(Run.create(CONFIG, tmp_path), Published())
    debts = []
    for episode in range(9):
        learner.add(transitions(1, episode, episode))
    for episode in range(9, 18):  # each step earns 2 updates, a call makes 5
        learner.add(transitions(1, episode, episode))
        debts.append(training.debt)
    assert debts == [0, 0, 0, 5, 5, 10, 10, 10, 15]
    while training.step():
        pass
    assert (training.debt, learner.version, learner.governor.due) == (0, 3, 1)


def test_the_status_tells_how_stale_the_acting_parameters_are(tmp_path: Path) -> None:
    run = Run.create(CONFIG, tmp_path)
    training, learner = trainer(run, Published())
    training.start()
    learner.add(transitions(35))
    while training.step():
        pass
    by_policy = transitions(2, 1, 1, source=np.zeros(2, np.uint8), version=np.array([9, 4]))
    for _ in range(200):  # the window holds no others by then
        learner.add(by_policy)
    training.finish()
    status = run.status_of("learner")
    assert status["staleness_max"] > status["staleness"] > 0.0 and status["halted"] == ""


def test_the_champion_is_kept_and_told_of_whether_there_are_updates_to_be_made_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("robot_rl.jobs.training.STATUS_PERIOD", 0.0)
    config = load_config(None, ["learner.gate_window=6"])
    run = Run.create(config, tmp_path)
    training, learner = trainer(run, Published(), config)
    training.start()
    with EpisodeStore.create_or_open(run.online, SCHEMA) as store:
        for outcome, told in (
            (Outcome.success(), {"champion_success": 1.0, "now_success": 1.0, "held_back": False}),
            (Outcome.timeout(), {"champion_success": 1 / 6, "now_success": 0.0, "held_back": True}),
        ):
            for _ in range(6):
                writer = store.begin({})
                for step in steps(2, 0, outcome):
                    writer.append(dataclasses.replace(step, timing=dataclasses.replace(step.timing, version=0)))
                writer.finish()
                training.step()
            heard = run.status_of("learner")
            assert heard == heard | told | {"champion": 0}
            assert learner.version == 0 and run.champion.read_bytes() == run.parameters.read_bytes()


def test_why_a_learner_stopped_is_said_once_and_its_last_good_parameters_stay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure()
    run, published = Run.create(CONFIG, tmp_path), Published()
    training, learner = trainer(run, published)
    training.start()
    learner.add(transitions(20))
    while training.step():
        pass
    learner.add(transitions(40, 1, 1, reward=np.full(40, np.inf, np.float32)))
    while training.step():
        pass
    learner.add(transitions(40, 2, 2))
    while training.step():
        pass
    training.finish()
    said = capsys.readouterr().err
    assert said.count("not finite") == 1 and said.startswith("learner: update ")
    assert "not finite; updates stopped" in run.status_of("learner")["halted"]
    assert training.debt == 0
    params, version, _ = unpack(run.parameters.read_bytes())
    assert version == learner.version == published[-1]
    assert all(np.isfinite(array).all() for array in params.values())


def test_it_says_that_it_compiles_before_it_does(tmp_path: Path) -> None:
    run, said = Run.create(CONFIG, tmp_path), []
    settings = LoopConfig(utd=2.0, start_after=10, batch_size=8, capacity=300, demo_capacity=300)
    learner = LearnerLoop(AGENT, DOMAIN, config=settings, checkpoints=run.checkpoints)

    def listen(phase: str) -> None:
        said.append((phase, run.status_of("learner")["phase"], learner.version))

    training = Trainer(run, CONFIG, learner, lambda data: None, listen)
    training.start()
    training.warm_up()
    assert said == [("compiling", "compiling", 0), ("learning", "compiling", 0)]
    learner.add(transitions(35))
    assert training.step()
    training.finish()
    assert run.status_of("learner")["phase"] == "learning" and len(said) == 2
