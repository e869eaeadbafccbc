"""The fake APIs for tests: a server in a process of its own, on a free port, for the length of a `with`."""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from email.message import Message
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from local_cloud.apis.tokens import DEMO_CLIENT, Client
from local_cloud.apis.youtube.oauth import DEMO_REFRESH_TOKEN

ROOT = Path(__file__).resolve().parents[2]
START_S = 30.0
"""Seconds a server gets to start before it is killed."""
STOP_S = 10.0


@dataclasses.dataclass(frozen=True)
class Reply:
    """What came over the wire."""

    status: int
    headers: Message
    body: bytes

    def json(self) -> Any:
        """Read the body; raises ValueError when it is no JSON."""
        return json.loads(self.body)


@dataclasses.dataclass(frozen=True)
class FakeApi:
    """A running server. Its methods block for a moment, also in tests of asyncio: it is another process."""

    url: str
    """Address without a trailing slash: http://127.0.0.1:PORT."""
    process: subprocess.Popen[str]
    client: Client = DEMO_CLIENT
    """The client its token endpoint knows."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, for a test that speaks to the socket."""
        parts = urlsplit(self.url)
        return str(parts.hostname), int(parts.port or 0)

    def faults(self, *, api: str | None = None, **changes: Any) -> dict[str, Any]:
        """Change these faults of one API or of all, and no others; give all. Raises ValueError for a bad one."""
        return dict(self._admin("PUT", f"/_admin/faults{_only(api)}", json.dumps(changes)))

    def heal(self, *, api: str | None = None) -> None:
        """Turn every fault off."""
        self._admin("DELETE", f"/_admin/faults{_only(api)}")

    def counters(self, *, api: str | None = None, detail: bool = False) -> dict[str, Any]:
        """Give the counters: `totals`, `routes` and `tokens_issued`."""
        return dict(self._admin("GET", f"/_admin/counters{_only(api, detail=str(int(detail)))}"))

    def reset(self, *, api: str | None = None) -> None:
        """Zero the counters."""
        self._admin("POST", f"/_admin/reset{_only(api)}")

    def revoke_tokens(self, *, api: str | None = None) -> None:
        """Make every token issued so far unknown."""
        self._admin("DELETE", f"/_admin/tokens{_only(api)}")

    def github(self, **settings: Any) -> dict[str, Any]:
        """Change these settings of the fake GitHub and no others; give all, with the counts of its limits."""
        return dict(self._admin("PUT", "/_admin/github", json.dumps(settings)))

    def reset_github(self) -> None:
        """Restore GitHub's settings, and begin all of its windows anew."""
        self._admin("DELETE", "/_admin/github")

    def github_app(self) -> dict[str, Any]:
        """Give the demo App of GitHub: `app_id`, `private_key` and `installations`."""
        return dict(self._admin("GET", "/_admin/github/app"))

    def token(self) -> str:
        """Get an access token; it counts in `tokens_issued`. Raises ValueError when it is refused."""
        form = {"grant_type": "client_credentials"} | dataclasses.asdict(self.client)
        return str(_checked(self.post("/oauth/token", form))["access_token"])

    def google_token(self) -> str:
        """Get an access token of YouTube; it counts in `tokens_issued`. Raises ValueError when it is refused."""
        form = {"grant_type": "refresh_token", "refresh_token": DEMO_REFRESH_TOKEN} | dataclasses.asdict(self.client)
        return str(_checked(self.post("/token", form))["access_token"])

    def youtube(self, **settings: Any) -> dict[str, Any]:
        """Change these settings of YouTube and no others; give all, and the units used. Raises ValueError."""
        return dict(self._admin("PUT", "/_admin/youtube", json.dumps(settings)))

    def reset_youtube(self) -> None:
        """Put YouTube's settings back, and all its units."""
        self._admin("DELETE", "/_admin/youtube")

    def get(self, path: str, token: str | None = None, **query: str) -> Reply:
        """Call an API, on a connection of its own."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self.request("GET", f"{path}?{urlencode(query)}", headers=headers)

    def post(self, path: str, form: Mapping[str, str], headers: Mapping[str, str] | None = None) -> Reply:
        """Post a form, on a connection of its own."""
        content = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.request("POST", path, urlencode(form), content | dict(headers or {}))

    def request(
        self, method: str, path: str, body: str | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Send any request; raises http.client's errors when the connection breaks."""
        with closing(HTTPConnection(*self.address, timeout=10)) as connection:
            connection.request(method, path, body.encode() if body else None, headers or {})
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read())

    def stop(self) -> int:
        """Stop the server with SIGTERM and give its exit code; one that has ended stays as it is."""
        self.process.terminate()
        return self.process.wait(STOP_S)

    def _admin(self, method: str, path: str, body: str | None = None) -> Any:
        return _checked(self.request(method, path, body))


def _only(api: str | None, **query: str) -> str:
    """Write the query of an admin route that acts on one API, or on all of them."""
    return "?" + urlencode(query | ({"api": api} if api else {}))


def _checked(reply: Reply) -> Any:
    if reply.status >= 400:
        raise ValueError(f"the fake API answered {reply.status}: {reply.body.decode()}")
    return reply.json() if reply.body else None


@contextmanager
def running(
    *,
    passengers: Path | None = None,
    client: Client = DEMO_CLIENT,
    python: Path | str = sys.executable,
    **faults: Any,
) -> Iterator[FakeApi]:
    """Run the fake APIs with `faults`; raises RuntimeError with the server's own words if it can't start.

    Use it in the main thread: on Linux the server ends with the thread that started it. `python` is that of an
    environment which the fake APIs can run in.
    """
    command = [str(python), "-m", "local_cloud.apis", "--port", "0", "--die-with-parent"]
    command += ["--client-id", client.client_id, "--client-secret", client.client_secret]
    command += ["--faults", json.dumps(faults)]
    command += ["--passengers", str(passengers)] if passengers else []
    environment = {name: value for name, value in os.environ.items() if name != "WINDROW_PASSENGERS_CSV"}
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        try:
            address = _first_line(process)
            if not address:
                process.wait(STOP_S)
                errors.seek(0)
                raise RuntimeError(errors.read().strip() or f"the fake APIs did not start in {START_S:g} s")
            yield FakeApi(address.split()[-1], process, client)
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            finally:
                process.kill()


def _first_line(process: subprocess.Popen[str]) -> str:
    """Wait for the server to say that it is up; empty when it ended or took too long, and was killed."""
    watchdog = threading.Timer(START_S, process.kill)
    watchdog.start()
    try:
        return next(iter(process.stdout or ()), "")
    finally:
        watchdog.cancel()
