"""Names of tasks, agents and the like: built in, of an installed package, or ``module:Class``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hardware import registry
from robot_rl.contract import ContractError, Registry

COLOURS = Registry("colour", {"red": "fractions:Fraction", "green": "decimal:Decimal", "lost": "decimal:Nothing"})


def test_a_builtin_name_is_imported_when_it_is_asked_for() -> None:
    assert COLOURS.load("red").__name__ == "Fraction"
    assert COLOURS.builtin == COLOURS.names() == ("red", "green", "lost")


def test_a_module_and_class_is_imported() -> None:
    assert COLOURS.load("collections:OrderedDict").__name__ == "OrderedDict"


def offer(folder: Path, package: str, offered: str) -> None:
    """Have ``folder`` look as if a package was installed there."""
    metadata = folder / f"{package}.dist-info"
    metadata.mkdir(parents=True)
    name, _, version = package.partition("-")
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (metadata / "entry_points.txt").write_text(f"[robot_rl.colours]\n{offered}\n")


def test_an_installed_package_adds_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(tmp_path, "paint-1.0", "blue = collections:deque")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert COLOURS.names() == ("red", "green", "lost", "blue")
    assert COLOURS.load("blue").__name__ == "deque"


def test_of_two_copies_of_a_package_the_first_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(tmp_path / "old", "paint-1.0", "blue = collections:lost\ngrey = collections:Counter")
    offer(tmp_path / "new", "paint-2.0", "blue = collections:deque")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "new"), str(tmp_path / "old"), *sys.path])
    assert COLOURS.names() == ("red", "green", "lost", "blue")
    assert COLOURS.load("blue").__name__ == "deque"


def test_installed_packages_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[object] = []
    read = registry.distributions
    monkeypatch.setattr(registry, "distributions", lambda **given: reads.append(given) or read(**given))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    for kind in ("colour", "shape"):
        Registry(kind, {}).names()
    assert len(reads) == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gren", "unknown colour 'gren'; choose from red, green, lost, or module:Class; did you mean 'green'?"),
        ("nowhere_at_all:Thing", "colour 'nowhere_at_all:Thing': nowhere_at_all cannot be imported"),
        ("decimal:Thing", "colour 'decimal:Thing': decimal has no 'Thing'"),
        ("lost", "colour 'lost': decimal has no 'Nothing'"),
        (":", "colour ':' names no module; the form is module:Class"),
        (".here:Thing", "colour '.here:Thing' names no module"),
        ("a..b:Thing", "colour 'a..b:Thing': a..b cannot be imported"),
        ("\0:Thing", "colour '\\x00:Thing': \0 cannot be imported"),
        ("x" * 5000, f"unknown colour '{'x' * 80}'; choose from red"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused_in_words(name: str, message: str) -> None:
    with pytest.raises(ContractError) as raised:
        COLOURS.load(name)
    assert str(raised.value).startswith(message)
