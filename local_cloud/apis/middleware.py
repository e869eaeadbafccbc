"""Between the wire and every route: counts the call, lets faults happen to it, and sends the answer."""

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, cast

from aiohttp import web

from local_cloud.apis.counters import Counters, Flaw
from local_cloud.apis.endpoint import Endless, Endpoint
from local_cloud.apis.faults import Fate, Faults, FaultSwitch, fate

NOT_JSON = "<html><body><h1>Service temporarily unavailable</h1><p>Request {}</p></body></html>"
"""The page of a proxy, which has the id of the request."""
UNKNOWN_FIELDS = {"_added_later": "a field of a newer version", "_debug": {"shard": 7, "cached": None}}


class RateLimit:
    """A token bucket for each API, which holds one second's worth of calls and at least one."""

    def __init__(self) -> None:
        self._buckets: dict[str, tuple[float, float]] = {}

    def wait(self, api: str, rate: float) -> float:
        """Take a call out of the bucket of `api`; give 0, or the seconds until there will be one."""
        now = time.monotonic()
        size = max(1.0, rate)
        level, filled_at = self._buckets.get(api, (size, now))
        level = min(size, level + (now - filled_at) * rate)
        taken = level >= 1
        self._buckets[api] = (level - taken, now)
        return 0.0 if taken else (1 - level) / rate


@dataclass(frozen=True)
class Call:
    """One request on its way to a route."""

    endpoint: Endpoint
    request: web.Request
    key: str | None
    faults: Faults
    fate: Fate


