"""What Google's error bodies mean. The bodies have the shapes that Google documents."""

import json

import pytest

from windrow.model.policy import Action, ErrorDetail
from windrow.model.response import Response
from windrow.sources.youtube.policy import GOOGLE_POLICY, error_detail, items


def refused(status: int, reason: str, message: str = "no", **headers: str) -> Response:
    error = {"code": status, "message": message, "errors": [{"domain": "x", "reason": reason, "message": message}]}
    return Response(status, json.dumps({"error": error}).encode(), headers)


@pytest.mark.parametrize(
    ("response", "action"),
    [
        (refused(403, "quotaExceeded"), Action.QUOTA_EXHAUSTED),
        (refused(403, "dailyLimitExceeded"), Action.QUOTA_EXHAUSTED),
        (
            refused(429, "rateLimitExceeded", "Quota exceeded: 'FreeQuotaRequestsPerDayPerProject'"),
            Action.QUOTA_EXHAUSTED,
        ),
        (refused(429, "rateLimitExceeded", "Quota exceeded for the limit 'Queries per day'"), Action.QUOTA_EXHAUSTED),
        (refused(403, "rateLimitExceeded", "Quota exceeded for the limit 'Queries per day'"), Action.QUOTA_EXHAUSTED),
        (refused(429, "rateLimitExceeded", "Quota exceeded for the limit 'Queries per minute'"), Action.THROTTLE),
        (refused(403, "rateLimitExceeded"), Action.THROTTLE),
        (refused(403, "userRateLimitExceeded"), Action.THROTTLE),
        (refused(429, "RESOURCE_EXHAUSTED"), Action.THROTTLE),
        (refused(403, "forbidden"), Action.FORBID),
        (refused(403, "insufficientPermissions"), Action.DENY),
        (refused(403, "accessNotConfigured"), Action.DENY),
        (refused(400, "badRequest", "The query is not supported."), Action.REFUSE),
        (refused(400, "quotaExceeded"), Action.REFUSE),
        (refused(401, "authError"), Action.REFRESH),
        (refused(404, "playlistNotFound"), Action.MISSING),
        (refused(500, "backendError"), Action.RETRY),
        (refused(503, "backendError"), Action.RETRY),
        (Response(403, b"<html>"), Action.FORBID),
        (Response(200, b'{"error": {"errors": [{"reason": "quotaExceeded"}]}}'), Action.ACCEPT),
    ],
)
def test_the_reason_decides_where_the_status_does_not(response: Response, action: Action):
    assert GOOGLE_POLICY.judge(response).action is action


def test_a_limit_a_day_may_be_named_in_the_details_only():
    """As google.rpc.ErrorInfo has it."""
    info = {"reason": "RATE_LIMIT_EXCEEDED", "metadata": {"quota_limit": "defaultPerDayPerProject"}}
    error = {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "Quota exceeded.", "details": [info]}
    assert GOOGLE_POLICY.judge(Response(429, json.dumps({"error": error}).encode())).action is Action.QUOTA_EXHAUSTED


def test_the_status_in_words_stands_in_for_a_reason():
    body = b'{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "slow down"}}'
    assert error_detail(Response(429, body, {"Retry-After": "9"})) == ErrorDetail("RESOURCE_EXHAUSTED", 9.0)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b"{}", b'{"error": "invalid_grant"}', b'{"error": null}', b'{"error": {"errors": []}}',
     b'{"error": {"errors": [5]}}', b'{"error": {"errors": {"a": 1}}}', b'{"error": []}'],
)  # fmt: skip
def test_a_body_of_another_shape_has_no_reason(body: bytes):
    assert error_detail(Response(403, body, {"Retry-After": "9"})) == ErrorDetail("", 9.0)


@pytest.mark.parametrize(
    ("page", "found"),
    [({"items": [{"a": 1}]}, [{"a": 1}]), ({"items": []}, []), ({"pageInfo": {"totalResults": 0}}, []), ({}, None),
     ({"pageInfo": {"totalResults": 1}}, None), ({"pageInfo": 0}, None), ({"error": {"code": 500}}, None),
     ({"items": None}, None), ([], None), ({"items": [1]}, None), (None, None), ({"items": {"a": 1}}, None)],
)  # fmt: skip
def test_items_of_a_page(page: object, found: object):
    assert items(page) == found
