"""Pages of the documentation's site that are not in docs/: README and the like, examples, and one for each module.

mkdocs calls the functions named ``on_…`` (``hooks`` in mkdocs.yml). Pages are written for GitHub, where a link leads to
a file or folder of the repository; `on_page_markdown` makes it lead to that file's page in the site.
"""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
DOCS = "docs"
PACKAGES = ("controllers", "hardware", "robot_rl", "demos")
SOURCES = ("examples", "tests/contracts")  # folders whose files are shown as they are
LINK = re.compile(r"(\]\()([^)\s]+)(\))")


def repository_pages() -> list[str]:
    """Paths in the repository, besides those in docs/, that have a page or are copied as they are."""
    written = [*ROOT.glob("*.md"), *(ROOT / "examples").glob("*.md"), ROOT / "LICENSE"]
    sources = [file for folder in SOURCES for kind in ("*.py", "*.yaml") for file in (ROOT / folder).glob(kind)]
    modules = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py") if file.stem != "__main__"]
    documented = [file for file in modules if ast.get_docstring(ast.parse(file.read_text()))]
    return sorted(file.relative_to(ROOT).as_posix() for file in (*written, *sources, *documented))


def page_of(path: str) -> str:
    """Where the site has what is at ``path`` in the repository."""
    if path.startswith(f"{DOCS}/"):
        return path.removeprefix(f"{DOCS}/")
    if (ROOT / path / "__init__.py").exists():
        return f"{path}/index.md"
    return re.sub(r"(__init__)?\.py$", lambda found: "index.md" if found[1] else ".md", path)


def path_of(page: str) -> str:
    """Folder and name in the repository of a page that is written in Markdown; the inverse of `page_of`."""
    return page if (ROOT / page).exists() else f"{DOCS}/{page}"


def translated(text: str, path: str) -> str:
    """The Markdown ``text`` of the file at ``path``, with its relative links as the site needs them."""
    here = posixpath.dirname(page_of(path))

    def link(found: re.Match[str]) -> str:
        to, mark, anchor = found[2].partition("#")
        if not to or "://" in to or to.startswith("mailto:"):
            return found[0]
        target = page_of(posixpath.normpath(posixpath.join(posixpath.dirname(path), to)))
        return f"{found[1]}{posixpath.relpath(target, here or '.')}{mark}{anchor}{found[3]}"

    return LINK.sub(link, text)


def content(path: str) -> str:
    """The page made of a file of the repository."""
    source = (ROOT / path).read_text()
    if not path.endswith(".py"):
        return source
    if path.startswith(PACKAGES):
        return f"::: {module_of(path)}\n"
    return f"# {path}\n\n```python\n{source}```\n"


def module_of(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def reference(paths: list[str], folder: str) -> Iterator[Any]:
    """The entries of a package's modules and packages in the navigation, the package's own page first."""
    inside = [path for path in paths if posixpath.dirname(path) == folder]
    for path in sorted(inside, key=lambda path: not path.endswith("__init__.py")):
        yield {module_of(path).rpartition(".")[2]: page_of(path)}
    depth = folder.count("/") + 1
    below = {path.split("/")[depth] for path in paths if path.startswith(f"{folder}/") and path.count("/") > depth}
    for name in sorted(below):
        if entries := list(reference(paths, f"{folder}/{name}")):
            yield {name: entries}


def slug(heading: str, separator: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", separator)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    paths = repository_pages()
    examples = [page_of(path) for path in paths if path.startswith("examples/") and not path.endswith(".yaml")]
    contracts = [page_of(path) for path in paths if path.startswith("tests/")]
    modules = [{package: list(reference(paths, package))} for package in PACKAGES]
    config.nav = [
        *(config.nav or ()),
        {"Examples": examples},
        {"Reference": [*modules, {"tests/contracts": contracts}]},
    ]
    config.mdx_configs["toc"] = {**config.mdx_configs.get("toc", {}), "slugify": slug}
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    from mkdocs.structure.files import File

    for path in repository_pages():
        files.append(File.generated(config, page_of(path), content=content(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    return translated(markdown, path_of(page.file.src_uri)) if page.file.src_uri.endswith(".md") else markdown
