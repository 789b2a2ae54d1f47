"""The files around the code: workflow, hooks, citation, templates, addresses, and the documentation's site."""

from __future__ import annotations

import importlib.util
import posixpath
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import robot_rl
from robot_rl.jobs.cli import parse

ROOT = Path(__file__).parents[1]
GITHUB = ROOT / ".github"
ADDRESS = r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
FORM = {"markdown", "textarea", "input", "dropdown", "checkboxes"}  # elements of GitHub's issue forms


def read(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


def pinned() -> set[str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {line.partition("==")[0] for line in lines if not line.startswith("#")}


@pytest.fixture(scope="module")
def pages() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_pages", ROOT / "scripts" / "docs_pages.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_workflow_runs_what_ci_runs() -> None:
    workflow = read(".github/workflows/ci.yml")
    (job,) = workflow["jobs"].values()
    runs = [step["run"].strip() for step in job["steps"] if "run" in step]
    assert ".ci/run" in runs and "make docs" in runs
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
    assert workflow["permissions"] == {"contents": "read"}
    installed = next(run for run in runs if "apt-get install" in run)
    assert {"make", "git", "chromium", "python3.11-venv"} <= set(installed.split())  # setup.sh names the last one


def test_the_hooks_are_the_linters_of_the_project() -> None:
    """From .venv, hence at the pinned versions, and with the arguments of ``make lint``."""
    hooks = [hook for repository in read(".pre-commit-config.yaml")["repos"] for hook in repository["hooks"]]
    makefile = (ROOT / "Makefile").read_text()
    assert {repository["repo"] for repository in read(".pre-commit-config.yaml")["repos"]} == {"local"}
    for hook in hooks:
        program, _, module, *arguments = hook["entry"].split()
        assert program == ".venv/bin/python" and module in pinned(), hook["id"]
        assert f"-m {' '.join([module, *arguments[: module == 'ruff']])}" in makefile, hook["id"]
    assert [hook["id"] for hook in hooks] == ["ruff-check", "ruff-format", "mypy"]


def test_the_citation_is_of_this_version() -> None:
    citation = read("CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)
    assert citation["version"] == robot_rl.__version__
    assert f'license="{citation["license"]}"' in (ROOT / "setup.py").read_text()


def test_everybody_names_the_same_maintainers() -> None:
    maintainer = ElementTree.parse(ROOT / "package.xml").find("maintainer")
    assert maintainer is not None
    address = maintainer.get("email")
    (author,) = read("CITATION.cff")["authors"]
    assert (author["name"], author["email"]) == (maintainer.text, address)
    assert f'maintainer="{maintainer.text}"' in (ROOT / "setup.py").read_text()
    for name in ("setup.py", "SECURITY.md"):
        assert set(re.findall(ADDRESS, (ROOT / name).read_text())) == {address}, name


@pytest.mark.parametrize("form", sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.stem)
def test_an_issue_form_is_one(form: Path) -> None:
    said = yaml.safe_load(form.read_text())
    if form.stem == "config":
        assert set(said) <= {"blank_issues_enabled", "contact_links"}
        return
    assert {"name", "description", "body"} <= set(said)
    assert {element["type"] for element in said["body"]} <= FORM
    asked = [element for element in said["body"] if element["type"] != "markdown"]
    assert asked and len({element["id"] for element in asked}) == len(asked)
    assert all(element["attributes"]["label"] for element in asked)
    for words in re.findall(r"`robot-rl ([^`…]+)", form.read_text()):
        parse([*words.split()[:1]])


def test_the_site_has_every_page(pages: ModuleType) -> None:
    listed = {page for _, page in leaves(read("mkdocs.yml")["nav"])}
    written = {path.name for path in [*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md")]}
    assert listed == written
    found = pages.repository_pages()
    assert {"README.md", "examples/own_task.py", "controllers/gate.py", "robot_rl/session/session.py"} <= set(found)
    in_reference = {path for package in pages.PACKAGES for _, path in leaves(list(pages.reference(found, package)))}
    assert in_reference == {pages.page_of(path) for path in found if path.startswith(pages.PACKAGES)}


def leaves(entries: list[Any]) -> list[tuple[str, str]]:
    """Title and page of each entry of a navigation; the title is "" where the page has to say it."""
    found: list[tuple[str, str]] = []
    for entry in entries:
        if isinstance(entry, str):
            found.append(("", entry))
            continue
        ((title, inside),) = entry.items()
        found += [(title, inside)] if isinstance(inside, str) else leaves(inside)
    return found


@pytest.mark.parametrize(
    ("path", "link", "in_the_site"),
    [
        ("README.md", "docs/SAFETY.md#impacts", "SAFETY.md#impacts"),
        ("README.md", "robot_rl/learner/algorithms", "robot_rl/learner/algorithms/index.md"),
        ("docs/SAFETY.md", "../controllers/impact.py", "controllers/impact.md"),
        ("docs/SAFETY.md", "../README.md", "README.md"),
        ("docs/SAFETY.md", "impact-force.png", "impact-force.png"),
        ("examples/README.md", "../docs/YOUR_TASK.md", "../YOUR_TASK.md"),
        ("examples/README.md", "own_task.py", "own_task.md"),
        ("docs/SAFETY.md", "#impacts", "#impacts"),
        ("docs/SAFETY.md", "https://arxiv.org/a.py", "https://arxiv.org/a.py"),
    ],
)
def test_links_lead_where_they_lead_in_the_repository(
    pages: ModuleType, path: str, link: str, in_the_site: str
) -> None:
    assert pages.translated(f"[x]({link})", path) == f"[x]({in_the_site})"
    assert pages.path_of(pages.page_of(path)) == path


def test_every_link_leads_to_something_in_the_site(pages: ModuleType) -> None:
    """Where the site itself is not built, which needs an extra."""
    docs, paths = ROOT / "docs", pages.repository_pages()
    there = {pages.page_of(path) for path in paths} | {file.relative_to(docs).as_posix() for file in docs.rglob("*")}
    written = [file.relative_to(ROOT).as_posix() for file in docs.glob("*.md")]
    for path in (*written, *(path for path in paths if path.endswith(".md"))):
        folder = posixpath.dirname(pages.page_of(path))
        for found in pages.LINK.finditer(pages.translated((ROOT / path).read_text(), path)):
            to = found[2].partition("#")[0]
            if to and "://" not in to and not to.startswith("mailto:"):
                assert posixpath.normpath(posixpath.join(folder, to)) in there, f"{path} links to {to}"


@pytest.mark.timeout(600)
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    """``mkdocs.yml`` is strict: a warning is an error."""
    for needed in ("material", "mkdocstrings_handlers.python"):
        pytest.importorskip(needed, reason="the site needs the extra docs; `make docs` installs it")
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "what a setpoint must satisfy" in (tmp_path / "site" / "controllers" / "gate" / "index.html").read_text()


@pytest.mark.timeout(600)
def test_a_link_to_nowhere_fails_the_site(tmp_path: Path) -> None:
    for needed in ("material", "mkdocstrings_handlers.python"):
        pytest.importorskip(needed, reason="the site needs the extra docs; `make docs` installs it")
    for name in ("mkdocs.yml", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / name)
    for folder in ("docs", "scripts", "examples", "controllers", "hardware", "robot_rl", "demos", "tests/contracts"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    with (tmp_path / "docs" / "SAFETY.md").open("a") as page:
        page.write("\n[nowhere](NOWHERE.md)\n")
    command = [sys.executable, "-m", "mkdocs", "build"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "NOWHERE.md" in done.stderr
