"""The HTTP client: sign, send, classify, try again. The only module that speaks HTTP to APIs.

What an answer means is decided by the `ResponsePolicy`, never here.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http import HTTPStatus
from types import TracebackType
from typing import Self

import aiohttp
import orjson
from yarl import URL

from windrow.answer import LARGEST, Answer, Outcome, Rejected, kept
from windrow.auth import Auth
from windrow.errors import ApiError, ApiUnreachable, CredentialsRejected, RateLimited, Unanswered, Unreadable
from windrow.ledger import Ledger
from windrow.pacing import Pace
from windrow.policy import HTTP_POLICY, Action, Backoff, ResponsePolicy, Verdict
from windrow.query import Query
from windrow.response import Response
from windrow.revisits import Kept, Revisits

Reader = Callable[[Query, object], object]
"""Reads a parsed answer; raises `Unreadable` when it is not what the API promises."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How hard a client may press an API, and how long it bears with it."""

    connections: int = 16
    """Calls in flight at once."""
    rate_per_s: float | None = None
    """Calls a second, evenly spaced; None for no limit of our own."""
    timeout_s: float = 30.0
    """For one attempt, from sending to the last byte."""
    patience_s: float = 60.0
    """The longest pause that is waited for in place. Asked for a longer one, the harvest stops and defers."""
    backoff: Backoff = field(default_factory=Backoff)


