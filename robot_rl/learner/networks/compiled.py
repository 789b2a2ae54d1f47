"""`jax.jit`, but what it makes of a function has the function's type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import jax

F = TypeVar("F", bound=Callable[..., Any])


def compiled(*static: str) -> Callable[[F], F]:
    """A decorator that compiles a function for each shape of its arguments and each value of those named ``static``."""

    def decorated(function: F) -> F:
        return cast(F, jax.jit(function, static_argnames=static))

    return decorated
