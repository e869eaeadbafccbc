"""The HTTP client: sign, send, classify, try again. The only module that speaks HTTP to APIs.

What an answer means is decided by the `ResponsePolicy`, never here.
"""

import asyncio
import codecs
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http import HTTPStatus
from types import TracebackType
from typing import Self

import aiohttp
import orjson
from multidict import CIMultiDict
from yarl import URL

from windrow.http import bounds
from windrow.http.auth import Auth
from windrow.http.bounds import LARGEST_ASIDE, LineTooLong
from windrow.http.conditional import Kept, Revisits
from windrow.http.ledger import Ledger
from windrow.http.pacing import Pace
from windrow.model.answer import LARGEST, Answer, Outcome, Rejected, kept
from windrow.model.errors import (
    ApiError,
    ApiUnreachable,
    CredentialsRejected,
    QueryRefused,
    RateLimited,
    Unanswered,
    Unreadable,
)
from windrow.model.policy import HTTP_POLICY, Action, Backoff, ResponsePolicy, Verdict
from windrow.model.query import Query
from windrow.model.redact import blot, blot_body, blot_sent, without
from windrow.model.response import Response

log = logging.getLogger(__name__)

Reader = Callable[[Query, object], object]
"""Reads a parsed answer; raises `Unreadable` when it is not what the API promises."""
MOST_REDIRECTS = 10
"""Redirects of one call. Browsers follow 20."""
_BROKEN = (aiohttp.ClientError, aiohttp.http.HttpProcessingError, TimeoutError, OSError)
"""What a broken wire raises. The second comes from aiohttp's parser in Python, which some machines have alone."""
_GRACE_S = 1.0
"""So much later than the transport a call is ended here, should the transport not notice that its time is up."""


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
    :param origins: others than that of ``base_url`` that redirects and next pages may lead to, like
        ``https://api2.example.com``. No other is called, or sent a signature.
    :param owner_only: fields that the API tells the owner of a token about themselves: no answer keeps them.
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
        origins: Collection[str] = (),
        owner_only: Collection[str] = (),
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
        self._base = URL(f"{base_url}/")
        self._origins = {self._base.origin(), *(URL(origin).origin() for origin in origins)}
        self._owner_only = frozenset(owner_only)
        self._headers = {"User-Agent": "windrow", "Accept": "application/json"} | dict(headers or {})
        self._pace = Pace(self.limits.rate_per_s)
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            base_url=self._base,
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
        failures = switches = 0
        kept = await self._revisits.find(query) if self._revisits else None
        while True:
            response = await self._attempt(query, kept, first=failures + throttled.times + switches == 0)
            verdict = self._policy.judge(response)
            action, unreadable = verdict.action, ""
            if self._other_signs(query, response, verdict):
                switches += 1
                continue
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

            asked_s = await self._asked_s(query, verdict)
            pause_s = max(backoff.pause_s(failures + throttled.times + 1), asked_s)
            held = action in {Action.THROTTLE, Action.QUOTA_EXHAUSTED}
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
                    return self._rejected(query, response, unreadable)
                raise self._given_up(query, action, response)
            if action is not Action.REFRESH or failures > 1:  # the first new token is worth trying at once
                await asyncio.sleep(pause_s)

    async def lines(
        self, query: Query, *, silence_s: float, opened: Callable[[Mapping[str, str]], None]
    ) -> AsyncIterator[bytes]:
        """Open a stream, once, and yield its lines as they come, for as long as it lasts.

        :param silence_s: the longest time without a whole line before the stream counts as dead.
        :param opened: called with the answer's headers when the API has accepted the call, before the first line.
        :raises StreamRefused: the API answered with something else than a stream.
        :raises LineTooLong: a line has no end; the stream is closed.
        :raises ApiUnreachable: no answer, a broken connection, or silence for too long.
        """
        signature = await self._auth.signature(self._exchange, query)
        self.events["sent"] += 1
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self.limits.timeout_s, sock_read=silence_s)
        try:
            async with asyncio.timeout(self.limits.timeout_s):
                got = await self._session.get(
                    self._url(query), headers=signature, timeout=timeout, allow_redirects=False
                )
            async with got:
                self.events[f"http_{got.status}"] += 1
                if got.status != HTTPStatus.OK:
                    async with asyncio.timeout(self.limits.timeout_s):
                        body, cut = await self._body(got, LARGEST_ASIDE)
                    response = Response(got.status, body, got.headers, cut=cut, signature=signature)
                    raise StreamRefused(self.name, response, self._policy.judge(response))
                opened(got.headers)
                async for line in bounds.lines(got.content.readany, silence_s, self.name):
                    yield blot_body(line, signature.values())
        except LineTooLong as error:
            error.beginning = blot_body(error.beginning, signature.values())
            raise
        except _BROKEN as error:
            self.events["no_answer"] += 1
            raise ApiUnreachable(
                f"The stream of '{self.name}' at {self.base_url} broke: {_describe(error)}",
                advice="Nothing: it is opened again. If it stays, check that the service runs.",
            ) from error

    async def _attempt(self, query: Query, kept: Kept | None, *, first: bool) -> Response:
        """Send the query once, and follow it where the API says that the answer is."""
        if not first:
            self.events["retried"] += 1
        way = [self._url(query)]
        while True:
            response = await self._hop(query, way[-1], kept)
            if not response.location:
                return kept.answering(response) if kept and response.status == 304 else response
            try:
                way.append(self._redirected(query, response, way))
            except ValueError as error:
                return replace(response, trouble=str(error))

    async def _hop(self, query: Query, url: URL, kept: Kept | None) -> Response:
        """Send the query to one address, newly signed; of quota and rate it takes as much as any call."""
        await self._take_units(query)
        await self._pace.turn()
        signature = await self._auth.signature(self._exchange, query, kept.signed_by if kept else "")
        self.events["sent"] += 1
        conditions = kept.conditions(self._auth.identity(signature)) if kept else {}
        came = await self._send(query, url, {**conditions, **signature} if conditions else signature)
        response = _without_echo(replace(came, signature=signature))
        self._auth.learned(signature, response, query)
        self._report_pause(response)
        return response

    def _report_pause(self, response: Response) -> None:
        """Say once that the API asks for a pause that nobody can wait for."""
        told = response.headers.get("Retry-After")
        if told is not None and response.retry_after_s is None:
            self.events["strange_pauses"] += 1
            if self.events["strange_pauses"] == 1:
                log.warning(
                    "The API %r sends Retry-After %.40r, which is no time within a year: our own pauses hold instead.",
                    *(self.name, blot(told)),
                )

    def _redirected(self, query: Query, response: Response, way: Sequence[URL]) -> URL:
        """Return where a redirect leads to.

        :raises ValueError: the client does not go there; the text says why.
        """
        where = response.location[:80]
        try:
            target = way[-1].join(URL(response.location)).with_user(None)
            origin = target.origin()
        except ValueError:
            raise ValueError(f"redirects to {where!r}, which is no address") from None
        if origin not in self._origins:
            raise ValueError(f"redirects to {where!r}, outside of {self._allowed()}")
        if query.body and response.status not in {307, 308}:
            raise ValueError(f"redirects a POST to {where!r}, and would lose its body")
        if target in way:
            raise ValueError(f"redirects in a circle, back to {where!r}")
        if len(way) > MOST_REDIRECTS:
            raise ValueError(f"redirects more than {MOST_REDIRECTS} times, the last to {where!r}")
        return target

    def _allowed(self) -> str:
        """Name the origins that may be called, for a message."""
        return ", ".join(sorted(str(origin) for origin in self._origins))

    def _url(self, query: Query) -> URL:
        """Return the address of a query. Its path is below the base, or a whole address at an allowed origin.

        :raises QueryRefused: it is at another.
        """
        path = query.path.lstrip("/")
        whole = query.path.startswith(("http://", "https://"))
        url = URL(path) if whole else self._base.join(URL(path))
        if url.origin() not in self._origins:
            raise QueryRefused(
                f"The query {query.key!r} is at {url.origin()}, outside of {self._allowed()}.",
                advice=f"Name the origin in the extra field origins of the connection '{self.name}', if it is right.",
                key=query.key,
            )
        return url.extend_query(query.params) if query.params else url

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

    async def _send(self, query: Query, url: URL, added: Mapping[str, str]) -> Response:
        headers = {**dict(query.headers), **added} if query.headers else added
        if query.body:
            headers = {"Content-Type": "application/json", **headers}
        try:
            async with (
                asyncio.timeout(self.limits.timeout_s + _GRACE_S),
                self._session.request(
                    "POST" if query.body else "GET",
                    url,
                    headers=headers,
                    data=query.body.encode() if query.body else None,
                    allow_redirects=False,
                ) as got,
            ):
                body, cut = await self._body(got, LARGEST)
        except (*_BROKEN, ValueError) as error:
            self.events["no_answer"] += 1
            return Response(trouble=_describe(error))
        self.events[f"http_{got.status}"] += 1
        return Response(got.status, body, got.headers, cut=cut)

    async def _body(self, got: aiohttp.ClientResponse, most: int) -> tuple[bytes, bool]:
        """Read a body, decompressed; of a larger one the beginning. Its connection is then closed."""
        body, cut = await bounds.body(got.content.iter_any(), most)
        if cut:
            got.close()
        return body, cut

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
            async with (
                asyncio.timeout(self.limits.timeout_s + _GRACE_S),
                self._session.request(
                    method, url.lstrip("/"), data=form, headers=headers, allow_redirects=False
                ) as got,
            ):
                body, cut = await self._body(got, LARGEST_ASIDE)
        except (*_BROKEN, ValueError) as error:
            return Response(trouble=_describe(error))
        trouble = f"more than {LARGEST_ASIDE:,} bytes, where the connection was cut" if cut else ""
        return Response(got.status, b"" if cut else body, got.headers, trouble=trouble, cut=cut)

    def _other_signs(self, query: Query, response: Response, verdict: Verdict) -> bool:
        """Tell the credential what came of its call; say whether another one is worth a try at once."""
        match verdict.action:
            case Action.ACCEPT:
                self._auth.answered(response.signature, query)
            case Action.THROTTLE | Action.QUOTA_EXHAUSTED:
                return self._auth.throttled(response.signature, verdict.wait_s, query)
            case Action.FORBID if self._auth.forbidden(response.signature, query, response):
                self.events["other_credential"] += 1
                return True
        return False

    async def _asked_s(self, query: Query, verdict: Verdict) -> float:
        """Return the seconds that the API asks to wait. Of a quota that is used up all runs are told."""
        asked_s = verdict.wait_s or 0.0
        if verdict.action is Action.QUOTA_EXHAUSTED and self._ledger is not None:
            return max(asked_s, await self._ledger.exhaust(query, asked_s))
        return asked_s

    def _settle(self, query: Query, response: Response, action: Action, read: Reader) -> Answer | Rejected | None:
        """Return what a response settles its query with; None when it has to be asked again.

        :raises Unreadable: it should settle it, and cannot be read.
        """
        if action is Action.ACCEPT and response.cut:  # it is as large whenever it is asked for
            return self._rejected(query, response, f"it has more than {LARGEST:,} bytes, where the connection was cut")
        if action is Action.ACCEPT:
            return self._read(query, response, read)
        if action is Action.GAP:
            return _settled(query, Outcome.GAP, response)
        if action in {Action.REFUSE, Action.FORBID}:
            return self._rejected(query, response, f"the API refuses the query: {response.summary}")
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
        if self._owner_only:
            response = replace(response, body=without(self._owner_only, response.body))
        return _settled(query, Outcome.ANSWERED, response, self._next_link(query, response))

    def _next_link(self, query: Query, response: Response) -> str:
        """Return the path of the next page, with its parameters, if the answer names one.

        It is a whole address where it is at another origin that the connection names.

        :raises Unreadable: it is anywhere else, and must not be sent our signature.
        """
        if not (link := response.next_link):
            return ""
        try:
            target = self._url(query).join(URL(link)).with_user(None)
            elsewhere = target.origin() not in self._origins
        except ValueError:
            elsewhere = True
        if elsewhere:
            raise Unreadable(f"its next page is at {link[:80]!r}, outside of {self._allowed()}", key=query.key)
        if target.origin() != self._base.origin():
            return str(target)
        return f"/{target.raw_path_qs.removeprefix(self._base.raw_path).lstrip('/')}"

    def _rejected(self, query: Query, response: Response, reason: str) -> Rejected:
        """Make what goes into the quarantine. A page that names a next one is a part of an answer; so is a cut body."""
        if self._owner_only:
            response = replace(response, body=without(self._owner_only, response.body))
        incomplete = bool(response.next_link) or response.cut
        return Rejected(query, response.status or 0, kept(_text(response)), reason, datetime.now(UTC), incomplete)

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


