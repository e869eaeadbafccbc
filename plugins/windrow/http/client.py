"""The HTTP client: sign, send, classify, retry. No other module makes HTTP calls to APIs.

The `ResponsePolicy` decides what an answer means, not the client.
"""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from types import TracebackType
from typing import Self

from multidict import CIMultiDict
from yarl import URL

from windrow.http.auth import Attempt, Auth
from windrow.http.bounds import LARGEST_ASIDE, LineTooLong
from windrow.http.conditional import CachedAnswer, ConditionalRequests
from windrow.http.ledger import Ledger
from windrow.http.network import Network, advice, describe
from windrow.http.pacing import Gate, Pace, Pause, PauseStore, Throttles, TurnStore
from windrow.http.results import Garbled, Reader, Results, decoded
from windrow.http.transport import BROKEN, Transport
from windrow.http.urls import Urls
from windrow.model.answer import LARGEST, Answer, Outcome, Rejected, kept
from windrow.model.errors import (
    ApiError,
    ApiUnreachable,
    CredentialsRejected,
    RateLimited,
    StagingUnavailable,
    Unanswered,
    Unreadable,
)
from windrow.model.formats import GZIP, JSON, LARGEST_SPLIT, Format
from windrow.model.policy import HTTP_POLICY, Action, Backoff, Decision, ResponsePolicy
from windrow.model.query import Query
from windrow.model.redact import blot, blot_body, blot_sent
from windrow.model.response import Response

log = logging.getLogger(__name__)

_LOOK_S = 1.0
_LARGE = 1_000_000
"""Bytes of an answer that takes some time to read."""
OnResponse = Callable[[Query, Response], None]
"""Called with each response to an attempt, also with one that is then repeated."""
_SHOWS_RATE = {Action.ACCEPT, Action.MISSING, Action.REFUSE}
"""After these the rate of calls is within the API's limit."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a client: concurrency, rate, timeout and retries."""

    connections: int = 16
    """Maximum concurrent calls."""
    rate_per_s: float | None = None
    """Maximum calls per second, evenly spaced; None for no limit."""
    timeout_s: float = 30.0
    """Timeout of one attempt, from sending to the last byte."""
    patience_s: float = 60.0
    """The longest pause to wait inside the task. For a longer one the harvest stops and the task defers."""
    backoff: Backoff = field(default_factory=Backoff)


