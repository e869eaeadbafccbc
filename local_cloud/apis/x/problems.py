"""Errors as the X API has them: problem details, and the older list of codes. Clients have to take both."""

from aiohttp import web

from local_cloud.apis.endpoint import json_response

TYPES = "https://api.x.com/2/problems/"
TITLES = {400: "Invalid Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 503: "Service Unavailable"}


def problem(status: int, title: str, detail: str, kind: str = "", **more: object) -> web.Response:
    """Answer with problem details; ``kind`` ends the address of its type."""
    fields = {"title": title, "detail": detail, "type": f"{TYPES}{kind}" if kind else "about:blank", "status": status}
    response = json_response(fields | more, status)
    response.content_type = "application/problem+json"
    return response


def refuse(status: int, message: str) -> web.Response:
    """Refuse a call with a status of any kind."""
    if status == 429:
        return json_response({"errors": [{"code": 88, "message": "Rate limit exceeded"}]}, 429)
    return problem(status, TITLES.get(status, "Error"), message)


def invalid(detail: str) -> web.Response:
    """Refuse a call for what it asks."""
    return problem(400, "Invalid Request", f"One or more parameters is invalid: {detail}", "invalid-request")


def not_connected(status: int, issue: str, detail: str) -> web.Response:
    """Refuse a stream."""
    return problem(status, "ConnectionException", detail, "streaming-connection", connection_issue=issue)


def refusal(reason: str) -> web.Response:
    """Refuse every call, for a reason of the scene."""
    match reason:
        case "credits":
            detail = "Your enrolled account [1] does not have any credits to fulfill this request."
            return problem(402, "CreditsDepleted", detail, "credits", account_id=1)
        case "spend_cap":
            return problem(403, "Forbidden", "Your account has reached its spend cap for this billing cycle.")
        case "usage_cap":
            detail = "Usage cap exceeded: Monthly product cap"
            return problem(429, "UsageCapExceeded", detail, "usage-capped", period="Monthly", scope="Product")
        case "no_rules":
            return not_connected(409, "RuleConfigurationIssue", "The stream has no rules.")
        case "connections":
            detail = "This stream is currently at the maximum allowed connection limit."
            return not_connected(429, "TooManyConnections", detail)
        case _:
            return problem(503, "Service Unavailable", "The service is temporarily unavailable.")


def disconnect(kind: str, detail: str) -> dict[str, object]:
    """Return the last line of a stream that the server ends."""
    fields = {"title": "operational-disconnect", "disconnect_type": kind, "detail": detail}
    return {"errors": [fields | {"type": f"{TYPES}operational-disconnect"}]}