class Middleware:
    """Makes the handlers of the routes."""

    def __init__(self, switch: FaultSwitch, counters: Counters) -> None:
        self._switch = switch
        self._counters = counters
        self._rate_limit = RateLimit()

    def handler(self, endpoint: Endpoint) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Give what the router calls for `endpoint`."""
        self._counters.add(endpoint)

        async def handle(request: web.Request) -> web.StreamResponse:
            faults = self._switch.current
            if endpoint.issues_tokens:
                faults = faults.of_token_endpoint()
            key = endpoint.key(request)
            nth = self._counters.begin(endpoint, key)
            try:
                return await self._serve(Call(endpoint, request, key, faults, fate(faults, endpoint.name, key, nth)))
            except web.HTTPException as refused:  # aiohttp's own, such as a body that is too large
                self._counters.of(endpoint).answered(key, refused.status, None)
                raise
            except (asyncio.CancelledError, ConnectionError):  # the client is gone, or the server stops
                self._counters.of(endpoint).abandoned += 1
                raise
            finally:
                self._counters.end(endpoint)

        return handle

    async def _serve(self, call: Call) -> web.StreamResponse:
        """Answer a call, or cut it; count what became of it."""
        with call.endpoint.enter(call.request) as crowded_out:
            if crowded_out is not None:
                return await self._send(call, crowded_out, None)
            return await self._admitted(call)

    async def _admitted(self, call: Call) -> web.StreamResponse:
        limit = call.faults.requests_per_second
        if limit and (wait := self._rate_limit.wait(call.endpoint.api, limit)):
            return await self._send(call, too_many(call.endpoint, str(math.ceil(wait))), None)
        if call.faults.latency_ms:
            await asyncio.sleep(call.faults.latency_ms / 1000)
        if call.fate.cut == "before":
            await call.request.read()
            return self._cut(call, web.Response())
        response = refusal(call) or await call.endpoint.answer(call.request)
        if isinstance(response, Endless):
            return await self._stream(call, response)
        assert isinstance(response, web.Response)  # noqa: S101 - the two kinds of answers that there are
        if call.fate.cut and not _body(response):  # without a body there is no middle: 204, 304
            return self._cut(call, web.Response())
        if call.fate.cut == "middle":
            return self._cut(call, await send_half(call.request, response))
        return await self._send(call, response, spoil(call, response) if response.status == 200 else None)

    async def _send(self, call: Call, response: web.Response, flaw: Flaw | None) -> web.Response:
        """Send an answer here, not in aiohttp afterwards: what is counted as answered was written."""
        await response.prepare(call.request)
        await response.write_eof()
        self._counters.of(call.endpoint).answered(call.key, response.status, flaw)
        return response

    async def _stream(self, call: Call, response: Endless) -> web.StreamResponse:
        """Send an answer for as long as it goes on."""
        await response.prepare(call.request)
        try:
            await response.feed(response)
        except ConnectionError:
            if call.request.transport is None or call.request.transport.is_closing():
                raise  # the client is gone
            return self._cut(call, response)
        await response.write_eof()
        self._counters.of(call.endpoint).answered(call.key, response.status, None)
        return response

    def _cut(self, call: Call, unfinished: web.StreamResponse) -> web.StreamResponse:
        """Close the connection behind what was written; aiohttp then gives `unfinished` up."""
        transport = call.request.transport
        if transport is None:
            raise ConnectionResetError("the client is gone")
        transport.close()
        self._counters.of(call.endpoint).cut += 1
        return unfinished


async def send_half(request: web.Request, response: web.Response) -> web.StreamResponse:
    """Send the head of `response`, with the length of all its body, and the first half of the body."""
    body = _body(response)
    half = web.StreamResponse(status=response.status, headers=response.headers)
    half.content_length = len(body)
    await half.prepare(request)
    await half.write(body[: len(body) // 2])
    return half


def refusal(call: Call) -> web.Response | None:
    """Give the refusal that was drawn for a call or that it earned; None: it is answered."""
    endpoint, drawn = call.endpoint, call.fate
    if drawn.throttled:
        return too_many(endpoint, retry_after(call.faults.retry_after))
    if drawn.error:
        return endpoint.refuse(call.faults.error_status, "the server failed")
    if drawn.unauthorized:
        return endpoint.refuse(401, "the access token is refused")
    refused = endpoint.authorize(call.request)
    if refused is None and drawn.sticky_status:
        return endpoint.refuse(drawn.sticky_status, "this name always fails")
    return refused


def too_many(endpoint: Endpoint, wait: str | None) -> web.Response:
    """Refuse with 429, and with Retry-After unless `wait` is None."""
    response = endpoint.refuse(429, "too many requests")
    if wait is not None:
        response.headers["Retry-After"] = wait
    return response


def retry_after(setting: float | str | None) -> str | None:
    """Write the fault `retry_after` as the header has it: seconds, or an instant that far ahead."""
    if isinstance(setting, str):
        seconds = int(setting.partition(":")[2])
        return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)
    return None if setting is None else f"{setting:g}"


def spoil(call: Call, response: web.Response) -> Flaw | None:
    """Change a right answer as the faults have it; give the flaw that makes it useless, if it got one."""
    items, faults, drawn = call.endpoint.items, call.faults, call.fate
    body = _body(response)
    if drawn.malformed and drawn.choice < 0.5:
        response.content_type = "text/html"
        response.body = NOT_JSON.format(drawn.choice).encode()
        return "malformed"
    if drawn.malformed:
        response.body = body[: int(len(body) * drawn.choice)]
        return "malformed"
    listed = items is not None and (faults.duplicate_list or faults.empty_list)
    if not (listed or drawn.missing_field or faults.unknown_fields):
        return None
    payload = json.loads(body)
    if items is not None and faults.duplicate_list:
        payload = _with_list(payload, items, lambda rows: rows * 2)
    if items is not None and faults.empty_list:
        payload = _with_list(payload, items, lambda rows: [])
    records = payload if isinstance(payload, list) else [payload]
    flaw: Flaw | None = None
    if drawn.missing_field and (spoiled := records[int(drawn.choice * len(records))] if records else {}):
        del spoiled[list(spoiled)[int(drawn.choice * len(spoiled))]]
        flaw = "missing_field"
    if faults.unknown_fields:
        for record in records:
            record.update(UNKNOWN_FIELDS)
    response.body = json.dumps(payload, ensure_ascii=False).encode()
    return flaw


def _with_list(payload: Any, items: str, change: Callable[[list[Any]], list[Any]]) -> Any:
    """Change the list in an answer: a field of it, or all of it."""
    return payload | {items: change(payload[items])} if items else change(payload)


def _body(response: web.Response) -> bytes:
    return cast("bytes | None", response.body) or b""  # routes answer with bytes, never with a stream