class Client:
    """A client of one API that signs calls and limits their rate. Use it as an async context manager.

    ``events`` counts calls and responses: ``sent``, ``retried``, ``throttled``, ``unreadable``,
    ``no_answer`` and ``http_NNN``.

    :param name: name of this API in messages: the id of its Airflow connection.
    :param ledger: the quotas of the API, if there are any.
    :param headers: sent with every call.
    :param origins: origins besides that of ``base_url`` that redirects and next pages may lead to, like
        ``https://api2.example.com``. No other origin is called or gets a signature.
    :param owner_only: fields that the API shows only to the owner of a token: they are removed from every answer.
    :param conditional_requests: the cache of earlier answers, for conditional requests.
    :param network: proxy and certificates; by default those of the environment.
    :param pauses: stores pauses for a rate limit over tries and deferrals, and says whether a person stopped all calls.
    :param turns: spaces the calls of all tasks to this API; None if only this client calls it.
    :param storage: downloads the files of export jobs, without the credential of this API.
    :param on_response: called with each response, before it is judged.
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
        conditional_requests: ConditionalRequests | None = None,
        network: Network | None = None,
        pauses: PauseStore | None = None,
        turns: TurnStore | None = None,
        storage: "Client | None" = None,
        on_response: OnResponse | None = None,
    ) -> None:
        self.base_url = base_url
        self.name = name
        self.limits = limits or Limits()
        self.urls = Urls(base_url, name=name, origins=origins, credential_params=auth.query_params)
        self.events: Counter[str] = Counter()
        self.storage = storage
        if storage:
            storage.events = self.events
        self._auth = auth
        self._policy = policy
        self._ledger = ledger
        self._conditional_requests = conditional_requests
        self._results = Results(self.urls, owner_only=owner_only)
        self._pace = Pace(self.limits.rate_per_s, name=name, turns=turns)
        self._gate = Gate(name, base_s=self.limits.backoff.base_s, patience_s=self.limits.patience_s)
        self._pauses = pauses
        self._on_response = on_response
        self._paused: Pause | None = None
        self._watching: asyncio.Task[None] | None = None
        self._transport = Transport(
            self.urls.base,
            name=name,
            connections=self.limits.connections,
            timeout_s=self.limits.timeout_s,
            headers={"User-Agent": "windrow", "Accept": "application/json", "Accept-Encoding": "gzip"}
            | dict(headers or {}),
            settings=network,
            tls=any(origin.scheme == "https" for origin in self.urls.origins),
        )

    async def __aenter__(self) -> Self:
        # Before the connections open: if the store cannot be reached, nothing has to be closed.
        if self._pauses is not None and (pause := await asyncio.to_thread(self._pauses.pause, self.name)):
            self._paused = pause
            self._auth.pauses = pause.times
            self._gate.restore(pause)
        if self._pauses is not None:
            await self._look_for_stop(self._pauses)
        await self._transport.open()
        if self._pauses is not None:
            self._watching = asyncio.create_task(self._watch_stops(self._pauses))
        if self.storage:
            await self.storage.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._watching is not None:
                self._watching.cancel()
            if self.storage:
                await self.storage.__aexit__(kind, error, trace)
            await self._auth.close()
            await self._transport.close()
        finally:
            if self._ledger is not None:
                await self._ledger.close()

    async def _watch_stops(self, store: PauseStore) -> None:
        """Look every second whether a person stopped the calls, beside them: a call itself does not read the store."""
        while True:
            await asyncio.sleep(_LOOK_S)
            with contextlib.suppress(StagingUnavailable):  # the next write of answers says so
                await self._look_for_stop(store)

    async def _look_for_stop(self, store: PauseStore) -> None:
        if stop := await asyncio.to_thread(store.stop, self.name):
            self._gate.stop(stop)

    @property
    def units(self) -> list[tuple[str, int]]:
        """The units that calls took, with the name of the quota; empty without quotas."""
        return sorted(self._ledger.taken.items()) if self._ledger else []

    @property
    def refreshes(self) -> int:
        """How many access tokens were fetched."""
        return self._auth.refreshes

    async def authorize(self) -> None:
        """Get an access token now, if the auth needs one.

        :raises WindrowError: as `ask`.
        """
        await self._auth.signature(self._exchange)

    async def ask(self, query: Query, read: Reader) -> Answer | Rejected:
        """Make one call, with retries, until it is settled.

        :returns: an `Answer` that ``read`` accepts, or a gap; or `Rejected` if the API rejects the query, or
            if the answers of all attempts are unreadable.
        :raises CredentialsRejected: new tokens are also rejected, or the account is not allowed to call the API.
        :raises RateLimited: the API, or a used-up quota, requires a pause longer than ``limits.patience_s``.
        :raises ApiUnreachable: the last attempt got no answer.
        :raises Unanswered: no attempt was successful.
        """
        try:
            return await self._ask(query, read)
        except RateLimited:
            await self._store_pause()
            raise

    async def _ask(self, query: Query, read: Reader) -> Answer | Rejected:
        backoff = self.limits.backoff
        throttles = Throttles()
        failures = refusals = switches = 0
        broken = False
        failure: tuple[str, bytes] | None = None
        kept = await self._conditional_requests.find(query) if self._conditional_requests else None
        while True:
            first = failures + throttles.times + switches == 0
            sent_at, response = await self._attempt(query, kept, first=first, fresh=broken)
            broken = response.status is None
            try:
                decision = self._judge(query, response)
                action, before, failure = decision.action, failure, None
                if self._other_signs(query, response, decision):
                    self._gate.leave(sent_at)
                    switches += 1
                    continue
                if action is Action.THROTTLE or action is Action.QUOTA_EXHAUSTED:
                    self.events["throttled"] += 1
                    await self._throttled(query, response, decision, sent_at, throttles)
                    continue
            except BaseException:  # else all other calls would wait for this probe
                self._gate.leave(sent_at)
                raise
            if action not in _SHOWS_RATE:
                self._gate.leave(sent_at)
            elif self._gate.succeeded(sent_at):
                await self._forget_pause()
            try:
                settle = partial(self._results.settle, query, response, action, read)
                # a large one in a thread, so that other calls do not time out
                settled = settle() if len(response.body) < _LARGE else await asyncio.to_thread(settle)
                if settled:
                    await self._keep(settled, response)
                    return settled
            except Unreadable as error:
                failure = (error.reason, response.body if isinstance(error, Garbled) else b"")
                self.events["unreadable"] += 1
            await self._check_access(query, action, response)
            failures += 1
            refusals += action is Action.REFRESH
            asked_s = decision.wait_s or 0.0
            if asked_s > self.limits.patience_s:
                raise RateLimited.for_s(
                    asked_s, f"The API '{self.name}' asks to wait ({response.summary})", key=query.key
                )
            is_repeated = failure is not None and failure == before  # the API sends nothing else
            if failures == backoff.attempts or is_repeated:
                if failure:
                    return self._results.rejected(query, response, failure[0])
                # a 401 after other failures says little about the credentials
                raise self._given_up(query, action if refusals == failures else Action.RETRY, response)
            if action is not Action.REFRESH or failures > 1:  # the first new token is tried at once
                await asyncio.sleep(max(backoff.pause_s(failures), asked_s))

    def _judge(self, query: Query, response: Response) -> Decision:
        if self._on_response:
            self._on_response(query, response)
        return self._policy.judge(response)

    async def _check_access(self, query: Query, action: Action, response: Response) -> None:
        """Get a new token if the API rejected the last one.

        :raises CredentialsRejected: that does not help, or the account is not allowed to call the API.
        """
        if action is Action.DENY:
            raise self._denied(query, response)
        if action is Action.REFRESH:
            await self._auth.rejected(response.signature, self._exchange, response.summary)
            if self._auth.refused >= self.limits.backoff.attempts:  # counted over all calls; each alone would take long
                raise self._given_up(query, action, response)

    async def lines(
        self, query: Query, *, silence_s: float, opened: Callable[[Mapping[str, str]], None]
    ) -> AsyncIterator[bytes]:
        """Open a stream, without retries, and yield its lines until it ends.

        :param silence_s: the longest time without a complete line before the stream counts as broken.
        :param opened: called with the headers when the API has accepted the call, before the first line.
        :raises StreamRefused: the API did not open the stream.
        :raises LineTooLong: a line is too long; the stream is closed.
        :raises ApiUnreachable: no answer, a broken connection, or no line for too long.
        """
        signature = await self._auth.signature(self._exchange, query)
        attempt = self._auth.sign(signature, Attempt("GET", self.urls.of(query)))
        self.events["sent"] += 1
        try:
            async with self._transport.stream(attempt.url, attempt.headers, silence_s) as got:
                self.events[f"http_{got.status}"] += 1
                if got.status != HTTPStatus.OK:
                    body, cut = await got.body(LARGEST_ASIDE, self.limits.timeout_s)
                    response = Response(got.status, body, got.headers, cut=cut, signature=signature)
                    raise StreamRefused(self.name, response, self._policy.judge(response))
                opened(got.headers)
                async for line in got.lines(silence_s, self.name):
                    yield blot_body(line, signature.values())
        except LineTooLong as error:
            error.beginning = blot_body(error.beginning, signature.values())
            raise
        except BROKEN as error:
            self.events["no_answer"] += 1
            raise ApiUnreachable(
                f"The stream of '{self.name}' at {self.base_url} failed: {describe(error)}",
                advice=advice(error, {}, self.name)
                or "No action needed: the stream is opened again. If this happens often, check that the service "
                "is running.",
            ) from None  # some of these errors have the URL, which may have an API key

    async def _attempt(
        self, query: Query, kept: CachedAnswer | None, *, first: bool, fresh: bool
    ) -> tuple[float, Response]:
        """Send the query once, and follow redirects; return also when it was sent (monotonic)."""
        if not first:
            self.events["retried"] += 1
        way = [self.urls.of(query)]
        if self._pace.is_limited or not self._gate.is_open:
            await self._take_turn()
        sent_at = time.monotonic()
        try:
            while True:
                response = await self._hop(query, way[-1], kept, fresh=fresh)
                if not response.location:
                    if kept and response.status == HTTPStatus.NOT_MODIFIED:
                        response = kept.answering(response, is_json=query.format is JSON)
                    return sent_at, response
                try:
                    way.append(self.urls.redirected(query, response, way))
                except ValueError as error:
                    return sent_at, replace(response, trouble=str(error))
                await self._pace.turn()
        except BaseException:  # also when cancelled: another call must become the probe
            self._gate.leave(sent_at)
            raise

    async def _take_turn(self) -> None:
        """Return when this call may be sent."""
        await self._pace.turn()
        while not self._gate.is_open:
            await self._gate.enter()
            if not self._gate.is_open:  # this call is the probe
                return
            await self._pace.turn()

    async def _hop(self, query: Query, url: URL, kept: CachedAnswer | None, *, fresh: bool) -> Response:
        """Send the query to one URL, with a new signature. It counts against the quota like any call."""
        if self._ledger is not None:
            await self._take_units(query, self._ledger)
        signature = await self._auth.signature(self._exchange, query, kept.signed_by if kept else "")
        self.events["sent"] += 1
        attempt = self._auth.sign(signature, self._unsigned(query, url, signature, kept))
        sent = {*signature.values(), attempt.headers.get("Authorization", "")}
        response = await self._transport.send(
            attempt.method,
            attempt.url,
            headers=attempt.headers,
            data=attempt.body or None,
            most=LARGEST,
            larger=partial(_larger, query.format),
            fresh=fresh,
            signature=signature,
        )
        self.events["no_answer" if response.status is None else f"http_{response.status}"] += 1
        response = _without_echo(response, sent)
        self._auth.learned(signature, response, query)
        self._report_pause(response)
        return response

    def _unsigned(self, query: Query, url: URL, signature: Mapping[str, str], kept: CachedAnswer | None) -> Attempt:
        """Make the attempt before it is signed."""
        if not (query.body or query.headers or kept) and query.format is JSON:
            return Attempt("GET", url)
        body = query.body.encode()
        headers = CIMultiDict(query.headers)
        if body:
            headers.setdefault("Content-Type", "application/json")
        if query.format is not JSON:
            headers.setdefault("Accept", f"{query.format.media_type}, */*;q=0.1")
        if kept:
            headers.update(kept.conditions(self._auth.identity(signature)))
        return Attempt("POST" if body else "GET", url, headers, body)

    def _report_pause(self, response: Response) -> None:
        """Log once that the API sent an invalid Retry-After."""
        told = response.headers.get("Retry-After")
        if told is not None and response.retry_after_s is None:
            self.events["strange_pauses"] += 1
            if self.events["strange_pauses"] == 1:
                log.warning(
                    "The API %r sent an invalid Retry-After %.40r (not a time within a year); using backoff.",
                    *(self.name, blot(told)),
                )

    async def _keep(self, settled: Answer | Rejected, response: Response) -> None:
        """Keep an answer that has a validator for conditional requests."""
        if self._conditional_requests and isinstance(settled, Answer) and settled.outcome is Outcome.ANSWERED:
            await self._conditional_requests.keep(settled, response, self._auth.identity(response.signature))

    async def _store_pause(self) -> None:
        """Store how often calls were paused, so that the next try continues with the same pause."""
        times = max(self._gate.times, self._auth.pauses)
        if self._pauses is not None and times:
            self._paused = Pause(times, self._gate.since or datetime.now(UTC))
            await asyncio.to_thread(self._pauses.keep_pause, self.name, self._paused)

    async def _forget_pause(self) -> None:
        if self._pauses is not None and self._paused is not None:
            self._paused = None
            await asyncio.to_thread(self._pauses.keep_pause, self.name, None)

    async def _take_units(self, query: Query, ledger: Ledger) -> None:
        """Return when the quota allows one more call.

        :raises RateLimited: the wait would be longer than ``limits.patience_s``.
        """
        while wait_s := await ledger.take(query):
            if wait_s > self.limits.patience_s:
                raise RateLimited.for_s(
                    wait_s, f"The quota '{ledger.name(query)}' of '{self.name}' is used up", key=query.key
                )
            await asyncio.sleep(wait_s)

    async def _exchange(
        self,
        url: str,
        form: Mapping[str, str] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        method: str = "POST",
    ) -> Response:
        """Send a call of a token flow. It contains secrets, so redirects are not followed."""
        target = URL(url.lstrip("/"))
        response = await self._transport.send(method, target, headers=headers, data=form, most=LARGEST_ASIDE)
        if not response.cut:
            return response
        trouble = f"body of more than {LARGEST_ASIDE:,} bytes; the connection was closed"
        return replace(response, body=b"", trouble=trouble)

    def _other_signs(self, query: Query, response: Response, decision: Decision) -> bool:
        """Report the result of the call to its credential; return whether to retry at once with another one."""
        match decision.action:
            case Action.ACCEPT:
                self._auth.answered(response.signature, query)
            case Action.THROTTLE | Action.QUOTA_EXHAUSTED:
                return self._auth.throttled(response.signature, decision.wait_s, query)
            case Action.FORBID if self._auth.forbidden(response.signature, query, response):
                self.events["other_credential"] += 1
                return True
        return False

    async def _throttled(
        self, query: Query, response: Response, decision: Decision, sent_at: float, call: Throttles
    ) -> None:
        """Close the gate for the pause that the API asks for. A used-up quota is reported to all runs.

        :raises RateLimited: the pause is too long to wait for it in the task.
        """
        asked_s = decision.wait_s or 0.0
        if decision.action is Action.QUOTA_EXHAUSTED and self._ledger is not None:
            asked_s = max(asked_s, await self._ledger.exhaust(query, asked_s))
        why = f"The API '{self.name}' asks to wait{'' if asked_s else ', but not how long'} ({response.summary})"
        self._gate.throttled(sent_at, asked_s, why, key=query.key, call=call)

    def _denied(self, query: Query, response: Response) -> CredentialsRejected:
        """Make the error for an account that is not allowed to call the API."""
        return CredentialsRejected(
            f"The API '{self.name}' denied access to the account at the query {query.key!r}: {response.summary}",
            advice=f"Fix the access of the account of the Airflow connection '{self.name}' (see the API's answer). "
            "Then clear this task.",
        )

    def _given_up(
        self, query: Query, action: Action, response: Response
    ) -> CredentialsRejected | ApiUnreachable | Unanswered:
        """Make the error for a call after its last attempt."""
        attempts = self.limits.backoff.attempts
        if action is Action.REFRESH:
            return CredentialsRejected(
                f"The API '{self.name}' rejected {attempts} new tokens in a row at the query {query.key!r}: "
                f"{response.summary}",
                advice=f"Check the permissions of the account of the Airflow connection '{self.name}'.",
            )
        if response.status is None:
            return ApiUnreachable(
                f"The API '{self.name}' at {self.base_url} gave no answer to {query.key!r} in {attempts} attempts. "
                f"Last error: {response.trouble}",
                advice=response.advice
                or "Check that the service is running, and that host and port of the Airflow connection "
                f"'{self.name}' are correct.",
                key=query.key,
            )
        return Unanswered(
            f"The API '{self.name}' did not answer {query.key!r} in {attempts} attempts. Last response: "
            f"{response.summary}",
            advice="The next try makes this call again. If it fails again, check the status of the API.",
            key=query.key,
            status=response.status,
            received=kept(decoded(response)),
        )


def _larger(format: Format, beginning: bytes) -> int:
    """Return the maximum bytes of an answer that begins like this. Of a format that can be split, it may be larger."""
    return LARGEST_SPLIT if beginning.startswith(GZIP) or format.splits(beginning) else LARGEST


class StreamRefused(ApiError):
    """The API did not open the stream. ``verdict`` is the decision of the policy."""

    def __init__(self, name: str, response: Response, decision: Decision) -> None:
        super().__init__(
            f"The API '{name}' did not open the stream: {response.summary}",
            advice="Fix the cause in the answer of the API.",
            status=response.status,
        )
        self.decision = decision


def _without_echo(response: Response, sent: Collection[str]) -> Response:
    """Return an answer without the credentials that were sent: an API may echo them."""
    told = "\n".join((*response.headers.values(), response.body.decode("utf-8", "surrogateescape")))
    if blot_sent(told, sent) is told:  # as of most; one look takes less time than two
        return response
    body = blot_body(response.body, sent)
    clean = CIMultiDict((name, blot_sent(value, sent)) for name, value in response.headers.items())
    return replace(response, body=body, headers=clean)
