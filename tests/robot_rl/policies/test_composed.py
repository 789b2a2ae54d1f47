"""A composition from its file: whose actions it has, by what each parent sees, and what cannot be composed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from robot_rl.contract import Observation, layout_of
from robot_rl.contract.settings import ConfigError
from robot_rl.data.parameters import ParameterError, pack
from robot_rl.learner.factory import make_agent
from robot_rl.policies.composed import bytes_of, load_composed
from robot_rl.policies.loading import describe, load_actor
from robot_rl.tasks import make_task
from tests.robot_rl.references import stir

TASK = make_task("reach")
CAMERA = {"wrist": (8, 8)}
TINY = {"width": 8, "blocks": 1, "horizon": 3, "executed": 2, "steps": 2, "noise_levels": 6}
STATE = np.random.default_rng(0).normal(size=TASK.state_size).astype(np.float32)
SEEN = Observation(7, 0, STATE, {"wrist": np.full((8, 8, 3), 90, np.uint8)})


def write(path: Path, seed: int = 0, images: dict[str, Any] | None = None, task: Any = TASK, **settings: Any) -> bytes:
    """Parameters that somebody published: of ``settings``, by the agent `bc` unless they say another."""
    agent = make_agent(settings.pop("agent", "bc"), {**TINY, **settings} if "hidden" not in settings else settings)
    state = agent.create(jax.random.PRNGKey(seed), layout_of(task, images or {}))
    params = stir(dict(agent.actor(state)), seed + 1, 0.2)
    data = pack({name: np.asarray(value) for name, value in params.items()}, 3, describe(task, agent, images))
    path.write_bytes(data)
    return data


def compose(folder: Path, *weights: float, names: tuple[str, ...] = ("a.params", "b.params")) -> Path:
    path = folder / "both.yaml"
    lines = [f"  - {{file: {name}, weight: {weight}}}" for name, weight in zip(names, weights, strict=True)]
    path.write_text("\n".join(["policies:", *lines]) + "\n")
    return path


@pytest.mark.parametrize("models", [("flow", "flow"), ("flow", "diffusion")])
def test_a_parent_without_weight_has_no_say_and_others_are_between(tmp_path: Path, models: tuple[str, str]) -> None:
    written = [write(tmp_path / f"{name}.params", n, model=models[n]) for n, name in enumerate("ab")]
    alone = [load_actor(data, TASK, 5, True).act([SEEN]).actions for data in written]
    found = [load_composed(compose(tmp_path, *w), TASK, 5, {}).act([SEEN]).actions for w in ((2, 0), (0, 1), (1, 1))]
    assert found[0].shape == (2, TASK.action.size)
    for mine, expected in zip(found, alone, strict=False):
        np.testing.assert_allclose(mine, expected, atol=1e-5)
    assert not np.array_equal(found[2], found[0]) and not np.array_equal(found[2], found[1])


def test_each_parent_sees_by_its_own_cameras(tmp_path: Path) -> None:
    write(tmp_path / "a.params", 0)
    write(tmp_path / "b.params", 1, CAMERA, model="diffusion")
    policy = load_composed(compose(tmp_path, 0.5, 0.5), TASK, 5, CAMERA)
    dark = replace(SEEN, images={"wrist": np.zeros((8, 8, 3), np.uint8)})
    light, other = (load_composed(compose(tmp_path, 0.5, 0.5), TASK, 5, CAMERA).act([one]) for one in (SEEN, dark))
    assert not np.array_equal(light.actions, other.actions)
    assert np.array_equal(policy.act([SEEN]).actions, light.actions)
    with pytest.raises(ParameterError, match=r"b\.params: the policy needs images of \['wrist'\]"):
        load_composed(compose(tmp_path, 0.5, 0.5), TASK, 5, {})


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"model": "gaussian", "hidden": (8,)}, "b.params: it is model=gaussian of agent bc; flows and diffusions of"),
        ({"model": "energy"}, "b.params: it is model=energy of agent bc; flows and diffusions of"),
        ({"agent": "sac", "hidden": (8,)}, "b.params: it is of agent sac; flows and diffusions of agent bc"),
        ({"horizon": 4}, "b.params: its chunks have 4 actions, those of .*a.params 3"),
        ({"task": make_task("pick_cube")}, "b.params: it was trained with"),
    ],
)
def test_what_cannot_be_composed_is_named(tmp_path: Path, other: dict[str, Any], words: str) -> None:
    write(tmp_path / "a.params")
    write(tmp_path / "b.params", **other)
    with pytest.raises(ParameterError, match=words):
        load_composed(compose(tmp_path, 1, 1), TASK, 5, {})


def test_diffusions_of_other_levels_cannot_be_composed(tmp_path: Path) -> None:
    write(tmp_path / "a.params", model="diffusion")
    write(tmp_path / "b.params", model="diffusion", noise_levels=9)
    with pytest.raises(ParameterError, match="its noise has 9 levels, that of another diffusion 6"):
        load_composed(compose(tmp_path, 1, 1), TASK, 5, {})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("policies: [{file: a.params}]", "policies must be a list of two or more groups of file and weight"),
        ("policies: [a.params, b.params]", "policies must be a list of two or more groups"),
        ("parents: [{file: a.params}]", "unknown key 'parents'"),
        ("policies: [{file: a.params}, {weight: 1}]", r"policies\[1\] names no file"),
        ("policies: [{file: a.params, weight: -1}, {file: a.params}]", r"both\.yaml: policies\[0\]\.weight=-1"),
        ("policies: [{file: a.params, weight: 0}, {file: a.params, weight: 0}]", r"both\.yaml: all weights are 0"),
        ("policies: [{file: a.params, weigth: 1}, {file: a.params}]", r"policies\[0\]\.weigth.*did you mean"),
        ("policies: [{file: a.params}, {file: lost.params}]", r"cannot read the policy .*lost\.params"),
    ],
)
def test_a_file_that_says_no_composition_is_refused(tmp_path: Path, text: str, words: str) -> None:
    write(tmp_path / "a.params")
    path = tmp_path / "both.yaml"
    path.write_text(text)
    for used in (lambda: load_composed(path, TASK, 5, {}), lambda: bytes_of(path)):
        with pytest.raises(ConfigError, match=words):
            used()


def test_weights_may_be_of_any_size_and_steps_are_no_more_than_levels(tmp_path: Path) -> None:
    write(tmp_path / "a.params", steps=9)
    write(tmp_path / "b.params", 1, model="diffusion")
    found = []
    for scale in (1.0, 1e-50, 1e39):
        policy = load_composed(compose(tmp_path, 0.5 * scale, scale), TASK, 5, {})
        found.append(policy.act([SEEN]).actions)
    write(tmp_path / "a.params", steps=TINY["noise_levels"])
    few = load_composed(compose(tmp_path, 0.5, 1), TASK, 5, {}).act([SEEN]).actions
    assert np.isfinite(few).all()
    np.testing.assert_allclose(found, [few, few, few], atol=1e-6)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for used in (lambda: load_composed(tmp_path / "no.yaml", TASK, 5, {}), lambda: bytes_of(tmp_path / "no.yaml")):
        with pytest.raises(ConfigError, match=r"cannot read .*no\.yaml"):
            used()


def test_a_composition_is_known_by_all_that_it_acts_by(tmp_path: Path) -> None:
    write(tmp_path / "a.params", 0)
    write(tmp_path / "b.params", 1)
    first = bytes_of(compose(tmp_path, 1, 1))
    assert first == bytes_of(compose(tmp_path, 1, 1)) != bytes_of(compose(tmp_path, 1, 2))
    write(tmp_path / "b.params", 2)
    assert first != bytes_of(compose(tmp_path, 1, 1))
