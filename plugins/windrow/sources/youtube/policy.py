"""What the answers of Google's APIs mean: the reason in the body decides, because one status has several meanings.

The bodies are those of the Data API's documentation of errors,
https://developers.google.com/youtube/v3/docs/errors, and of google.rpc.Status.
"""

from collections.abc import Mapping

import orjson

from windrow.model.policy import HTTP_POLICY, Action, ErrorDetail, on
from windrow.model.response import Response


def error_detail(response: Response) -> ErrorDetail:
    """Read the reason: that of the first error in the list, or else the name of the status.

    A used-up quota of a day is ``quotaExceeded``, ``dailyLimitExceeded``, or the reason for too many calls a minute
    with a limit ``PerDay`` or ``per day`` in the text or its details. All are ``dailyLimitExceeded`` here.
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
    on(403, Action.QUOTA_EXHAUSTED, "the units of the day are used up", reason="dailyLimitExceeded"),
    on(429, Action.QUOTA_EXHAUSTED, "the same, in newer answers", reason="dailyLimitExceeded"),
    on(403, Action.THROTTLE, "too many calls a minute", reason="rateLimitExceeded"),
    on(403, Action.THROTTLE, "too many calls a minute by one user", reason="userRateLimitExceeded"),
    on(403, Action.DENY, "the consent does not include this permission", reason="insufficientPermissions"),
    on(403, Action.DENY, "the API is not enabled in the project", reason="accessNotConfigured"),
    error_detail=error_detail,
)


def items(page: object) -> list[object] | None:
    """Return the ``items`` of a page of a list; None if this is not such a page.

    They may be missing if there are none, and then ``totalResults`` is 0: an incomplete answer is not an empty list.
    """
    found = page.get("items", [] if total_results(page) == 0 else None) if isinstance(page, Mapping) else None
    if not isinstance(found, list) or (found and not any(isinstance(item, Mapping) for item in found)):
        return None
    return found


def total_results(page: object) -> int:
    """Return how many items a list says it has; -1 if it does not say so."""
    about = page.get("pageInfo") if isinstance(page, Mapping) else None
    total = about.get("totalResults") if isinstance(about, Mapping) else None
    return total if isinstance(total, int) else -1
