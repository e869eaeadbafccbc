"""How GitHub refuses, and what follows from each refusal: in the order that its documentation gives."""

import orjson

from windrow.model.policy import HTTP_POLICY, Action, Complaint, on
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
"""Pause after a secondary refusal that names none."""

_PRIMARY, _SECONDARY, _NO_RIGHT = "primary", "secondary", "no_right"
_TOO_LARGE, _TOO_DEEP, _GONE, _TROUBLE = "too_large", "too_deep", "gone", "trouble"
_LIMITED = {"RATE_LIMIT", "RATE_LIMITED"}
"""Types of GraphQL's errors: the first is the newer one."""
_FORBIDDEN = {"FORBIDDEN", "INSUFFICIENT_SCOPES"}


def complaint(response: Response) -> Complaint:
    """Tell apart what GitHub says by one status."""
    body = response.body
    if response.status == 200:
        return _refusal_in_200(response) if b'"errors"' in body or response.retry_after_s is not None else Complaint()
    if response.status in {403, 429}:
        if response.retry_after_s is not None:
            return Complaint(_SECONDARY, response.retry_after_s)
        if response.headers.get("X-RateLimit-Remaining") == "0":
            return Complaint(_PRIMARY, _until_reset(response))
        if b"secondary rate limit" in body or b"abuse detection" in body:
            return Complaint(_SECONDARY, _SILENT_S)
        if b"Resource not accessible by" in body:
            return Complaint(_NO_RIGHT)
        if b"too large to list" in body:
            return Complaint(_TOO_LARGE)
    if response.status == 422 and b"pagination is limited" in body:
        return Complaint(_TOO_DEEP)
    return Complaint(wait_s=response.retry_after_s)


def _refusal_in_200(response: Response) -> Complaint:
    """GraphQL says everything with status 200. Data that comes with an error is not whole, and is never read."""
    try:
        told = orjson.loads(response.body)
        if "message" in told and "data" not in told and response.retry_after_s is not None:
            return Complaint(_SECONDARY, response.retry_after_s)
        errors = told.get("errors") or []
        types = {str(error.get("type")) for error in errors}
        words = " ".join(str(error.get("message")) for error in errors)
        found = bool((told.get("data") or {}).get("repository"))
    except (orjson.JSONDecodeError, AttributeError, TypeError):
        return Complaint()  # the reader will say so
    if not errors:
        return Complaint()
    if response.retry_after_s is not None:
        return Complaint(_SECONDARY, response.retry_after_s)
    if types & _LIMITED or response.headers.get("X-RateLimit-Remaining") == "0":
        return Complaint(_PRIMARY, _until_reset(response))
    if "secondary rate limit" in words:
        return Complaint(_SECONDARY, _SILENT_S)
    if types & _FORBIDDEN or "required scopes" in words:
        return Complaint(_NO_RIGHT)
    return Complaint(_GONE if "NOT_FOUND" in types and not found else _TROUBLE)


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
    on(200, Action.RETRY, "GraphQL could not do it this time", reason=_TROUBLE),
    on(200, Action.GAP, "GraphQL knows no such repository", reason=_GONE),
    *(
        on(status, Action.FORBID, "the token lacks a right: another one may have it", reason=_NO_RIGHT)
        for status in (200, 403)
    ),
    on(403, Action.GAP, "a list that GitHub does not give because it is too large", reason=_TOO_LARGE),
    on(422, Action.GAP, "pages that GitHub does not give because they are too deep", reason=_TOO_DEEP),
    on(451, Action.GAP, "blocked for legal reasons"),
    complaint=complaint,
)
