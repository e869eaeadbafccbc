"""Fill a gap of the stream with the recent search, and log what the search cannot return."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus

import orjson

from windrow.http.client import Client
from windrow.http.paging import Trail
from windrow.model.answer import Answer, Outcome, Rejected
from windrow.model.errors import Misconfigured, RateLimited, Unreadable, WindrowError
from windrow.model.logs import about
from windrow.model.query import Query
from windrow.sources.x.streams import SEARCH_DAYS, SEARCH_WORDS, Posts, post_id_at, search

log = logging.getLogger(__name__)

MOST_PAGES = 20_000
"""Maximum pages of the search for one gap and rule: ten million posts."""

_POSTS = Posts()


@dataclass(frozen=True, slots=True)
class Found:
    """A post of the search, and the key of the call that returned it."""

    key: str
    record: dict[str, object]


@dataclass(frozen=True, slots=True)
class Spoiled:
    """An unreadable post, as JSON, and the reason."""

    post: bytes
    reason: str


async def fill(
    client: Client,
    rules: Mapping[str, str],
    since: datetime,
    until: datetime,
    *,
    now: datetime,
    pause_s: float,
    usernames: bool = False,
) -> AsyncIterator[Found | Spoiled]:
    """Yield the posts of the search for a time range, for each rule.

    The search returns no reposts and no deletions. A page that fails is retried until it succeeds: a restart would
    call all earlier pages again, and never end if X allows fewer calls in a window than there are pages. Fields are
    asked for in the vocabulary that the search declares, and in another one if X refuses it or omits the authors.

    :param rules: the rules by tag; a post has the tag of the rule whose search returned it.
    :param now: the current time of X; the search goes back from it.
    :param pause_s: the pause before a page is retried, if X does not set one.
    :raises Misconfigured: X rejects the search, or there are too many pages.
    """
    if now - since > timedelta(days=SEARCH_DAYS):
        log.warning("Posts older than %d days are lost: the recent search of X does not return them", SEARCH_DAYS)
    wordings = iter(SEARCH_WORDS)
    words = next(wordings)
    for tag, rule in rules.items():
        first = partial(search, rule, post_id_at(since), until, now=now, usernames=usernames)
        query: Query | None = first(words=words)
        trail = Trail(MOST_PAGES)
        while query is not None:
            try:
                trail.to(query)
            except Unreadable as endless:
                raise Misconfigured(
                    f"Filling a gap failed, at the search for the rule {rule!r:.80}: {endless.reason}.",
                    advice="Split the rule in X_RULES and start the publisher again. It retries the gap, because the "
                    "watermark is before it.",
                ) from None
            with about(key=query.key):
                answer = await _page(client, query, pause_s)
            if (why := _not_understood(answer)) and (other := next(wordings, None)):
                log.warning("The search with %s %s; trying %s", " and ".join(words), why, " and ".join(other))
                words = other
                place = {name: value for name, value in query.params if name == "next_token"}
                query = Query.of(query.path, dict(first(words=words).params) | place)
                continue
            if isinstance(answer, Rejected):
                raise _refused(answer.reason)
            for post in _POSTS.listed(answer.parsed):
                yield _read(post, answer, tag)
            query = _POSTS.next_page(query, answer)


def _not_understood(answer: Answer | Rejected) -> str:
    """Say why other words may give more: X refused these, or the posts have no author. Empty if they are fine."""
    if isinstance(answer, Rejected):
        return f"was refused ({answer.reason[:200]})" if answer.status == HTTPStatus.BAD_REQUEST else ""
    posts = [post for post in _POSTS.listed(answer.parsed) if isinstance(post, Mapping)]
    return "returned posts without authors" if posts and not any("author_id" in post for post in posts) else ""


def _refused(why: str) -> Misconfigured:
    return Misconfigured(
        f"Filling a gap failed: {why}",
        advice="Fix the cause in the answer of X and start the publisher again. It retries the gap, because the "
        "watermark is before it.",
    )


def _read(post: object, answer: Answer, tag: str) -> Found | Spoiled:
    try:
        return Found(answer.query.key, _POSTS.record(post, answer.parsed, [tag]))
    except Unreadable as error:
        return Spoiled(orjson.dumps(post), error.reason)


async def _page(client: Client, query: Query, pause_s: float) -> Answer | Rejected:
    """Request a page until it succeeds, or X refuses it with HTTP 400.

    :raises Misconfigured: X refuses it with another status.
    """
    while True:
        wait_s = pause_s
        try:
            answer = await client.ask(query, lambda _query, parsed: _POSTS.listed(parsed))
            if isinstance(answer, Answer) and answer.outcome is Outcome.ANSWERED:
                return answer
            if isinstance(answer, Rejected) and answer.status == HTTPStatus.BAD_REQUEST:
                return answer
            why = answer.reason if isinstance(answer, Rejected) else "X answered that the path does not exist"
            if answer.status >= HTTPStatus.BAD_REQUEST:
                raise _refused(why)
        except Misconfigured:
            raise
        except RateLimited as limited:
            why = limited.what
            wait_s = max(pause_s, (limited.retry_at - datetime.now(UTC)).total_seconds())
        except WindrowError as error:
            why = error.what
        log.warning("The search continues in %.0f s: %s", wait_s, why)
        await asyncio.sleep(wait_s)
