"""Answers in GitHub's shapes."""

from aiohttp import web

from local_cloud.apis.endpoint import json_response

DOCS = "https://docs.github.com/rest"
NO_AGENT = (
    b"Request forbidden by administrative rules. Please make sure your request has a User-Agent header "
    b"(https://docs.github.com/en/rest/overview/resources-in-the-rest-api#user-agent-required). Check "
    b"https://developer.github.com for other possible causes.\n"
)
SECONDARY = (
    "You have exceeded a secondary rate limit. Please wait a few minutes before you try again. If you reach out to "
    "GitHub Support for help, please include the request ID."
)
ABUSE = "You have triggered an abuse detection mechanism. Please wait a few minutes before you try again."
TOO_DEEP = "In order to keep the API fast for everyone, pagination is limited for this resource."
TOO_LARGE = "The history or contributor list is too large to list contributors for this repository via the API."


def refuse(status: int, message: str, *, docs: str = DOCS) -> web.Response:
    """Refuse a call in GitHub's shape of an error."""
    if status == 401:
        message = "Bad credentials"
    return json_response({"message": message, "documentation_url": docs, "status": str(status)}, status)


def not_found() -> web.Response:
    """Say that there is no such thing, or that the caller may not know of it."""
    return refuse(404, "Not Found")


def secondary(shape: str, wait_s: int) -> web.Response:
    """Refuse a call for a secondary limit."""
    if shape == "abuse":
        response = refuse(403, ABUSE, docs=f"{DOCS}/overview/resources-in-the-rest-api#abuse-rate-limits")
    else:
        response = refuse(403, SECONDARY, docs=f"{DOCS}/using-the-rest-api/rate-limits-for-the-rest-api")
    if shape != "message_only":
        response.headers["Retry-After"] = str(wait_s)
    return response
