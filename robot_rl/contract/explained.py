"""Explanations of settings, which are those of their dataclass: in its docstring, or in a comment beside the field."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_ENTRY = re.compile(r"^    (\w+(?:, \w+)*): (.*(?:\n {8}.*)*)", re.MULTILINE)
_COMMENT = re.compile(r"^    ([a-z_]\w*): .*  # (.*)$", re.MULTILINE)


def explained(kind: type[DataclassInstance]) -> dict[str, str]:
    """Field → its text in the section ``Attributes`` of the docstring of ``kind``, in one line without markup.

    One that is not there has the comment beside it. Docstrings are empty where Python was told to leave them out.
    """
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__[:-1]):
        found |= {match[1]: match[2] for match in _COMMENT.finditer(inspect.getsource(base))}
    section = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")[2].partition("\n\n")[0]
    for names, text in _ENTRY.findall(section):
        line = " ".join(text.replace("`", "").split()).removesuffix(".")
        found.update(dict.fromkeys(names.split(", "), line))
    return found
