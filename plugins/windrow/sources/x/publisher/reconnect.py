"""How long to wait before the stream is opened again, as X wants it: by what ended it, and how often in a row."""

from dataclasses import dataclass

from windrow.http.client import StreamRefused
from windrow.model.errors import CredentialsRejected, Misconfigured
from windrow.model.policy import Action

_OF_THE_ACCOUNT = {402, 403, 429}


@dataclass(frozen=True, slots=True)
class Pauses:
    """Seconds. The first reconnect after a broken connection is immediate."""

    broken_step: float = 0.25
    broken_most: float = 16.0
    """A broken connection: each time a step longer."""
    refused_first: float = 5.0
    refused_most: float = 320.0
    """An HTTP error: doubling."""
    throttled_first: float = 60.0
    throttled_most: float = 960.0
    """Too many connects, or one that is still open: doubling. Or until the window ends, if X says when."""


class Reconnect:
    """Counts what went wrong in a row. A line that arrives ends the row."""

    def __init__(self, pauses: Pauses) -> None:
        self._pauses = pauses
        self._broken = self._refused = self._throttled = 0

    def arrived(self) -> None:
        """Learn that the stream works."""
        self._broken = self._refused = self._throttled = 0

    def after_break(self) -> float:
        """Return the pause after a connection that broke, or that X ended."""
        pause_s = min(self._pauses.broken_most, self._pauses.broken_step * self._broken)
        self._broken += 1
        return pause_s

    def after_refusal(self, refused: StreamRefused) -> float:
        """Return the pause after a call that X refused.

        :raises Misconfigured: asking again cannot help: no credits, a cap, a token that was revoked.
        """
        pauses = self._pauses
        match refused.verdict.action:
            case Action.THROTTLE:
                self._throttled += 1
                doubled = min(pauses.throttled_most, pauses.throttled_first * 2.0 ** min(self._throttled - 1, 60))
                return max(doubled, refused.verdict.wait_s or 0.0)
            case Action.REFUSE | Action.FORBID if (
                refused.status != 409
            ):  # no rules: they were set just now, and need their time
                raise _final(refused)
            case _:
                self._refused += 1
                return min(pauses.refused_most, pauses.refused_first * 2.0 ** min(self._refused - 1, 60))


def _final(refused: StreamRefused) -> Misconfigured:
    """Say what a person has to do."""
    if refused.status == 401:
        return CredentialsRejected(
            refused.what,
            advice="The app's token was revoked: make a new one in the developer console, set X_BEARER_TOKEN.",
        )
    if refused.status in _OF_THE_ACCOUNT:
        advice = "Buy credits, raise the cap, or give the app access, in the developer console of X; then start again."
    else:
        advice = "Do what X says; then start the publisher again."
    return Misconfigured(refused.what, advice=f"{advice} The gap is filled by the search.")
