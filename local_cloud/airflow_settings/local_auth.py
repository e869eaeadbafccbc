"""Airflow's login on the local cloud: SimpleAuthManager's, behind a door that only lets Airflow's own pages in.

Airflow's token alone would let a page of elsewhere try the login, whose password is known, or give its own name this
address and then read what Airflow answers. The door is here as an auth manager may add to the API server, and this one
is the local cloud's only: in production, a proxy does it.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

HERE = frozenset({"127.0.0.1", "localhost", "::1"})
REASON = "The local cloud serves programs of this machine and Airflow's own pages. It refuses {}.\n"


def fault(origin: str | None, host: str | None) -> str | None:
    """Say why a request is refused; None for one that is served."""
    try:
        is_here = not host or urlsplit(f"//{host}").hostname in HERE
    except ValueError:
        is_here = False
    if not is_here:
        return f"a request for the Host {host!r:.80}"
    # no answer says that other pages may read it, but they could send something that changes something
    return None if origin in {None, f"http://{host}"} else f"a request with the Origin {origin!r:.80}"


class Door:
    """An ASGI application before Airflow's."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        """Let a request through, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        why = fault(headers.get(b"origin"), headers.get(b"host"))
        if why is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            start = {"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"text/plain")]}
            await send(start)
            await send({"type": "http.response.body", "body": REASON.format(why).encode()})


class LocalAuthManager(SimpleAuthManager):
    """SimpleAuthManager, with the door."""

    def get_fastapi_middlewares(self) -> list[Any]:
        """Return what requests pass through; the last is asked first."""
        return [*super().get_fastapi_middlewares(), (Door, {})]
