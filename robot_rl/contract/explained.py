"""Explanations of settings, which are those in the docstring of their dataclass."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_ENTRY = re.compile(r"^    (\w+(?:, \w+)*): (.*(?:\n {8}.*)*)", re.MULTILINE)


def explained(kind: type[DataclassInstance]) -> dict[str, str]:
    """Field → its text in the section ``Attributes`` of the docstring of ``kind``, in one line without markup.

    Empty where Python was told to leave docstrings out.
    """
    section = (inspect.getdoc(kind) or "").partition("Attributes:\n")[2].partition("\n\n")[0]
    found = {}
    for names, text in _ENTRY.findall(section):
        line = " ".join(text.replace("`", "").split()).removesuffix(".")
        found.update(dict.fromkeys(names.split(", "), line))
    return found
