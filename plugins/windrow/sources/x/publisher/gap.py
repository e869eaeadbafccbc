"""Fill a gap of the stream by the recent search, and say what that cannot bring back."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

import orjson

from windrow.http.client import Client
from windrow.http.paging import Trail
from windrow.model.answer import Answer, Outcome, Rejected
from windrow.model.errors import Misconfigured, RateLimited, Unreadable, WindrowError
from windrow.model.query import Query
from windrow.sources.x.streams import SEARCH_DAYS, Posts, post_id_at, search

log = logging.getLogger(__name__)

MOST_PAGES = 20_000
"""Pages of the search for one gap and rule: ten million posts."""

_POSTS = Posts()


@dataclass(frozen=True, slots=True)
class Found:
    """A post as the search tells it, and the key of the call that brought it."""

    key: str
    record: dict[str, object]


@dataclass(frozen=True, slots=True)
class Spoiled:
    """A post that cannot be read, as JSON, and why."""

    post: bytes
    reason: str


async def fill(
    client: Client,
    rules: Iterable[str],
    since: datetime,
    until: datetime,
    *,
    now: datetime,
    pause_s: float,
    usernames: bool = False,
) -> AsyncIterator[Found | Spoiled]:
    """Yield the posts that the search knows of a time, for each rule.

    Reposts are not among them, the search has none; nor are deletions. A page that X does not give is asked for
    until it comes: to begin anew would cost all pages before it once more, and never end where X allows fewer calls
    in a window than there are pages.

    :param now: of X; the search reaches back from it.
    :param pause_s: before a page is asked for again, if X does not say.
    :raises Misconfigured: X refuses the search, or its pages do not end.
    """
    if now - since > timedelta(days=SEARCH_DAYS):
        log.warning("the search reaches back %d days: what was posted before is lost", SEARCH_DAYS)
    for rule in rules:
        query: Query | None = search(rule, post_id_at(since), until, now=now, usernames=usernames)
        trail = Trail(MOST_PAGES)
        while query is not None:
            try:
                trail.to(query)
            except Unreadable as endless:
                raise Misconfigured(
                    f"A gap cannot be filled. Of the search for {rule!r:.80}: {endless.reason}.",
                    advice="Split the rule. The watermark stays before the gap, so a later start tries it again.",
                ) from None
            answer = await _page(client, query, pause_s)
            for post in _POSTS.listed(answer.parsed):
                yield _read(post, answer)
            query = _POSTS.next_page(query, answer)


def _read(post: object, answer: Answer) -> Found | Spoiled:
    try:
        return Found(answer.query.key, _POSTS.record(post, answer.parsed))
    except Unreadable as error:
        return Spoiled(orjson.dumps(post), error.reason)


async def _page(client: Client, query: Query, pause_s: float) -> Answer:
    """Ask for a page until it comes."""
    while True:
        wait_s = pause_s
        try:
            answer = await client.ask(query, lambda _query, parsed: _POSTS.listed(parsed))
            if isinstance(answer, Answer) and answer.outcome is Outcome.ANSWERED:
                return answer
            why = answer.reason if isinstance(answer, Rejected) else "X knows no such path"
            if answer.status >= HTTPStatus.BAD_REQUEST:
                raise Misconfigured(
                    f"A gap cannot be filled: {why}",
                    advice="See what X says. The watermark stays before the gap, so a later start tries it again.",
                )
        except Misconfigured:
            raise
        except RateLimited as limited:
            why = limited.what
            wait_s = max(pause_s, (limited.retry_at - datetime.now(UTC)).total_seconds())
        except WindrowError as error:
            why = error.what
        log.warning("the search goes on in %.0f s: %s", wait_s, why)
        await asyncio.sleep(wait_s)
