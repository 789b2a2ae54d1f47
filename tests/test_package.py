"""The package as pip and colcon see it."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path

import pytest

import robot_rl
from robot_rl.jobs.job import COMMANDS

ROOT = Path(__file__).parents[1]
PACKAGES = ("controllers", "hardware", "robot_rl", "demos")
LAUNCH_FILES = {f"{job}.launch.py" for job in COMMANDS}


def source_files() -> list[Path]:
    return [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from a copy of what setup.py reads, so that no build output lands in the checkout."""
    directory = tmp_path_factory.mktemp("wheel")
    tree = directory / "tree"
    names = ("setup.py", "setup.cfg", "pyproject.toml", "package.xml", "LICENSE")
    parts = [ROOT / name for name in names]
    parts += [ROOT / package / "py.typed" for package in PACKAGES]
    parts += [*source_files(), *(ROOT / "launch").glob("*.launch.py"), ROOT / "resource" / "robot_rl"]
    for part in parts:
        target = tree / part.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(part.read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "-qq", "--no-deps", "--no-build-isolation", "-w", str(directory)]
    done = subprocess.run([*command, str(tree)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(next(directory.glob("robot_rl-*.whl")))


def text_in(wheel: zipfile.ZipFile, ending: str) -> str:
    return wheel.read(next(name for name in wheel.namelist() if name.endswith(ending))).decode()


def test_there_is_one_version(wheel: zipfile.ZipFile) -> None:
    in_xml = ElementTree.parse(ROOT / "package.xml").findtext("version")
    in_wheel = re.search("^Version: (.+)$", text_in(wheel, ".dist-info/METADATA"), re.MULTILINE)
    assert in_wheel is not None
    assert in_xml == in_wheel.group(1) == robot_rl.__version__


def test_the_wheel_holds_every_module(wheel: zipfile.ZipFile) -> None:
    expected = {str(file.relative_to(ROOT)) for file in source_files()}
    expected |= {f"{package}/py.typed" for package in PACKAGES}  # so that type checkers take the annotations
    assert expected <= set(wheel.namelist())


def test_every_folder_of_modules_is_a_package() -> None:
    assert all((file.parent / "__init__.py").exists() for file in source_files())


def test_the_wheel_holds_what_ros_looks_for(wheel: zipfile.ZipFile) -> None:
    shared = {name.partition(".data/data/")[2] for name in wheel.namelist()} - {""}
    launch_files = {f"share/robot_rl/launch/{name}" for name in LAUNCH_FILES}
    marker = "share/ament_index/resource_index/packages/robot_rl"
    assert {marker, "share/robot_rl/package.xml"} | launch_files <= shared


def test_the_console_script_is_there(wheel: zipfile.ZipFile) -> None:
    script = re.search(r"^robot-rl = ([\w.]+):(\w+)$", text_in(wheel, "entry_points.txt"), re.MULTILINE)
    assert script is not None
    module, function = script.groups()
    assert callable(getattr(importlib.import_module(module), function))


def test_package_xml_declares_the_ros_packages_in_use() -> None:
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    assert package.get("format") == "3"
    assert package.findtext("export/build_type") == "ament_python"
    declared = {element.text for element in package.findall("exec_depend")}
    used = set()
    for file in [*source_files(), *(ROOT / "launch").glob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Import(names=names):
                    used |= {alias.name.split(".")[0] for alias in names}
                case ast.ImportFrom(module=str(name), level=0):
                    used.add(name.split(".")[0])
    ros = {
        name
        for name in used
        if name.endswith("_msgs") or name in {"rclpy", "rcl_interfaces", "std_srvs", "launch", "launch_ros"}
    }
    assert ros <= declared


def test_the_jobs_have_launch_files() -> None:
    assert {file.name for file in (ROOT / "launch").iterdir() if file.suffix == ".py"} == LAUNCH_FILES


def test_constraints_are_exact_and_cover_every_dependency(wheel: zipfile.ZipFile) -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9a-z.]+", line) for line in lines)  # no hosts, paths, local builds
    pinned = {line.partition("==")[0] for line in lines}
    required = re.findall(r"^Requires-Dist: ([\w.-]+)", text_in(wheel, ".dist-info/METADATA"), re.MULTILINE)
    assert required
    assert {re.sub(r"[-_.]+", "-", name).lower() for name in required} <= pinned


def test_mypy_checks_every_package() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    assert set(settings["packages"]) == {*PACKAGES, "benchmarks.experiments", "examples"}
    assert settings["disallow_any_generics"] and settings["warn_return_any"]


def test_the_contracts_have_no_any() -> None:
    files = [*sorted((ROOT / "robot_rl" / "contract").rglob("*.py")), ROOT / "hardware" / "interfaces.py"]
    found = []
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.alias(name="Any") | ast.Attribute(attr="Any"):
                    found.append(f"{file.relative_to(ROOT)}:{node.lineno}")
    assert files and not found
