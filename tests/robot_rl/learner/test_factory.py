"""From the configuration to an agent and its learner: every setting arrives, or is refused by name."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot_rl.contract import ContractError
from robot_rl.contract.settings import ConfigError
from robot_rl.data.parameters import unpack
from robot_rl.data.store import EpisodeStore
from robot_rl.jobs.config import load_config, save_config
from robot_rl.jobs.learning import make_learner
from robot_rl.jobs.progress import schema_of
from robot_rl.jobs.run import Run
from robot_rl.learner.config import AGENTS, LearnerConfig
from robot_rl.learner.factory import make_agent, make_loop
from robot_rl.tasks import make_task
from tests.robot_rl.recording import DOMAIN, steps


@pytest.mark.parametrize("name", AGENTS.builtin)
def test_an_algorithm_is_what_it_is_called_and_counts_its_critic_steps(name: str) -> None:
    agent = make_agent(name, {"critic_steps": 3})
    assert (agent.name, agent.config.critic_steps, agent.updates_per_call) == (name, 3, 3)


def test_settings_come_through_file_and_overrides_as_the_algorithm_types_them(tmp_path: Path) -> None:
    overrides = ["learner.settings.learning_rate=1e-3", "learner.settings.hidden=32,16", "learner.settings.critics=4"]
    save_config(load_config(None, overrides), tmp_path / "config.yaml")
    more = ["learner.settings.critics=5", "learner.settings.discount=0", "learner.settings.target_entropy=null"]
    config = make_agent("rlpd", load_config(tmp_path / "config.yaml", more).learner.settings).config
    assert (config.learning_rate, config.hidden, config.critics, config.target_entropy) == (1e-3, (32, 16), 5, None)
    assert (config.discount, type(config.discount)) == (0.0, float)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"critcs": 4}, "agent rlpd: unknown key learner.settings.critcs; did you mean learner.settings.critics?"),
        ({"critics": 4.5}, "agent rlpd: learner.settings.critics=4.5 must be an integer from 1 to"),
        ({"critics": True}, "agent rlpd: learner.settings.critics=True must be an integer from 1 to"),
        ({"layer_norm": "much"}, "agent rlpd: learner.settings.layer_norm='much' must be true or false"),
        ({"discount": "high"}, "agent rlpd: learner.settings.discount='high' must be a number of at least 0"),
        ({"hidden": "wide,deep"}, "agent rlpd: learner.settings.hidden='wide,deep' must be one or more values, each"),
        ({"subset": 11}, "agent rlpd: learner.settings.subset=11 must be at most critics=10"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_setting_that_cannot_be_used_is_named_with_its_value_and_what_would_fit(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}"):
        make_agent("rlpd", settings)


@pytest.mark.parametrize(("rule", "cuts"), [("plain", False), ("cut", True), ("weighted", False)])
def test_every_buffer_cuts_at_takeovers_where_that_is_the_rule_of_interventions(rule, cuts: bool) -> None:
    learner = make_loop(LearnerConfig(agent="rlpd", interventions=rule, settings={"hidden": (4,)}), DOMAIN, 0)
    assert [buffer.cut for buffer in learner.sources.sampler.buffers] == [cuts, cuts]


def test_an_unknown_rule_of_interventions_is_named_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"learner\.interventions='ignore' must be .*plain.*cut.*weighted"):
        load_config(None, ["learner.interventions=ignore"])


MEANINGLESS = {
    "learning_rate": [-1.0, 0.0],
    "target_rate": [50.0],
    "initial_temperature": [0.0],
    "discount": [1.0],
    "hidden": [(0,), ()],
    "critics": [0],
    "critic_steps": [0],
}


@pytest.mark.parametrize(
    ("agent", "name", "value"),
    [
        (agent, field.name, value)
        for agent in AGENTS.builtin
        for field in dataclasses.fields(AGENTS.load(agent).config)
        for value in MEANINGLESS.get(field.name, ())
    ],
)
def test_no_algorithm_takes_a_setting_that_cannot_be_meant(agent: str, name: str, value: Any) -> None:
    fits = "(a number|an integer|one or more values)"
    with pytest.raises(ConfigError, match=rf"^agent {agent}: learner\.settings\.{name}=.* must be {fits}"):
        make_agent(agent, {name: value})


def test_an_unknown_algorithm_is_refused() -> None:
    with pytest.raises(ContractError, match=r"unknown agent .sarsa.; choose from .*rlpd"):
        make_agent("sarsa", {})


@pytest.mark.parametrize(
    ("overrides", "utd", "steps"),
    [
        ([], 4.0, 4),  # the algorithm's own
        (["learner.utd=8"], 8.0, 8),
        (["learner.settings.critic_steps=2"], 2.0, 2),
        (["learner.utd=8", "learner.settings.critic_steps=2"], 8.0, 2),  # four calls a step
    ],
)
def test_updates_per_step_and_per_call(tmp_path: Path, overrides: list[str], utd: float, steps: int) -> None:
    tiny = ["task=reach", "learner.agent=rlpd", "learner.settings.hidden=8,8", "learner.settings.critics=2"]
    config = load_config(None, [*tiny, *overrides])
    learner = make_learner(Run.create(config, tmp_path), config)
    assert (learner.governor.target, learner.agent.updates_per_call) == (utd, steps)


@pytest.mark.parametrize(
    ("agent", "overrides", "share"),
    [
        ("rlpd", [], 0.5),  # its own
        ("sac", [], None),
        ("rlpd", ["learner.demo_share=0.25"], 0.25),
        ("sac", ["learner.demo_share=1"], 1.0),
        ("rlpd", ["learner.demo_share=proportional"], None),
    ],
)
def test_the_share_of_demonstrations_is_the_algorithms_own_unless_given(agent, overrides, share, tmp_path) -> None:
    tiny = ["task=reach", f"learner.agent={agent}", "learner.settings.hidden=8,8", "learner.capacity=100"]
    config = load_config(None, [*tiny, *overrides])
    assert make_learner(Run.create(config, tmp_path), config).config.demo_share == share


def test_stores_of_other_arms_are_learnt_from_with_their_weights(tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / "online"
    stores = [f"learner.online_stores=../right/online,{other}", "learner.online_weights=2,1,1", "learner.capacity=90"]
    config = load_config(None, ["task=reach", "learner.agent=rlpd", "learner.settings.hidden=8,8", *stores])
    learner = make_learner(Run.create(config, tmp_path / "left"), config)
    assert learner.sources.sampler.weights([0, 5, 5, 5]) == pytest.approx([0.0, 0.5, 0.25, 0.25])
    assert [buffer.capacity for buffer in learner.sources.online_buffers] == [30, 30, 30]
    for name, kind in (("left/online", 0), ("right/online", 1), ("elsewhere/online", 2)):
        with EpisodeStore.create_or_open(tmp_path / name, schema_of(make_task("reach"), config)) as store:
            writer = store.begin()
            for step in steps(4 + kind, schema=store.schema):
                writer.append(step)
            writer.finish()
    learner.poll()
    assert [len(buffer) for buffer in learner.sources.online_buffers] == [4, 5, 6]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("learner.demo_share=1.5", "learner.demo_share=1.5 must be a number from 0 to 1, proportional or null"),
        ("learner.demo_share=half", "learner.demo_share='half' must be a number from 0 to 1, proportional or null"),
        (
            "learner.online_weights=1,2",
            "learner.online_weights=[1.0, 2.0] must have 1 in number: one for the run's own online",
        ),
        ("learner.online_weights=0", "learner.online_weights=0 must be a list, each a number above 0"),
        ("learner.online_weights=nan", "learner.online_weights='nan' must be a list, each a number above 0"),
        ("learner.capacity=1", "learner.capacity=1 must be an integer from 2 to 2147483647 or null"),
        ("learner.settings=fast", "learner.settings is a group of keys (learner.settings.<key>=value), not 'fast'"),
    ],
)
def test_a_mixture_that_makes_no_sense_is_refused(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}"):
        load_config(None, [override])


def test_a_learner_without_some_fields_learns_from_demonstrations_that_have_them(tmp_path: Path) -> None:
    task = make_task("reach")
    settings = ["task=reach", "learner.agent=rlpd", "learner.settings.hidden=8,8"]
    with EpisodeStore.create_or_open(tmp_path / "demos", schema_of(task, load_config(None, settings))) as store:
        writer = store.begin()
        for step in steps(5, schema=store.schema):
            writer.append(step)
        writer.finish()
    config = load_config(None, [*settings, "learner.without=linear_spring,tank"])
    blind, whole = (make_learner(Run.create(one, tmp_path), one) for one in (config, load_config(None, settings)))
    for learner in (blind, whole):
        learner.poll()
    kept = [f.name not in ("linear_spring", "tank") for f in task.fields for _ in range(f.size)]
    assert len(blind.sources.demo_buffer) == 5
    assert np.array_equal(blind.sources.demo_buffer.state[:6], whole.sources.demo_buffer.state[:6, kept])
    assert [name for name, *_ in unpack(blind.parameters()).meta["fields"]] == [
        f.name for f in task.fields if f.name not in ("linear_spring", "tank")
    ]


def test_a_learner_without_a_camera_keeps_none_of_its_images(tmp_path: Path) -> None:
    settings = ["task=reach", "cameras=front,wrist", "learner.agent=rlpd", "learner.settings.hidden=8,8"]
    config = load_config(None, [*settings, "learner.without=wrist"])
    learner = make_learner(Run.create(config, tmp_path), config)
    assert set(learner.sources.demo_buffer.images) == set(unpack(learner.parameters()).meta["images"]) == {"front"}


def test_an_agent_that_improves_what_was_imitated_is_refused_without_it(tmp_path: Path) -> None:
    settings = ["task=reach", "learner.agent=dsrl", "learner.settings.hidden=8,8"]
    config = load_config(None, settings)
    with pytest.raises(ConfigError, match=r"dsrl improves .* has no demonstrations; record some, .*learner\.base"):
        make_learner(Run.create(config, tmp_path), config)
    with EpisodeStore.create_or_open(tmp_path / "demos", schema_of(make_task("reach"), config)) as store:
        writer = store.begin()
        for step in steps(5, schema=store.schema):
            writer.append(step)
        writer.finish()
    assert make_learner(Run.create(config, tmp_path), config).agent.name == "dsrl"
    unwilling = load_config(None, [*settings, "learner.imitate=0"])
    with pytest.raises(ConfigError, match=r"imitates nothing with learner\.imitate=0"):
        make_learner(Run.create(unwilling, tmp_path), unwilling)
