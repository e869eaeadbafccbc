"""A plain client of the fake X API, and its admin routes, for tests."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import urlencode

from local_cloud.apis.testing import FakeApi, Reply
from local_cloud.settings import X_TOKEN

SIGNED = {"Authorization": f"Bearer {X_TOKEN}"}
STREAM, RULES = "/2/tweets/search/stream", "/2/tweets/search/stream/rules"
SEARCH = "/2/tweets/search/recent"


class X:
    """The X API of a running server."""

    def __init__(self, api: FakeApi) -> None:
        self.api = api

    def admin(self, method: str, path: str = "", body: str | None = None) -> dict[str, Any]:
        reply = self.api.request(method, f"/_admin/x{path}", body)
        assert reply.status < 400, reply.body
        return dict(reply.json()) if reply.body else {}

    def scene(self, **changes: Any) -> None:
        self.admin("PUT", "/scene", json.dumps(changes))

    def make(self, count: int = 1) -> None:
        """Let posts be made now."""
        self.admin("POST", f"/posts?count={count}")

    def send(self, *lines: str) -> None:
        """Send lines on the stream as they are."""
        self.admin("POST", "/lines", "\n".join(lines))

    def ids(self, query: str) -> list[str]:
        """Name the posts that match, the newest first."""
        return list(self.admin("GET", f"/posts?{urlencode({'query': query})}")["ids"])

    def add_rules(self, *values: str, tag: str = "", headers: Mapping[str, str] = SIGNED) -> Reply:
        rules = [{"value": value} | ({"tag": tag} if tag else {}) for value in values]
        return self.api.request("POST", RULES, json.dumps({"add": rules}), headers)

    def search(self, **query: str) -> Reply:
        return self.api.request("GET", f"{SEARCH}?{urlencode(query)}", headers=SIGNED)

    @contextmanager
    def stream(self, **query: str) -> Iterator["Lines"]:
        """Open the stream; raises AssertionError when it is refused."""
        connection = HTTPConnection(*self.api.address, timeout=10)
        try:
            connection.request("GET", f"{STREAM}?{urlencode(query)}", headers=SIGNED)
            response = connection.getresponse()
            assert response.status == 200, response.read()
            yield Lines(response)
        finally:
            connection.close()


class Lines:
    """The lines of an open stream."""

    def __init__(self, response: HTTPResponse) -> None:
        self.response = response

    def next(self) -> bytes:
        """Wait for the next line, without its end; b"" for a heartbeat. Raises EOFError at the end."""
        line = self.response.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError
        return line[:-2]

    def post(self) -> dict[str, Any]:
        """Wait for the next line that is no heartbeat."""
        while not (line := self.next()):
            pass
        return dict(json.loads(line))
