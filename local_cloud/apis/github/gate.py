"""What every call passes before it is answered: who calls, is it too much, has anything changed since.

The order is GitHub's: user agent, version, token, secondary limits, primary limit, then the answer. A call counts
in the primary window of its owner whatever it is answered, but for 304 with a token, and for `/rate_limit`.
"""

import hashlib
import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime

from aiohttp import web

from local_cloud.apis.endpoint import json_response
from local_cloud.apis.github import replies
from local_cloud.apis.github.keyring import Caller, Keyring
from local_cloud.apis.github.limits import CORE, GRAPHQL, NOBODY, Ledger, Window
from local_cloud.apis.github.settings import Dial

VERSIONS = ("2022-11-28", "2026-03-10")
"""The default first. The second is the first with breaking changes."""
CALLER = web.RequestKey("caller", Caller)
VERSION = web.RequestKey("version", str)
UNITS = web.RequestKey("units", int)
"""Set by a route whose call costs more than one unit."""

Handler = Callable[[web.Request], Awaitable[web.Response]]


class Gate:
    """Wraps routes."""

    def __init__(self, dial: Dial, ledger: Ledger, keyring: Keyring) -> None:
        self._dial = dial
        self._ledger = ledger
        self._keyring = keyring

    @contextmanager
    def enter(self, request: web.Request) -> Iterator[web.Response | None]:
        """Hold a call as in flight; give its refusal where its owner has too many of them already."""
        caller = self._keyring.caller(request)
        owner = caller.owner if caller else NOBODY
        try:
            yield None if self._ledger.begin(owner) else self._secondary(owner, CORE, 60.0)
        finally:
            self._ledger.end(owner)

    def guarded(self, route: str, handler: Handler, *, resource: str = CORE, free: bool = False) -> Handler:
        """Give what answers the calls of a route. `free` ones cost no primary units."""

        async def answer(request: web.Request) -> web.Response:
            if not request.headers.get("User-Agent"):
                return web.Response(status=403, body=replies.NO_AGENT, content_type="text/html")
            version = request.headers.get("X-GitHub-Api-Version", VERSIONS[0])
            if version not in VERSIONS:
                return replies.refuse(400, f"Version {version!r} is not a supported version of the API.")
            caller = self._keyring.caller(request)
            if caller is None:
                self._ledger.spend(NOBODY, CORE)
                return self._with_limits(replies.refuse(401, ""), self._ledger.window(NOBODY, CORE), CORE)
            wait_s = self._ledger.spend_points(caller.owner, route, 5 if resource == GRAPHQL else 1)
            if wait_s:
                return self._secondary(caller.owner, resource, wait_s)
            if not free and not self._ledger.window(caller.owner, resource).remaining:
                return self._used_up(caller, resource)
            request[CALLER], request[VERSION], request[UNITS] = caller, version, 1
            response = await handler(request) if caller.scope or free else _no_scope(resource)
            return self._settled(request, response, resource, free=free)

        return answer

    def _settled(self, request: web.Request, response: web.Response, resource: str, *, free: bool) -> web.Response:
        """Turn an answer that the caller has already into 304, count it, and tell what is left."""
        caller = request[CALLER]
        if response.status == 200 and request.method == "GET":
            response.headers["ETag"] = _etag(caller, response.body or b"")
            response.headers["Cache-Control"] = "private, max-age=60, s-maxage=60"
            response.headers["Vary"] = "Accept, Authorization, Cookie, X-GitHub-OTP"
            if _is_known(request, response):
                kept = {name: response.headers[name] for name in _KEPT if name in response.headers}
                response = web.Response(status=304, headers=kept)
        if response.status == 304 and caller.known:
            self._ledger.not_modified += 1
        elif not free:
            self._ledger.spend(caller.owner, resource, request[UNITS])
        response.headers["X-GitHub-Api-Version-Selected"] = request[VERSION]
        return self._with_limits(response, self._ledger.window(caller.owner, resource), resource)

    def _secondary(self, owner: str, resource: str, wait_s: float) -> web.Response:
        shape = self._dial.current.secondary_shape
        response = replies.secondary(shape, max(1, math.ceil(wait_s)))
        if shape == "abuse":
            return response
        return self._with_limits(response, self._ledger.window(owner, resource), resource)

    def _used_up(self, caller: Caller, resource: str) -> web.Response:
        window = self._ledger.refuse(caller.owner, resource)
        who = f"user ID {sum(map(ord, caller.owner))}" if caller.known else "127.0.0.1"
        message = f"API rate limit exceeded for {who}."
        if resource == GRAPHQL:
            response = json_response({"errors": [{"type": "RATE_LIMITED", "message": message}]})
        else:
            response = replies.refuse(self._dial.current.refusal_status, message)
        return self._with_limits(response, window, resource)

    @staticmethod
    def _with_limits(response: web.Response, window: Window, resource: str) -> web.Response:
        response.headers.update({
            "X-RateLimit-Limit": str(window.limit),
            "X-RateLimit-Remaining": str(window.remaining),
            "X-RateLimit-Used": str(min(window.used, window.limit)),
            "X-RateLimit-Reset": str(window.reset),
            "X-RateLimit-Resource": resource,
        })
        return response


_KEPT = ("ETag", "Last-Modified", "Cache-Control", "Vary")


def _etag(caller: Caller, body: bytes) -> str:
    """Make an ETag that is good for one token only."""
    return f'W/"{hashlib.sha256(caller.token.encode() + b"|" + body).hexdigest()}"'


def _is_known(request: web.Request, response: web.Response) -> bool:
    """Say whether the caller has this answer; an ETag that is given decides alone, RFC 9110 section 13.2.2."""
    known = request.headers.get("If-None-Match")
    if known is not None:
        bare = response.headers["ETag"].removeprefix("W/")
        return known.strip() == "*" or bare in {each.strip().removeprefix("W/") for each in known.split(",")}
    since, changed = request.headers.get("If-Modified-Since"), response.headers.get("Last-Modified")
    if not (since and changed):
        return False
    try:
        return parsedate_to_datetime(changed) <= parsedate_to_datetime(since)
    except (ValueError, TypeError):
        return False


def _no_scope(resource: str) -> web.Response:
    message = "Resource not accessible by personal access token"
    if resource == GRAPHQL:
        error = {"type": "FORBIDDEN", "path": ["repository"], "message": message}
        return json_response({"data": {"repository": None}, "errors": [error]})
    return replies.refuse(403, message)
