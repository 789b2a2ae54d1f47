"""From the configuration to an agent and its learner: every setting arrives, or is refused by name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from robot_rl.config import AGENTS, ConfigError, load_config, save_config
from robot_rl.learner.factory import ALGORITHMS, make_agent, make_learner
from robot_rl.run import Run


def test_the_configuration_knows_every_algorithm_and_no_other() -> None:
    assert sorted(ALGORITHMS) == sorted(AGENTS)


@pytest.mark.parametrize("name", ALGORITHMS)
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
        ({"critcs": 4}, "agent rlpd has no setting 'critcs'; did you mean critics? (valid: "),
        ({"critics": 4.5}, "agent rlpd: critics=4.5 must be of type int"),
        ({"critics": True}, "agent rlpd: critics=True must be of type int"),
        ({"layer_norm": "much"}, "agent rlpd: layer_norm='much' must be of type bool"),
        ({"discount": "high"}, "agent rlpd: discount='high' must be of type float"),
        ({"hidden": "wide,deep"}, "agent rlpd: hidden='wide' must be of type int"),
        ({"subset": 11}, "agent rlpd: subset 11 "),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_setting_that_cannot_be_used_is_named_with_its_value_and_what_would_fit(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}"):
        make_agent("rlpd", settings)


def test_an_unknown_algorithm_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown agent 'sarsa'; choose from .*rlpd"):
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
    tiny = ["task=reach", "learner.settings.hidden=8,8", "learner.settings.critics=2"]
    config = load_config(None, [*tiny, *overrides])
    learner = make_learner(Run.create(config, tmp_path), config)
    assert (learner.governor.target, learner.agent.updates_per_call) == (utd, steps)
