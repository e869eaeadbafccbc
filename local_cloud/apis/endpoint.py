"""What one route of a fake API tells the middleware, and the JSON answers routes give."""

import json
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from aiohttp import web


def json_response(payload: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Answer with `payload` as JSON in UTF-8."""
    return json_bytes(json.dumps(payload, ensure_ascii=False).encode(), status, headers)


def json_bytes(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Answer with `body`, which is JSON already."""
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


def no_key(_request: web.Request) -> str | None:
    """Key a route that is asked for one thing only."""
    return ""


def open_to_all(_request: web.Request) -> web.Response | None:
    """Let every request in: the route needs no token, or checks its client itself."""
    return None


def no_crowd(_request: web.Request) -> AbstractContextManager[web.Response | None]:
    """Let every request in, however many there are."""
    return nullcontext()


@dataclass(frozen=True, kw_only=True, eq=False)
class Endpoint:
    """One route of one fake API. With status 200 it answers with a JSON object, or an array of objects.

    `answer` does the API's work. `key` names what a request asks for (None: it names nothing), so that
    asking twice is counted as such. `refuse` puts a status and a sentence into the API's own shape of an
    error. `authorize` gives the refusal of a request whose token is no good, or None. `enter` is held while a
    request is served, and gives its refusal where there are too many. `items` names the field of the answer that
    holds a list, where there is one; it is empty where the answer itself is the list.
    """

    api: str
    method: str
    path: str
    answer: Callable[[web.Request], Awaitable[web.Response]]
    refuse: Callable[[int, str], web.Response]
    key: Callable[[web.Request], str | None] = no_key
    authorize: Callable[[web.Request], web.Response | None] = open_to_all
    enter: Callable[[web.Request], AbstractContextManager[web.Response | None]] = no_crowd
    items: str | None = None
    issues_tokens: bool = False

    @property
    def name(self) -> str:
        """The route as the counters show it: `GET /get_user_list`."""
        return f"{self.method} {self.path}"