class _Throttled:
    """How often one call was turned away for a rate limit, and for how long it bears with that."""

    def __init__(self, patience_s: float) -> None:
        self.times = 0
        self._until = time.monotonic() + patience_s

    def out_of_patience(self, pause_s: float) -> bool:
        """Say whether a pause of this length ends later than the call may wait."""
        return time.monotonic() + pause_s > self._until


def _settled(query: Query, outcome: Outcome, response: Response, next_link: str = "") -> Answer:
    return Answer(query, outcome, response.status or 0, kept(_text(response)), datetime.now(UTC), next_link)


def _text(response: Response) -> str:
    """Decode a body. JSON that parsed is UTF-8; anything else keeps its odd bytes as escapes."""
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    return decoder.decode(response.body, final=not response.cut)  # no half character at the end


def _without_echo(response: Response) -> Response:
    """Take what signed a call out of its answer, body and headers: an API may echo what it was sent."""
    sent, headers = response.signature.values(), response.headers
    told = "\n".join(headers.values())
    if blot_sent(told, sent) != told:
        headers = CIMultiDict((name, blot_sent(value, sent)) for name, value in headers.items())
    return replace(response, body=blot_body(response.body, sent), headers=headers)


def _describe(error: Exception) -> str:
    """Say what went wrong on the wire; some of these errors have no text of their own."""
    return blot(f"{type(error).__name__}: {error}") if str(error) else type(error).__name__