class Client:
    """A signed, paced client of one API. Use it as an async context manager.

    ``events`` counts what happened on the wire: ``sent``, ``retried``, ``throttled``, ``unreadable``,
    ``no_answer`` and ``http_NNN``.

    :param name: what messages call this API: the id of its Airflow connection.
    :param ledger: the quotas that calls are taken from, if there are any.
    :param headers: sent with every call.
    :param revisits: what was answered before, for calls that ask only whether it has changed.
    """

    def __init__(
        self,
        base_url: str,
        auth: Auth,
        *,
        name: str = "api",
        limits: Limits | None = None,
        policy: ResponsePolicy = HTTP_POLICY,
        ledger: Ledger | None = None,
        headers: Mapping[str, str] | None = None,
        revisits: Revisits | None = None,
    ) -> None:
        self.base_url = base_url
        self.name = name
        self.limits = limits or Limits()
        self.events: Counter[str] = Counter()
        self._auth = auth
        self._policy = policy
        self._ledger = ledger
        self._revisits = revisits
        self._headers = {"User-Agent": "windrow", "Accept": "application/json"} | dict(headers or {})
        self._pace = Pace(self.limits.rate_per_s)
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            base_url=f"{self.base_url}/",
            # One more than there are calls: a token refreshed in time must not wait behind the calls it is for.
            connector=aiohttp.TCPConnector(limit=self.limits.connections + 1, ttl_dns_cache=300),
            timeout=aiohttp.ClientTimeout(total=self.limits.timeout_s),
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        # aiohttp would send a GET again by itself when its connection breaks: unsigned anew, and uncounted. There
        # is no public switch; tests/faults compares the server's count with ours, so a change would show.
        self._session._retry_connection = False
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._session.close()
        finally:
            if self._ledger is not None:
                await self._ledger.close()

    @property
    def refreshes(self) -> int:
        """How many access tokens were fetched."""
        return self._auth.refreshes

    async def ask(self, query: Query, read: Reader) -> Answer | Rejected:
        """Make one call until it is settled.

        :returns: an `Answer` that ``read`` accepts, or a gap; or `Rejected` when the API refuses the query, or
            when every attempt brought an answer that cannot be read.
        :raises CredentialsRejected: new tokens are refused too, or the account may call nothing.
        :raises RateLimited: the API, or a quota that is used up, wants more patience than ``limits.patience_s``.
        :raises ApiUnreachable: the last attempt got no answer at all.
        :raises Unanswered: the attempts are used up.
        """
        backoff = self.limits.backoff
        throttled = _Throttled(self.limits.patience_s)
        failures = 0
        kept = await self._revisits.find(query) if self._revisits else None
        while True:
            response = await self._attempt(query, kept, first=failures + throttled.times == 0)
            verdict = self._policy.judge(response)
            action, unreadable = verdict.action, ""
            try:
                if settled := self._settle(query, response, action, read):
                    await self._keep(settled, response)
                    return settled
            except Unreadable as error:
                unreadable = error.reason
                self.events["unreadable"] += 1
            if action is Action.DENY:
                raise self._denied(query, response)
            if action is Action.REFRESH:
                await self._auth.rejected(response.signature, self._exchange, response.summary)
                if self._auth.refused >= backoff.attempts:  # by calls together; each by itself would go on for long
                    raise self._given_up(query, action, response)
            elif action is Action.SPENT and self._auth.spent(response.signature, verdict.wait_s):
                throttled.times += 1
                continue

            asked_s = await self._asked_s(query, verdict)
            pause_s = max(backoff.pause_s(failures + throttled.times + 1), asked_s)
            held = action in {Action.THROTTLE, Action.SPENT}
            if asked_s > self.limits.patience_s or (held and throttled.out_of_patience(pause_s)):
                raise RateLimited.for_s(
                    pause_s, f"The API '{self.name}' asks to wait ({response.summary})", key=query.key
                )
            if held:
                self.events["throttled"] += 1
                throttled.times += 1
                self._pace.hold(pause_s)
                continue
            failures += 1
            if failures == backoff.attempts:
                if unreadable:
                    return _rejected(query, response, unreadable)
                raise self._given_up(query, action, response)
            if action is not Action.REFRESH or failures > 1:  # the first new token is worth trying at once
                await asyncio.sleep(pause_s)

    async def lines(
        self, query: Query, *, silence_s: float, opened: Callable[[Mapping[str, str]], None]
    ) -> AsyncIterator[bytes]:
        """Open a stream, once, and yield its lines as they come, for as long as it lasts.

        :param silence_s: the longest time without a byte before the stream counts as dead.
        :param opened: called with the answer's headers when the API has accepted the call, before the first line.
        :raises StreamRefused: the API answered with something else than a stream.
        :raises ApiUnreachable: no answer, a broken connection, or silence for too long.
        """
        signature = await self._auth.signature(self._exchange, query)
        self.events["sent"] += 1
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self.limits.timeout_s, sock_read=silence_s)
        try:
            async with self._session.get(
                query.path.lstrip("/"), params=query.params, headers=signature, timeout=timeout
            ) as got:
                self.events[f"http_{got.status}"] += 1
                if got.status != HTTPStatus.OK:
                    response = Response(got.status, await got.read(), got.headers, signature=signature)
                    raise StreamRefused(self.name, response, self._policy.judge(response))
                opened(got.headers)
                async for line in _lines(got.content):
                    yield line
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.events["no_answer"] += 1
            raise ApiUnreachable(
                f"The stream of '{self.name}' at {self.base_url} broke: {_describe(error)}",
                advice="Nothing: it is opened again. If it stays, check that the service runs.",
            ) from error

    async def _attempt(self, query: Query, kept: Kept | None, *, first: bool) -> Response:
        """Send the query once, newly signed."""
        await self._take_units(query)
        await self._pace.turn()
        signature = await self._auth.signature(self._exchange, query, kept.signed_by if kept else "")
        self.events["sent"] += 1
        if not first:
            self.events["retried"] += 1
        conditions = kept.conditions(self._auth.identity(signature)) if kept else {}
        response = await self._send(query, {**conditions, **signature} if conditions else signature)
        self._auth.learned(signature, response)
        response = replace(response, signature=signature)
        return kept.answering(response) if kept and response.status == 304 else response

    async def _keep(self, settled: Answer | Rejected, response: Response) -> None:
        """Keep an answer that the API tells how to ask for again."""
        if self._revisits and isinstance(settled, Answer) and settled.outcome is Outcome.ANSWERED:
            await self._revisits.keep(settled, response, self._auth.identity(response.signature))

    async def _take_units(self, query: Query) -> None:
        """Return when the quota lets one more call out.

        :raises RateLimited: it does so later than we wait in place.
        """
        while self._ledger is not None and (wait_s := await self._ledger.take(query)):
            if wait_s > self.limits.patience_s:
                raise RateLimited.for_s(
                    wait_s, f"The quota '{self._ledger.name(query)}' of '{self.name}' is used up", key=query.key
                )
            await asyncio.sleep(wait_s)

    async def _send(self, query: Query, added: Mapping[str, str]) -> Response:
        headers = {**dict(query.headers), **added} if query.headers else added
        if query.body:
            headers = {"Content-Type": "application/json", **headers}
        try:
            async with self._session.request(
                "POST" if query.body else "GET",
                query.path.lstrip("/"),
                params=query.params,
                headers=headers,
                data=query.body.encode() if query.body else None,
            ) as got:
                body = await got.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.events["no_answer"] += 1
            return Response(trouble=_describe(error))
        self.events[f"http_{got.status}"] += 1
        return Response(got.status, body, got.headers)

    async def _exchange(
        self,
        url: str,
        form: Mapping[str, str] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        method: str = "POST",
    ) -> Response:
        """Send a call that is no query: what a token flow needs. It has secrets, so no redirect takes it elsewhere."""
        try:
            async with self._session.request(
                method, url.lstrip("/"), data=form, headers=headers, allow_redirects=False
            ) as got:
                return Response(got.status, await got.read(), got.headers)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return Response(trouble=_describe(error))

    async def _asked_s(self, query: Query, verdict: Verdict) -> float:
        """Return the seconds that the API asks to wait. Of a quota that is used up all runs are told."""
        asked_s = verdict.wait_s or 0.0
        if verdict.action is Action.SPENT and self._ledger is not None:
            return max(asked_s, await self._ledger.exhaust(query, asked_s))
        return asked_s

    def _settle(self, query: Query, response: Response, action: Action, read: Reader) -> Answer | Rejected | None:
        """Return what a response settles its query with; None when it has to be asked again.

        :raises Unreadable: it should settle it, and cannot be read.
        """
        if action is Action.ACCEPT and len(response.body) > LARGEST:  # it is as large whenever it is asked for
            return _rejected(query, response, f"{len(response.body):,} bytes are more than MongoDB keeps in a document")
        if action is Action.ACCEPT:
            return self._read(query, response, read)
        if action is Action.GAP:
            return _settled(query, Outcome.GAP, response)
        if action is Action.REFUSE:
            return _rejected(query, response, f"the API refuses the query: {response.summary}")
        return None

    def _read(self, query: Query, response: Response, read: Reader) -> Answer:
        """Turn a good response into an answer, once a reader has accepted it.

        :raises Unreadable: it is no JSON, or not what the reader expects.
        """
        try:
            parsed = orjson.loads(response.body) if response.status != 204 else None
        except orjson.JSONDecodeError as error:
            raise Unreadable(f"no JSON: {error}", key=query.key) from None
        read(query, parsed)
        return _settled(query, Outcome.ANSWERED, response, self._next_link(query, response))

    def _next_link(self, query: Query, response: Response) -> str:
        """Return the path of the next page, with its parameters, if the answer names one.

        :raises Unreadable: it is on another host, which must not be sent our signature.
        """
        if not (link := response.next_link):
            return ""
        base = URL(f"{self.base_url}/")
        try:
            target = base.join(URL(query.path.lstrip("/"))).join(URL(link))
            elsewhere = target.origin() != base.origin()
        except ValueError:
            elsewhere = True
        if elsewhere:
            raise Unreadable(f"its next page is at {link[:80]!r}, outside of {self.base_url}", key=query.key)
        return f"/{target.raw_path_qs.removeprefix(base.raw_path).lstrip('/')}"

    def _denied(self, query: Query, response: Response) -> CredentialsRejected:
        """Make the error for an account that may call nothing."""
        return CredentialsRejected(
            f"The API '{self.name}' turns the account away at {query.key!r}: {response.summary}",
            advice=f"Do what it says, for the account of the connection '{self.name}'; then clear this task.",
        )

    def _given_up(
        self, query: Query, action: Action, response: Response
    ) -> CredentialsRejected | ApiUnreachable | Unanswered:
        """Make the error for a call whose attempts are used up."""
        attempts = self.limits.backoff.attempts
        if action is Action.REFRESH:
            return CredentialsRejected(
                f"The API '{self.name}' refuses {attempts} tokens in a row at {query.key!r}: {response.summary}",
                advice=f"Check what the account of the connection '{self.name}' is allowed to read.",
            )
        if response.status is None:
            return ApiUnreachable(
                f"The API '{self.name}' at {self.base_url} gave no answer to {query.key!r} in {attempts} "
                f"attempts; the last: {response.trouble}",
                advice=f"Check that the service runs and that host and port of the connection '{self.name}' are right.",
                key=query.key,
            )
        return Unanswered(
            f"The API '{self.name}' did not answer {query.key!r} in {attempts} attempts; the last: {response.summary}",
            advice="The next try asks for it again. If it stays, look at the state of the API.",
            key=query.key,
            status=response.status,
        )


