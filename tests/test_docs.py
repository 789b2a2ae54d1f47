"""Checkable statements of the documentation: commands, links, topics."""

from __future__ import annotations

import importlib.util
import re
import shlex
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from controllers.ros import topics as arm_topics
from controllers.ros.topics import TARGET_POSES
from hardware.cameras import CAMERA_DRIVERS
from hardware.force import FORCE_SENSORS
from hardware.teleop import TELEOP_DEVICES
from robot_rl.contract.settings import nested, put_over
from robot_rl.jobs.arguments import LAUNCH_ARGUMENTS
from robot_rl.jobs.bringup import prepare
from robot_rl.jobs.cli import parse
from robot_rl.jobs.config import load_config
from robot_rl.jobs.preference_commands import PREFERRING
from robot_rl.learner.config import AGENTS
from robot_rl.perception.encoders import ENCODERS
from robot_rl.rewards.config import PreferenceConfig, RewardConfig
from robot_rl.ros import topics
from robot_rl.tasks import TASKS

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "examples" / "README.md"])
WITH_COMMANDS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "examples" / "README.md",
    *(ROOT / "docs" / f"{name}.md" for name in ("CONSOLE", "HARDWARE", "PASSIVITY", "SAFETY", "TWO_COMPUTERS", "VLA")),
    *sorted((ROOT / "docs").glob("YOUR_*.md")),
]
PROGRAMS = ("robot-rl", "make", "python", "ros2")
TOPIC_MODULES = (ROOT / "controllers" / "ros" / "topics.py", ROOT / "robot_rl" / "ros" / "topics.py")
ELSEWHERE = {  # topics whose names are not in those modules
    "/diagnostics",
    "<camera>/color/image_raw",
    "<camera>/color/image_raw/compressed",
    "<camera>/color/camera_info",
    "<camera>/aligned_depth_to_color/image_raw",
    "<camera>/features",
}
IN_THE_PICTURE = {  # of the topics, those without which it would not show who talks to whom
    *TARGET_POSES.values(),
    *(arm_topics.GRIPPER_COMMAND, arm_topics.TWIST_COMMAND, arm_topics.OPERATOR_WORD),
    *(arm_topics.OPERATOR_ACKNOWLEDGED, arm_topics.OPERATOR_REQUEST),
    *(topics.OBSERVATION, topics.ACTION_CHUNK, topics.INSTRUCTION, topics.POLICY_PARAMETERS),
    *(topics.TEACH_NEXT, topics.TEACH_MARK),
}


