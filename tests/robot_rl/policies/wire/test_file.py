"""The file that says what a server's names mean: every mistake is one line with key, value and what would fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from robot_rl.contract.settings import ConfigError
from robot_rl.policies import Served
from robot_rl.policies.wire.file import parse, read_file
from robot_rl.policies.wire.remote import check_libraries, make_remote
from robot_rl.tasks import make_task

TASK = make_task("peg_insertion")
X = {"axis": "x", "means": "delta", "unit": "m"}
COLUMNS = [
    *({"axis": axis, "means": "delta", "unit": "mm"} for axis in ("x", "y", "z")),
    {"axis": "yaw", "means": "delta", "unit": "deg"},
]
SEVEN = [{"axis": f"joint{number}", "means": "delta", "unit": 0.2} for number in range(1, 8)]
FITS = {
    "address": "ws://127.0.0.1:1",
    "images": {"observation/image": "front"},
    "state": {"observation/state": ["position", {"field": "rotation", "as": "rpy"}]},
    "prompt": "prompt",
    "columns": COLUMNS,
}


def made(tmp_path: Path, **changes: object) -> None:
    path = tmp_path / "server.yaml"
    path.write_text(yaml.safe_dump({**FITS, **changes}))
    make_remote(Served("openpi", path), TASK, TASK.control_period, {"front": (64, 64)})


def test_what_fits_is_taken(tmp_path: Path) -> None:
    made(tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"adress": "ws://a:1"}, "unknown key adress; did you mean address"),
        ({"address": "http://a:1"}, "address='http://a:1' must be ws://HOST:PORT"),
        ({"address": ""}, "address='' must be ws://HOST:PORT"),
        ({"timeout": 0}, "timeout=0 must be a number"),
        ({"rows": 0}, "rows=0 must be an integer from 1"),
        ({"rate": 1000}, "rate=1000 must be"),
        ({"jump": -1}, "jump=-1 must be a number above 0"),
        ({"images": {"a": "side"}}, "images.a='side' is no camera of this run; it has cameras=front"),
        ({"images": {"a": 1}}, "images.a=1 must be the name of a camera"),
        ({"images": {"prompt": "front"}}, "the key 'prompt' is there twice"),
        ({"state": {"a": []}}, r"state.a=\[\] must be a list of fields"),
        ({"state": {"a": ["positon"]}}, "state.a: the state has no field 'positon'.*did you mean 'position'"),
        ({"state": {"a": [{"field": "tank", "as": "rpy"}]}}, "as=rpy is of a rotation vector, and tank is none"),
        ({"state": {"a": [{"field": "tank", "scale": 0}]}}, r"state.a\[0\].scale=0 says nothing"),
        ({"state": {"a": [{"field": "tank", "as": "euler"}]}}, "one of rotvec, rpy, quat_xyzw"),
        ({"state": ["a"]}, "state is a group of keys"),
        ({"columns": "x"}, "columns='x' must be a list"),
        ({"columns": ["x"]}, r"columns\[0\] is a group of keys"),
        ({"columns": COLUMNS[1:]}, "no column moves x"),
        ({"columns": [*COLUMNS, {"axis": "gripper", "open": 1, "closed": 0}]}, "does not drive gripper.*ignored: grip"),
        ({"columns": [*COLUMNS, X]}, "the axis x is there twice"),
        ({"columns": [{"axis": "w"}]}, r"columns\[0\].axis='w' must be one of x, y, z"),
        ({"columns": [{"axis": "x", "unit": "m"}]}, "means is missing for axis=x"),
        ({"columns": [{"axis": "x", "means": "delta", "unit": "deg"}]}, "unit='deg' of axis=x must be one of m, cm"),
        ({"columns": [{"axis": "roll", "means": "delta", "unit": "m"}]}, "unit='m' of axis=roll must be one of rad"),
        ({"columns": [{"axis": "x", "means": "delta"}]}, "unit='' of axis=x"),
        ({"columns": [{"axis": "x", "means": "absolute", "unit": "step"}]}, "unit=step of axis=x is of deltas"),
        ({"columns": [{"axis": "joint8", "means": "delta", "unit": "rad"}]}, "or joint1 to joint7; did you mean"),
        (
            {"columns": [{"axis": "joint1", "means": "delta", "unit": "m"}]},
            "unit='m' of axis=joint1 must be one of rad",
        ),
        ({"columns": [{"axis": "joint1", "means": "delta", "unit": "step"}]}, "unit=step of axis=joint1"),
        ({"columns": [{"axis": "joint1", "means": "delta", "unit": "rad"}, X]}, "by joint1, .* together, and not by"),
        ({"columns": SEVEN}, "in a task that drives x, y, z, roll, pitch, yaw; this one drives x, y, z, yaw"),
        ({"columns": [{"axis": "gripper", "open": 1}]}, "needs two numbers"),
        ({"columns": [{"axis": "gripper", "open": 1, "closed": 1}]}, "needs two numbers"),
        ({"columns": [{"axis": "gripper", "open": 1, "closed": 0, "unit": "m"}]}, "neither means nor unit"),
        ({"columns": [{**X, "open": 1.0}]}, "open and closed are of the gripper"),
        ({"columns": [{**X, "ignored": "a"}]}, "ignored='a' moves nothing"),
        ({"columns": [{**X, "means": "absolute"}, *COLUMNS[1:]]}, "needs the field tcp_position"),
        (
            {"columns": [*COLUMNS[:3], {"axis": "yaw", "means": "absolute", "unit": "rad"}]},
            "yaw is absolute, so the task's state needs the field tcp_rotation",
        ),
        ({"token_file": "none"}, "token_file=.*none cannot be read"),
    ],
)
def test_every_mistake_is_named_with_its_file_or_key(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as error:
        made(tmp_path, **changes)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("kind", "needed"), [("openpi", "msgspec and websockets"), ("groot", "msgspec and zmq")])
def test_a_library_that_is_missing_is_named_with_the_command_that_installs_it(
    kind: str, needed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=rf"{kind} needs {needed}: .*pip install .*\[wire\]"):
        check_libraries(kind)


def test_features_have_no_place_on_the_wire(tmp_path: Path) -> None:
    path = tmp_path / "server.yaml"
    path.write_text(yaml.safe_dump(FITS))
    with pytest.raises(ConfigError, match="leave out encoder="):
        make_remote(Served("openpi", path), TASK, TASK.control_period, {"front": (8, 8, 96)})


def test_a_number_may_be_a_unit() -> None:
    column = parse({"columns": [{"axis": "x", "means": "delta", "unit": 0.05}]}).columns[0]
    assert column.factor == 0.05


def test_a_token_lies_beside_the_file(tmp_path: Path) -> None:
    path = tmp_path / "server.yaml"
    path.write_text("token_file: token\n")
    assert read_file(path).token_file == str(tmp_path / "token")