class StreamRefused(ApiError):
    """The API does not open the stream. ``verdict`` is what the policy makes of its answer."""

    def __init__(self, name: str, response: Response, verdict: Verdict) -> None:
        super().__init__(
            f"The API '{name}' does not open the stream: {response.summary}",
            advice="Do what the API says.",
            status=response.status,
        )
        self.verdict = verdict


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Cut a body into lines of any length, without their ends."""
    rest = b""
    async for data in content.iter_any():
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r")


class _Throttled:
    """How often one call was turned away for a rate limit, and for how long it bears with that."""

    def __init__(self, patience_s: float) -> None:
        self.times = 0
        self._until = time.monotonic() + patience_s

    def out_of_patience(self, pause_s: float) -> bool:
        """Say whether a pause of this length ends later than the call may wait."""
        return time.monotonic() + pause_s > self._until


def _settled(query: Query, outcome: Outcome, response: Response, next_link: str = "") -> Answer:
    return Answer(query, outcome, response.status or 0, kept(_text(response.body)), datetime.now(UTC), next_link)


def _rejected(query: Query, response: Response, reason: str) -> Rejected:
    """Make what goes into the quarantine. A page that names a next one is a part of an answer; so is a cut body."""
    body = kept(_text(response.body))
    incomplete = bool(response.next_link) or len(response.body) > LARGEST
    return Rejected(query, response.status or 0, body, reason, datetime.now(UTC), incomplete)


def _text(body: bytes) -> str:
    """Decode a body. JSON that parsed is UTF-8; anything else keeps its odd bytes as escapes."""
    return body.decode("utf-8", "backslashreplace")


def _describe(error: Exception) -> str:
    """Say what went wrong on the wire; some of these errors have no text of their own."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
