"""LeRobot's policies: trained on our demonstrations by LeRobot, and driving the arm, in two environments."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from demos import convert
from robot_rl.jobs.cli import main
from tests.robot_rl.policies.wire.reaching import FILE, written

ROOT = Path(__file__).parents[2]
PROGRAM = str(ROOT / "examples" / "with_lerobot.py")
PATIENCE = 600.0  # [s]
STEPS = "4"  # of training: what is tested is the way, and not what is learnt
SMALL = {
    "act": [
        "dim_model=32",
        "dim_feedforward=32",
        "n_heads=2",
        "n_encoder_layers=1",
        "chunk_size=4",
        "n_action_steps=4",
    ],
    "diffusion": ["down_dims=[16,32]", "horizon=8", "n_action_steps=4", "num_train_timesteps=4", "n_groups=4"],
}


def test_elsewhere_than_beside_lerobot_one_line_says_where(tmp_path: Path) -> None:
    said = subprocess.run([sys.executable, PROGRAM, "serve", str(tmp_path)], capture_output=True, text=True)
    assert said.returncode == 2
    assert re.search(r"No module named .*; run it by \.venv-lerobot/bin/python, which scripts/lerobot\.sh", said.stderr)


@pytest.fixture(scope="module")
def python() -> str:
    """The interpreter of LeRobot's environment, which is made when it is not there."""
    subprocess.run(["bash", str(ROOT / "scripts" / "lerobot.sh")], check=True, timeout=1800)
    return str(ROOT / ".venv-lerobot" / "bin" / "python")


@pytest.fixture(scope="module")
def reached(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three demonstrations, by the names of `NAMES`."""
    folder = tmp_path_factory.mktemp("reached")
    assert main(["record", "--fast", "--task", "reach", "--run", str(folder / "run"), "demos=3"]) == 0
    names = written(folder, "ws://127.0.0.1:1", **NAMES)
    assert convert.main([str(folder / "run" / "demos"), str(folder / "demos.hdf5"), "--names", str(names)]) == 0
    return folder / "demos.hdf5"


NAMES = {
    "state": {"observation.state": ["linear_velocity"], "observation.environment_state": ["to_goal"]},
    "prompt": "task",
    "actions": "action",
    "columns": [{"axis": axis, "means": "delta", "unit": "m"} for axis in ("x", "y", "z")],
}


def run(python: str, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    return subprocess.run([python, PROGRAM, *words], capture_output=True, text=True, timeout=PATIENCE, env=environment)


@contextmanager
def serving(python: str, folder: Path) -> Iterator[str]:
    """The address of a server of the policy in ``folder``."""
    words = [python, PROGRAM, "serve", str(folder), "--port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = next(line for line in process.stdout if line.startswith("ws://"))
            yield line.partition(" ")[0]
        finally:
            process.terminate()


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("kind", "history"), [("act", 1), ("diffusion", 2)])
def test_a_policy_that_lerobot_has_trained_on_our_demonstrations_drives_the_arm(
    python: str, reached: Path, tmp_path: Path, kind: str, history: int
) -> None:
    data, trained = tmp_path / "data", tmp_path / "trained"
    assert "data: 3 episodes, " in (said := run(python, "dataset", str(reached), str(data))).stdout, said.stderr
    again = run(python, "dataset", str(reached), str(data))
    assert again.returncode == 2 and "exists; name another folder" in again.stderr
    settings = [f"--policy.{item}" for item in (f"type={kind}", "device=cpu", "push_to_hub=false", *SMALL[kind])]
    places = ["--dataset.repo_id=local/data", f"--dataset.root={data}", f"--output_dir={trained}"]
    training = run(python, "train", *places, *settings, f"--steps={STEPS}", "--batch_size=2", "--num_workers=0")
    assert training.returncode == 0, training.stderr
    saved = trained / "checkpoints" / "last" / "pretrained_model"
    with serving(python, saved) as address:
        names = written(tmp_path, address, **NAMES, history=history)
        arguments = ["eval", "--fast", "--task", "reach", "--run", str(tmp_path / "run"), "episodes=1"]
        assert main([*arguments, f"policy=openpi:{names}"]) == 0
        summary = json.loads((tmp_path / "run" / "summary.json").read_text())
        assert (summary["episodes"], summary["aborted"]) == (1, 0)
        others = written(tmp_path, address, **{**NAMES, "state": FILE["state"]}, history=history)
        assert main([*arguments[:5], str(tmp_path / "other"), f"policy=openpi:{others}"]) == 2


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_what_is_no_policy_of_lerobots_is_refused_in_a_line(python: str, tmp_path: Path) -> None:
    empty = run(python, "serve", str(tmp_path))
    assert empty.returncode == 2 and "has no config.json; LeRobot saves a policy in" in empty.stderr
    (tmp_path / "config.json").write_text("{}")
    other = run(python, "serve", str(tmp_path))
    assert other.returncode == 2 and "cannot be loaded: " in other.stderr and "Traceback" not in other.stderr
