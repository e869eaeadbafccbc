"""What the answers of Google's APIs mean: the reason in the body decides, as one status stands for several things.

The bodies are those of the Data API's documentation of errors,
https://developers.google.com/youtube/v3/docs/errors, and of google.rpc.Status.
"""

from collections.abc import Mapping

import orjson

from windrow.policy import HTTP_POLICY, Action, Complaint, on
from windrow.response import Response


def complaint(response: Response) -> Complaint:
    """Read the reason that Google gives: that of the first error in the list, or else the status in words.

    A day's quota that is used up is called ``quotaExceeded``, ``dailyLimitExceeded``, or comes as 429 with a text
    that names a limit ``PerDay``; all three are ``dailyLimitExceeded`` here.
    """
    wait_s = response.retry_after_s
    if response.status is None or response.status < 400:
        return Complaint(wait_s=wait_s)
    try:
        error = orjson.loads(response.body)["error"]
        listed = error.get("errors") or [{}]
        reason = str(listed[0].get("reason") or error.get("status") or "")
        message = str(error.get("message") or "")
    except (orjson.JSONDecodeError, AttributeError, IndexError, KeyError, TypeError):
        return Complaint(wait_s=wait_s)
    if reason == "quotaExceeded" or (response.status == 429 and "PerDay" in message):
        reason = "dailyLimitExceeded"
    return Complaint(reason, wait_s)


GOOGLE_POLICY = HTTP_POLICY.preceded_by(
    on(403, Action.SPENT, "the day's units are used up", reason="dailyLimitExceeded"),
    on(429, Action.SPENT, "the same, in newer words", reason="dailyLimitExceeded"),
    on(403, Action.THROTTLE, "too many calls a minute", reason="rateLimitExceeded"),
    on(403, Action.THROTTLE, "too many calls a minute by one user", reason="userRateLimitExceeded"),
    complaint=complaint,
)


def items(page: object) -> list[Mapping[str, object]] | None:
    """Return the ``items`` of a list's page, empty where there are none; None if this is no such page."""
    found = page.get("items", []) if isinstance(page, Mapping) else None
    if not isinstance(found, list) or not all(isinstance(item, Mapping) for item in found):
        return None
    return found
