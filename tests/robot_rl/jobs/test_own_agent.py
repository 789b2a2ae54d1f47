"""An agent from a package outside the tree, by its module or as an entry point, does what the built-in ones do."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from robot_rl.data.parameters import unpack
from robot_rl.data.store import StoreReader
from robot_rl.jobs.cli import main
from robot_rl.learner.checkpoint import load_latest
from robot_rl.learner.config import AGENTS

SOURCE = """
from dataclasses import dataclass

from robot_rl.contract.ranges import Count, Discount, Widths, check
from robot_rl.learner.agent import Agent, Algorithm
from robot_rl.learner.algorithms import rlpd


@dataclass(frozen=True)
class OwnConfig:
    units: Widths = (8, 8)
    discount: Discount = 0.9
    critic_steps: Count = 2

    def __post_init__(self) -> None:
        check(self)


def make(config: OwnConfig) -> Agent:
    inner = rlpd.RlpdConfig(
        hidden=config.units, critics=2, discount=config.discount, critic_steps=config.critic_steps
    )
    return rlpd.make_agent(inner)._replace(config=config)


AGENT = Algorithm(OwnConfig, make)
NO_AGENT = 3
"""
NAMES = ("own_package.own_agent:AGENT", "own")  # by module, and as an entry point
QUICK = ("learner.batch_size=8", "learner.imitate=20", "learner.start_after=5", "learner.settings.units=4,4")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package, installed in a folder that is looked for; the working directory is elsewhere."""
    site = tmp_path / "site"
    (site / "own_package").mkdir(parents=True)
    (site / "own_package" / "__init__.py").touch()
    (site / "own_package" / "own_agent.py").write_text(SOURCE)
    metadata = site / "own_package-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: own-package\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[robot_rl.agents]\nown = own_package.own_agent:AGENT\n")
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    for name in [name for name in sys.modules if name.startswith("own_package")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.chdir(tmp_path)
    return site


@pytest.mark.parametrize("name", [NAMES[0], pytest.param(NAMES[1], marks=pytest.mark.slow)])
def test_it_trains_on_a_robot(name: str, package: Path, tmp_path: Path) -> None:
    run = ["--fast", "--task", "reach", "--run", "run"]
    assert main(["record", *run, "demos=1"]) == 0
    assert main(["train", *run, f"learner.agent={name}", "steps=30", "session.horizon=15", *QUICK]) == 0
    assert sum(episode.steps for episode in StoreReader(tmp_path / "run" / "online").episodes()) >= 30
    parameters = unpack((tmp_path / "run" / "policy.params").read_bytes())
    assert parameters.meta["agent"] == name and parameters.version > 0
    found = load_latest(tmp_path / "run" / "checkpoints")
    assert found is not None and "units=(4, 4)" in found.meta["config"]


@pytest.mark.parametrize("name", NAMES)
def test_it_learns_in_an_environment(name: str, package: Path, tmp_path: Path) -> None:
    given = ["--module", "tests.robot_rl.gym_worlds", "--env", "worlds/Line-v0", "--json", "out", "--steps", "20"]
    assert main(["gym", *given, "--agent", name, "--eval-episodes", "1", "learner.utd=1", *QUICK]) == 0
    last = json.loads((tmp_path / "out").read_text().splitlines()[-1])
    assert (last["agent"], last["step"]) == (name, 20) and last["updates"] > 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["learner.settings.units=4,0"], "units='4,0' must be one or more values, each an integer from 1 to"),
        (["learner.settings.unit=4"], "unknown key learner.settings.unit; did you mean learner.settings.units?"),
        (["learner.settings.discount=1"], "learner.settings.discount=1 must be a number of at least 0 and below 1"),
        (["learner.agent=own_package.own_agent:NO_AGENT"], "is 3, not a robot_rl.learner.agent.Algorithm"),
        (["learner.agent=own_package.own_agent:LOST"], "own_package.own_agent has no 'LOST'"),
        (["learner.agent=own_package.lost:AGENT"], "own_package.lost cannot be imported"),
        (["learner.agent=onw"], "did you mean 'own'?"),
    ],
)
def test_its_settings_and_its_name_are_checked_like_those_of_others(
    settings: list[str], message: str, package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", "learner.agent=own", *settings]) == 2
    error = capsys.readouterr().err
    assert error.startswith("robot-rl: ") and message in error and error.count("\n") == 1


def test_help_names_it(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert AGENTS.names()[-1] == "own"
    with pytest.raises(SystemExit):
        main(["gym", "--help"])
    assert AGENTS.listed() in " ".join(capsys.readouterr().out.split())


def test_it_is_found_in_the_working_directory(
    package: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "path", sys.path[1:])
    monkeypatch.chdir(package)
    assert main(["config", f"learner.agent={NAMES[0]}"]) == 0
    assert f"# learner.settings of {NAMES[0]}, all of them:" in capsys.readouterr().out
