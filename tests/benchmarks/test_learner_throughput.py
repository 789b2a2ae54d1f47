"""The benchmark of updates per second, at sizes that take no time: its line, and how it counts operations."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SMALL = ("--cases", "sac", "--state", "3", "--action", "2", "--batch", "8", "--turns", "2", "--calls", "1")


@pytest.fixture(scope="module")
def throughput() -> ModuleType:
    spec = importlib.util.spec_from_file_location("learner_throughput", BENCHMARKS / "learner_throughput.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


def sac_products(batch: int, state: int, action: int) -> float:
    """Operations of an update of `sac` with two hidden layers of 256, by hand: a pass forward takes 2 n Σ in·out."""

    def layers(size: int, result: int) -> np.ndarray:
        return 2.0 * batch * 256 * np.array([size, 256, result])

    actor, critic = layers(state, 2 * action), layers(state + action, 1)
    target = actor.sum() + 2 * critic.sum()
    critics = 2 * (2 * critic.sum() + critic[1:].sum())  # forward, by weights, by layers
    policy = 2 * actor.sum() + actor[1:].sum() + 2 * 2 * critic.sum()  # of the critics, by their inputs alone
    return float(target + critics + policy)


def test_the_line_says_what_was_measured_and_peers_that_are_not_there_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl"
    command = [sys.executable, str(BENCHMARKS / "learner_throughput.py"), *SMALL, "--peers", "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert file.read_text() == done.stdout
    missing = [name for name in ("sb3", "sbx") if f"{name} is not installed" in done.stderr]
    lines: list[dict[str, Any]] = [json.loads(text) for text in done.stdout.splitlines()]
    assert [line.get("peer") is None for line in lines] == [len(missing) == 2] * max(1, 2 - len(missing))
    line = lines[0]
    assert (line["benchmark"], line["agent"]) == ("learner_throughput", "sac")
    assert (line["config"]["state"], line["config"]["action"], line["config"]["batch"]) == (3, 2, 8)
    assert 0.0 < line["roofline_fraction"] < 1.0 and line["mflop_per_update"] == round(sac_products(8, 3, 2) / 1e6, 1)
    assert line["updates_per_s"] > 0.0 and line["sample_share"] > 0.0


def test_products_count_as_often_as_they_are_made(throughput: ModuleType) -> None:
    """A product of (2, 3) and (3, 4) takes 48 operations."""
    left, right = jnp.ones((2, 3)), jnp.ones((3, 4))

    def once(x: jax.Array) -> jax.Array:
        return jnp.tanh(x @ right) + 1.0

    def five_times(x: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda total, _: (total + once(x), None), jnp.zeros((2, 4)), length=5)[0]

    def now_and_then(x: jax.Array) -> jax.Array:
        return jax.lax.cond(x.sum() > 0.0, lambda: once(x) + once(x + 1.0), lambda: once(x))

    def count(function: Any, share: float = 1.0) -> float:
        return throughput.matmul_flops(jax.make_jaxpr(function)(left), share)

    assert (count(once), count(jax.jit(once)), count(five_times)) == (48.0, 48.0, 240.0)
    assert (count(now_and_then), count(now_and_then, 0.5)) == (96.0, 72.0)


def test_convolutions_count_like_the_products_they_are(throughput: ModuleType) -> None:
    """Each of 2·2·4 outputs of a 3×3 kernel over 3 channels takes 2 · 27 operations."""
    image, kernel = jnp.ones((1, 5, 5, 3)), jnp.ones((3, 3, 3, 4))

    def seen(x: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(x, kernel, (2, 2), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    assert throughput.matmul_flops(jax.make_jaxpr(seen)(image)) == 2 * 27 * 16


@pytest.mark.slow
def test_the_load_of_the_loop_comparison_learns() -> None:
    """The learner that runs beside both torque loops."""
    command = [sys.executable, str(BENCHMARKS / "loop_comparison.py"), "load"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    finally:
        child.kill()
        child.wait()
