"""Refusals in Google's shape: clients tell them apart by `reason`, as one status has many."""

from typing import Any

from aiohttp import web

from local_cloud.apis.endpoint import json_response

STATUS_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
REASONS = {400: "badRequest", 401: "authError", 403: "forbidden", 404: "notFound", 429: "rateLimitExceeded"}
NO_TOKEN = "Request is missing required authentication credential. Expected OAuth 2 access token."  # noqa: S105
BAD_TOKEN = "Request had invalid authentication credentials. Expected OAuth 2 access token."  # noqa: S105


class Refusal(Exception):
    """A call that is refused, and why.

    :param location: the parameter that is to blame, if it is one.
    """

    def __init__(
        self, status: int, message: str, reason: str, *, domain: str = "global", location: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.reason = reason
        self.domain = domain
        self.location = location

    def response(self) -> web.Response:
        """Write it down. YouTube's own domains give no name of the status, the common ones do."""
        detail = {"message": self.message, "domain": self.domain, "reason": self.reason}
        if self.location:
            detail |= {"location": self.location, "locationType": "parameter"}
        error: dict[str, Any] = {"code": self.status, "message": self.message, "errors": [detail]}
        if not self.domain.startswith("youtube.") and self.status in STATUS_NAMES:
            error["status"] = STATUS_NAMES[self.status]
        return json_response({"error": error}, self.status)


def invalid(name: str, message: str, reason: str = "invalidParameter") -> Refusal:
    """Make the refusal of a parameter."""
    return Refusal(400, message, reason, location=name)


def quota_exceeded() -> Refusal:
    """Make the refusal of a call whose budget is spent until midnight Pacific."""
    return Refusal(
        403,
        "The request cannot be completed because you have exceeded your "
        '<a href="/youtube/v3/getting-started#quota">quota</a>.',
        "quotaExceeded",
        domain="youtube.quota",
    )


def too_fast(status: int) -> Refusal:
    """Make the refusal of a call that came too fast, as 429 or as 403."""
    if status == 403:
        return Refusal(403, "Rate Limit Exceeded", "rateLimitExceeded", domain="usageLimits")
    return Refusal(429, "Resource has been exhausted (e.g. check quota).", "rateLimitExceeded")


def failed(status: int, message: str) -> Refusal:
    """Make any other refusal, of which only the status is known."""
    return Refusal(status, message, "backendError" if status >= 500 else REASONS.get(status, "badRequest"))


def unauthenticated(message: str, reason: str) -> web.Response:
    """Refuse a call without a good token; its detail blames the header, with a text of its own."""
    detail = {
        "message": "Login Required." if reason == "required" else "Invalid Credentials",
        "domain": "global",
        "reason": reason,
        "location": "Authorization",
        "locationType": "header",
    }
    error = {"code": 401, "message": message, "errors": [detail], "status": STATUS_NAMES[401]}
    challenge = 'Bearer realm="https://accounts.google.com/"' + (', error="invalid_token"' * (reason == "authError"))
    return json_response({"error": error}, 401, {"WWW-Authenticate": challenge})
