"""How long to wait before a reconnect, by the rules of X: depends on the error and how often it occurred in a row."""

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
    """After a broken connection: longer by one step each time."""
    refused_first: float = 5.0
    refused_most: float = 320.0
    """After an HTTP error: doubles each time."""
    throttled_first: float = 60.0
    throttled_most: float = 960.0
    """After too many connects, or if one is still open: doubles each time, or until the rate limit is reset."""


class Reconnect:
    """Counts consecutive errors. A line from the stream resets the counts."""

    def __init__(self, pauses: Pauses) -> None:
        self._pauses = pauses
        self._broken = self._refused = self._throttled = 0
        self._was_refused = False

    def arrived(self) -> None:
        """Reset the counts, because the stream works."""
        self._broken = self._refused = self._throttled = 0

    def after_break(self) -> float:
        """Return the pause after a broken connection, or after a refusal that came as a line of the stream."""
        if self._was_refused:
            self._was_refused = False
            return self._throttle()
        pause_s = min(self._pauses.broken_most, self._pauses.broken_step * self._broken)
        self._broken += 1
        return pause_s

    def refused_in_stream(self) -> None:
        """Handle a line that refuses the connection, as HTTP 429 does: one is still open. The stream ends after it."""
        self._was_refused = True

    def _throttle(self) -> float:
        self._throttled += 1
        return min(self._pauses.throttled_most, self._pauses.throttled_first * 2.0 ** min(self._throttled - 1, 60))

    def after_refusal(self, refused: StreamRefused) -> float:
        """Return the pause after a call that X rejected.

        :raises Misconfigured: a retry does not help: no credits, a used-up cap, or a revoked token.
        """
        pauses = self._pauses
        match refused.decision.action:
            case Action.THROTTLE:
                return max(self._throttle(), refused.decision.wait_s or 0.0)
            case Action.REFUSE | Action.FORBID if (
                refused.status != 409
            ):  # no rules: they were set just now, and need their time
                raise _final(refused)
            case _:
                self._refused += 1
                return min(pauses.refused_most, pauses.refused_first * 2.0 ** min(self._refused - 1, 60))


def _final(refused: StreamRefused) -> Misconfigured:
    """Make the error with the advice for a person."""
    if refused.status == 401:
        return CredentialsRejected(
            refused.what,
            advice="The token of the app was revoked. Create a new one in the developer console of X, set it as "
            "X_BEARER_TOKEN, and start the publisher again.",
        )
    if refused.status in _OF_THE_ACCOUNT:
        advice = (
            "In the developer console of X, buy credits, raise the cap, or give the app access. Then start the "
            "publisher again."
        )
    else:
        advice = "Fix the cause in the answer of X, then start the publisher again."
    return Misconfigured(refused.what, advice=f"{advice} It fills the gap with the search.")
