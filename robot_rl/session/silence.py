"""Patience with an arm that says nothing: more before its first word, when its processes may still be starting."""

from __future__ import annotations

from collections.abc import Callable

from robot_rl.session.errors import SessionError

SILENCE = 30.0  # [s] without a complete reading, once the arm has said something
STARTING = 300.0  # [s] without a first word: on a busy machine an arm is that slow to start


class ArmSilence:
    """Watches how long the arm of a session has said nothing.

    Args:
        began: steady time [s] of the session's beginning.
        more: [s] beyond `SILENCE`, for a link that speaks first.
    """

    def __init__(self, began: float, more: float = 0.0) -> None:
        self._began, self._patience = began, SILENCE + more
        self._said = 0  # times `SILENCE` of which the person has been told

    def check(self, now: float, first: float, received: float, reason: Callable[[float], str]) -> str:
        """A line for the person, once for each `SILENCE` before the arm's first word; "" for none.

        Args:
            now: steady time [s].
            first: when the first message of the arm came, of whatever topic; infinite before.
            received: when the last complete reading came; -infinite before.
            reason: says which topics have been silent since a time.

        Raises:
            SessionError: the patience is over.
        """
        starting = first > now
        since = max(received, self._began if starting else first)
        silent = now - since
        if silent > (max(STARTING, self._patience) if starting else self._patience):
            raise SessionError(f"the arm has said nothing for {silent:.0f} s ({reason(since)}); look at it and its log")
        if not starting or silent < (self._said + 1) * SILENCE:
            return ""
        self._said = int(silent / SILENCE)
        return f"the arm has said nothing for {silent:.0f} s; it may still be starting: look at its log"
