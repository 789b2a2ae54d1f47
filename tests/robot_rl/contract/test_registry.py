"""Names of tasks, agents and the like: built in, of an installed package, or ``module:Class``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from robot_rl.contract import ContractError, Registry

COLOURS = Registry("colour", {"red": "fractions:Fraction", "green": "decimal:Decimal", "lost": "decimal:Nothing"})


def test_a_builtin_name_is_imported_when_it_is_asked_for() -> None:
    assert COLOURS.load("red").__name__ == "Fraction"
    assert COLOURS.builtin == COLOURS.names() == ("red", "green", "lost")


def test_a_module_and_class_is_imported() -> None:
    assert COLOURS.load("collections:OrderedDict").__name__ == "OrderedDict"


def test_an_installed_package_adds_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = tmp_path / "paint-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: paint\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[robot_rl.colours]\nblue = collections:deque\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert COLOURS.names() == ("red", "green", "lost", "blue")
    assert COLOURS.load("blue").__name__ == "deque"


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
