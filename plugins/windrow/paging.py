"""A query whose answer has several pages: settled as one, or not at all."""

from collections.abc import Callable
from dataclasses import replace

from windrow.answer import Answer, Outcome, Rejected
from windrow.client import Client, Reader
from windrow.query import Query

NextPage = Callable[[Query, Answer], Query | None]
"""See `Stream.next_page`; it is given the query of the page before, and its answer."""


async def ask_whole(client: Client, query: Query, read: Reader, next_page: NextPage) -> Answer | Rejected:
    """Ask for all pages of a query, and return one answer: a JSON array of the pages where there are several.

    :raises WindrowError: what `Client.ask` raises; no page counts then.
    """
    answer = await client.ask(query, read)
    if not isinstance(answer, Answer) or answer.outcome is Outcome.GAP:
        return answer
    bodies = [answer.body]
    page: Answer | Rejected = answer
    asked = query
    while isinstance(page, Answer) and page.outcome is Outcome.ANSWERED:
        following = next_page(asked, page)
        if following is None:
            return answer if len(bodies) == 1 else replace(answer, body=f"[{','.join(bodies)}]")
        asked = following
        page = await client.ask(asked, read)
        bodies.append(page.body)
    reason = page.reason if isinstance(page, Rejected) else "the API knows no such page"
    return Rejected(
        query, page.status, f"[{','.join(bodies)}]", f"page {len(bodies)} ({asked.key}): {reason}", page.fetched_at
    )
