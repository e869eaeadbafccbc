"""Fill a gap of the stream by the recent search, and say what that cannot bring back."""

import logging
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta

from windrow.answer import Answer
from windrow.client import Client
from windrow.errors import Misconfigured
from windrow.query import Query
from windrow.sources.x import SEARCH_DAYS, Posts, post_id_at, search

log = logging.getLogger(__name__)


async def fill(
    client: Client, rules: Mapping[str, str], since: datetime, until: datetime, *, usernames: bool
) -> AsyncIterator[tuple[str, dict[str, object]]]:
    """Yield the posts that the search knows of a time, for each rule, with the key of the call that brought them.

    Reposts are not among them, the search has none; nor are deletions.

    :raises Misconfigured: X refuses the search.
    :raises WindrowError: what `Client.ask` raises.
    """
    posts = Posts()
    if until - since > timedelta(days=SEARCH_DAYS):
        log.warning("the search reaches back %d days: what was posted before is lost", SEARCH_DAYS)
    for rule in rules.values():
        query: Query | None = search(rule, post_id_at(since), until, now=until, usernames=usernames)
        while query is not None:
            answer = await client.ask(query, posts.records)
            if not isinstance(answer, Answer):
                raise Misconfigured(
                    f"The gap since {since:%Y-%m-%d %H:%M:%S} UTC cannot be filled: {answer.reason}",
                    advice="See what X says. The watermark stays before the gap, so a later start tries it again.",
                )
            for record in posts.records(query, answer.parsed):
                yield query.key, record
            query = posts.next_page(query, answer)
