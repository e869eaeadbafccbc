"""What refusals of GitHub mean, in the order in which its documentation checks them."""

import orjson

from windrow.model.policy import HTTP_POLICY, Action, ErrorDetail, on
from windrow.model.rate_limits import RateLimits
from windrow.model.response import Response, retry_after_s

LIMITS = RateLimits(
    resource_header="X-RateLimit-Resource",
    resources={"*/graphql": "graphql"},
    status="/rate_limit",
    status_at="resources",
    per_minute=900,  # the secondary limit, which no header tells
    concurrency=90,  # GitHub allows 100, REST and GraphQL together
)

_SILENT_S = 60.0
"""Pause after a secondary rate limit without Retry-After."""

_PRIMARY, _SECONDARY, _NO_RIGHT = "primary", "secondary", "no_right"
_TOO_LARGE, _TOO_DEEP, _GONE, _TROUBLE, _BLOCKED = "too_large", "too_deep", "gone", "trouble", "blocked"
_LIMITED = {"RATE_LIMIT", "RATE_LIMITED"}
"""Types of GraphQL's errors: the first is the newer one."""
_FORBIDDEN = {"FORBIDDEN", "INSUFFICIENT_SCOPES"}


def error_detail(response: Response) -> ErrorDetail:
    """Distinguish the meanings of one status."""
    body = response.body
    if response.status == 200:
        return _refusal_in_200(response) if b'"errors"' in body or response.retry_after_s is not None else ErrorDetail()
    if response.status in {403, 429}:
        if response.retry_after_s is not None:
            return ErrorDetail(_SECONDARY, response.retry_after_s)
        if response.headers.get("X-RateLimit-Remaining") == "0":
            return ErrorDetail(_PRIMARY, _until_reset(response))
        if b"secondary rate limit" in body or b"abuse detection" in body:
            return ErrorDetail(_SECONDARY, _SILENT_S)
        if b"Resource not accessible by" in body:
            return ErrorDetail(_NO_RIGHT)
        if b"too large to list" in body:
            return ErrorDetail(_TOO_LARGE)
        if b"access blocked" in body:
            return ErrorDetail(_BLOCKED)
    if response.status == 422 and b"pagination is limited" in body:
        return ErrorDetail(_TOO_DEEP)
    return ErrorDetail(wait_s=response.retry_after_s)


def _refusal_in_200(response: Response) -> ErrorDetail:
    """Read the errors of GraphQL, which have status 200. Data beside an error is incomplete, and is never read."""
    try:
        answer = orjson.loads(response.body)
        if "message" in answer and "data" not in answer and response.retry_after_s is not None:
            return ErrorDetail(_SECONDARY, response.retry_after_s)
        errors = answer.get("errors") or []
        types = {str(error.get("type")) for error in errors}
        words = " ".join(str(error.get("message")) for error in errors)
        found = bool((answer.get("data") or {}).get("repository"))
    except (orjson.JSONDecodeError, AttributeError, TypeError):
        return ErrorDetail()  # the reader reports it
    if not errors:
        return ErrorDetail()
    if response.retry_after_s is not None:
        return ErrorDetail(_SECONDARY, response.retry_after_s)
    if types & _LIMITED or response.headers.get("X-RateLimit-Remaining") == "0":
        return ErrorDetail(_PRIMARY, _until_reset(response))
    if "secondary rate limit" in words:
        return ErrorDetail(_SECONDARY, _SILENT_S)
    if types & _FORBIDDEN or "required scopes" in words:
        return ErrorDetail(_NO_RIGHT)
    return ErrorDetail(_GONE if "NOT_FOUND" in types and not found else _TROUBLE)


def _until_reset(response: Response) -> float:
    left_s = retry_after_s(response.headers.get("X-RateLimit-Reset"))
    return _SILENT_S if left_s is None else left_s + 1.0


POLICY = HTTP_POLICY.preceded_by(
    *(
        on(status, Action.QUOTA_EXHAUSTED, why, reason=reason)
        for status in (200, 403, 429)
        for reason, why in (
            (_PRIMARY, "the hour of this token's owner is used up"),
            (_SECONDARY, "too many calls at once, or in a minute, for this token's owner"),
        )
    ),
    on(200, Action.RETRY, "an error of GraphQL that may be temporary", reason=_TROUBLE),
    on(200, Action.MISSING, "GraphQL does not find the repository", reason=_GONE),
    on(202, Action.RETRY, "GitHub is still computing the answer; the body is not one"),
    *(
        on(status, Action.FORBID, "this token has no permission; another one may have it", reason=_NO_RIGHT)
        for status in (200, 403)
    ),
    on(403, Action.MISSING, "a list that GitHub does not return because it is too large", reason=_TOO_LARGE),
    on(422, Action.MISSING, "pages that GitHub does not return because they are too deep", reason=_TOO_DEEP),
    on(403, Action.MISSING, "a repository that GitHub has blocked for everybody", reason=_BLOCKED),
    on(451, Action.MISSING, "blocked for legal reasons"),
    error_detail=error_detail,
)
