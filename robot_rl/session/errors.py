"""Why a session cannot go on."""

from __future__ import annotations


class SessionError(RuntimeError):
    """The session cannot go on without a person; the message says why."""


class ResetError(SessionError):
    """The arm does not get to the start of the next episode."""
