"""A real HTTP server, in a thread of its own, whose answers a test writes down."""

import asyncio
import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass(frozen=True)
class Asked:
    """A request as it arrived."""

    method: str
    path: str
    params: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    body: str
    raw: str = ""
    """Path and query as they were sent."""
    certificate: str = ""
    """Common name of the client certificate."""

    @property
    def signature(self) -> str | None:
        """The Authorization header."""
        return self.headers.get("Authorization")


@dataclass(frozen=True)
class Reply:
    """What is answered; a body that is neither text nor bytes is sent as JSON."""

    body: Any = field(default_factory=dict)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str | bytes:
        """The body as it is sent."""
        return self.body if isinstance(self.body, str | bytes) else json.dumps(self.body, ensure_ascii=False)

    def response(self) -> web.Response:
        return web.Response(body=self.text, status=self.status, headers=dict(self.headers))


Script = Callable[[Asked], Reply]


class ScriptedApi:
    """Answers as its script says, and remembers what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[Asked] = []
        self.script: Script = lambda asked: Reply()

    def answers(self, *replies: Reply) -> None:
        """Answer with these, one after the other, and from then on with the last."""
        left = list(replies)
        self.script = lambda asked: left.pop(0) if len(left) > 1 else left[0]

    @property
    def paths(self) -> list[str]:
        """What was asked for, with its parameters."""
        return [
            asked.path + ("?" if asked.params else "") + "&".join("=".join(pair) for pair in asked.params)
            for asked in self.asked
        ]

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.text()
        params, headers = tuple(request.query.items()), request.headers.copy()
        peer = request.get_extra_info("peercert") or {"subject": [[("commonName", "")]]}
        name = dict(pair for pairs in peer["subject"] for pair in pairs)["commonName"]
        asked = Asked(request.method, request.path, params, headers, body, request.raw_path, name)
        self.asked.append(asked)
        return self.script(asked).response()


@contextmanager
def running(tls: ssl.SSLContext | None = None) -> Iterator[ScriptedApi]:
    """Run a server on a free port until the block ends; with ``tls`` over HTTPS."""
    api, loop, started = ScriptedApi(), asyncio.new_event_loop(), threading.Event()

    async def start() -> web.AppRunner:
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", api.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)  # it would count as our log
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        api.url = f"http{'s' if tls else ''}://127.0.0.1:{runner.addresses[0][1]}"
        return runner

    def serve() -> None:
        runner = loop.run_until_complete(start())
        started.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=serve)
    thread.start()
    started.wait(10)
    try:
        yield api
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