def commands(text: str) -> list[list[str]]:
    """The commands in code blocks and inline code, split into words."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.S))]
    words = [shlex.split(line, comments=True) for line in lines if line.startswith(PROGRAMS) and " " in line]
    return [each for each in words if each[0] in PROGRAMS]


def check_command(words: list[str]) -> None:
    """Raises when ``words`` is not a command that exists."""
    match words:
        case ["robot-rl", *arguments]:
            given = parse(arguments)
            if hasattr(given, "work"):  # of `robot-rl reward`
                settings = PreferenceConfig() if given.action in PREFERRING else RewardConfig()
                put_over(settings, nested(given.overrides))
            else:
                load_config(None, getattr(given, "overrides", ()))
        case ["make", *targets]:
            makefile = (ROOT / "Makefile").read_text()
            for target in targets:
                name, is_variable, _ = target.partition("=")
                known = rf"\$\([^)]*\b{name}\b" if is_variable else rf"^{name}:"
                assert re.search(known, makefile, re.MULTILINE), f"the Makefile has no {name}"
        case ["python", "-m", module, *_]:
            assert importlib.util.find_spec(module) is not None
        case ["python", script, *_]:
            assert (ROOT / script).exists()
        case ["ros2", "launch", package, file, *arguments]:
            assert package == "robot_rl"
            assert (ROOT / "launch" / file).exists()
            names = {argument.partition(":=")[0] for argument in arguments if ":=" in argument}
            assert names <= set(LAUNCH_ARGUMENTS)


@pytest.mark.parametrize("document", WITH_COMMANDS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_exist(document: Path) -> None:
    found = commands(document.read_text())
    assert found
    for words in found:
        try:
            check_command(words)
        except (SystemExit, ValueError, AssertionError) as error:
            pytest.fail(f"{document.name}: {shlex.join(words)}: {error}")


def test_names_in_documents_are_those_of_the_registries() -> None:
    """The only lists of them that are typed."""
    readme, architecture = (ROOT / "README.md").read_text(), (ROOT / "docs" / "ARCHITECTURE.md").read_text()
    for registry in (AGENTS, TASKS, TELEOP_DEVICES):
        assert [name for name in registry.builtin if f"`{name}`" not in readme] == [], registry.kind
    (said,) = re.findall(r"`learner\.agent` is (.*?), or one of your own", " ".join(readme.split()))
    assert sorted(re.findall(r"`(\w+)`", said)) == sorted(AGENTS.builtin)
    table = architecture.partition("| `learner.agent` | Is |")[2].partition("\n\n")[0]
    assert sorted(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == sorted(AGENTS.builtin)
    for registry in (AGENTS, TASKS, TELEOP_DEVICES, CAMERA_DRIVERS, FORCE_SENSORS, ENCODERS):
        assert f"`{registry.group}`" in architecture


def test_a_wrong_command_is_found() -> None:
    for wrong in ("robot-rl fly", "robot-rl train learner.udt=8", "make cofee", "python benchmarks/none.py"):
        with pytest.raises((SystemExit, ValueError, AssertionError)):
            check_command(commands(f"```\n{wrong}\n```\n")[0])


def test_the_settings_of_a_run_can_be_given_again(tmp_path: Path) -> None:
    """As the README has it: ``--config RUN/config.yaml --run RUN``."""
    first = load_config(None, ["task=reach", "learner.utd=8"])
    run = prepare("record", first, tmp_path)
    assert load_config(run.config_file, []) == first


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_relative_links_resolve(document: Path) -> None:
    assert broken_links(document) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# On links\n[here](#on-links) [there](https://a.b/c) [nowhere](none.md) [no heading](page.md#of)\n"
    )
    assert broken_links(page) == ["none.md", "page.md#of"]


def broken_links(document: Path) -> list[str]:
    """Relative links of a page to files, or headings in them, that are not there."""
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        path, _, anchor = link.partition("#")
        if "://" in path:
            continue
        target = document.parent / path if path else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    return broken


def anchors(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def defined_topics() -> dict[str, str]:
    """Topic → message type, as the modules of topic names have them."""
    pattern = re.compile(r'^[A-Z_]+ = "([\w/]+)"  # .*?(\w+_msgs/\w+)', re.MULTILINE)
    found = {name: kind for module in TOPIC_MODULES for name, kind in pattern.findall(module.read_text())}
    return found | dict.fromkeys(TARGET_POSES.values(), "geometry_msgs/PoseStamped")


def documented_topics() -> dict[str, str]:
    """Topic → message type, as the table in ARCHITECTURE.md has them."""
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
    section = text.split("\n## Topics\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([^`]+)` \| (\w+_msgs/\w+)", section, re.MULTILINE)
    return {name if name in ELSEWHERE else name.removesuffix("/<camera>"): kind for name, kind in rows}


def test_the_table_of_topics_is_that_of_the_code() -> None:
    documented = documented_topics()
    assert set(documented) >= ELSEWHERE
    assert {name: kind for name, kind in documented.items() if name not in ELSEWHERE} == defined_topics()


def test_the_picture_shows_topics_that_exist() -> None:
    space = "{http://www.w3.org/2000/svg}"
    picture = ElementTree.parse(ROOT / "docs" / "graph.svg").getroot()
    groups = [group for group in picture.iter(f"{space}g") if "monospace" in group.get("font-family", "")]
    shown = {name for group in groups for text in group for name in (text.text or "").split(", ")} - {"…"}
    assert shown <= {*defined_topics(), *ELSEWHERE}
    assert shown >= IN_THE_PICTURE


def test_every_fault_in_the_safety_table_is_made_to_happen_by_a_test() -> None:
    table = (ROOT / "docs" / "SAFETY.md").read_text().split("\n|---|---|---|---|\n")[1]
    rows = [row.split(" | ") for row in table.splitlines() if row.startswith("| ")]
    named = {row[-1].strip(" |`") for row in rows}
    sources = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]
    tests = set(re.findall(r"^def (test_\w+)", "\n".join(sources), re.MULTILINE))
    assert rows
    assert named <= tests
