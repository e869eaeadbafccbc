"""What the answers of Google's APIs mean: the reason in the body decides, as one status stands for several things.

The bodies are those of the Data API's documentation of errors,
https://developers.google.com/youtube/v3/docs/errors, and of google.rpc.Status.
"""

from collections.abc import Mapping

import orjson

from windrow.model.policy import HTTP_POLICY, Action, ErrorDetail, on
from windrow.model.response import Response


def error_detail(response: Response) -> ErrorDetail:
    """Read the reason that Google gives: that of the first error in the list, or else the status in words.

    A day's quota that is used up is called ``quotaExceeded``, ``dailyLimitExceeded``, or by the words for too many
    calls a minute, with a limit ``PerDay`` or ``per day`` in the text or its details; all are ``dailyLimitExceeded``
    here.
    """
    wait_s = response.retry_after_s
    if response.status is None or response.status < 400:
        return ErrorDetail(wait_s=wait_s)
    try:
        error = orjson.loads(response.body)["error"]
        listed = error.get("errors") or [{}]
        reason = str(listed[0].get("reason") or error.get("status") or "")
    except (orjson.JSONDecodeError, AttributeError, IndexError, KeyError, TypeError):
        return ErrorDetail(wait_s=wait_s)
    too_many = response.status == 429 or reason == "rateLimitExceeded"
    if reason == "quotaExceeded" or (too_many and b"perday" in response.body.lower().replace(b" ", b"")):
        reason = "dailyLimitExceeded"
    return ErrorDetail(reason, wait_s)


GOOGLE_POLICY = HTTP_POLICY.preceded_by(
    on(403, Action.QUOTA_EXHAUSTED, "the day's units are used up", reason="dailyLimitExceeded"),
    on(429, Action.QUOTA_EXHAUSTED, "the same, in newer words", reason="dailyLimitExceeded"),
    on(403, Action.THROTTLE, "too many calls a minute", reason="rateLimitExceeded"),
    on(403, Action.THROTTLE, "too many calls a minute by one user", reason="userRateLimitExceeded"),
    on(403, Action.DENY, "the consent does not go so far", reason="insufficientPermissions"),
    on(403, Action.DENY, "the API is not switched on in the project", reason="accessNotConfigured"),
    error_detail=error_detail,
)


def items(page: object) -> list[Mapping[str, object]] | None:
    """Return the ``items`` of a list's page; None if this is no such page.

    They may be left out where there are none, and then the page says so: half an answer is no empty list.
    """
    if not isinstance(page, Mapping):
        return None
    about = page.get("pageInfo")
    is_empty = isinstance(about, Mapping) and about.get("totalResults") == 0
    found = page.get("items", [] if is_empty else None)
    if not isinstance(found, list) or not all(isinstance(item, Mapping) for item in found):
        return None
    return found
